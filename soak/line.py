"""The whole way of a feedback as processes: capture with its outbox, the Collector and its queue, and the store.

The Collector runs the repository's configuration as it is. Its exporter of carriers, with its queue on the disk, is
told that Jaeger is where the store's receiver listens.
"""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import duckdb
from benchmarks.process import COMMAND, KEYS, Server
from stack.client import wait_until
from stack.parts import Parts
from stack.ports import choose_free
from stack.processes import Process, Stack

from otel_feedback import semconv

VOTES: Final = semconv.METRIC_VOTES_BY_TEMPLATE.replace(".", "_") + "_total"


class Stored(NamedTuple):
    """A feedback as the store has it."""

    trace_id: str
    span_id: str
    signal: str
    feedback_id: str
    sentiment: str
    previous_sentiment: str
    revises: str | None
    standing: bool
    carrier: str


def endpoint(folder: Path, port: int, outbox: Path, target: str) -> Process:
    """Return an endpoint that takes as many requests as come, not started.

    Args:
        folder: For its log.
        port: That it listens on.
        outbox: Its file.
        target: Where it sends to.
    """
    return Process(
        f"capture-{port}",
        [
            *COMMAND,
            "capture",
            f"--listen=127.0.0.1:{port}",
            f"--outbox={outbox}",
            *(f"--rate-{name}=none" for name in ("address", "handle", "overall")),
        ],
        folder=folder,
        env={
            "OTEL_FEEDBACK_HANDLE_KEYS": KEYS,
            "OTEL_FEEDBACK_STATE_DIR": str(folder / "state"),
            "OTEL_EXPORTER_OTLP_ENDPOINT": target,
            "OTEL_EXPORTER_OTLP_INSECURE": "true",
        },
        ready_url=f"http://127.0.0.1:{port}/healthz",
    )


class Line:
    """Processes that a test kills and starts again; use ``running``."""

    def __init__(self, folder: Path, captures: int, stack: Stack | None, store: Server) -> None:
        self.store = store
        self._stack = stack
        self.target = f"http://{store.grpc if stack is None else stack.otlp_grpc}"
        self.outbox = folder / "outbox.db"
        self.ports = choose_free(captures)
        self.captures = [endpoint(folder, port, self.outbox, self.target) for port in self.ports]

    @property
    def stack(self) -> Stack:
        """The real parts between the endpoints and the store."""
        assert self._stack is not None, "there is no Collector here"
        return self._stack

    def waiting(self) -> int:
        """Return how many feedbacks wait in the outbox."""
        with contextlib.closing(sqlite3.connect(self.outbox, timeout=30)) as outbox:
            depth: int = outbox.execute("SELECT count(*) FROM queue").fetchone()[0]
            return depth

    def stored(self) -> int:
        """Return how many feedbacks the store has."""
        counts: dict[str, int] = self.store.get("/api/status")["counts"]
        return counts["feedback"]

    def drain(self, least: int, *, timeout: float = 120) -> None:
        """Wait until nothing waits any more, and at least so many are in the store."""
        wait_until(lambda: self.waiting() == 0, "an empty outbox", timeout=timeout)
        wait_until(lambda: self.stored() >= least, f"{least} feedbacks in the store", timeout=timeout)

    def counted(self) -> float:
        """Return how many carriers Prometheus has counted, by all Collectors that have been."""
        return self.stack.value(f"sum(last_over_time({VOTES}[6h]))") or 0.0

    def rows(self) -> list[Stored]:
        """End the store and return what is in its file."""
        self.store.stop()
        with duckdb.connect(str(self.store.data / "store.duckdb"), read_only=True) as store:
            found: list[tuple[Any, ...]] = store.execute(
                "SELECT trace_id, span_id, signal, feedback_id, sentiment, previous_sentiment, revises, standing, "
                "carrier_trace_id || carrier_span_id FROM feedback"
            ).fetchall()
        return [Stored(*one) for one in found]

    def said(self) -> str:
        """Return what the endpoints wrote."""
        return "\n".join(capture.log() for capture in self.captures)


@contextlib.contextmanager
def running(
    folder: Path, *, captures: int = 1, collector: bool = True, parts: Parts | None = None, **variables: str
) -> Iterator[Line]:
    """Run the whole way in a folder.

    Args:
        folder: Data and logs go here.
        captures: Endpoints, which share one outbox.
        collector: Whether there is one, with Prometheus behind it; else the endpoints send to the store.
        parts: The real programs; by default those that are found.
        variables: More of the endpoints' environment.
    """
    with contextlib.ExitStack() as ending:
        store = ending.enter_context(Server(folder / "data"))
        stack = None
        if collector:
            to_store = {"OTEL_FEEDBACK_JAEGER_OTLP": store.grpc}
            stack = ending.enter_context(Stack(folder / "stack", env=to_store, parts=parts))
        line = Line(folder, captures, stack, store)
        for capture in line.captures:
            ending.callback(capture.kill)
            capture.launch(**variables)
        for capture in line.captures:
            capture.await_ready()
        yield line
