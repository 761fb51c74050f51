"""Malformed requests: ``python -m soak fuzz [--requests 1000000] [--seed 1] [--guided 200000]``.

Against a real process over sockets; what OpenAPI describes by schemathesis, and the parser guided by coverage (atheris,
where it is installed) in this one.
"""

import argparse
import contextlib
import importlib.util
import itertools
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from soak import bodies, described
from soak.process import NO_LIMITS, Capture, capturing, handles
from soak.watch import Watch
from soak.wire import Connection, request

CONNECTIONS = 6
AT_ONCE = 16
"""Requests that are sent on one connection before their answers are read: more may not wait."""

GROWTH = 64.0
"""MiB by which the process may grow after its first requests."""


@dataclass
class Outcome:
    """What became of a run.

    Attributes:
        requests: How many were answered.
        seconds: How long it took.
        first: Resident memory in MiB after the first tenth of the requests.
        last: The same after all of them.
        most: The most in between.
        watch: What was seen.
    """

    requests: int = 0
    seconds: float = 0.0
    first: float = 0.0
    last: float = 0.0
    most: float = 0.0
    watch: Watch = field(default_factory=Watch)

    def __str__(self) -> str:
        """Return it in two lines."""
        counts = ", ".join(f"{status}: {count:,}" for status, count in sorted(self.watch.statuses.items()))
        return (
            f"{self.requests:,} requests, {self.requests / self.seconds:,.0f}/s; {counts}\n"
            f"{len(self.watch.refusals)} different refusals; memory {self.first:.0f} MiB after a tenth, "
            f"{self.last:.0f} at the end, {self.most:.0f} at most"
        )


def run(requests: int, *, seed: int = 1) -> Outcome:
    """Send malformed requests to a process of its own.

    Raises:
        AssertionError: One of the claims does not hold.
    """
    with capturing(*NO_LIMITS, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9") as capture:
        sent = itertools.islice(bodies.many(bodies.seeds(next(handles())), seed=seed), requests)
        outcome = send_all(capture, sent, total=requests)
        with contextlib.closing(Connection(capture.port)) as connection:
            assert connection.ask([request(b"{}")])[0].status == 422, "it answers no more"
        outcome.watch.look_at_log(capture.said())
    assert outcome.requests == requests, "some were not answered"
    assert outcome.last - outcome.first < GROWTH, f"it grew: {outcome}"
    return outcome


def send_all(capture: Capture, sent: Iterable[bodies.Sent], *, total: int) -> Outcome:
    """Send requests, several at once on several connections, and look at every answer."""
    outcome, began = Outcome(), time.monotonic()
    with contextlib.ExitStack() as stack:
        connections = [Connection(capture.port) for _ in range(CONNECTIONS)]
        for connection in connections:
            stack.callback(connection.close)
        for rounds in _batches(sent, CONNECTIONS * AT_ONCE):
            raw = [request(one.body, content_type=one.content_type, more=one.more) for one in rounds]
            parts = [raw[start : start + AT_ONCE] for start in range(0, len(raw), AT_ONCE)]
            for connection, part in zip(connections, parts, strict=False):
                connection.send(part)
            for connection, part in zip(connections, parts, strict=False):
                answers = connection.receive(len(part))
                for one, answer in zip(part, answers, strict=False):
                    outcome.watch.see(one.partition(b"\r\n")[2], answer)
                outcome.requests += len(answers)
                for one in part[len(answers) :]:  # the connection was closed after an answer
                    outcome.watch.see(one.partition(b"\r\n")[2], connection.ask([one])[0])
                    outcome.requests += 1
            if not outcome.first and outcome.requests >= total / 10:
                outcome.first = capture.memory()
                capture.forget_memory()
    outcome.last, outcome.most = capture.memory(), capture.most_memory()
    outcome.seconds = time.monotonic() - began
    return outcome


def _batches(sent: Iterable[bodies.Sent], size: int) -> Iterator[list[bodies.Sent]]:
    iterator = iter(sent)
    while batch := list(itertools.islice(iterator, size)):
        yield batch


def _guided(runs: int) -> None:
    if importlib.util.find_spec("atheris") is None:
        print("guided by coverage: left out, since atheris is not installed (pip install --group soak)")
        return
    for what in ("body", "app"):
        count = runs if what == "body" else runs // 10
        code = subprocess.run([sys.executable, "-m", "soak.guided", what, f"-runs={count}"], check=False).returncode
        assert code == 0, f"the run guided by coverage ({what}) found something"


def main(arguments: list[str]) -> int:
    """Run it, and print what became of it."""
    parser = argparse.ArgumentParser(prog="python -m soak fuzz")
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--described", type=int, default=1_000, help="examples of schemathesis")
    parser.add_argument("--guided", type=int, default=1_000_000, help="runs of atheris")
    options = parser.parse_args(arguments)
    try:
        print(f"by schemathesis: {described.run(options.described)}", flush=True)
        _guided(options.guided)
        print(run(options.requests, seed=options.seed), flush=True)
    except AssertionError as error:
        print(error)
        return 1
    return 0
