"""The response propagator on Django's responses, which are changed in place."""

import threading

import pytest
from django.conf import settings as django_settings
from django.http import HttpResponse, StreamingHttpResponse
from opentelemetry import trace
from opentelemetry.instrumentation import propagators
from opentelemetry.trace import SpanKind
from tests.unit.asgi_client import model_call, read, server_span

from otel_feedback import semconv

if not django_settings.configured:
    django_settings.configure(DEFAULT_CHARSET="utf-8")

pytestmark = pytest.mark.usefixtures("propagator")


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
def test_what_is_no_answer_gets_no_handle_from_django(seen, tracer, status):
    """As everywhere; an error is not counted as an answer."""
    assert send(tracer, HttpResponse("x", status=status)) is None
    assert server_span(seen.exporter).attributes[semconv.FEEDBACK_INTERACTION] is (status < 400)


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
