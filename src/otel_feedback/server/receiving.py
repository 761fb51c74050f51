"""What both receivers do with a request: bounded in memory, decoded, queued; refusals in words of either protocol."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from otel_feedback._guard import logger
from otel_feedback.exceptions import StoreBusyError, StoreFullError
from otel_feedback.intake import (
    Batch,
    MalformedError,
    TooLargeError,
    decode_logs,
    decode_metrics,
    decode_traces,
    read_logs,
    read_traces,
)
from otel_feedback.store import Store

if TYPE_CHECKING:
    from concurrent.futures import Future

Signal = Literal["traces", "logs", "metrics"]
Response = ExportTraceServiceResponse | ExportLogsServiceResponse | ExportMetricsServiceResponse

MAX_IN_FLIGHT: Final = 192 * 1024 * 1024
"""Bytes of requests, over both receivers, that are being read, decoded or waited for."""

LARGE: Final = 4 * 1024 * 1024
"""Bytes from which requests are decoded one after the other: as objects they take many times their bytes."""

BUSY_SECONDS: Final = 1
"""After which a sender may try again where too much waits."""

FULL_SECONDS: Final = 10
"""After which it may where the disk is full, or the store can't write."""

_MOST_NAMES: Final = 1_000


class Refusal(NamedTuple):
    """Why a request isn't taken."""

    reason: Literal["malformed", "large", "busy", "full", "failed"]
    sentence: str
    retry_after: int | None
    """Seconds; ``None`` where sending it again is of no use."""


class Accepted(NamedTuple):
    """A request on its way into the store."""

    response: Response
    done: "Future[None] | None"
    """Ends when it is durable; ``None`` where nothing of it is kept."""


def refusal_of(error: Exception) -> Refusal:
    """Say what an error of decoding or storing means to a sender."""
    if isinstance(error, MalformedError):
        return Refusal("malformed", str(error), None)
    if isinstance(error, TooLargeError):
        return Refusal("large", str(error), None)
    if isinstance(error, StoreBusyError):
        return Refusal("busy", "Too much waits to be written. Send it again in a moment.", BUSY_SECONDS)
    if isinstance(error, StoreFullError):
        return Refusal("full", "The disk is full. Send it again when there is room.", FULL_SECONDS)
    # The store's own words may name paths, which are the operator's business.
    logger.error("otel-feedback: a request could not be stored: %s", type(error).__name__)
    return Refusal("failed", "It could not be stored. Send it again.", FULL_SECONDS)


class Budget:
    """A bound of the bytes that are in memory at once."""

    def __init__(self, limit: int = MAX_IN_FLIGHT) -> None:
        self._limit = limit
        self._taken = 0
        self._lock = threading.Lock()

    def take(self, size: int) -> None:
        """Take bytes; where none are taken, any number can be.

        Raises:
            StoreBusyError: There aren't so many left.
        """
        with self._lock:
            if self._taken and self._taken + size > self._limit:
                raise StoreBusyError("Too much is being received.")
            self._taken += size

    def give(self, size: int) -> None:
        """Give bytes back."""
        with self._lock:
            self._taken -= size

    @contextmanager
    def holding(self, size: int) -> Iterator[None]:
        """Hold bytes for a while."""
        self.take(size)
        try:
            yield
        finally:
            self.give(size)


class Seen:
    """Names of what has sent something since the start, for whoever sets a service up."""

    def __init__(self) -> None:
        self.services: frozenset[str] = frozenset()
        self.scopes: frozenset[str] = frozenset()
        self.metrics = False
        self.telling = False
        """Whether a span told of a model's work."""

    def note(self, batch: Batch) -> None:
        """Remember who sent a batch, up to a thousand names."""
        self.telling = self.telling or bool(batch.telling)
        # Replaced and not changed: another thread may be reading.
        if len(self.services) < _MOST_NAMES and not batch.services <= self.services:
            self.services |= batch.services
        if len(self.scopes) < _MOST_NAMES and not batch.scopes <= self.scopes:
            self.scopes |= batch.scopes


class Receiver:
    """Takes decompressed requests of either transport."""

    def __init__(
        self, store: Store, *, keep_content: bool, budget: Budget | None = None, clock: Callable[[], int] = time.time_ns
    ) -> None:
        """Make a receiver.

        Args:
            store: Where everything goes.
            keep_content: Whether what people wrote and read is kept.
            budget: Of bytes in memory.
            clock: Nanoseconds since 1970.
        """
        self.budget = budget or Budget()
        self.seen = Seen()
        self._store = store
        self._keep_content = keep_content
        self._clock = clock
        self._one_large = threading.Lock()

    def accept(self, signal: Signal, body: bytes, *, json: bool = False) -> Accepted:
        """Decode a request and queue what it becomes; takes CPU, so not in an event loop.

        Raises:
            MalformedError: It can't be read.
            TooLargeError: It has too many bytes.
            StoreError: It can't be taken now.
        """
        if len(body) < LARGE:
            return self._accept(signal, body, json=json)
        with self._one_large:
            return self._accept(signal, body, json=json)

    def _accept(self, signal: Signal, body: bytes, *, json: bool) -> Accepted:
        if signal == "metrics":
            # Not kept. No word of it in the answer: senders would log a warning for each of their requests.
            decode_metrics(body, json=json)
            self.seen.metrics = True
            return Accepted(ExportMetricsServiceResponse(), None)
        with self._store.coming():
            return self._take_logs(body, json=json) if signal == "logs" else self._take_traces(body, json=json)

    def _take_logs(self, body: bytes, *, json: bool) -> Accepted:
        received_ns = self._clock()
        request = decode_logs(body, json=json)
        batch = read_logs(request, received_ns=received_ns, keep_content=self._keep_content)
        return Accepted(ExportLogsServiceResponse(), self._keep(batch))

    def _take_traces(self, body: bytes, *, json: bool) -> Accepted:
        received_ns = self._clock()
        traces = decode_traces(body, json=json)
        raw = None if json else body
        batch = read_traces(traces, received_ns=received_ns, keep_content=self._keep_content, raw=raw)
        response = ExportTraceServiceResponse()
        if batch.rejected:
            response.partial_success.rejected_spans = batch.rejected
            response.partial_success.error_message = batch.message
        return Accepted(response, self._keep(batch))

    def _keep(self, batch: Batch) -> "Future[None] | None":
        self.seen.note(batch)
        rows = batch.traces or batch.texts or batch.feedback or batch.evaluations or batch.words
        return self._store.submit(batch) if rows else None
