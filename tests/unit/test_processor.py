"""Which span is the interaction: a request's (rule 2 of the design) and what ``interaction()`` opens (rule 1)."""

import pytest
from inline_snapshot import snapshot
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import SpanKind
from tests.unit.spans_of_a_host import AGENT, EMBEDDINGS, RETRIEVAL, TOOL, WORKFLOW, facts, interactions, remote

from otel_feedback import PromptTemplate, _ledger, interaction, semconv


class TestRequest:
    """Rule 2: the HTTP server span, once an inference starts below it."""

    def test_everything_that_a_request_gathers(self, seen, host):
        """Model, provider, response, documents and route stand on the server span; the inference names its prompt."""
        with host.request():
            host.retrieve("d1", "d2")
            with host.span("helper"):
                host.chat(**{"gen_ai.response.id": "r-1", "gen_ai.conversation.id": "c-1"})
        assert seen.spans() == snapshot(
            [
                {
                    "name": "POST /ask",
                    "kind": "SERVER",
                    "context": "1:1",
                    "parent": None,
                    "start": 0,
                    "end": 7,
                    "status": "UNSET",
                    "attributes": {
                        "http.request.method": "POST",
                        "http.route": "/ask",
                        "feedback.interaction": True,
                        "feedback.prompt.name": "/ask",
                        "feedback.prompt.version": "unknown",
                        "gen_ai.conversation.id": "c-1",
                        "feedback.response.id": "r-1",
                        "feedback.provider": "openai",
                        "feedback.service.name": "test",
                        "feedback.documents": '[{"id":"d1"},{"id":"d2"}]',
                        "feedback.model": "m-1",
                    },
                    "events": [],
                    "links": [],
                },
                {
                    "name": "search",
                    "kind": "INTERNAL",
                    "context": "1:2",
                    "parent": "1:1",
                    "start": 1,
                    "end": 2,
                    "status": "UNSET",
                    "attributes": {
                        "gen_ai.operation.name": "retrieval",
                        "gen_ai.retrieval.documents": '[{"id": "d1"}, {"id": "d2"}]',
                    },
                    "events": [],
                    "links": [],
                },
                {
                    "name": "helper",
                    "kind": "INTERNAL",
                    "context": "1:3",
                    "parent": "1:1",
                    "start": 3,
                    "end": 6,
                    "status": "UNSET",
                    "attributes": {},
                    "events": [],
                    "links": [],
                },
                {
                    "name": "chat",
                    "kind": "CLIENT",
                    "context": "1:4",
                    "parent": "1:3",
                    "start": 4,
                    "end": 5,
                    "status": "UNSET",
                    "attributes": {
                        "gen_ai.operation.name": "chat",
                        "gen_ai.provider.name": "openai",
                        "gen_ai.request.model": "m",
                        "gen_ai.response.id": "r-1",
                        "gen_ai.conversation.id": "c-1",
                        "gen_ai.prompt.name": "/ask",
                        "gen_ai.prompt.version": "unknown",
                        "gen_ai.response.model": "m-1",
                    },
                    "events": [],
                    "links": [],
                },
            ]
        )

    def test_it_is_one_from_the_start_of_the_inference(self, host):
        """A header that leaves while the model answers finds it; so does a stream."""
        with host.request() as span:
            assert semconv.FEEDBACK_INTERACTION not in span.attributes
            stream = host.start_chat()
            assert span.attributes[semconv.FEEDBACK_INTERACTION] is True
            assert span.attributes[semconv.FEEDBACK_MODEL] == "m"
            host.end_chat(stream)
            assert span.attributes[semconv.FEEDBACK_MODEL] == "m-1"

    @pytest.mark.parametrize("old_names", [{"http.method": "GET"}, {"http.request.method": "GET"}])
    def test_both_generations_of_http_names(self, seen, host, old_names):
        """A server span is an HTTP request's by the method's old name and by its new one."""
        with host.tracer.start_as_current_span("GET", kind=SpanKind.SERVER, attributes=old_names):
            host.chat()
        assert interactions(seen) == [("GET", "m-1")]

    @pytest.mark.parametrize(
        ("name", "attributes", "prompt"),
        [
            ("POST /ask", {}, "/ask"),
            ("POST /ask", {"http.route": "/ask/{id}"}, "/ask/{id}"),
            ("POST", {}, "POST"),
            ("serve it", {"http.route": ""}, "serve it"),
        ],
    )
    def test_the_route_names_the_prompt(self, seen, host, name, attributes, prompt):
        """Where no template is declared; by the span's name where a framework tells the route only at the end."""
        attributes = {"http.request.method": "POST", **attributes}
        with host.tracer.start_as_current_span(name, kind=SpanKind.SERVER, attributes=attributes):
            host.chat()
        assert facts(seen.spans()[0])["prompt.name"] == prompt

    def test_several_calls_are_one_answer(self, seen, host):
        """A rewrite and an answer: the last inference's model and template, everybody's documents."""
        with host.request():
            PromptTemplate("rewrite", "{x}", "1").format(x=1)
            host.chat("small-1")
            host.retrieve("d1")
            PromptTemplate("answer", "{x}", "2").format(x=1)
            host.chat("large-1")
            host.retrieve("d2", "d1")
        server, *_ = seen.spans()
        assert interactions(seen) == [("POST /ask", "large-1")]
        assert facts(server) == {
            "prompt.name": "answer",
            "prompt.version": "2",
            "prompt.fingerprint": PromptTemplate("answer", "{x}").fingerprint,
            "model": "large-1",
            "provider": "openai",
            "documents": '[{"id":"d1"},{"id":"d2"}]',
        }

    def test_parallel_calls(self, seen, host):
        """Of inferences that overlap, the one that started last is the answer's, whichever ends last."""
        with host.request():
            first, second = host.start_chat(), host.start_chat()
            host.end_chat(second, "second")
            host.end_chat(first, "first")
        assert interactions(seen) == [("POST /ask", "second")]

    def test_no_model_no_interaction(self, seen, host):
        """Embeddings, retrieval and tools give facts, never an interaction; nor does plain work."""
        with host.request():
            host.retrieve("d1")
            for attributes in (EMBEDDINGS, TOOL, WORKFLOW, AGENT, None):
                with host.span(attributes=attributes):
                    pass
        assert interactions(seen) == []
        assert facts(seen.spans()[0]) == {}

    def test_two_requests_under_one_traceparent(self, seen, host):
        """A caller that retries, or a page that sends its trace with every call: each request keeps its own facts."""
        with host.request("/a", context=remote()) as first, host.request("/b", context=remote()):
            host.retrieve("d-b")
            host.chat("b")
            with trace.use_span(first):
                host.retrieve("d-a")
                host.chat("a")
        assert interactions(seen) == [("POST /a", "a"), ("POST /b", "b")]
        assert [facts(span)["documents"] for span in seen.spans()[:2]] == ['[{"id":"d-a"}]', '[{"id":"d-b"}]']

    def test_a_caller_who_sends_our_own_ids(self, seen, host):
        """A traceparent that names a live span of this process doesn't reach its facts."""
        with host.request("/a") as victim:
            own = victim.get_span_context()
            parent = trace.SpanContext(own.trace_id, own.span_id, is_remote=True, trace_flags=own.trace_flags)
            context = trace.set_span_in_context(trace.NonRecordingSpan(parent), otel_context.Context())
            with host.request("/b", context=context):
                host.retrieve("stolen")
                host.chat("b")
        assert interactions(seen) == [("POST /b", "b")]
        assert facts(seen.spans()[0]) == {}

    def test_a_hostile_tracestate(self, seen, host):
        """It changes nothing of what is found and written."""
        state = trace.TraceState([("ot", "th:ffffffffff"), ("feedback.interaction", "true")])
        with host.request(context=remote(trace_state=state)):
            host.chat()
        assert interactions(seen) == [("POST /ask", "m-1")]

    def test_a_mounted_application_is_part_of_its_request(self, seen, host):
        """A server span directly below another's is the same request."""
        with host.request("/outer"), host.request("/inner"):
            host.chat()
        assert interactions(seen) == [("POST /outer", "m-1")]

    def test_a_request_inside_of_a_span_of_the_process(self, seen, host):
        """A server that runs below a span of its own still has requests, each for itself."""
        with host.span("main"):
            host.retrieve("not of a request")
            with host.request("/a"):
                host.chat("a")
            with host.request("/b"):
                host.chat("b")
        assert interactions(seen) == [("POST /a", "a"), ("POST /b", "b")]
        assert "documents" not in facts(seen.spans()[2])

    def test_a_request_that_has_ended_takes_nothing_more(self, seen, host):
        """What starts later from one of its spans is no part of it; a model call then is an answer of its own."""
        with host.request() as server, host.span("task") as task:
            host.chat()
        with trace.use_span(task):
            host.chat("later")
        with trace.use_span(server):
            host.chat("later still")
        assert interactions(seen) == [("POST /ask", "m-1"), ("chat", "m-1"), ("chat", "later")]

    def test_a_child_of_a_span_that_has_ended(self, seen, host):
        """While the request lasts, what starts from an ended span of it still belongs to it."""
        with host.request():
            with host.span("prepare") as ended:
                pass
            with trace.use_span(ended):
                host.chat()
        assert interactions(seen) == [("POST /ask", "m-1")]

    def test_a_stream_that_outlives_its_request(self, seen, host):
        """Its span says what was known when it ended; what came later is found in this process, documents excepted."""
        with host.request() as server:
            stream = host.start_chat()
            search = host.tracer.start_span("search", attributes=RETRIEVAL)
        host.end_chat(stream, **{"gen_ai.response.id": "r-1", "session.id": "c-1"})
        search.set_attribute("gen_ai.retrieval.documents", '["late"]')
        search.end()
        assert interactions(seen) == [("POST /ask", "m")]
        own = server.get_span_context()
        found = _ledger.finished_facts(own.trace_id, own.span_id)
        assert (found["feedback.model"], found["feedback.response.id"]) == ("m-1", "r-1")
        assert found["gen_ai.conversation.id"] == "c-1"
        assert found["feedback.prompt.name"] == "/ask"


class TestInteraction:
    """Rule 1: what ``interaction()`` opens comes before everything else."""

    def test_it_owns_its_request(self, seen, host):
        """The request is no interaction beside it."""
        with host.request():
            with interaction("answer", tracer_provider=seen.provider):
                host.chat("inside")
            host.chat("outside")
        assert interactions(seen) == [("invoke_workflow answer", "inside")]
        assert target() == "nothing is current"

    def test_a_request_that_was_taken_for_the_answer(self, seen, host):
        """A model was called before ``interaction()`` opened: the request says now that it is none."""
        with host.request():
            host.chat("rewrite")
            with interaction("answer", tracer_provider=seen.provider):
                host.chat("answer")
        assert seen.spans()[0]["attributes"][semconv.FEEDBACK_INTERACTION] is False
        assert interactions(seen) == [("invoke_workflow answer", "answer")]

    def test_which_handle_the_header_gets(self, seen, host):
        """None without an answer, the request's own, the one interaction's, and none where there are several."""
        with host.request():
            assert target() is None
            host.chat()
            assert target() == "/ask"
            with interaction("first", tracer_provider=seen.provider):
                host.chat()
            assert target() == "first"
            with interaction("second", tracer_provider=seen.provider):
                assert target() is None
            assert target() is None

    def test_nested_interactions_are_several(self, seen, host):
        """One inside of the other: each has its own handle, the header none."""
        with host.request(), interaction("outer", tracer_provider=seen.provider):
            assert target() == "outer"
            with interaction("inner", tracer_provider=seen.provider):
                assert target() is None


def target():
    """What names the interaction that a response header's handle would point at, by now."""
    sheet = _ledger.current_sheet()
    if sheet is None:
        return "nothing is current"
    found = (sheet.request or sheet).target()
    return found and found.name_of_prompt()
