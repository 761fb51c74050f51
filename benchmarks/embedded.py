"""What ``otel-feedback up`` takes in and what it takes for it: ``python -m benchmarks.embedded [--json] [--spans N]``.

The server runs on one core and the sender on another, so that what is measured is one core's work.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final
from unittest import mock

from rich.console import Console

from benchmarks import install, visible
from benchmarks.load import Load
from benchmarks.measure import Figure, table
from benchmarks.process import Server
from otel_feedback.intake.chunks import pack
from otel_feedback.intake.rows import Batch, InteractionRow
from otel_feedback.intake.spans import read_traces
from otel_feedback.intake.wire import decode_traces
from otel_feedback.store import Store

SENDER: Final = 0
SERVER: Final = 1
"""Cores."""

IN_FLIGHT: Final = 16
"""Requests that wait for their answer at a time: as many as the server works on."""

_EVERY: Final = 0.5
"""Seconds between two looks at the server's memory."""

_IDLE_SECONDS: Final = 30


@dataclass(frozen=True)
class Ingest:
    """What a long run took.

    Attributes:
        rate: Spans a second, durable.
        growth: MiB by which memory grew from the first fifth of the spans to the most after it.
        most: MiB in memory at most.
        cpu: Microseconds of CPU of the server a span.
        disk: Bytes in the folder a span, when the server has ended.
        end: Seconds from SIGTERM to the end.
    """

    rate: float
    growth: float
    most: float
    cpu: float
    disk: float
    end: float


def measure_ingest(spans: int, *, in_flight: int = IN_FLIGHT) -> Ingest:
    """Send spans as fast as they are taken."""
    with _server() as server:
        _send(server, 50_000)  # caches and buffers fill once
        before = server.cpu()
        seen: list[float] = []
        with _sending(server, spans, in_flight=in_flight) as sender:
            while sender.poll() is None:
                seen.append(server.memory())
                time.sleep(_EVERY)
            sent = _result(sender)
        cpu = server.cpu() - before
        end = server.stop()
        disk = sum(path.stat().st_size for path in server.data.rglob("*") if path.is_file())
    fifth = max(1, len(seen) // 5)
    return Ingest(
        rate=sent["rate"],
        growth=max(seen[fifth:] or seen) - max(seen[:fifth]),
        most=max(seen),
        cpu=cpu / sent["spans"] * 1e6,
        disk=disk / (sent["spans"] + 50_000),
        end=end,
    )


@contextmanager
def _server() -> Iterator[Server]:
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder, "data"), core=SERVER) as server:
        yield server


@contextmanager
def _sending(
    server: Server, spans: int, *, in_flight: int = IN_FLIGHT, rate: float | None = None
) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "benchmarks.sender", server.grpc, "--spans", str(spans), "--core", str(SENDER)]
    command += ["--in-flight", str(in_flight)]
    if rate is not None:
        command += ["--rate", str(rate)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as sender:
        try:
            yield sender
        finally:
            sender.kill()


def _send(server: Server, spans: int) -> None:
    with _sending(server, spans) as sender:
        _result(sender)


def _result(sender: subprocess.Popen[str]) -> dict[str, Any]:
    said, _ = sender.communicate()
    if sender.returncode:
        raise RuntimeError("the sender failed")
    found: dict[str, Any] = json.loads(said)
    return found


def split_cpu(*, rounds: int = 6, batches: int = 100) -> dict[str, float]:
    """Return microseconds of CPU a span by step: ``decode``, ``transform``, ``compress``, ``insert``."""
    times: dict[str, list[float]] = {step: [] for step in ("decode", "transform", "compress", "insert")}
    load = iter(Load())
    with tempfile.TemporaryDirectory() as folder, Store.open(Path(folder, "data")) as store:
        for _ in range(rounds):
            requests = list(itertools.islice(load, batches))
            spans = sum(request.spans for request in requests)
            # Each request is put down before the next is made, as where they come over the wire.
            made: list[Batch] = []
            decode = transform = compress = 0.0
            for request in requests:
                begun = time.thread_time()
                message = decode_traces(request.body)
                decoded = time.thread_time()
                squeezed = _Timed()
                with mock.patch("otel_feedback.intake.spans.pack", squeezed):
                    walked = time.thread_time()
                    made.append(read_traces(message, received_ns=time.time_ns(), raw=request.body))
                    ended = time.thread_time()
                decode += decoded - begun
                compress += squeezed.took
                transform += ended - walked - squeezed.took
            begun = time.process_time()
            for waiting in [store.submit(batch) for batch in made]:
                waiting.result()
            insert = time.process_time() - begun
            for step, took in zip(times, (decode, transform, compress, insert), strict=True):
                times[step].append(took / spans * 1e6)
    return {step: statistics.median(found) for step, found in times.items()}


def yardstick() -> float:
    """Return microseconds a span that something else takes for the same bytes, to compare machines by."""
    requests = list(itertools.islice(Load(votes=False), 40))
    begun = time.thread_time()
    for request in requests:
        zlib.compress(request.body, 1)
    return (time.thread_time() - begun) / sum(request.spans for request in requests) * 1e6


class _Timed:
    """``pack`` with a clock."""

    def __init__(self) -> None:
        self.took = 0.0

    def __call__(self, data: bytes) -> bytes:
        begun = time.thread_time()
        done = pack(data)
        self.took += time.thread_time() - begun
        return done


def measure_start(interactions: int = 1_000_000) -> tuple[float, float]:
    """Return seconds from the command to the first answer with so many interactions stored, and idle CPU in percent."""
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder, "data"), core=SERVER)
        _fill(server.data, interactions)
        times = []
        with server:
            for _ in range(3):
                server.stop()
                times.append(server.start())
            time.sleep(2)
            before = server.cpu()
            time.sleep(_IDLE_SECONDS)
            idle = (server.cpu() - before) / _IDLE_SECONDS * 100
    return statistics.median(times), idle


def _fill(folder: Path, interactions: int) -> None:
    size = 20_000
    begun = time.time_ns()
    with Store.open(folder) as store:
        for number in range(0, interactions, size):
            rows = [_row(one, begun - (interactions - one) * 2_000_000_000) for one in range(number, number + size)]
            store.write(Batch(received_ns=begun, interactions=rows, size=size))


def _row(number: int, started_ns: int) -> InteractionRow:
    return InteractionRow(
        trace_id=f"{number * 0x9E3779B97F4A7C15 % 2**128 + 1:032x}",
        span_id=f"{number + 1:016x}",
        started_ns=started_ns,
        duration_ns=2_000_000_000,
        name="POST /ask",
        service="shop",
        namespace="unknown",
        environment="production",
        prompt_name=f"answer-{number % 20}",
        prompt_version=str(number % 3),
        model=f"model-{number % 4}",
        query_type="how-to",
        prompt_fingerprint=None,
        provider="openai",
        response_id=f"chatcmpl-{number:x}",
        conversation_id=f"c-{number // 5:x}",
        user_hash=None,
        error=None,
        flagged=True,
        complete=True,
    )


def measure_visible(*, rate: float | None, votes: int = 150) -> visible.Times:
    """Return seconds from a vote to its being in the API's answers, while spans come at a rate or as fast as taken."""
    with _server() as server:
        _send(server, 50_000)
        with _sending(server, 100_000_000, rate=rate):
            time.sleep(2)
            return visible.watch(server, votes=votes)


def measure_page(*, votes: int = 100) -> visible.Times:
    """Return seconds from a vote to a new figure on a page that is open in Chromium."""
    with _server() as server:
        _send(server, 20_000)
        return visible.watch_page(server, votes=votes)


def figures(spans: int) -> list[Figure]:
    """Measure everything; takes about three minutes for a million spans."""
    split = split_cpu()
    steps = ", ".join(f"{step} {took:.1f}" for step, took in split.items())
    ingest, few = measure_ingest(spans), measure_ingest(min(spans, 200_000), in_flight=4)
    zipped = yardstick()
    slow, fast = measure_visible(rate=2_000), measure_visible(rate=None)
    page = measure_page()
    start, idle = measure_start()
    size = install.fresh_megabytes("server")
    return [
        Figure("how fast this core is: zlib, level 1, of the same bytes", f"{zipped:.1f} µs a span", zipped, None),
        Figure("durable ingest through the wire", f"{ingest.rate:,.0f} spans/s", ingest.rate, 20_000, at_least=True),
        Figure("the same with 4 requests in flight", f"{few.rate:,.0f} spans/s", few.rate, None),
        Figure(
            f"memory growth over {spans:,} spans", f"{ingest.growth:.0f} of {ingest.most:.0f} MiB", ingest.growth, 100
        ),
        Figure("CPU of the server a span", f"{ingest.cpu:.1f} µs", ingest.cpu, None),
        Figure("CPU a span by step", f"{steps} µs", sum(split.values()), None),
        Figure("on the disk a span", f"{ingest.disk:.0f} bytes", ingest.disk, None),
        Figure("vote to API at 2,000 spans/s, p99", str(slow), slow.p99, 0.5),
        Figure("vote to API at full load, p99", str(fast), fast.p99, 2.0),
        Figure("vote to the open page in Chromium, p99", str(page), page.p99, 0.5),
        Figure("start with 1,000,000 interactions", f"{start:.2f} s", start, 1.0),
        Figure("end under SIGTERM after the load", f"{ingest.end:.2f} s", ingest.end, 5.0),
        Figure("CPU when idle", f"{idle:.2f} %", idle, 1.0),
        Figure("fresh install of [server]", f"{size:.0f} MB", size, 160),
    ]


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--spans", type=int, default=1_000_000)
    options = parser.parse_args()
    rows = figures(options.spans)
    if options.json:
        print(json.dumps([{**asdict(row), "verdict": row.verdict} for row in rows], indent=2))
        return
    Console().print(table(f"otel-feedback up, {os.cpu_count()} cores, one of them the sender's", rows))


if __name__ == "__main__":
    main()
