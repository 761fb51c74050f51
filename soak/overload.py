"""Ten times what the endpoint can take: ``python -m soak overload [--seconds 60]``.

It sheds by 429 and 503 and goes on answering, its memory stays bounded, and what it acknowledged arrives, once.
"""

import argparse
import contextlib
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from soak.process import NO_LIMITS, Capture, capturing
from soak.receiver import SENDING, Receiver, receiving
from soak.senders import Sent

SENDERS: Final = 2
"""Processes that send."""

CONNECTIONS: Final = 3_000
"""Ten times what it keeps."""

GROWTH: Final = 150.0
"""MiB by which its memory may grow: 300 connections, with what waits on each, and the batches on their way."""


_SHEDDING: Final = {"202", "429", "503"}
"""What may be answered: 503 also where a slow disk lets too much wait."""


@dataclass(frozen=True)
class Outcome:
    """What became of one flood.

    Attributes:
        name: Of the flood.
        seconds: How long it was sent.
        statuses: Answers by status.
        acknowledged: Feedback that was answered by 202.
        arrived: How much arrived at the receiver, each id once.
        repeated: How often a span came again.
        cut: Connections that ended without an answer.
        memory: MiB before, at most and after.
    """

    name: str
    seconds: float
    statuses: Counter[str]
    acknowledged: int
    arrived: int
    repeated: int
    cut: int
    memory: tuple[float, float, float]

    def __str__(self) -> str:
        """Return it in a line."""
        counts = ", ".join(f"{status}: {count:,}" for status, count in sorted(self.statuses.items()))
        offered = (sum(self.statuses.values()) + self.cut) / self.seconds
        before, most, after = self.memory
        return (
            f"{self.name}: {offered:,.0f} offered/s; {counts}, cut: {self.cut:,}; {self.acknowledged:,} acknowledged "
            f"({self.acknowledged / self.seconds:,.0f}/s), {self.arrived:,} arrived, {self.repeated} of them again; "
            f"memory {before:.0f} MiB before, {most:.0f} at most, {after:.0f} after"
        )


def by_rate(seconds: float, *, allowed: int = 200) -> Outcome:
    """Send at least ten times as many as a limit lets in: the rest gets 429."""
    limits = ("--rate-handle", "none", "--rate-address", "none", "--rate-overall", f"{allowed}/second")
    with receiving() as receiver, _capture(receiver, *limits) as capture:
        outcome = _flood("rate", capture, receiver, seconds, connections=40, at_once=8)
    answered = sum(outcome.statuses.values())
    assert {"202", "429"} <= set(outcome.statuses) <= _SHEDDING, outcome
    assert answered >= 10 * allowed * seconds, f"that was no tenfold overload: {outcome}"
    assert outcome.acknowledged <= allowed * (seconds + 2), outcome
    return outcome


def by_connections(seconds: float, *, connections: int = CONNECTIONS) -> Outcome:
    """Send over ten times as many connections as are kept: the others get 503."""
    with receiving() as receiver, _capture(receiver, *NO_LIMITS) as capture:
        outcome = _flood("connections", capture, receiver, seconds, connections=connections, at_once=1)
    assert {"202", "503"} <= set(outcome.statuses) <= _SHEDDING, outcome
    return outcome


def by_backlog(seconds: float, *, most_mib: int = 1) -> Outcome:
    """Send more than may wait while nobody takes it: the rest gets 503, and all that was acknowledged arrives later."""
    with receiving() as receiver:
        receiver.away.set()
        with _capture(receiver, *NO_LIMITS, OTEL_FEEDBACK_OUTBOX_MIB=str(most_mib)) as capture:
            outcome = _flood("backlog", capture, receiver, seconds, connections=100, at_once=4)
    assert {"202", "503"} <= set(outcome.statuses) <= _SHEDDING, outcome
    return outcome


def _capture(receiver: Receiver, *options: str, **variables: str) -> contextlib.AbstractContextManager[Capture]:
    return capturing(*options, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.endpoint, port=0, **SENDING, **variables)


def _flood(
    name: str, capture: Capture, receiver: Receiver, seconds: float, *, connections: int, at_once: int
) -> Outcome:
    before = capture.memory()
    capture.forget_memory()
    sent = _send(capture.port, seconds, connections, at_once)
    most, after = capture.most_memory(), capture.memory()
    receiver.away.clear()
    acknowledged = {found for one in sent for found in one.acknowledged}
    _until(lambda: acknowledged <= receiver.spans.keys(), 60 + seconds)
    statuses: Counter[str] = sum((one.statuses for one in sent), Counter())
    spans = [receiver.spans[found] for found in receiver.spans]
    outcome = Outcome(
        name=name,
        seconds=seconds,
        statuses=statuses,
        acknowledged=len(acknowledged),
        arrived=len(spans),
        repeated=sum(len(one) - len(set(one)) for one in spans),
        cut=sum(one.cut for one in sent),
        memory=(before, most, after),
    )
    assert acknowledged, f"it took nothing in: {outcome}\n{capture.said()[-2_000:]}"
    if name != "backlog":  # which is full after a while
        answered = {second for one in sent for second in one.by_second}
        assert len(answered) >= seconds / 2, f"it took nothing in for most of the time: {outcome}"
    lost = acknowledged - receiver.spans.keys()
    assert not lost, f"{len(lost)} that it acknowledged did not arrive: {outcome}"
    assert all(len(set(one)) == 1 for one in spans), f"a feedback is in two spans: {outcome}"
    assert not sum(one.without_later for one in sent), f"a refusal doesn't say when to come again: {outcome}"
    assert most - before < GROWTH, f"its memory grew: {outcome}"
    said = capture.said()
    assert "Traceback" not in said, said[-3_000:]
    assert capture.stop() in (0, -signal.SIGTERM), said[-3_000:]  # uvicorn ends by the signal that told it to
    return outcome


def _send(port: int, seconds: float, connections: int, at_once: int) -> list[Sent]:
    share = [str(one) for one in (port, seconds, connections // SENDERS, at_once)]
    senders = [
        subprocess.Popen([sys.executable, "-m", "soak.senders", *share, str(number)], stdout=subprocess.PIPE)
        for number in range(SENDERS)
    ]
    found = [json.loads(sender.communicate(timeout=seconds + 120)[0]) for sender in senders]
    return [
        Sent(**{**one, "statuses": Counter(one["statuses"]), "by_second": Counter(one["by_second"])}) for one in found
    ]


def _until(arrived: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not arrived() and time.monotonic() < end:
        time.sleep(0.1)


def main(arguments: list[str]) -> int:
    """Run all floods, and print what became of them."""
    parser = argparse.ArgumentParser(prog="python -m soak overload")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each flood")
    seconds = parser.parse_args(arguments).seconds
    return max([_try(flood, seconds) for flood in (by_rate, by_connections, by_backlog)])


def _try(flood: Callable[[float], Outcome], seconds: float) -> int:
    try:
        print(flood(seconds), flush=True)
    except AssertionError as error:
        print(f"{flood.__name__}: {error}", flush=True)
        return 1
    return 0
