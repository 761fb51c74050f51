"""The kit for tests, yours and ours: telemetry in memory with sequential ids and a ticking clock.

with telemetry() as seen:
    with interaction("answer", tracer_provider=seen.provider):
        ...
assert seen.spans() == [...]
"""

import contextlib
import itertools
from collections.abc import Iterator
from typing import Any, Final
from unittest import mock

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import Sampler
from opentelemetry.trace import Link, SpanContext, format_span_id, format_trace_id

from otel_feedback import _guard, _ledger, _runtime
from otel_feedback._processor import FeedbackSpanProcessor, KeepForFeedback
from otel_feedback._settings import Settings

START: Final = 1_800_000_000
"""The ticking clock's first second (2027-01-15T08:00:00Z)."""

TEST_KEYS: Final = "test:HS256:" + "dGVzdC1rZXktZm9yLXRlc3RzLW9ubHktMzItYnl0ZXM"
"""A handle key for tests; never use it for anything else."""


class SequentialIds(IdGenerator):
    """Ids that count from 1, so that snapshots stay the same."""

    def __init__(self) -> None:
        self._traces = itertools.count(1)
        self._spans = itertools.count(1)

    def generate_trace_id(self) -> int:
        """Return the next trace id."""
        return next(self._traces)

    def generate_span_id(self) -> int:
        """Return the next span id."""
        return next(self._spans)


class TickingClock:
    """A clock that goes on by one second at each look.

    Attributes:
        now: Seconds since 1970 at the next look.
    """

    def __init__(self, start: int = START) -> None:
        self.now = start

    def __call__(self) -> int:
        """Return nanoseconds since 1970, and tick."""
        self.now += 1
        return (self.now - 1) * 1_000_000_000


class Telemetry:
    """A tracer provider with our processor, and what it exported.

    Attributes:
        provider: Give it to whatever takes a ``tracer_provider``.
        exporter: The SDK's in-memory exporter behind it.
        clock: The clock that stamps the spans.
    """

    def __init__(self, *, sampler: Sampler | None = None, resource: dict[str, Any] | None = None) -> None:
        self.clock = TickingClock()
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(
            sampler=KeepForFeedback(sampler) if sampler is not None else None,
            resource=Resource({"service.name": "test", **(resource or {})}),
            id_generator=SequentialIds(),
            shutdown_on_exit=False,
        )
        self.provider.add_span_processor(FeedbackSpanProcessor())
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))

    def spans(self) -> list[dict[str, Any]]:
        """Return all exported spans in the order of their starts, as plain data to compare at once."""
        ended = sorted(self.exporter.get_finished_spans(), key=lambda span: span.start_time or 0)
        return [plain(span) for span in ended]


@contextlib.contextmanager
def telemetry(
    *,
    sampler: Sampler | None = None,
    resource: dict[str, Any] | None = None,
    **settings: Any,
) -> Iterator[Telemetry]:
    """Run a test with telemetry of its own; what our guard would swallow is raised.

    Args:
        sampler: The service's sampler; our ``KeepForFeedback`` wraps it. Without one, everything is sampled.
        resource: More attributes of the service than its name, ``test``.
        settings: Settings other than the defaults; the environment is not read.
    """
    seen = Telemetry(sampler=sampler, resource=resource)
    chosen = Settings.from_env({}, **{"handle_keys": TEST_KEYS, **settings})
    with _guard.strict(), mock.patch("opentelemetry.sdk.trace.time_ns", seen.clock):
        _runtime.reset()
        _runtime.configure(chosen)
        _ledger.ledger.clear()
        try:
            yield seen
        finally:
            _ledger.ledger.clear()
            _runtime.reset()
            seen.provider.shutdown()


def plain(span: ReadableSpan) -> dict[str, Any]:
    """Return a span as plain data: ids as numbers of few digits are kept short, times are whole seconds."""
    context = span.get_span_context()
    if context is None:  # the SDK's exported spans have one
        raise ValueError(span.name)
    return {
        "name": span.name,
        "kind": span.kind.name,
        "context": _short(context),
        "parent": _short(span.parent) if span.parent is not None else None,
        "start": _seconds(span.start_time),
        "end": _seconds(span.end_time),
        "status": span.status.status_code.name,
        "attributes": dict(span.attributes or {}),
        "events": [{"name": event.name, "attributes": dict(event.attributes or {})} for event in span.events],
        "links": [_link(link) for link in span.links],
    }


def _short(context: SpanContext) -> str:
    return f"{format_trace_id(context.trace_id).lstrip('0')}:{format_span_id(context.span_id).lstrip('0')}"


def _link(link: Link) -> str:
    return _short(link.context)


def _seconds(time: int | None) -> int | None:
    return None if time is None else time // 1_000_000_000 - START
