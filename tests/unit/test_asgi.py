"""The ASGI middleware: which responses get a handle, what it points at, and which facts it has."""

import httpx
import pytest
from opentelemetry import trace
from opentelemetry.trace import SpanKind
from tests.unit.asgi_client import (
    Wire,
    answering,
    answers,
    ask,
    body,
    instrumented,
    model_call,
    read,
    run,
    scope,
    server_span,
    start,
)

from otel_feedback import interaction, semconv
from otel_feedback._handle import Handle

pytestmark = pytest.mark.usefixtures("no_routes")


async def silent(scope, receive, send):
    """An endpoint that calls no model."""
    await send(start(200, (b"content-type", b"text/plain")))
    await send(body(b"static"))


def test_an_answer_gets_one_handle_that_points_at_its_server_span_with_the_facts_known(seen, tracer):
    """The handle's traceparent is the request's span, which is marked; the exact model is known when it leaves."""
    wire = run(ask(instrumented(answering(tracer), seen.provider)))
    span = server_span(seen.exporter)
    assert wire.handle == Handle(
        trace_id=span.context.trace_id,
        span_id=span.context.span_id,
        sampled=True,
        issued_at=wire.handle.issued_at,
        expires_at=wire.handle.issued_at + 30 * 86_400,
        facts={
            semconv.FEEDBACK_SERVICE_NAME: "test",
            semconv.FEEDBACK_PROMPT_NAME: "/ask",
            semconv.FEEDBACK_PROMPT_VERSION: "unknown",
            semconv.FEEDBACK_MODEL: "m-1-2026",
            semconv.FEEDBACK_PROVIDER: "openai",
        },
        user=None,
    )
    assert span.attributes[semconv.FEEDBACK_INTERACTION] is True


def test_the_handle_is_exposed_to_scripts_and_kept_out_of_shared_caches(seen, tracer):
    """Beside the handle there are the two headers that it needs, added to the application's own."""
    app = answering(tracer, (b"access-control-expose-headers", b"x-total"), (b"cache-control", b"max-age=9"))
    wire = run(ask(instrumented(app, seen.provider)))
    assert wire.headers("access-control-expose-headers") == ["x-total, feedback-handle"]
    assert wire.headers("cache-control") == ["max-age=9, private"]


def test_an_endpoint_without_a_model_stays_as_it_was(seen):
    """No handle, no other header, the same messages."""
    wire = run(ask(instrumented(silent, seen.provider)))
    assert wire.messages == run(ask(silent)).messages


def test_an_answer_stays_as_it_was_but_for_the_three_headers(seen, tracer):
    """All other headers, the body and the messages' order are the application's."""
    app = answering(tracer, (b"x-a", b"1"), (b"set-cookie", b"s=1"), (b"set-cookie", b"t=2"))
    bare, ours = run(ask(app)), run(ask(instrumented(app, seen.provider)))
    assert ours.messages[1:] == bare.messages[1:]
    assert ours.messages[0]["headers"][:3] == bare.messages[0]["headers"]
    assert {name for name, _ in ours.messages[0]["headers"][3:]} == {
        b"feedback-handle",
        b"access-control-expose-headers",
        b"cache-control",
    }


@pytest.mark.parametrize("status", [301, 304, 404, 500, 503])
def test_what_is_no_answer_gets_no_handle_though_a_model_was_called(seen, tracer, status):
    """A redirect, a 304 and errors leave as they are; an error is no answer, and is not counted as one."""
    wire = run(ask(instrumented(answering(tracer, status=status), seen.provider)))
    assert wire.headers("feedback-handle") == wire.headers("cache-control") == []
    assert server_span(seen.exporter).attributes[semconv.FEEDBACK_INTERACTION] is (status < 400)


def test_a_request_that_fails_before_its_response_is_no_answer(seen, tracer):
    """The application raises after the model was called: there is nothing to judge."""

    async def app(scope, receive, send):
        with model_call(tracer):
            pass
        raise LookupError

    with pytest.raises(LookupError):
        run(ask(instrumented(app, seen.provider)))
    assert server_span(seen.exporter).attributes[semconv.FEEDBACK_INTERACTION] is False


def test_a_stream_that_breaks_is_an_answer(seen, tracer):
    """The page has its handle and the beginning of the answer: it can be judged."""

    async def app(scope, receive, send):
        with model_call(tracer):
            pass
        await send(start())
        await send(body(b"The beginning", more=True))
        raise LookupError

    with pytest.raises(LookupError):
        run(ask(instrumented(app, seen.provider)))
    assert server_span(seen.exporter).attributes[semconv.FEEDBACK_INTERACTION] is True


def test_several_model_calls_are_one_answer_with_the_facts_of_the_last(seen, tracer):
    """A rewrite and an answer in one request: one header, one interaction, the last call's model."""

    async def app(scope, receive, send):
        with model_call(tracer, "rewriter"):
            pass
        with model_call(tracer, "writer"):
            pass
        await send(start())
        await send(body())

    wire = run(ask(instrumented(app, seen.provider)))
    assert wire.handle.facts[semconv.FEEDBACK_MODEL] == "writer-2026"
    assert [span.kind for span in answers(seen.exporter)] == [trace.SpanKind.SERVER]


@pytest.mark.parametrize(
    ("kind", "at_start", "at_end"),
    [
        # OpenLLMetry tells the operation at its start, the model after it; OpenInference is INTERNAL, by own names.
        (SpanKind.CLIENT, {"gen_ai.operation.name": "chat"}, {"gen_ai.response.model": "m"}),
        (SpanKind.INTERNAL, {"openinference.span.kind": "LLM"}, {"llm.model_name": "m"}),
    ],
)
def test_other_families_of_instrumentations_count_too(seen, tracer, kind, at_start, at_end):
    """Trap: kinds and names differ between the official one, OpenLLMetry and OpenInference."""

    async def app(scope, receive, send):
        with tracer.start_as_current_span("call", kind=kind, attributes=at_start) as span:
            span.set_attributes(at_end)
        await send(start())
        await send(body())

    assert run(ask(instrumented(app, seen.provider))).handle.facts[semconv.FEEDBACK_MODEL] == "m"


def test_a_full_span_of_the_host_loses_nothing(seen, tracer):
    """Trap: beyond the limit of 128 the SDK drops a span's oldest attribute. Ours stay away, the handle is whole."""

    async def app(scope, receive, send):
        server = trace.get_current_span()
        present = len(server.attributes)
        server.set_attributes({f"own.{n}": n for n in range(128 - present)})
        with model_call(tracer):
            pass
        await send(start())
        await send(body())

    wire = run(ask(instrumented(app, seen.provider)))
    span = server_span(seen.exporter)
    assert "http.method" in span.attributes
    assert span.dropped_attributes <= 1  # the status, which OpenTelemetry's own middleware adds at the end
    assert wire.handle.facts[semconv.FEEDBACK_MODEL] == "m-1-2026"


def test_one_interaction_owns_the_header(seen, tracer):
    """interaction() inside a request: the header points at its span, not at the request's."""
    own = []

    async def app(scope, receive, send):
        with interaction("answer", tracer_provider=seen.provider) as it:
            with model_call(tracer):
                pass
            own.append(it.handle)
        await send(start())
        await send(body())

    wire = run(ask(instrumented(app, seen.provider)))
    assert wire.handle.span_id == read(own[0]).span_id
    assert wire.handle.facts[semconv.FEEDBACK_PROMPT_NAME] == "answer"
    assert server_span(seen.exporter).attributes.get(semconv.FEEDBACK_INTERACTION) is not True


def test_several_interactions_leave_the_header_to_the_service(seen, tracer):
    """Nobody could tell which of them a header means: each gives its own handle by .handle."""

    async def app(scope, receive, send):
        for name in ("a", "b"):
            with interaction(name, tracer_provider=seen.provider), model_call(tracer):
                pass
        await send(start())
        await send(body())

    assert run(ask(instrumented(app, seen.provider))).handle is None


def test_headers_may_be_an_iterator_that_can_be_read_once(seen, tracer):
    """ASGI asks for an iterable only: none is used up, not even where the response gets no handle."""

    async def app(scope, receive, send):
        with model_call(tracer):
            pass
        await send({**start(), "headers": iter([(b"cache-control", b"public")])})
        await send(body())

    assert run(ask(instrumented(app, seen.provider))).headers("cache-control") == ["public"]


def test_a_response_without_headers_gets_the_handle(seen, tracer):
    """The key may be absent."""

    async def app(scope, receive, send):
        with model_call(tracer):
            pass
        await send({"type": "http.response.start", "status": 200})
        await send(body())

    assert run(ask(instrumented(app, seen.provider))).handle is not None


def test_a_model_called_over_a_websocket_is_an_interaction_of_its_own(seen, tracer):
    """DESIGN's rule: a websocket's server span doesn't count, so the inference stands for itself."""

    async def app(scope, receive, send):
        with model_call(tracer):
            pass
        await send({"type": "websocket.accept", "headers": []})
        await send({"type": "websocket.send", "text": "answer"})

    async def connect():
        wire = Wire()
        request = {**scope(), "type": "websocket", "scheme": "ws"}
        del request["method"]
        await instrumented(app, seen.provider)(request, run, wire.send)
        return wire

    wire = run(connect())
    assert wire.messages[0] == {"type": "websocket.accept", "headers": []}
    assert [span.name for span in answers(seen.exporter)] == ["chat m-1"]


def test_an_answer_that_comes_from_a_cache_has_no_handle_though_its_route_has_answered(seen, tracer):
    """A response that is complete at once, without a model's call before it: none can come any more."""
    cached = []

    async def app(scope, receive, send):
        if not cached:
            cached.append(1)
            with model_call(tracer):
                pass
        await send(start())
        await send(body())

    app_ = instrumented(app, seen.provider)
    assert run(ask(app_)).handle is not None
    assert run(ask(app_)).headers("feedback-handle") == []


async def test_httpx_reads_the_handle(seen, tracer):
    """The same through a client that knows HTTP: header names and values are legal."""
    app = instrumented(answering(tracer), seen.provider)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as client:
        response = await client.get("http://test/ask")
    assert read(response.headers["feedback-handle"]).sampled
