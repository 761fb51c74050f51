"""The response propagator: the handle for Flask, Django and whatever else isn't ASGI."""

import asyncio
import threading

import flask
import pytest
from django.conf import settings as django_settings
from django.http import HttpResponse, StreamingHttpResponse
from opentelemetry import trace
from opentelemetry.instrumentation import propagators
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind
from tests.unit.asgi_client import ask, body, instrumented, model_call, read, server_span, start

from otel_feedback import interaction, semconv
from otel_feedback.instrumentation import _frameworks, _propagator
from otel_feedback.testing import telemetry

if not django_settings.configured:
    django_settings.configure(DEFAULT_CHARSET="utf-8")


@pytest.fixture(autouse=True)
def _installed():
    before = propagators.get_global_response_propagator()
    _frameworks.patch()
    _propagator.install()
    yield
    propagators.set_global_response_propagator(before)
    _frameworks.unpatch()


def serve(seen, view, rule="/ask/<item>"):
    """A client of a Flask application with one page."""
    app = flask.Flask("app")
    app.add_url_rule(rule, view_func=view)
    FlaskInstrumentor().instrument_app(app, tracer_provider=seen.provider)
    return app.test_client()


def headers(response, name):
    return response.headers.getlist(name)


# --- Flask -----------------------------------------------------------------------------------------------------------


def test_a_flask_answer_gets_one_handle_with_its_facts(seen, tracer):
    """The model call has ended when the header leaves, inside of the server span."""

    def ask(item):
        with model_call(tracer):
            pass
        return "answer"

    response = serve(seen, ask).get("/ask/7")
    [handle] = headers(response, "feedback-handle")
    server = server_span(seen.exporter)
    assert read(handle).span_id == server.context.span_id
    assert read(handle).facts == {
        semconv.FEEDBACK_SERVICE_NAME: "test",
        semconv.FEEDBACK_PROMPT_NAME: "/ask/<item>",
        semconv.FEEDBACK_PROMPT_VERSION: "unknown",
        semconv.FEEDBACK_MODEL: "m-1-2026",
        semconv.FEEDBACK_PROVIDER: "openai",
    }
    assert headers(response, "access-control-expose-headers") == ["feedback-handle"]
    assert headers(response, "cache-control") == ["private"]


def test_all_other_headers_of_flask_stay_as_they_are(seen, tracer):
    """Their spelling too: the server writes what it is given."""

    def ask(item):
        if item == "1":
            with model_call(tracer):
                pass
        own = [("ETag", '"1"'), ("X-API-Key", "k"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]
        return flask.Response("answer", headers=[*own, ("Access-Control-Expose-Headers", "X-Total")])

    client = serve(seen, ask)
    ours, bare = list(client.get("/ask/1").headers), list(client.get("/ask/2").headers)
    changed = {"feedback-handle", "access-control-expose-headers", "cache-control"}
    kept = [pair for pair in bare if pair[0].lower() not in changed]
    assert [pair for pair in ours if pair[0].lower() not in changed] == kept
    assert ("Access-Control-Expose-Headers", "X-Total, feedback-handle") in ours
    assert ("Cache-Control", "private") in ours


def test_a_flask_page_without_a_model_stays_as_it_was(seen):
    """No header is added."""
    assert not {"feedback-handle", "cache-control"} & {
        name.lower() for name, _ in serve(seen, lambda item: item).get("/ask/1").headers
    }


@pytest.mark.parametrize("status", [302, 304, 404, 500])
def test_what_is_no_answer_gets_no_handle_from_flask(seen, tracer, status):
    """Trap: Flask's instrumentation hands over the headers without the status; a 304 above all must not carry one."""

    def ask(item):
        with model_call(tracer):
            pass
        return flask.Response("x", status=int(item))

    client = serve(seen, ask)
    response = client.get(f"/ask/{status}")
    assert (response.status_code, headers(response, "feedback-handle")) == (status, [])
    assert len(headers(client.get("/ask/200"), "feedback-handle")) == 1


def test_flasks_conditional_response_gets_no_handle(seen, tracer):
    """A 304 that werkzeug makes of an answer whose etag the reader has."""

    def ask(item):
        with model_call(tracer):
            pass
        response = flask.Response("x")
        response.set_etag("1")
        return response.make_conditional(flask.request)

    response = serve(seen, ask).get("/ask/1", headers={"If-None-Match": '"1"'})
    assert (response.status_code, headers(response, "feedback-handle")) == (304, [])


def test_an_error_of_a_flask_view_is_handled_as_before(seen, tracer):
    """A view that raises after its model call: Flask's 500, without a handle."""

    def ask(item):
        with model_call(tracer):
            pass
        raise ValueError(item)

    response = serve(seen, ask).get("/ask/1")
    assert (response.status_code, headers(response, "feedback-handle")) == (500, [])


def test_a_kept_flask_response_never_carries_an_earlier_callers_handle(seen, tracer):
    """Flask makes a list of headers anew for each sending; the object stays clean."""
    kept = flask.Response("cached")

    def ask(item):
        if item == "1":
            with model_call(tracer):
                pass
        return kept

    client = serve(seen, ask)
    assert headers(client.get("/ask/1"), "feedback-handle")
    assert headers(client.get("/ask/2"), "feedback-handle") == []


def test_a_flask_answer_for_shared_caches_gets_no_handle(seen, tracer):
    """As in ASGI."""

    def ask(item):
        with model_call(tracer):
            pass
        return flask.Response("x", headers={"Cache-Control": "public"})

    response = serve(seen, ask).get("/ask/1")
    assert headers(response, "feedback-handle") == []
    assert headers(response, "cache-control") == ["public"]


def test_a_flask_stream_has_no_handle_in_its_header(seen, tracer):
    """Trap, and a limit: the server span ends before the generator runs, so its model call is another trace."""

    def ask(item):
        def words():
            with model_call(tracer):
                yield "word"

        return flask.Response(words())

    response = serve(seen, ask).get("/ask/1")
    assert response.data == b"word"
    assert headers(response, "feedback-handle") == []
    server, call = sorted(seen.exporter.get_finished_spans(), key=lambda span: span.start_time)
    assert server.context.trace_id != call.context.trace_id
    assert call.attributes[semconv.FEEDBACK_INTERACTION] is True
    assert semconv.FEEDBACK_INTERACTION not in server.attributes


def test_an_interaction_owns_the_header_in_flask(seen, tracer):
    """One interaction() in a view: the header is its; with two there is none."""

    def ask(item):
        for n in range(int(item)):
            with interaction(f"part-{n}", tracer_provider=seen.provider), model_call(tracer):
                pass
        return "x"

    client = serve(seen, ask)
    [handle] = headers(client.get("/ask/1"), "feedback-handle")
    assert read(handle).facts[semconv.FEEDBACK_PROMPT_NAME] == "part-0"
    assert headers(client.get("/ask/2"), "feedback-handle") == []


def test_requests_in_threads_never_mix_in_flask(seen, tracer):
    """Thirty-two at once, under one traceparent: each handle has its own call's model."""
    together = threading.Barrier(32)

    def ask(item):
        together.wait(10)
        with model_call(tracer, item):
            together.wait(10)
        return item

    app = serve(seen, ask).application
    found = {}

    def one(n):
        parent = f"00-{'a' * 32}-{'b' * 16}-01"
        found[n] = headers(app.test_client().get(f"/ask/m{n}", headers={"traceparent": parent}), "feedback-handle")

    threads = [threading.Thread(target=one, args=(n,)) for n in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {n: read(*handles).facts[semconv.FEEDBACK_MODEL] for n, handles in found.items()} == {
        n: f"m{n}-2026" for n in range(32)
    }


def test_a_flask_request_that_the_sampler_drops_gets_a_handle_too():
    """Trap: unsampled spans reach no processor by themselves. Spans in between are dropped, the request is found."""
    with telemetry(sampler=ALWAYS_OFF) as seen:
        tracer = seen.provider.get_tracer("test")

        def ask(item):
            with tracer.start_as_current_span("retrieve and answer"), model_call(tracer):
                pass
            return "x"

        [handle] = headers(serve(seen, ask).get("/ask/1"), "feedback-handle")
        assert read(handle).sampled is False
        assert read(handle).facts[semconv.FEEDBACK_MODEL] == "m-1-2026"
        assert seen.exporter.get_finished_spans() == ()


# --- Django ----------------------------------------------------------------------------------------------------------


def send(tracer, response, model=True):
    """Let a Django response leave a request, as Django's instrumentation does; returns its handle or None."""
    method = {"http.method": "GET", "http.route": "ask/<item>"}
    with tracer.start_as_current_span("GET", kind=SpanKind.SERVER, attributes=method):
        if model:
            with model_call(tracer):
                pass
        propagators.get_global_response_propagator().inject(response)
    return read(response["feedback-handle"]) if response.has_header("feedback-handle") else None


def test_a_django_answer_gets_its_handle(tracer):
    """On the response object, with the headers that belong to it."""
    response = HttpResponse("x", headers={"X-API-Key": "1", "Access-Control-Expose-Headers": "x-total"})
    assert send(tracer, response).facts[semconv.FEEDBACK_PROMPT_NAME] == "ask/<item>"
    assert dict(response.items()) == {
        "Content-Type": "text/html; charset=utf-8",
        "X-API-Key": "1",
        "feedback-handle": response["feedback-handle"],
        "Access-Control-Expose-Headers": "x-total, feedback-handle",
        "Cache-Control": "private",
    }


def test_a_django_page_without_a_model_stays_as_it_was(tracer):
    """Nothing is added, and nothing is remembered on the object."""
    response, other = HttpResponse("x"), HttpResponse("x")
    assert send(tracer, response, model=False) is None
    assert dict(response.items()) == dict(other.items())
    assert vars(response).keys() == vars(other).keys()


@pytest.mark.parametrize("status", [304, 404, 500])
def test_what_is_no_answer_gets_no_handle_from_django(tracer, status):
    """As everywhere."""
    assert send(tracer, HttpResponse("x", status=status)) is None


def test_a_kept_django_response_never_carries_an_earlier_callers_handle(tracer):
    """The object itself is changed, so from its second sending on it has none, whoever is answered by it."""
    kept = HttpResponse("x")
    assert send(tracer, kept) is not None
    assert send(tracer, kept, model=False) is None
    assert send(tracer, kept) is None
    assert send(tracer, kept) is None


def test_threads_that_send_one_django_response_share_no_handle(tracer):
    """At most one of them puts its handle on the object; the others never replace it under the first one's feet."""
    together = threading.Barrier(16)
    set_by = []

    class Watched(HttpResponse):
        def __setitem__(self, name, value):
            if name == "feedback-handle":
                set_by.append(value)
            super().__setitem__(name, value)

    kept = Watched("x")

    def one():
        together.wait(10)
        send(tracer, kept)

    threads = [threading.Thread(target=one) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set_by) == 1


def test_a_streaming_django_response_has_a_handle_if_the_model_was_called_before(tracer):
    """Trap: its generator runs after the header left; what was called before counts."""
    assert send(tracer, StreamingHttpResponse(iter(["x"]))) is not None
    assert send(tracer, StreamingHttpResponse(iter(["x"])), model=False) is None


# --- Others ----------------------------------------------------------------------------------------------------------


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


def test_outside_of_a_request_nothing_is_added(tracer):
    """No span, another span, a span that nobody knows."""
    response = HttpResponse("x")
    propagator = propagators.get_global_response_propagator()
    propagator.inject(response)
    with tracer.start_as_current_span("job"), model_call(tracer):
        propagator.inject(response)
    unknown = trace.NonRecordingSpan(trace.SpanContext(1, 2, is_remote=True))
    with trace.use_span(unknown):
        propagator.inject(response)
    assert not response.has_header("feedback-handle")


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
