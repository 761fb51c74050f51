"""What our processor adds to an instrumented OpenAI call, and ``record()`` to a bare linked span."""

import itertools
from collections.abc import Callable

import httpx
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
from otel_feedback._record import Recorder
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


def compare_instrumented_call() -> Comparison:
    """A request with one call of the real OpenAI SDK under the official instrumentation, with and without us.

    The provider answers from memory, so that nothing but the client's own work is around ours.
    """
    with providers() as (bare, ours):
        # The instrumentation takes its tracer when it starts: one client of each kind, made under each provider.
        return compare(_call(bare, hooks=False), _call(ours, hooks=True), calls=40, blocks=60)


def _call(provider: TracerProvider, *, hooks: bool) -> Callable[[], None]:
    tracer = provider.get_tracer("bench")
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=_REPLY))
    client = openai.OpenAI(
        api_key="bench", base_url="http://provider/v1", http_client=httpx.Client(transport=transport)
    )
    instrumentor = OpenAIInstrumentor()
    instrumentor.instrument(tracer_provider=provider)
    create = client.chat.completions.create  # the instrumented method, bound while this provider is the one
    if hooks:
        _templates.hook()
        create = client.chat.completions.create
    bound = create

    def run() -> None:
        with tracer.start_as_current_span(
            "POST /ask", kind=SpanKind.SERVER, attributes={"http.request.method": "POST", "http.route": "/ask"}
        ):
            bound(model="model-1", messages=_MESSAGES)  # type: ignore[arg-type]

    run()
    instrumentor.uninstrument()
    return run


class _Remember:
    """A delivery that keeps the last carrier, to emit the same by hand."""

    def submit(self, carrier: Carrier) -> None:
        self.last = carrier


def compare_record() -> Comparison:
    """``record()``, with the check of the handle and the vote book, to a bare linked span with the same attributes."""
    codec = _runtime.codec()
    if codec is None:
        raise RuntimeError("no handle key")
    counter = itertools.count(1)
    handles = [
        codec.issue(
            trace_id=next(counter),
            span_id=next(counter),
            sampled=True,
            facts={
                semconv.FEEDBACK_PROMPT_NAME: "answer",
                semconv.FEEDBACK_PROMPT_VERSION: "3",
                semconv.FEEDBACK_MODEL: "model-1-2026-08-01",
                semconv.FEEDBACK_SERVICE_NAME: "bench",
            },
        )
        for _ in range(1000)
    ]
    seen = _Remember()
    Recorder(codec=codec, settings=_runtime.settings(), delivery=seen).submit(handles[0], "thumbs", "up")
    provider = TracerProvider(resource=Resource({"service.name": "bench"}), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(NullExporter(), max_queue_size=65536, schedule_delay_millis=100))
    delivery = SpanDelivery(exporter=NullExporter(), resource=provider.resource)
    recorder = Recorder(codec=codec, settings=_runtime.settings(), delivery=delivery)
    ring = itertools.cycle(handles)
    try:
        return compare(
            _bare_carrier(provider.get_tracer("bench"), seen.last),
            lambda: recorder.submit(next(ring), "thumbs", "up"),
            calls=100,
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
