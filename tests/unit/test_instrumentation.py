"""Joining a service: its tracer provider, its sampler, its applications; twice, late, in vain, and leaving again."""

import asyncio
import gc
import os
import subprocess
import sys
import textwrap
import weakref
from pathlib import Path

import fastapi
import pytest
from fastapi.telemetry._asgi import _legacy_otel
from opentelemetry import trace
from opentelemetry.instrumentation import propagators
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.instrumentation.starlette import StarletteInstrumentor
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, TraceIdRatioBased
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from tests.unit.asgi_client import answers, ask, body, model_call, run, server_spans, start

from otel_feedback import _guard, _ledger, _runtime, semconv
from otel_feedback._processor import FeedbackSpanProcessor, KeepForFeedback
from otel_feedback._settings import Settings
from otel_feedback.instrumentation import FeedbackInstrumentor, FeedbackMiddleware, _propagator, asgi, pre_instrument
from otel_feedback.testing import TEST_KEYS

PATH = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])


@pytest.fixture
def instrumentor():
    """Our instrumentor, not joined to anything; it leaves again after the test."""
    _runtime.configure(Settings(handle_keys=TEST_KEYS))
    _ledger.ledger.clear()
    asgi._answering_routes.clear()
    instrumentor = FeedbackInstrumentor()
    with _guard.strict():
        yield instrumentor
        if instrumentor.is_instrumented_by_opentelemetry:
            instrumentor.uninstrument()
    _runtime.reset()


def new_provider(sampler=ALWAYS_ON):
    provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
    provider.exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(provider.exporter))
    return provider


def ours_in(provider):
    found = provider._active_span_processor._span_processors
    return [processor for processor in found if isinstance(processor, FeedbackSpanProcessor)]


def answering(provider):
    """An ASGI application that calls a model, with OpenTelemetry's middleware as a service puts it around."""
    tracer = provider.get_tracer("test")

    async def app(scope, receive, send):
        with model_call(tracer):
            pass
        await send(start())
        await send(body())

    return OpenTelemetryMiddleware(app, tracer_provider=provider)


def test_it_joins_a_provider_once_however_often_it_is_loaded(instrumentor, caplog):
    """Two loads (opentelemetry-instrument and a line in the service): one processor, one sampler, no complaint."""
    provider = new_provider(ALWAYS_OFF)
    for _ in range(3):
        FeedbackInstrumentor().instrument(tracer_provider=provider)
    assert len(ours_in(provider)) == 1
    assert isinstance(provider.sampler, KeepForFeedback)
    assert provider.sampler.inner is ALWAYS_OFF
    assert isinstance(propagators.get_global_response_propagator(), _propagator.HandlePropagator)
    assert not isinstance(propagators.get_global_response_propagator().inner, _propagator.HandlePropagator)
    assert caplog.records == []
    assert run(ask(answering(provider))).handle is not None


def test_a_second_call_joins_another_provider_too(instrumentor):
    """After opentelemetry-instrument joined the global one, a service may name the provider that it really uses."""
    first, second = new_provider(), new_provider()
    instrumentor.instrument(tracer_provider=first)
    instrumentor.instrument(tracer_provider=second)
    assert (len(ours_in(first)), len(ours_in(second))) == (1, 1)
    assert run(ask(answering(second))).handle is not None


def test_it_lets_go_of_a_provider_that_is_gone(instrumentor):
    """A test suite that makes providers by the hundred keeps none of them alive through us."""
    provider = new_provider()
    instrumentor.instrument(tracer_provider=provider)
    gone = weakref.ref(provider)
    del provider
    gc.collect()
    assert gone() is None


def test_opentelemetrys_asgi_middleware_holds_ours(instrumentor):
    """What a service wraps in it from now on, of whatever framework, answers with handles."""
    provider = new_provider()
    instrumentor.instrument(tracer_provider=provider)
    instrumentor.uninstrument()
    before = OpenTelemetryMiddleware(answering, tracer_provider=provider)
    instrumentor.instrument(tracer_provider=provider)
    after = OpenTelemetryMiddleware(answering, tracer_provider=provider)
    assert before.app is not None
    assert not isinstance(before.app, FeedbackMiddleware)
    assert isinstance(after.app, FeedbackMiddleware)
    assert not isinstance(after.app.app, FeedbackMiddleware), "once, however often it was joined before"
    assert type(after) is type(before)


@pytest.mark.parametrize("native", [True, False])
def test_fastapis_stack_keeps_its_classes(instrumentor, native):
    """Trap: contrib and FastAPI's own telemetry look at the classes in the stack, along .app; ours is in between."""
    provider = new_provider()
    instrumentor.instrument(tracer_provider=provider)
    app = fastapi.FastAPI(telemetry={"tracer_provider": provider, "metrics": False, "logs": False})
    if not native:
        FastAPIInstrumentor.instrument_app(app, tracer_provider=provider)
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


class Foreign(trace.NoOpTracerProvider):
    """A tracer provider that isn't the SDK's."""


@pytest.mark.parametrize("provider", [Foreign(), trace.ProxyTracerProvider(), object()])
def test_a_provider_that_cannot_be_joined_gets_one_warning(instrumentor, provider, caplog):
    """It names what was found, the package to install and the call to make; the service goes on."""
    for _ in range(2):
        instrumentor.instrument(tracer_provider=provider)
    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert type(provider).__name__ in record.message
    assert "pip install 'otel-feedback[otlp]'" in record.message
    assert "FeedbackInstrumentor().instrument(tracer_provider=...)" in record.message


def test_a_provider_that_breaks_when_it_is_joined_does_no_harm(instrumentor, caplog, guarded):
    """Its error is logged once, by type only; a provider that is given later is joined."""

    class Broken(TracerProvider):
        def add_span_processor(self, span_processor):
            raise ValueError("secret")

    instrumentor.instrument(tracer_provider=Broken())
    instrumentor.instrument(tracer_provider=Broken())
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "ValueError" in caplog.text
    assert "secret" not in caplog.text
    provider = new_provider()
    instrumentor.instrument(tracer_provider=provider)
    assert run(ask(answering(provider))).handle is not None


def test_leaving_ends_handles_and_coming_back_starts_them(instrumentor):
    """uninstrument() puts our parts to sleep, also in stacks that were built; instrument() wakes them."""
    provider = new_provider()
    instrumentor.instrument(tracer_provider=provider)
    app = answering(provider)
    assert run(ask(app)).handle is not None
    instrumentor.uninstrument()
    assert run(ask(app)).headers("feedback-handle") == []
    assert not isinstance(answering(provider).app, FeedbackMiddleware)
    assert not isinstance(propagators.get_global_response_propagator(), _propagator.HandlePropagator)
    assert semconv.FEEDBACK_INTERACTION not in provider.exporter.get_finished_spans()[-1].attributes
    instrumentor.instrument(tracer_provider=provider)
    assert run(ask(app)).handle is not None
    assert len(ours_in(provider)) == 1


@pytest.mark.parametrize(
    "sampler", [ALWAYS_OFF, ParentBased(ALWAYS_OFF), ParentBased(ALWAYS_ON), TraceIdRatioBased(0.0)]
)
def test_requests_that_the_sampler_drops_get_handles_and_are_not_exported(instrumentor, sampler):
    """Trap: the SDK starts no span for them. They are recorded for us only; the handle says unsampled."""
    provider = new_provider(sampler)
    instrumentor.instrument(tracer_provider=provider)
    unsampled = (b"traceparent", b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-00")
    handle = run(ask(answering(provider), headers=(unsampled,))).handle
    assert handle.sampled is False
    assert handle.trace_id == int("a" * 32, 16)
    assert handle.facts[semconv.FEEDBACK_MODEL] == "m-1-2026"
    assert provider.exporter.get_finished_spans() == ()


def test_requests_that_the_sampler_keeps_are_as_before(instrumentor):
    """Its decision, attributes and trace state pass through."""
    provider = new_provider(ParentBased(ALWAYS_ON))
    instrumentor.instrument(tracer_provider=provider)
    assert run(ask(answering(provider))).handle.sampled is True
    assert provider.sampler.get_description() == f"KeepForFeedback{{{ParentBased(ALWAYS_ON).get_description()}}}"


def test_a_processor_of_the_service_that_raises_stays_the_services_affair(instrumentor):
    """Trap: exceptions in a processor reach the application. Its own do as before; ours never."""

    class Raising(SpanProcessor):
        def on_start(self, span, parent_context=None):
            if span.kind is trace.SpanKind.CLIENT:
                raise ValueError("the service's own")

    def outcome(provider):
        provider.add_span_processor(Raising())

        async def failing():
            with pytest.raises(ValueError, match="the service's own"):
                await ask(answering(provider))

        run(failing())

    outcome(new_provider())
    provider = new_provider()
    instrumentor.instrument(tracer_provider=provider)
    outcome(provider)


def test_an_exporter_of_the_service_that_raises_changes_nothing(instrumentor):
    """The SDK logs its error, as before; the answer has its handle."""

    class Raising(SpanExporter):
        def export(self, spans):
            raise ValueError("the service's own")

    provider = new_provider()
    provider.add_span_processor(SimpleSpanProcessor(Raising()))
    instrumentor.instrument(tracer_provider=provider)
    assert run(ask(answering(provider))).handle is not None


@pytest.mark.parametrize("native", [True, False])
def test_a_websocket_of_fastapi_is_left_alone(instrumentor, native):
    """Trap: its server span has no method. The model call is an interaction of its own; the handshake has no handle."""
    provider = new_provider()
    instrumentor.instrument(tracer_provider=provider)
    app = fastapi.FastAPI(telemetry={"tracer_provider": provider, "metrics": False, "logs": False})
    if not native:
        FastAPIInstrumentor.instrument_app(app, tracer_provider=provider)
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


def test_a_processor_of_ours_that_breaks_never_reaches_the_service(instrumentor, monkeypatch, caplog, guarded):
    """The answer goes out without a handle, and one warning says what failed."""
    provider = new_provider()
    instrumentor.instrument(tracer_provider=provider)
    monkeypatch.setattr("otel_feedback._processor._start", lambda *_: 1 / 0)
    app = answering(provider)
    for _ in range(2):
        wire = run(ask(app))
        assert wire.messages == [start(), body()]
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_switched_off_it_touches_nothing(instrumentor):
    """With OTEL_SDK_DISABLED (or settings that can't be used) no part of the service is joined."""
    _runtime.configure(Settings(disabled=True))
    provider = new_provider()
    instrumentor.instrument(tracer_provider=provider)
    assert ours_in(provider) == []
    assert provider.sampler is ALWAYS_ON
    assert not isinstance(OpenTelemetryMiddleware(answering).app, FeedbackMiddleware)
    assert propagators.get_global_response_propagator() is None


@pytest.mark.parametrize("names", ["otel_feedback", "fastapi, otel_feedback ", "*"])
def test_it_can_be_left_out_like_any_instrumentation(instrumentor, monkeypatch, names):
    """By OTEL_PYTHON_DISABLED_INSTRUMENTATIONS, which the SDK applies to instrumentors only, not to our first step."""
    monkeypatch.setenv("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", names)
    pre_instrument()
    assert not instrumentor.is_instrumented_by_opentelemetry


def test_its_first_step_never_raises(instrumentor, monkeypatch, guarded):
    """Trap: an instrumentor that raises stops those after it."""
    monkeypatch.setattr("otel_feedback.instrumentation._attach.attach", lambda *_: 1 / 0)
    pre_instrument()
    instrumentor.instrument()


def test_the_middleware_can_be_put_around_any_application(instrumentor):
    """By hand, where nothing of ours could reach: inside of whatever opens the server span."""
    provider = new_provider()
    by_hand = OpenTelemetryMiddleware(
        FeedbackMiddleware(Starlette(routes=[Route("/ask", lambda _: PlainTextResponse("x"))])),
        tracer_provider=provider,
    )
    instrumentor.instrument(tracer_provider=provider)
    assert asyncio.run(ask(by_hand)).types == ["start", "body"]


def in_a_new_process(script, **env):
    """Run a script that prints; returns what it printed and what it logged."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "OTEL_FEEDBACK_HANDLE_KEYS": TEST_KEYS, "PYTHONPATH": PATH, **env},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines(), done.stderr.splitlines()


ONE_REQUEST = """
    from tests.unit.asgi_client import *
    from tests.unit.test_instrumentation import answering
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
    from opentelemetry import trace
    from otel_feedback.instrumentation import FeedbackInstrumentor
"""


def test_a_provider_that_comes_late_is_joined_when_it_comes():
    """Trap: a service may set it after it was instrumented. Its first request has a handle, an unsampled one too."""
    script = """
    FeedbackInstrumentor().instrument()
    tracer = trace.get_tracer("early")
    trace.set_tracer_provider(TracerProvider(sampler=ALWAYS_OFF))
    app = answering(trace.get_tracer_provider())
    print(run(ask(app)).handle.sampled, type(tracer._tracer.sampler).__name__)
    """
    printed, logged = in_a_new_process(ONE_REQUEST + script)
    assert printed == ["False KeepForFeedback"]
    assert len(logged) == 1
    assert "no handles until one is set" in logged[0]


def test_a_provider_that_comes_unseen_is_joined_at_the_next_request():
    """Set through a function that was imported before us: from the second request on there are handles."""
    script = """
    def set_unseen(provider):
        trace._TRACER_PROVIDER = provider
    FeedbackInstrumentor().instrument()
    set_unseen(TracerProvider())
    app = answering(trace.get_tracer_provider())
    print([run(ask(app)).handle is not None for _ in range(2)])
    """
    printed, _ = in_a_new_process(ONE_REQUEST + script)
    assert printed == ["[False, True]"]


def test_without_any_provider_the_service_runs_as_before():
    """Requests pass, forever; the one warning was given at the start."""
    script = """
    FeedbackInstrumentor().instrument()
    app = answering(trace.get_tracer_provider())
    print([run(ask(app)).types for _ in range(2)])
    """
    printed, logged = in_a_new_process(ONE_REQUEST + script)
    assert printed == ["[['start', 'body'], ['start', 'body']]"]
    assert len(logged) == 1
    assert "opentelemetry-distro" in logged[0]


def test_a_fork_after_the_start_goes_on_in_parent_and_child():
    """Trap: gunicorn forks after the plugin has loaded. No thread or lock of ours is there to break."""
    script = """
    import os, threading
    before = threading.active_count()
    provider = TracerProvider(shutdown_on_exit=False)
    FeedbackInstrumentor().instrument(tracer_provider=provider)
    app = answering(provider)
    first = run(ask(app)).handle
    assert threading.active_count() == before
    child = os.fork()
    handle = run(ask(app)).handle
    assert handle.facts == {**first.facts}
    if child:
        _, status = os.waitpid(child, 0)
        print("parent", status)
    """
    printed, logged = in_a_new_process(ONE_REQUEST + script)
    assert printed == ["parent 0"]
    assert logged == []


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"OTEL_FEEDBACK_HANDLE_TTL": "soon"}, "OTEL_FEEDBACK_HANDLE_TTL"),
        ({"OTEL_FEEDBACK_HANDLE_KEYS": "k:HS256:c2hvcnQ"}, "OTEL_FEEDBACK_HANDLE_KEYS"),
        ({"OTEL_FEEDBACK_HANDLE_KEYS": "k:none:" + "a" * 43}, "OTEL_FEEDBACK_HANDLE_KEYS"),
        ({"OTEL_FEEDBACK_HANDLE_KEYS": "", "OTEL_FEEDBACK_STATE_DIR": "/dev/null/x"}, "OTEL_FEEDBACK_HANDLE_KEYS"),
        (
            {"OTEL_FEEDBACK_HANDLE_KEYS": "", "OTEL_FEEDBACK_HANDLE_KEYS_FILE": "/nowhere"},
            "OTEL_FEEDBACK_HANDLE_KEYS_FILE",
        ),
        ({"OTEL_SDK_DISABLED": "true"}, "OTEL_SDK_DISABLED"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named_in_one_warning(env, said):
    """The service answers as before, without handles; the setting's value, which may be a key, is not repeated."""
    script = """
    provider = TracerProvider()
    FeedbackInstrumentor().instrument(tracer_provider=provider)
    app = answering(provider)
    print([run(ask(app)).headers("feedback-handle") for _ in range(2)])
    """
    printed, logged = in_a_new_process(ONE_REQUEST + script, **env)
    assert printed == ["[[], []]"]
    assert len(logged) == 1, logged
    assert said in logged[0]
    assert not any(
        value and value != "true" and value in logged[0] for value in (env.get("OTEL_FEEDBACK_HANDLE_KEYS"),)
    )
