"""What our processor adds to an instrumented OpenAI call, and ``record()`` to a bare linked span."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import openai
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, SpanKind

from benchmarks.measure import Comparison, compare
from benchmarks.spans import ANSWER, QUESTION, NullExporter, providers
from otel_feedback import _runtime, semconv
from otel_feedback._carrier import Carrier, SpanDelivery
from otel_feedback._recorder import Recorder
from otel_feedback.instrumentation import _templates

_REPLY = {
    "id": "chatcmpl-0123456789",
    "object": "chat.completion",
    "created": 1,
    "model": "model-1-2026-08-01",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": ANSWER}}],
    "usage": {"prompt_tokens": 10, "completion_tokens": 10, "total_tokens": 20},
}
_MESSAGES = [{"role": "system", "content": "Answer in one sentence."}, {"role": "user", "content": QUESTION}]


class _Switch(trace.TracerProvider, trace.Tracer):
    """A provider that hands each span to the one chosen: an instrumentation takes its tracer once and for all."""

    def __init__(self) -> None:
        self.chosen: trace.Tracer = trace.NoOpTracer()

    def get_tracer(self, *_: Any, **__: Any) -> trace.Tracer:
        return self

    def start_span(self, *args: Any, **kwargs: Any) -> trace.Span:
        return self.chosen.start_span(*args, **kwargs)

    def start_as_current_span(self, *args: Any, **kwargs: Any) -> Any:
        return self.chosen.start_as_current_span(*args, **kwargs)


def compare_instrumented_call() -> Comparison:
    """A request with one call of the real OpenAI SDK under the official instrumentation, with and without us.

    The provider answers from memory, so that nothing but the client's own work is around ours.
    """
    switch = _Switch()
    OpenAIInstrumentor().instrument(tracer_provider=switch)
    try:
        with providers() as (bare, ours):
            return compare(_call(switch, bare, hooks=False), _call(switch, ours, hooks=True), calls=40, blocks=80)
    finally:
        OpenAIInstrumentor().uninstrument()


def _call(switch: _Switch, provider: TracerProvider, *, hooks: bool) -> Callable[[], None]:
    tracer = provider.get_tracer("bench")
    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, json=_REPLY))
    client = openai.OpenAI(
        api_key="bench", base_url="http://provider/v1", http_client=openai.DefaultHttpxClient(transport=transport)
    )

    def run() -> None:
        switch.chosen = tracer
        (_templates.hook if hooks else _templates.unhook)()
        with tracer.start_as_current_span(
            "POST /ask", kind=SpanKind.SERVER, attributes={"http.request.method": "POST", "http.route": "/ask"}
        ):
            client.chat.completions.create(model="model-1", messages=_MESSAGES)  # type: ignore[arg-type]

    return run


class _Remember:
    """A delivery that keeps the last carrier, to emit the same by hand."""

    def submit(self, carrier: Carrier) -> None:
        self.last = carrier


def compare_record() -> Comparison:
    """``record()``, with the check of the handle and the vote book, to a bare linked span with the same attributes."""
    with recording() as (bare, ours):
        return compare(bare, ours, calls=100)


@contextmanager
def recording() -> Iterator[tuple[Callable[[], object], Callable[[], object]]]:
    """Return a bare linked span and ``record()``, which both end in a queue whose exporter throws all away."""
    codec = _runtime.codec()
    if codec is None:
        raise RuntimeError("no handle key")
    facts = {
        semconv.FEEDBACK_PROMPT_NAME: "answer",
        semconv.FEEDBACK_PROMPT_VERSION: "3",
        semconv.FEEDBACK_MODEL: "model-1-2026-08-01",
        semconv.FEEDBACK_SERVICE_NAME: "bench",
    }
    handles = [codec.issue(trace_id=one, span_id=one, sampled=True, facts=facts) for one in range(1, 1001)]
    seen = _Remember()
    Recorder(codec=codec, settings=_runtime.settings(), delivery=seen).submit(handles[0], "thumbs", "up")
    provider = TracerProvider(resource=Resource({"service.name": "bench"}), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(NullExporter(), max_queue_size=65536, schedule_delay_millis=100))
    delivery = SpanDelivery(exporter=NullExporter(), resource=provider.resource)
    recorder = Recorder(codec=codec, settings=_runtime.settings(), delivery=delivery)
    ring = itertools.cycle(handles)
    try:
        yield (
            _bare_carrier(provider.get_tracer("bench"), seen.last),
            lambda: recorder.submit(next(ring), "thumbs", "up"),
        )
    finally:
        delivery.shutdown()
        provider.shutdown()


def _bare_carrier(tracer: trace.Tracer, carrier: Carrier) -> Callable[[], None]:
    target = trace.SpanContext(carrier.trace_id, carrier.span_id, is_remote=True, trace_flags=trace.TraceFlags(1))

    def run() -> None:
        span = tracer.start_span(carrier.name, Context(), attributes=dict(carrier.attributes), links=[Link(target)])
        for name, attributes in carrier.events:
            span.add_event(name, dict(attributes))
        span.end()

    return run
