"""The kit for tests, yours and ours: telemetry in memory with sequential ids and a ticking clock.

with telemetry() as seen:
    with interaction("answer", tracer_provider=seen.provider) as answer:
        ...
    record(answer.handle, "thumbs", "up")
    assert seen.spans() == [...]

``docs/testing.md`` shows what it gives.
"""

import contextlib
import itertools
import threading
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

from otel_feedback import _follow, _guard, _ledger, _runtime
from otel_feedback._carrier import Carrier, SpanDelivery
from otel_feedback._handle import HandleCodec, Keyring
from otel_feedback._processor import FeedbackSpanProcessor, KeepForFeedback
from otel_feedback._record import recorder_in_use
from otel_feedback._recorder import Recorder
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
        now: Seconds since 1970 at the next look; can be set.
    """

    def __init__(self, start: int = START) -> None:
        self.now = start
        self._lock = threading.Lock()

    def __call__(self) -> int:
        """Return nanoseconds since 1970, and tick."""
        with self._lock:
            self.now += 1
            return (self.now - 1) * 1_000_000_000


class Telemetry:
    """A tracer provider with our processor, what it exported, and the feedback that ``record()`` was given.

    Attributes:
        provider: Give it to whatever takes a ``tracer_provider``.
        exporter: The SDK's in-memory exporter behind it.
        clock: The clock that stamps spans, handles and feedback.
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
        self._delivery = _Delivery(self)

    def spans(self) -> list[dict[str, Any]]:
        """Return all exported spans, feedback among them, in the order of their starts, as plain data to compare."""
        _follow.settle(5.0)
        self._delivery.flush()
        ended = sorted(self.exporter.get_finished_spans(), key=lambda span: span.start_time or 0)
        return [plain(span) for span in ended]

    def read_handle(self, handle: str) -> dict[str, Any]:
        """Return what a handle says, as plain data: ``context`` as in ``spans()``, ``sampled`` and ``facts``.

        Raises:
            InvalidHandleError: It isn't one that this process would accept.
            LookupError: There is no handle key.
        """
        codec = _runtime.codec()
        if codec is None:
            raise LookupError("There is no handle key.")
        read = codec.read(handle)
        context = SpanContext(read.trace_id, read.span_id, is_remote=True)
        return {"context": _short(context), "sampled": read.sampled, "facts": dict(read.facts)}


class _Delivery:
    """Sends carriers to the same exporter as they are sent in earnest; opened by the first one."""

    def __init__(self, seen: Telemetry) -> None:
        self._seen = seen
        self._inner: SpanDelivery | None = None

    def submit(self, carrier: Carrier) -> None:
        """See ``Delivery.submit``."""
        if self._inner is None:
            provider = self._seen.provider
            self._inner = SpanDelivery(
                exporter=self._seen.exporter, resource=provider.resource, id_generator=provider.id_generator
            )
        self._inner.submit(carrier)

    def flush(self) -> None:
        """Export what waits."""
        if self._inner is not None:
            self._inner.flush()

    def shutdown(self) -> None:
        """End the export."""
        if self._inner is not None:
            self._inner.shutdown()


@contextlib.contextmanager
def telemetry(
    *,
    sampler: Sampler | None = None,
    resource: dict[str, Any] | None = None,
    **settings: Any,
) -> Iterator[Telemetry]:
    """Run a test with telemetry of its own; what our guard would swallow is raised.

    Nothing global is set for longer than the block: neither a tracer provider nor settings.

    Args:
        sampler: The service's sampler; our ``KeepForFeedback`` wraps it. Without one, everything is sampled.
        resource: More attributes of the service than its name, ``test``.
        settings: Settings other than the defaults; the environment is not read. ``handle_keys`` is ``TEST_KEYS``.

    Raises:
        ConfigurationError: A setting can't be used.
    """
    seen = Telemetry(sampler=sampler, resource=resource)
    chosen = Settings.from_env({}, **{"handle_keys": TEST_KEYS, **settings})
    codec = _codec(chosen, seen.clock)
    with contextlib.ExitStack() as stack:
        stack.callback(seen.provider.shutdown)
        stack.callback(_ledger.ledger.clear)
        stack.callback(seen._delivery.shutdown)  # noqa: SLF001 - of this module
        stack.enter_context(_guard.strict())
        stack.enter_context(mock.patch("opentelemetry.sdk.trace.time_ns", seen.clock))
        stack.enter_context(_runtime.in_use(chosen, codec))
        if codec is not None:
            stack.enter_context(recorder_in_use(_recorder(codec, chosen, seen)))
        stack.callback(_follow.forget)
        _ledger.ledger.clear()
        yield seen


def _codec(settings: Settings, clock: TickingClock) -> HandleCodec | None:
    if settings.handle_keys is None or settings.disabled:
        return None
    keyring = Keyring.from_text(settings.handle_keys)
    return HandleCodec(
        keyring, ttl=settings.handle_ttl, facts_mode=settings.handle_facts, clock=lambda: float(clock.now)
    )


def _recorder(codec: HandleCodec, settings: Settings, seen: Telemetry) -> Recorder:
    ids = itertools.count(1)
    return Recorder(
        codec=codec,
        settings=settings,
        delivery=seen._delivery,  # noqa: SLF001 - of this module
        new_id=lambda: f"feedback-{next(ids)}",
        clock=seen.clock,
    )


def plain(span: ReadableSpan) -> dict[str, Any]:
    """Return a span as plain data: ids without their leading zeros, times in seconds since ``START``."""
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
