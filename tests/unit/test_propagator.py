"""The response propagator: the handle for whatever isn't ASGI, beside what else the service has."""

import asyncio

import pytest
from opentelemetry.instrumentation import propagators
from opentelemetry.trace import SpanKind
from tests.unit.asgi_client import ask, body, instrumented, model_call, start

from otel_feedback.instrumentation import _propagator

pytestmark = pytest.mark.usefixtures("propagator")


def test_another_frameworks_headers_are_added_to_by_its_setter(tracer):
    """A mapping of headers (Pyramid's, say), which the instrumentation's own setter knows how to add to."""
    carrier = {"cache-control": "max-age=1"}
    with tracer.start_as_current_span("GET /x", kind=SpanKind.SERVER, attributes={"http.method": "GET"}):
        with model_call(tracer):
            pass
        propagators.get_global_response_propagator().inject(carrier)
    assert carrier == {
        "cache-control": "max-age=1, private",
        "access-control-expose-headers": "feedback-handle",
        "feedback-handle": carrier["feedback-handle"],
    }


def test_messages_of_asgi_are_left_to_the_middleware(tracer):
    """Trap: ASGI's instrumentation calls for every message with a live list; none of them is touched here."""
    with tracer.start_as_current_span("GET /x", kind=SpanKind.SERVER, attributes={"http.method": "GET"}):
        with model_call(tracer):
            pass
        for message in (
            {"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]},
            {"type": "http.response.body", "body": b"x"},
            {"type": "websocket.send", "text": "x"},
        ):
            before = {name: list(value) if isinstance(value, list) else value for name, value in message.items()}
            propagators.get_global_response_propagator().inject(message)
            assert message == before


def test_the_services_own_propagator_goes_first_and_stays(tracer):
    """One that the service has set is called as before, and is back when ours is taken away."""

    class Own(propagators.ResponsePropagator):
        def inject(self, carrier, context=None, setter=propagators.default_setter):
            setter.set(carrier, "x-own", "1")

    own = Own()
    propagators.set_global_response_propagator(own)
    _propagator.install()
    _propagator.install()
    carrier = {}
    propagators.get_global_response_propagator().inject(carrier)
    assert carrier == {"x-own": "1"}
    _propagator.uninstall()
    assert propagators.get_global_response_propagator() is own


def test_an_error_of_the_services_own_propagator_is_its_own(tracer):
    """It raises as before, and no other error is made of it."""

    class Broken(propagators.ResponsePropagator):
        def inject(self, carrier, context=None, setter=propagators.default_setter):
            raise ValueError("the service's own")

    propagators.set_global_response_propagator(Broken())
    _propagator.install()
    with pytest.raises(ValueError, match="the service's own"):
        propagators.get_global_response_propagator().inject({})


def test_a_carrier_that_fails_harms_nobody(tracer, caplog, guarded):
    """An error of ours, or of a carrier that we don't know, is logged once and stays here."""

    class Refusing:
        def set(self, carrier, name, value):
            raise RuntimeError(value)

    with tracer.start_as_current_span("GET /x", kind=SpanKind.SERVER, attributes={"http.method": "GET"}):
        with model_call(tracer):
            pass
        for _ in range(2):
            propagators.get_global_response_propagator().inject(object(), setter=Refusing())
    assert [record.message.split(";")[0] for record in caplog.records] == [
        "otel-feedback: _inject failed with RuntimeError"
    ]


def test_asgi_and_propagator_together_make_one_header(seen, tracer):
    """The ASGI instrumentation calls the propagator after the middleware has done it."""

    async def app(scope, receive, send):
        with model_call(tracer):
            pass
        await send(start())
        await send(body())

    wire = asyncio.run(ask(instrumented(app, seen.provider)))
    assert len(wire.headers("feedback-handle")) == 1
    assert wire.headers("access-control-expose-headers") == ["feedback-handle"]
