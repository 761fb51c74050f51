"""Joining a service's applications: our middleware is inside of whatever OpenTelemetry puts around them."""

import asyncio

import fastapi
import pytest
from fastapi.telemetry._asgi import _legacy_otel
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.instrumentation.starlette import StarletteInstrumentor
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from tests.unit.asgi_client import answers, ask, model_call, server_spans
from tests.unit.joined_host import new_provider, served

from otel_feedback import semconv
from otel_feedback.instrumentation import FeedbackMiddleware


def joined_fastapi(instrumentor, native):
    """An application in a joined service, with FastAPI's own telemetry or with contrib's; and its provider."""
    provider = new_provider()
    instrumentor.instrument(tracer_provider=provider)
    app = fastapi.FastAPI(telemetry={"tracer_provider": provider, "metrics": False, "logs": False})
    if not native:
        FastAPIInstrumentor.instrument_app(app, tracer_provider=provider)
    return app, provider


def test_opentelemetrys_asgi_middleware_holds_ours(instrumentor):
    """What a service wraps in it from now on, of whatever framework, answers with handles."""
    provider = new_provider()
    instrumentor.instrument(tracer_provider=provider)
    instrumentor.uninstrument()
    before = OpenTelemetryMiddleware(served, tracer_provider=provider)
    instrumentor.instrument(tracer_provider=provider)
    after = OpenTelemetryMiddleware(served, tracer_provider=provider)
    assert before.app is not None
    assert not isinstance(before.app, FeedbackMiddleware)
    assert isinstance(after.app, FeedbackMiddleware)
    assert not isinstance(after.app.app, FeedbackMiddleware), "once, however often it was joined before"
    assert type(after) is type(before)


@pytest.mark.parametrize("native", [True, False])
def test_fastapis_stack_keeps_its_classes(instrumentor, native):
    """Trap: contrib and FastAPI's own telemetry look at the classes in the stack, along .app; ours is in between."""
    app, provider = joined_fastapi(instrumentor, native)
    tracer = provider.get_tracer("test")

    @app.get("/ask/{item}")
    async def endpoint(item):
        with model_call(tracer):
            pass
        return item

    wire = asyncio.run(ask(app, path="/ask/1"))
    assert type(app.middleware_stack).__name__ == "ServerErrorMiddleware"
    assert _legacy_otel(app.middleware_stack) is not native
    assert wire.handle.facts[semconv.FEEDBACK_PROMPT_NAME] == "/ask/{item}"
    assert [span.context.span_id for span in server_spans(provider.exporter)] == [wire.handle.span_id]


@pytest.mark.parametrize("native", [True, False])
def test_a_websocket_of_fastapi_is_left_alone(instrumentor, native):
    """Trap: its server span has no method. The model call is an interaction of its own; the handshake has no handle."""
    app, provider = joined_fastapi(instrumentor, native)
    tracer = provider.get_tracer("test")

    @app.websocket("/ws")
    async def talk(socket: fastapi.WebSocket):
        await socket.accept()
        with model_call(tracer):
            await socket.send_text("answer")
        await socket.close()

    with TestClient(app).websocket_connect("/ws") as socket:
        assert socket.receive_text() == "answer"
        assert socket.extra_headers == []
    assert [span.name for span in answers(provider.exporter)] == ["chat m-1"]


def test_starlettes_later_middlewares_stay_outside(instrumentor):
    """Trap: Starlette's instrumentation is one of its middlewares, and those added later are around it."""
    provider = new_provider()
    instrumentor.instrument(tracer_provider=provider)
    tracer = provider.get_tracer("test")

    async def stream(request):
        async def words():
            with model_call(tracer):
                yield b"x"

        return StreamingResponse(words())

    app = Starlette(routes=[Route("/ask", stream)])
    StarletteInstrumentor.instrument_app(app, tracer_provider=provider)

    class Outer:
        def __init__(self, app):
            self.inner = app  # not .app: nobody can walk on from here

        async def __call__(self, scope, receive, send):
            await self.inner(scope, receive, send)

    app.add_middleware(Outer)
    assert asyncio.run(ask(app)).handle.facts[semconv.FEEDBACK_MODEL] == "m-1"


def test_a_failing_framework_is_left_alone(instrumentor, monkeypatch, guarded):
    """A FastAPI whose stack has another shape: it is built as before."""
    instrumentor.instrument(tracer_provider=new_provider())

    class Odd(fastapi.FastAPI):
        def build_middleware_stack(self):
            return super().build_middleware_stack()

    class Sealed:
        __slots__ = ()

    monkeypatch.setattr("fastapi.applications.Middleware", lambda *_, **__: (lambda _: Sealed(), (), {}))
    assert isinstance(Odd().build_middleware_stack(), Sealed)


def test_the_middleware_can_be_put_around_any_application(instrumentor):
    """By hand, where nothing of ours could reach: inside of whatever opens the server span."""
    provider = new_provider()
    by_hand = OpenTelemetryMiddleware(
        FeedbackMiddleware(Starlette(routes=[Route("/ask", lambda _: PlainTextResponse("x"))])),
        tracer_provider=provider,
    )
    instrumentor.instrument(tracer_provider=provider)
    assert asyncio.run(ask(by_hand)).types == ["start", "body"]
