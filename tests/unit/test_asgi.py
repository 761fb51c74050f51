"""The ASGI middleware: which responses get which handle, and that nothing else of them changes."""

import asyncio
import contextlib
import contextvars

import httpx
import pytest
from opentelemetry import trace
from opentelemetry.trace import SpanKind
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import FileResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route
from tests.unit.asgi_client import Wire, ask, body, instrumented, model_call, read, run, scope, start

from otel_feedback import _record, interaction, semconv
from otel_feedback._handle import Handle
from otel_feedback.instrumentation import FeedbackMiddleware, asgi
from otel_feedback.testing import telemetry

pytestmark = pytest.mark.usefixtures("no_routes")


def answering(tracer, *headers, model="m-1", status=200):
    """A plain endpoint: a model is called, then the response leaves at once."""

    async def app(scope, receive, send):
        with model_call(tracer, model):
            pass
        await send(start(status, *headers))
        await send(body(b"answer"))

    return app


async def silent(scope, receive, send):
    """An endpoint that calls no model."""
    await send(start(200, (b"content-type", b"text/plain")))
    await send(body(b"static"))


def server_span(seen):
    """The one server span that was exported."""
    [span] = [span for span in seen.exporter.get_finished_spans() if span.kind is trace.SpanKind.SERVER]
    return span


def test_an_answer_gets_one_handle_that_points_at_its_server_span_with_the_facts_known(seen, tracer):
    """The handle's traceparent is the request's span, which is marked; the exact model is known when it leaves."""
    wire = run(ask(instrumented(answering(tracer), seen.provider)))
    span = server_span(seen)
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
    assert server_span(seen).attributes[semconv.FEEDBACK_INTERACTION] is (status < 400)


def test_a_request_that_fails_before_its_response_is_no_answer(seen, tracer):
    """The application raises after the model was called: there is nothing to judge."""

    async def app(scope, receive, send):
        with model_call(tracer):
            pass
        raise LookupError

    with pytest.raises(LookupError):
        run(ask(instrumented(app, seen.provider)))
    assert server_span(seen).attributes[semconv.FEEDBACK_INTERACTION] is False


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
    assert server_span(seen).attributes[semconv.FEEDBACK_INTERACTION] is True


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
    marked = [s for s in seen.exporter.get_finished_spans() if s.attributes.get(semconv.FEEDBACK_INTERACTION)]
    assert [span.kind for span in marked] == [trace.SpanKind.SERVER]


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
    span = server_span(seen)
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
    assert server_span(seen).attributes.get(semconv.FEEDBACK_INTERACTION) is not True


def test_several_interactions_leave_the_header_to_the_service(seen, tracer):
    """Nobody could tell which of them a header means: each gives its own handle by .handle."""

    async def app(scope, receive, send):
        for name in ("a", "b"):
            with interaction(name, tracer_provider=seen.provider), model_call(tracer):
                pass
        await send(start())
        await send(body())

    assert run(ask(instrumented(app, seen.provider))).handle is None


def test_a_kept_response_object_never_carries_an_earlier_callers_handle(seen, tracer):
    """Trap: Starlette's raw_headers are live: a module-level Response handed the previous caller's handle on."""
    kept = PlainTextResponse("cached")

    async def endpoint(request):
        if request.url.path == "/ask":
            with model_call(tracer):
                pass
        return kept

    app = instrumented(Starlette(routes=[Route("/ask", endpoint), Route("/cached", endpoint)]), seen.provider)
    first, second = run(ask(app, path="/ask")), run(ask(app, path="/ask"))
    assert first.handle.span_id != second.handle.span_id
    assert run(ask(app, path="/cached")).headers("feedback-handle") == []
    assert "feedback-handle" not in kept.headers


def test_a_kept_message_never_carries_an_earlier_callers_handle(seen, tracer):
    """The same for a bare ASGI application that keeps its start message."""
    kept = start(200, (b"x-a", b"1"))

    async def app(scope, receive, send):
        if scope["path"] == "/ask":
            with model_call(tracer):
                pass
        await send(kept)
        await send(body())

    app = instrumented(app, seen.provider)
    assert run(ask(app)).handle is not None
    assert run(ask(app, path="/cached")).headers("feedback-handle") == []
    assert kept == start(200, (b"x-a", b"1"))


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


def test_two_requests_under_one_traceparent_never_mix(seen, tracer):
    """Trap: a trace id doesn't tell requests apart. 60 at once, each meets the facts of its own call only."""
    parent = (b"traceparent", b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01")

    async def app(scope, receive, send):
        model = scope["path"][1:]
        await asyncio.sleep(int(model) % 7)
        with model_call(tracer, model):
            await asyncio.sleep(int(model) % 5)
        await asyncio.sleep(int(model) % 3)
        await send(start())
        await send(body(model.encode()))

    async def everyone():
        app_ = instrumented(app, seen.provider)
        return await asyncio.gather(*(ask(app_, path=f"/{n}", headers=(parent,)) for n in range(60)))

    wires = run(everyone())
    for n, wire in enumerate(wires):
        assert wire.handle.trace_id == int("a" * 32, 16)
        assert wire.handle.facts[semconv.FEEDBACK_MODEL] == f"{n}-2026"
        assert wire.handle.facts[semconv.FEEDBACK_PROMPT_NAME] == f"/{n}"
    assert len({wire.handle.span_id for wire in wires}) == 60


@pytest.mark.parametrize(
    "headers",
    [
        (b"traceparent", b"00-00000000000000000000000000000000-0000000000000000-01"),
        (b"traceparent", b"ff-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01"),
        (b"traceparent", b"\xff" * 9000),
        (b"traceparent", b"00-" + b"A" * 32 + b"-" + b"b" * 16 + b"-zz"),
        (b"tracestate", b"ot=th:ffffffffff," * 500),
        (b"baggage", b"feedback.interaction=true,feedback.model=forged"),
    ],
)
def test_a_hostile_context_changes_nothing(seen, tracer, headers):
    """Whatever a caller sends as trace context, the answer has a good handle with the service's own facts."""
    parent = (b"traceparent", b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01")
    sent = (headers,) if headers[0] == b"traceparent" else (parent, headers)
    handle = run(ask(instrumented(answering(tracer), seen.provider), headers=sent)).handle
    assert handle.span_id == server_span(seen).context.span_id
    assert handle.facts[semconv.FEEDBACK_MODEL] == "m-1-2026"


def test_a_caller_cannot_make_its_request_pose_as_another(seen, tracer):
    """A traceparent that names another request's span, alive at this moment, gets a span and facts of its own."""
    inside, go_on = asyncio.Event(), asyncio.Event()
    ids = []

    async def app(scope, receive, send):
        if scope["path"] == "/victim":
            with model_call(tracer, "victim"):
                pass
            ids.append(trace.get_current_span().get_span_context())
            inside.set()
            await go_on.wait()
        await send(start())
        await send(body())

    async def both():
        app_ = instrumented(app, seen.provider)
        victim = asyncio.ensure_future(ask(app_, path="/victim"))
        await inside.wait()
        parent = f"00-{ids[0].trace_id:032x}-{ids[0].span_id:016x}-01".encode()
        thief = await ask(app_, path="/thief", headers=((b"traceparent", parent),))
        go_on.set()
        return await victim, thief

    victim, thief = run(both())
    assert thief.headers("feedback-handle") == []
    assert victim.handle.span_id == ids[0].span_id


def test_a_mounted_application_is_part_of_its_request(seen, tracer):
    """Trap: a sub-application has its own middlewares and an INTERNAL span: one header all the same."""

    async def endpoint(request):
        with model_call(tracer):
            pass
        return PlainTextResponse("x")

    inner = instrumented(Starlette(routes=[Route("/ask", endpoint)]), seen.provider)
    outer = Starlette(routes=[Mount("/sub", app=inner)])
    wire = run(ask(instrumented(outer, seen.provider), path="/sub/ask"))
    assert wire.handle.span_id == server_span(seen).context.span_id


def test_a_server_span_inside_of_another_has_the_header(seen, tracer):
    """Two instrumentations that each open a server span: the handle is that of the span above the model call."""
    inner = instrumented(answering(tracer), seen.provider)

    async def cut_off(scope, receive, send):
        token = trace.context_api.attach(trace.context_api.Context())
        try:
            await inner(scope, receive, send)
        finally:
            trace.context_api.detach(token)

    wire = run(ask(instrumented(cut_off, seen.provider)))
    marked = [s for s in seen.exporter.get_finished_spans() if s.attributes.get(semconv.FEEDBACK_INTERACTION)]
    assert [span.context.span_id for span in marked] == [wire.handle.span_id]


def test_other_scopes_pass(seen):
    """A websocket is none of its business; trap: its server span has no method."""
    got = []

    async def app(scope, receive, send):
        got.append((scope["type"], receive, send))

    wire = Wire()
    request = {**scope(), "type": "websocket"}
    run(FeedbackMiddleware(app)(request, run, wire.send))
    assert got == [("websocket", run, wire.send)]
    assert "otel_feedback" not in request


@pytest.mark.parametrize("last", ["lifespan.shutdown.complete", "lifespan.shutdown.failed"])
def test_feedback_is_sent_before_a_server_hears_that_the_application_has_ended(monkeypatch, last):
    """Servers end by the signal that they got, so exit handlers never run: what waits leaves before the last word."""
    heard = []
    monkeypatch.setattr(_record, "send_what_waits", lambda: heard.append("feedback is sent"))

    async def app(scope, receive, send):
        await send({"type": "lifespan.startup.complete"})
        await send({"type": last})

    async def server(message):
        heard.append(message["type"])

    run(FeedbackMiddleware(app)({"type": "lifespan"}, run, server))
    assert heard == ["lifespan.startup.complete", "feedback is sent", last]


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
    marked = [s for s in seen.exporter.get_finished_spans() if s.attributes.get(semconv.FEEDBACK_INTERACTION)]
    assert [span.name for span in marked] == ["chat m-1"]


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


def test_a_background_task_is_not_part_of_the_answer(seen, tracer):
    """Trap: it runs when the server span has ended. Its model call changes neither handle nor request."""

    def later():
        with model_call(tracer, "background"):
            pass

    async def endpoint(request):
        with model_call(tracer, "answer"):
            pass
        return PlainTextResponse("x", background=BackgroundTask(later))

    app = instrumented(Starlette(routes=[Route("/ask", endpoint)]), seen.provider)

    async def once():  # Starlette runs the task in a thread, which virtual time can't wait for
        return await ask(app)

    wire = asyncio.run(once())
    assert wire.handle.facts[semconv.FEEDBACK_MODEL] == "answer-2026"
    assert server_span(seen).attributes[semconv.FEEDBACK_MODEL] == "answer-2026"


def test_a_background_task_alone_makes_no_answer(seen, tracer):
    """An endpoint whose only model call comes after its response gets no handle, not next time either."""

    async def later():
        with model_call(tracer):
            pass

    async def endpoint(request):
        return PlainTextResponse("x", background=BackgroundTask(later))

    app = instrumented(Starlette(routes=[Route("/ask", endpoint)]), seen.provider)
    assert [run(ask(app)).headers("feedback-handle") for _ in range(2)] == [[], []]


def test_a_sync_endpoint_in_a_thread_is_followed(seen, tracer):
    """Frameworks run sync endpoints in a thread pool with the request's context."""

    def endpoint(request):
        with model_call(tracer):
            pass
        return PlainTextResponse("x")

    app = instrumented(Starlette(routes=[Route("/ask", endpoint)]), seen.provider)
    assert asyncio.run(ask(app)).handle.facts[semconv.FEEDBACK_MODEL] == "m-1-2026"


def test_what_run_in_executor_calls_is_followed_only_with_the_context(seen, tracer):
    """Trap: run_in_executor loses the parent, so that call is an interaction by itself; to_thread keeps it."""

    def call():
        with model_call(tracer):
            pass

    async def app(scope, receive, send):
        if scope["path"] == "/lost":
            await asyncio.get_running_loop().run_in_executor(None, call)
        elif scope["path"] == "/kept":
            context = contextvars.copy_context()
            await asyncio.get_running_loop().run_in_executor(None, context.run, call)
        await send(start())
        await send(body())

    app_ = instrumented(app, seen.provider)
    assert asyncio.run(ask(app_, path="/lost")).headers("feedback-handle") == []
    assert asyncio.run(ask(app_, path="/kept")).handle is not None


def test_middlewares_inside_keep_working(seen, tracer):
    """GZip, CORS and a BaseHTTPMiddleware of the service: one handle, exposed beside what CORS exposes."""

    class Stamp(BaseHTTPMiddleware):
        async def dispatch(self, request, call_next):
            response = await call_next(request)
            response.headers["x-stamp"] = "1"
            return response

    async def endpoint(request):
        with model_call(tracer):
            pass
        return PlainTextResponse("x" * 2000)

    cors = Middleware(CORSMiddleware, allow_origins=["*"], expose_headers=["x-total"])
    stack = [cors, Middleware(GZipMiddleware), Middleware(Stamp)]
    app = instrumented(Starlette(routes=[Route("/ask", endpoint)], middleware=stack), seen.provider)
    wire = run(ask(app, headers=((b"origin", b"http://a"), (b"accept-encoding", b"gzip"))))
    assert wire.handle.facts[semconv.FEEDBACK_MODEL] == "m-1-2026"
    assert wire.headers("access-control-expose-headers") == ["x-total, feedback-handle"]
    assert wire.headers("content-encoding") == ["gzip"]
    assert wire.headers("x-stamp") == ["1"]


def test_files_are_sent_as_before(seen, tmp_path):
    """FileResponse by http.response.pathsend and in pieces: the same messages with and without us."""
    file = tmp_path / "f"
    file.write_bytes(b"x" * 200_000)
    app = Starlette(routes=[Route("/ask", lambda _: FileResponse(file))])

    async def get(app, **extensions):
        wire = Wire()
        await app({**scope(), "extensions": extensions}, asyncio.Event().wait, wire.send)
        return wire

    for extensions in ({}, {"http.response.pathsend": {}}):
        ours = asyncio.run(get(instrumented(app, seen.provider), **extensions))
        assert ours.messages == asyncio.run(get(app, **extensions)).messages
    assert ours.types == ["start", "pathsend"]


def test_messages_of_extensions_pass_in_order(seen, tracer):
    """Early hints and debug before the start, trailers after the body: nothing overtakes."""
    sent = [
        {"type": "http.response.early_hint", "links": [b"</a>"]},
        {"type": "http.response.debug", "info": {}},
        {**start(), "trailers": True},
        body(b"a", more=True),
        {"type": "http.response.zerocopysend", "file": None},
        body(b"b"),
        {"type": "http.response.trailers", "headers": []},
    ]

    async def app(scope, receive, send):
        for message in sent:
            await send(message)

    assert run(ask(instrumented(app, seen.provider))).messages == sent


def test_an_error_before_the_response_stays_the_services(seen, tracer):
    """The exception reaches whoever served it before, and no header is added to what handles it."""

    async def endpoint(request):
        with model_call(tracer):
            pass
        raise ValueError("the service's own")

    async def failing():
        wire = Wire()
        with pytest.raises(ValueError, match="the service's own"):
            await instrumented(Starlette(routes=[Route("/ask", endpoint)]), seen.provider)(scope(), None, wire.send)
        return wire

    wire = run(failing())
    assert wire.messages[0]["status"] == 500
    assert wire.headers("feedback-handle") == []


def test_a_failure_of_ours_leaves_the_response_alone(seen, tracer, monkeypatch, guarded):
    """A guest catches everything: the answer goes out as the service made it, and one warning is logged."""
    monkeypatch.setattr(asgi._headers, "with_handle", lambda *_: 1 / 0)
    app = answering(tracer, (b"x-a", b"1"))
    assert run(ask(instrumented(app, seen.provider))).messages == run(ask(app)).messages


def test_without_a_key_there_is_no_handle_and_nothing_else_changes(tmp_path, caplog):
    """The key's place can't be written: the service goes on, one warning names the setting."""
    (tmp_path / "file").touch()
    with telemetry(handle_keys=None, state_dir=tmp_path / "file" / "x") as seen:
        app = answering(seen.provider.get_tracer("test"))
        app_ = instrumented(app, seen.provider)
        assert [run(ask(app_)).messages for _ in range(2)] == [run(ask(app)).messages] * 2
    assert [record.message for record in caplog.records if "OTEL_FEEDBACK_HANDLE_KEYS" in record.message] == [
        caplog.records[0].message
    ]


def test_it_does_nothing_where_nobody_opens_a_server_span(seen, tracer):
    """The middleware alone, without an instrumentation: requests pass."""
    app = answering(tracer)
    assert run(ask(FeedbackMiddleware(app))).messages == run(ask(app)).messages


def test_many_requests_leave_nothing_behind(seen, tracer):
    """Tables are bounded, the memory of routes too; ended requests are forgotten but for the last ones' facts."""
    from otel_feedback import _ledger  # the table is looked at, not used

    app = instrumented(answering(tracer), seen.provider)

    async def many():
        for n in range(1200):
            await ask(app, path=f"/{n}")
            if n in {0, 500}:
                await ask(app, path="/busy")

    run(many())
    live, _, finished = _ledger.ledger.sizes()
    assert (live, finished) == (0, 1202)
    assert len(asgi._answering_routes) == asgi._MAX_ROUTES
    assert list(asgi._answering_routes)[:2] == ["GET /201", "GET /202"], "the longest unused are forgotten"
    assert "GET /busy" in asgi._answering_routes
    assert "GET /1199" in asgi._answering_routes


async def _disconnect(app):
    """A client that goes away after the first chunk: servers say so by receive() and ignore what is sent."""
    wire = Wire()

    async def receive():
        while len(wire.messages) < 2:  # noqa: ASYNC110 - virtual time
            await asyncio.sleep(0.01)
        return {"type": "http.disconnect"}

    with contextlib.suppress(Exception):
        await app({**scope(), "asgi": {"version": "3.0", "spec_version": "2.3"}}, receive, wire.send)
    return wire


def test_a_client_that_leaves_ends_the_stream_as_before(seen, tracer):
    """A disconnect in the middle of a stream cancels the generator; the handle had left with the start."""
    ended = []

    async def endpoint(request):
        async def words():
            try:
                with model_call(tracer):
                    while True:
                        yield "word "
                        await asyncio.sleep(1)
            finally:
                ended.append(True)

        return StreamingResponse(words())

    app = Starlette(routes=[Route("/ask", endpoint)])
    wire = run(_disconnect(instrumented(app, seen.provider)))
    assert ended == [True]
    assert wire.handle.facts[semconv.FEEDBACK_MODEL] == "m-1"
    assert wire.types[:2] == ["start", "body"]


async def test_httpx_reads_the_handle(seen, tracer):
    """The same through a client that knows HTTP: header names and values are legal."""
    app = instrumented(answering(tracer), seen.provider)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as client:
        response = await client.get("http://test/ask")
    assert read(response.headers["feedback-handle"]).sampled
