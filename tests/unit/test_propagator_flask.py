"""The response propagator in Flask: which responses get a handle, and that nothing else of them changes."""

import threading

import flask
import pytest
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from tests.unit.asgi_client import answers, model_call, read, server_span

from otel_feedback import interaction, semconv
from otel_feedback.testing import telemetry

pytestmark = pytest.mark.usefixtures("propagator")


def serve(seen, view, rule="/ask/<item>"):
    """A client of a Flask application with one page."""
    app = flask.Flask("app")
    app.add_url_rule(rule, view_func=view)
    FlaskInstrumentor().instrument_app(app, tracer_provider=seen.provider)
    return app.test_client()


def headers(response, name):
    return response.headers.getlist(name)


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
    # An error is no answer, and is not counted as one.
    assert server_span(seen.exporter).attributes[semconv.FEEDBACK_INTERACTION] is (status < 400)
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
    assert answers(seen.exporter) == []


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
