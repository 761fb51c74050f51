"""What an interaction, the processor and ``record()`` cost on the caller's thread."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, Sampler
from opentelemetry.trace import SpanKind

from benchmarks.measure import Comparison, compare
from otel_feedback import PromptTemplate, interaction, semconv
from otel_feedback._processor import FeedbackSpanProcessor, KeepForFeedback

DOCUMENTS = [{"id": f"language-reference/{number}", "score": 1 / (number + 2)} for number in range(5)]
QUESTION = "How do I read a file line by line? " * 30  # 1 KiB
ANSWER = "Iterate over the file object: each step gives one line. " * 19  # 1 KiB
TEMPLATE = PromptTemplate("answer", "Answer from the passages below.\n{passages}\n\nQuestion: {question}", version="3")


class NullExporter(SpanExporter):
    """Throws spans away: what is measured is the caller's thread."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:  # noqa: ARG002 - the SDK's signature
        """Report success."""
        return SpanExportResult.SUCCESS


@contextmanager
def providers(*, sampler: Sampler | None = None) -> Iterator[tuple[TracerProvider, TracerProvider]]:
    """Return two providers alike, the second with our processor (and sampler) in it."""
    resource = Resource({"service.name": "bench", "deployment.environment.name": "bench"})
    bare = TracerProvider(resource=resource, sampler=sampler, shutdown_on_exit=False)
    ours = TracerProvider(
        resource=resource, sampler=KeepForFeedback(sampler) if sampler else None, shutdown_on_exit=False
    )
    ours.add_span_processor(FeedbackSpanProcessor())
    for provider in (bare, ours):
        provider.add_span_processor(BatchSpanProcessor(NullExporter(), max_queue_size=65536, schedule_delay_millis=100))
    try:
        yield bare, ours
    finally:
        bare.shutdown()
        ours.shutdown()


def _messages(role: str, text: str) -> str:
    return json.dumps([{"role": role, "parts": [{"type": "text", "content": text}]}])


def _request() -> dict[str, Any]:
    return {
        semconv.GEN_AI_OPERATION_NAME: "chat",
        semconv.GEN_AI_PROVIDER_NAME: "openai",
        semconv.GEN_AI_REQUEST_MODEL: "model-1",
    }


def _response() -> dict[str, Any]:
    return {
        semconv.GEN_AI_RESPONSE_MODEL: "model-1-2026-08-01",
        semconv.GEN_AI_RESPONSE_ID: "chatcmpl-0123456789",
        semconv.GEN_AI_INPUT_MESSAGES: _messages("user", QUESTION),
        semconv.GEN_AI_OUTPUT_MESSAGES: _messages("assistant", ANSWER),
    }


def bare_interaction(tracer: trace.Tracer) -> Callable[[], None]:
    """Three spans with the same names and attributes, set by hand."""

    def run() -> None:
        with tracer.start_as_current_span(
            "invoke_workflow answer",
            attributes={
                semconv.GEN_AI_OPERATION_NAME: "invoke_workflow",
                semconv.GEN_AI_WORKFLOW_NAME: "answer",
                semconv.FEEDBACK_INTERACTION: True,
                semconv.FEEDBACK_QUERY_TYPE: "how-to",
                semconv.GEN_AI_CONVERSATION_ID: "c-1",
            },
        ) as root:
            with tracer.start_as_current_span("retrieval", attributes={semconv.GEN_AI_OPERATION_NAME: "retrieval"}):
                documents = json.dumps(DOCUMENTS)
            TEMPLATE.text.format(passages="...", question=QUESTION)
            with tracer.start_as_current_span(
                "chat model-1",
                kind=SpanKind.CLIENT,
                attributes={
                    **_request(),
                    semconv.GEN_AI_PROMPT_NAME: TEMPLATE.name,
                    semconv.GEN_AI_PROMPT_VERSION: "3",
                },
            ) as call:
                call.set_attributes(_response())
            root.set_attributes(
                {
                    semconv.FEEDBACK_PROMPT_NAME: TEMPLATE.name,
                    semconv.FEEDBACK_PROMPT_VERSION: "3",
                    semconv.FEEDBACK_PROMPT_FINGERPRINT: TEMPLATE.fingerprint,
                    semconv.FEEDBACK_MODEL: "model-1-2026-08-01",
                    semconv.FEEDBACK_PROVIDER: "openai",
                    semconv.FEEDBACK_RESPONSE_ID: "chatcmpl-0123456789",
                    semconv.FEEDBACK_SERVICE_NAME: "bench",
                    semconv.FEEDBACK_ENVIRONMENT: "bench",
                    semconv.FEEDBACK_DOCUMENTS: documents,
                }
            )

    return run


def our_interaction(provider: TracerProvider, *, handle: bool) -> Callable[[], None]:
    """The same by ``interaction()`` and ``PromptTemplate``; the processor gathers the rest."""
    tracer = provider.get_tracer("bench")

    def run() -> None:
        with interaction("answer", query_type="how-to", conversation_id="c-1", tracer_provider=provider) as answer:
            with tracer.start_as_current_span("retrieval", attributes={semconv.GEN_AI_OPERATION_NAME: "retrieval"}):
                answer.documents(DOCUMENTS)
            TEMPLATE.format(passages="...", question=QUESTION)
            with tracer.start_as_current_span("chat model-1", kind=SpanKind.CLIENT, attributes=_request()) as call:
                call.set_attributes(_response())
            if handle:
                _ = answer.handle

    return run


def compare_interaction(*, handle: bool) -> Comparison:
    """One interaction of three spans, five documents, 1 KiB in and out, to the same spans by the bare SDK."""
    with providers() as (bare, ours):
        return compare(bare_interaction(bare.get_tracer("bench")), our_interaction(ours, handle=handle))


def request(provider: TracerProvider) -> Callable[[], None]:
    """The spans of one request to an untouched service: server, retrieval, inference."""
    tracer = provider.get_tracer("bench")

    def run() -> None:
        with (
            tracer.start_as_current_span(
                "POST /ask", kind=SpanKind.SERVER, attributes={"http.request.method": "POST", "http.route": "/ask"}
            ),
            tracer.start_as_current_span("chat model-1", kind=SpanKind.CLIENT, attributes=_request()) as call,
        ):
            call.set_attributes(_response())

    return run


def compare_sampled_out() -> Comparison:
    """The spans of a request that the sampler drops, which are recorded for votes, to the same dropped bare."""
    with providers(sampler=ALWAYS_OFF) as (bare, ours):
        return compare(request(bare), request(ours))


def compare_plain_request() -> Comparison:
    """The spans of a request that calls no model: what a health check pays for our processor."""

    def run(provider: TracerProvider) -> Callable[[], None]:
        tracer = provider.get_tracer("bench")

        def once() -> None:
            with tracer.start_as_current_span("GET /", kind=SpanKind.SERVER, attributes={"http.request.method": "GET"}):
                pass

        return once

    with providers() as (bare, ours):
        return compare(run(bare), run(ours))
