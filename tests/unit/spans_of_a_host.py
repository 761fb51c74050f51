"""Spans as the instrumentations of a service make them: what the tests of the processor share."""

import contextlib
import json

from opentelemetry import trace
from opentelemetry.trace import SpanKind

from otel_feedback import _guard
from otel_feedback.testing import Telemetry

RETRIEVAL = {"gen_ai.operation.name": "retrieval"}
EMBEDDINGS = {"gen_ai.operation.name": "embeddings", "gen_ai.request.model": "embedder"}
TOOL = {"gen_ai.operation.name": "execute_tool"}
AGENT = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "Planner"}
WORKFLOW = {"gen_ai.operation.name": "invoke_workflow", "gen_ai.workflow.name": "Triage"}
CHAT = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "m"}


class Host:
    """A service whose spans are made by hand, under a provider with our processor."""

    def __init__(self, seen: Telemetry):
        self.seen = seen
        self.tracer = seen.provider.get_tracer("host")

    def request(self, route="/ask", method="POST", **options):
        """The server span of an HTTP request, as the current span."""
        attributes = {"http.request.method": method, "http.route": route} | options.pop("attributes", {})
        return self.tracer.start_as_current_span(
            f"{method} {route}", kind=SpanKind.SERVER, attributes=attributes, **options
        )

    def websocket(self):
        """The server span of a WebSocket, as the current span: it has no method."""
        return self.tracer.start_as_current_span("/ws", kind=SpanKind.SERVER, attributes={"url.scheme": "ws"})

    def span(self, name="work", attributes=None, **options):
        """Any other span, as the current span."""
        return self.tracer.start_as_current_span(name, attributes=attributes, **options)

    def start_chat(self, model="m", **attributes):
        """An inference that goes on."""
        return self.tracer.start_span(
            "chat", kind=SpanKind.CLIENT, attributes=CHAT | {"gen_ai.request.model": model} | attributes
        )

    def end_chat(self, span, model="m-1", **attributes):
        """The end of an inference: what only the answer tells."""
        span.set_attributes({"gen_ai.response.model": model} | attributes)
        span.end()

    def chat(self, model="m-1", **attributes):
        """A whole inference."""
        self.end_chat(self.start_chat(**attributes), model)

    def retrieve(self, *ids, **attributes):
        """A retrieval."""
        documents = json.dumps([{"id": each} for each in ids])
        self.tracer.start_span(
            "search", attributes=RETRIEVAL | {"gen_ai.retrieval.documents": documents} | attributes
        ).end()


def interactions(seen):
    """The spans that say of themselves that they can be judged, by name, with their model."""
    return [
        (span["name"], span["attributes"].get("feedback.model"))
        for span in seen.spans()
        if span["attributes"].get("feedback.interaction")
    ]


def facts(span):
    """What an exported span says in names of ours, the service's own excepted."""
    left_out = ("feedback.interaction", "feedback.service.name")
    return {
        name.removeprefix("feedback."): value
        for name, value in span["attributes"].items()
        if name.startswith("feedback.") and name not in left_out
    }


def remote(traceparent_number=0xC, *, sampled=True, trace_state=None):
    """The context that a caller's headers bring: another process's span as the parent."""
    flags = trace.TraceFlags(trace.TraceFlags.SAMPLED if sampled else trace.TraceFlags.DEFAULT)
    parent = trace.SpanContext(
        traceparent_number, traceparent_number, is_remote=True, trace_flags=flags, trace_state=trace_state
    )
    return trace.set_span_in_context(trace.NonRecordingSpan(parent))


@contextlib.contextmanager
def lenient():
    """What a host lives with: failures of ours are swallowed, even inside of ``telemetry()``."""
    before, _guard._strict = _guard._strict, False
    try:
        yield
    finally:
        _guard._strict = before
