"""Joining a service's tracer provider and sampler: twice, in vain, broken, switched off, and leaving again."""

import gc
import weakref

import pytest
from opentelemetry import trace
from opentelemetry.instrumentation import propagators
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, TraceIdRatioBased
from tests.unit.asgi_client import ask, body, run, start
from tests.unit.joined_host import new_provider, ours_in, served

from otel_feedback import _runtime, semconv
from otel_feedback._processor import KeepForFeedback
from otel_feedback._settings import Settings
from otel_feedback.instrumentation import FeedbackInstrumentor, FeedbackMiddleware, _propagator, pre_instrument


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
    assert run(ask(served(provider))).handle is not None


def test_a_second_call_joins_another_provider_too(instrumentor):
    """After opentelemetry-instrument joined the global one, a service may name the provider that it really uses."""
    first, second = new_provider(), new_provider()
    instrumentor.instrument(tracer_provider=first)
    instrumentor.instrument(tracer_provider=second)
    assert (len(ours_in(first)), len(ours_in(second))) == (1, 1)
    assert run(ask(served(second))).handle is not None


def test_it_lets_go_of_a_provider_that_is_gone(instrumentor):
    """A test suite that makes providers by the hundred keeps none of them alive through us."""
    provider = new_provider()
    instrumentor.instrument(tracer_provider=provider)
    gone = weakref.ref(provider)
    del provider
    gc.collect()
    assert gone() is None


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
    assert run(ask(served(provider))).handle is not None


def test_leaving_ends_handles_and_coming_back_starts_them(instrumentor):
    """uninstrument() puts our parts to sleep, also in stacks that were built; instrument() wakes them."""
    provider = new_provider()
    instrumentor.instrument(tracer_provider=provider)
    app = served(provider)
    assert run(ask(app)).handle is not None
    instrumentor.uninstrument()
    assert run(ask(app)).headers("feedback-handle") == []
    assert not isinstance(served(provider).app, FeedbackMiddleware)
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
    handle = run(ask(served(provider), headers=(unsampled,))).handle
    assert handle.sampled is False
    assert handle.trace_id == int("a" * 32, 16)
    assert handle.facts[semconv.FEEDBACK_MODEL] == "m-1-2026"
    assert provider.exporter.get_finished_spans() == ()


def test_requests_that_the_sampler_keeps_are_as_before(instrumentor):
    """Its decision, attributes and trace state pass through."""
    provider = new_provider(ParentBased(ALWAYS_ON))
    instrumentor.instrument(tracer_provider=provider)
    assert run(ask(served(provider))).handle.sampled is True
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
                await ask(served(provider))

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
    assert run(ask(served(provider))).handle is not None


def test_a_processor_of_ours_that_breaks_never_reaches_the_service(instrumentor, monkeypatch, caplog, guarded):
    """The answer goes out without a handle, and one warning says what failed."""
    provider = new_provider()
    instrumentor.instrument(tracer_provider=provider)
    monkeypatch.setattr("otel_feedback._processor._start", lambda *_: 1 / 0)
    app = served(provider)
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
    assert not isinstance(OpenTelemetryMiddleware(served).app, FeedbackMiddleware)
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
