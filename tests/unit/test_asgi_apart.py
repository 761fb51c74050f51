"""The ASGI middleware among many: a handle is for the request that it answers, whatever else runs or is kept."""

import asyncio
import contextvars

import pytest
from opentelemetry import trace
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from tests.unit.asgi_client import answering, answers, ask, body, instrumented, model_call, run, server_span, start

from otel_feedback import semconv

pytestmark = pytest.mark.usefixtures("no_routes")


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
    assert handle.span_id == server_span(seen.exporter).context.span_id
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
    assert wire.handle.span_id == server_span(seen.exporter).context.span_id


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
    assert [span.context.span_id for span in answers(seen.exporter)] == [wire.handle.span_id]


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
    assert server_span(seen.exporter).attributes[semconv.FEEDBACK_MODEL] == "answer-2026"


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
