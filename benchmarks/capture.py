"""Capture with durable acknowledgement, as a ratio to a bare endpoint with the same group commit in the same run.

Both are processes of their own, asked in turns over many connections; ``python -m benchmarks.capture`` alone.
"""

import asyncio
import contextlib
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final

from stack.ports import choose_free

from benchmarks.measure import Figure
from otel_feedback._handle import HandleCodec, Keyring

KEYS: Final = "bench:HS256:YmVuY2hlcy1rZXktZm9yLWJlbmNobWFya3Mtb25seS0"
CONNECTIONS: Final = 64
SECONDS: Final = 4.0
"""Of one turn."""
TURNS: Final = 5
SHARE: Final = 0.7
"""Of its own rate, at which latency is measured."""

_OK: Final = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n"


@dataclass
class Turn:
    """What one turn saw."""

    requests: int = 0
    refused: int = 0
    seconds: float = 0.0
    cpu: float = 0.0
    """Seconds of processor time that the server used."""
    waits: list[float] = field(default_factory=list)
    """Seconds from when each request was due to its acknowledgement."""

    @property
    def rate(self) -> float:
        """Acknowledged requests per second."""
        return self.requests / self.seconds


class _Client(asyncio.Protocol):
    """One connection: a request, its answer, the next one."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.answered: asyncio.Future[int] | None = None
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Answers are short: the body is behind the head in one piece."""
        self._buffer += data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if found and rest.endswith(b"}") and self.answered is not None:
            self._buffer = b""
            answered, self.answered = self.answered, None
            answered.set_result(int(head[9:12]))

    async def ask(self, request: bytes) -> int:
        """Send a request and return the status of its answer."""
        assert self.transport is not None
        self.answered = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return await self.answered


class _Sink(asyncio.Protocol):
    """Takes OTLP over HTTP and says that all is well."""

    def __init__(self) -> None:
        self._left = 0
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer each request when its body has come."""
        self._buffer += data
        while True:
            head, found, rest = self._buffer.partition(b"\r\n\r\n")
            if not found:
                return
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            if len(rest) < length:
                return
            self._buffer = rest[length:]
            assert isinstance(self._transport, asyncio.Transport)
            self._transport.write(_OK)


async def _sent(outbox: Path) -> None:
    """Wait until nothing waits any more: latency is that of a steady state."""
    await asyncio.to_thread(_wait_until_sent, outbox)


def _wait_until_sent(outbox: Path) -> None:
    with contextlib.closing(sqlite3.connect(outbox)) as connection:
        while connection.execute("SELECT depth FROM totals").fetchone()[0]:
            time.sleep(0.2)


def _request(handle: str) -> bytes:
    body = f'{{"handle":"{handle}","signal":"thumbs","value":"up","id":"{handle[-20:]}"}}'.encode()
    head = f"POST /v1/feedback HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
    return f"{head}\r\n".encode() + body


def requests() -> Iterator[bytes]:
    """Requests with a vote each, on another answer each time."""
    codec = HandleCodec(Keyring.from_text(KEYS))
    facts = {"feedback.service.name": "rag", "feedback.prompt.name": "qa", "feedback.prompt.version": "v2"}
    for number in range(1, 2**60):
        trace_id = int.from_bytes(os.urandom(15), "big") + 1
        yield _request(codec.issue(trace_id=trace_id, span_id=number, sampled=True, facts=facts))


async def _connect(port: int) -> list[_Client]:
    loop = asyncio.get_running_loop()
    return [(await loop.create_connection(_Client, "127.0.0.1", port))[1] for _ in range(CONNECTIONS)]


async def _closed(port: int, process: int, source: list[bytes]) -> Turn:
    """Every connection asks as soon as it was answered."""
    turn = Turn()
    clients = await _connect(port)
    began, used = time.perf_counter(), _cpu(process)
    until = began + SECONDS

    async def ask(client: _Client) -> None:
        while source and time.perf_counter() < until:
            status = await client.ask(source.pop())
            turn.requests += status == 202
            turn.refused += status != 202

    await asyncio.gather(*map(ask, clients))
    turn.seconds, turn.cpu = time.perf_counter() - began, _cpu(process) - used
    _close(clients)
    return turn


async def _paced(port: int, source: list[bytes], rate: float) -> Turn:
    """Requests are due at fixed times, whether or not earlier ones were answered."""
    turn = Turn()
    free: asyncio.Queue[_Client] = asyncio.Queue()
    clients = await _connect(port)
    for client in clients:
        free.put_nowait(client)
    tasks = []

    async def ask(due: float, request: bytes) -> None:
        client = await free.get()
        status = await client.ask(request)
        turn.requests += status == 202
        turn.refused += status != 202
        turn.waits.append(time.perf_counter() - due)
        free.put_nowait(client)

    began = time.perf_counter()
    for number in range(int(rate * SECONDS)):
        due = began + number / rate
        if (early := due - time.perf_counter()) > 0.001:
            await asyncio.sleep(early)
        tasks.append(asyncio.create_task(ask(due, source.pop())))
    await asyncio.gather(*tasks)
    turn.seconds = time.perf_counter() - began
    _close(clients)
    return turn


def _close(clients: list[_Client]) -> None:
    for client in clients:
        assert client.transport is not None
        client.transport.close()


def _cpu(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def server_process(command: list[str], port: int, environ: dict[str, str]) -> Iterator[int]:
    """Run a server until the block ends; gives its process id once it listens."""
    with subprocess.Popen(
        command, env={**os.environ, **environ}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            _await_port(port)
            yield process.pid
        finally:
            process.kill()


def _await_port(port: int) -> None:
    import socket

    for _ in range(300):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.1)
    raise RuntimeError("The server does not start.")


@dataclass(frozen=True)
class Capture:
    """What was measured, turn by turn."""

    bare: list[Turn]
    ours: list[Turn]
    paced: Turn
    paced_rate: float

    @property
    def ratio(self) -> float:
        """Requests per second, ours to the bare endpoint's: the median over neighbouring turns."""
        return median(ours.rate / bare.rate for bare, ours in zip(self.bare, self.ours, strict=True))

    @property
    def cpu_ratio(self) -> float:
        """Processor time of the server per request, the bare endpoint's to ours, the sender's share in it."""
        return median(
            (bare.cpu / bare.requests) / (ours.cpu / ours.requests)
            for bare, ours in zip(self.bare, self.ours, strict=True)
        )

    @property
    def p99(self) -> float:
        """Seconds at ``SHARE`` of its own rate."""
        return sorted(self.paced.waits)[int(0.99 * len(self.paced.waits))]


def compare(folder: Path) -> Capture:
    """Measure both in turns; takes about a minute."""
    bare_port, port, sink_port = choose_free(3)
    source = requests()
    python = sys.executable
    bare_command = [python, "-m", "benchmarks.bare_capture", str(bare_port), str(folder / "bare.db")]
    command = [str(Path(python).with_name("otel-feedback")), "capture", "--listen", f"127.0.0.1:{port}"]
    command += ["--outbox", str(folder / "outbox.db"), "--rate-address", "none"]
    environ = {
        "OTEL_FEEDBACK_HANDLE_KEYS": KEYS,
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{sink_port}",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_METRICS_EXPORTER": "none",
    }

    async def run() -> Capture:
        sink = await asyncio.get_running_loop().create_server(_Sink, "127.0.0.1", sink_port)
        with server_process(bare_command, bare_port, {}) as bare_pid, server_process(command, port, environ) as pid:
            bare, ours = [], []
            for turn in range(TURNS + 1):
                pair = (
                    await _closed(bare_port, bare_pid, [next(source) for _ in range(30_000)]),
                    await _closed(port, pid, [next(source) for _ in range(30_000)]),
                )
                if turn:  # the first warms up
                    bare.append(pair[0])
                    ours.append(pair[1])
            await _sent(folder / "outbox.db")
            rate = SHARE * median(turn.rate for turn in ours)
            paced = await _paced(port, [next(source) for _ in range(int(rate * SECONDS) + 1)], rate)
        sink.close()
        return Capture(bare, ours, paced, rate)

    return asyncio.run(run())


def figures() -> list[Figure]:
    """Measure, and say it in rows."""
    with tempfile.TemporaryDirectory() as folder:
        found = compare(Path(folder))
    bare, ours = median(turn.rate for turn in found.bare), median(turn.rate for turn in found.ours)
    return [
        Figure(
            "durable capture to a bare endpoint, requests/s",
            f"{found.ratio:.2f} ({ours:,.0f}/s to {bare:,.0f}/s); {found.cpu_ratio:.2f} by processor time",
            found.ratio,
            0.9,
            at_least=True,
        ),
        Figure(f"its p99 at {found.paced_rate:,.0f}/s", f"{found.p99 * 1000:.0f} ms", found.p99, 0.05),
    ]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        measured = compare(Path(place))
    for bare_turn, our_turn in zip(measured.bare, measured.ours, strict=True):
        print(
            f"bare {bare_turn.rate:7.0f}/s {1e6 * bare_turn.cpu / bare_turn.requests:5.0f} µs"
            f"   ours {our_turn.rate:7.0f}/s {1e6 * our_turn.cpu / our_turn.requests:5.0f} µs"
            f"   refused {bare_turn.refused} {our_turn.refused}"
        )
    print(f"ratio {measured.ratio:.2f}, by processor time {measured.cpu_ratio:.2f}")
    print(f"at {measured.paced_rate:.0f}/s: p99 {1000 * measured.p99:.1f} ms of {measured.paced.requests}")
