"""Which span is the interaction, and which facts it gets: the rule of the design, case by case."""

import pytest
from inline_snapshot import snapshot
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import SpanKind
from tests.unit.spans_of_a_host import (
    AGENT,
    CHAT,
    EMBEDDINGS,
    RETRIEVAL,
    TOOL,
    WORKFLOW,
    Host,
    facts,
    interactions,
    remote,
)

from otel_feedback import PromptTemplate, _ledger, _processor, interaction, semconv
from otel_feedback._facts import CallNote
from otel_feedback.testing import telemetry


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


class TestBare:
    """Rule 3: where neither applies, the outermost workflow, agent or inference."""

    @pytest.mark.parametrize(
        ("outermost", "name"), [(WORKFLOW, "Triage"), (AGENT, "Planner"), ({"openinference.span.kind": "CHAIN"}, "run")]
    )
    def test_the_outermost_is_the_answer(self, seen, host, outermost, name):
        """What it encloses gives its facts; its name stands for the template's."""
        with host.span("run", outermost):
            host.retrieve("d1")
            with host.span("inner", AGENT):
                host.chat()
        assert interactions(seen) == [("run", "m-1")]
        assert facts(seen.spans()[0]) == {
            "prompt.name": name,
            "prompt.version": "unknown",
            "model": "m-1",
            "provider": "openai",
            "documents": '[{"id":"d1"}]',
        }

    def test_an_inference_alone(self, seen, host):
        """A script's call is its own answer; its model is known before it ends where it answered before."""
        host.chat("m-2026-08-01")
        host.chat("m-2026-08-01")
        assert interactions(seen) == [("chat", "m"), ("chat", "m-2026-08-01")]
        assert seen.spans() == snapshot(
            [
                {
                    "name": "chat",
                    "kind": "CLIENT",
                    "context": "1:1",
                    "parent": None,
                    "start": 0,
                    "end": 1,
                    "status": "UNSET",
                    "attributes": {
                        "gen_ai.operation.name": "chat",
                        "gen_ai.provider.name": "openai",
                        "gen_ai.request.model": "m",
                        "feedback.interaction": True,
                        "feedback.prompt.name": "chat",
                        "feedback.prompt.version": "unknown",
                        "feedback.provider": "openai",
                        "feedback.model": "m",
                        "feedback.service.name": "test",
                        "gen_ai.prompt.name": "chat",
                        "gen_ai.prompt.version": "unknown",
                        "gen_ai.response.model": "m-2026-08-01",
                    },
                    "events": [],
                    "links": [],
                },
                {
                    "name": "chat",
                    "kind": "CLIENT",
                    "context": "2:2",
                    "parent": None,
                    "start": 2,
                    "end": 3,
                    "status": "UNSET",
                    "attributes": {
                        "gen_ai.operation.name": "chat",
                        "gen_ai.provider.name": "openai",
                        "gen_ai.request.model": "m",
                        "feedback.interaction": True,
                        "feedback.prompt.name": "chat",
                        "feedback.prompt.version": "unknown",
                        "feedback.provider": "openai",
                        "feedback.model": "m-2026-08-01",
                        "feedback.service.name": "test",
                        "gen_ai.prompt.name": "chat",
                        "gen_ai.prompt.version": "unknown",
                        "gen_ai.response.model": "m-2026-08-01",
                    },
                    "events": [],
                    "links": [],
                },
            ]
        )

    def test_an_agent_without_an_inference(self, seen, host):
        """An agent that runs elsewhere answers, though nobody shows its model calls; a workflow alone may not."""
        with host.span("run", AGENT | {"gen_ai.request.model": "m"}):
            pass
        with host.span("run", WORKFLOW):
            host.retrieve("d1")
        assert interactions(seen) == [("run", "m")]

    @pytest.mark.parametrize("attributes", [EMBEDDINGS, RETRIEVAL, TOOL, None])
    def test_what_is_never_an_answer(self, seen, host, attributes):
        """Embeddings, retrieval, tools and plain work, alone."""
        with host.span(attributes=attributes):
            pass
        assert interactions(seen) == []

    def test_a_websocket_does_not_count(self, seen, host):
        """Its server span lives for many answers: each message's inference is one."""
        with host.websocket():
            host.chat("first")
            host.retrieve("d1")
            host.chat("second")
        assert interactions(seen) == [("chat", "m"), ("chat", "first")]
        assert [facts(span).get("documents") for span in seen.spans()] == [None, None, None, '[{"id":"d1"}]']

    def test_a_worker_gathers_for_the_answer_that_comes(self, seen, host):
        """What a job's span gathered before a model is called belongs to that answer, and to no later one."""
        with host.span("job", {"session.id": "c-1"}):
            host.retrieve("d1", **{"feedback.query.type": "how-to"})
            host.chat("first")
            host.chat("second")
        first, second = (facts(span) for span in seen.spans() if span["name"] == "chat")
        assert (first["documents"], first["query.type"]) == ('[{"id":"d1"}]', "how-to")
        assert "documents" not in second

    def test_an_interaction_below_a_worker(self, seen, host):
        """It takes over what the job gathered, too."""
        with host.span("job"):
            host.retrieve("d1")
            with interaction("answer", tracer_provider=seen.provider):
                host.chat()
        assert facts(seen.spans()[2])["documents"] == '[{"id":"d1"}]'


class TestFacts:
    """What is learned, from whom, and when."""

    def test_plain_spans_tell_facts(self, seen, host):
        """Whatever span of the service has the attributes: documents, conversation, query type."""
        with host.request():
            plain = {
                "gen_ai.retrieval.documents": '[{"id": "d1", "score": 0.5, "content": "secret"}]',
                "session.id": "c-1",
                "feedback.query.type": "how-to",
            }
            with host.span("look it up", plain):
                pass
            host.chat()
        server = seen.spans()[0]
        assert (facts(server)["documents"], facts(server)["query.type"]) == ('[{"id":"d1","score":0.5}]', "how-to")
        assert server["attributes"]["gen_ai.conversation.id"] == "c-1"

    def test_facts_that_come_late(self, seen, host):
        """After the answer's inference, as long as its request lasts."""
        with host.request():
            host.chat()
            host.retrieve("cited")
        assert facts(seen.spans()[0])["documents"] == '[{"id":"cited"}]'

    def test_a_tool_tells_no_documents(self, seen, host):
        """What a tool or a model call holds under that name is not what was retrieved."""
        with host.request():
            for role in (TOOL, EMBEDDINGS, CHAT):
                with host.span(attributes=role | {"gen_ai.retrieval.documents": '["no"]'}):
                    pass
        assert "documents" not in facts(seen.spans()[0])

    def test_a_span_that_says_late_what_it_is(self, seen, host):
        """Spans made by hand get their attributes after the start: an inference among them is one when it ends."""
        with host.request():
            with host.span("ask the model") as span:
                span.set_attributes(CHAT | {"gen_ai.response.model": "m-1"})
            with host.span("search") as span:
                span.set_attributes(RETRIEVAL | {"gen_ai.retrieval.documents": '["d1"]'})
        assert interactions(seen) == [("POST /ask", "m-1")]
        assert facts(seen.spans()[0])["documents"] == '[{"id":"d1"}]'

    @pytest.mark.parametrize(
        ("at_start", "at_end", "model"),
        [
            ({"gen_ai.request.model": "asked"}, {"gen_ai.response.model": "answered"}, "answered"),
            ({"gen_ai.request.model": "asked"}, {}, "asked"),
            ({}, {"gen_ai.request.model": "asked"}, "asked"),
            ({"llm.model_name": "asked"}, {"llm.model_name": "answered"}, "answered"),
            ({}, {}, None),
        ],
    )
    def test_the_model_that_answered(self, seen, host, at_start, at_end, model):
        """The response's, else the request's."""
        with host.request(), host.span("chat", {"gen_ai.operation.name": "chat"} | at_start) as span:
            span.set_attributes(at_end)
        assert interactions(seen) == [("POST /ask", model)]

    @pytest.mark.parametrize(
        ("asked", "answered"),
        [
            ({"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"}, "gen_ai.response.model"),
            ({"openinference.span.kind": "LLM", "llm.model_name": "m"}, "llm.model_name"),
        ],
    )
    def test_the_model_that_will_answer(self, seen, host, asked, answered):
        """While a stream runs, its model is the exact one that answered last for the name that was asked for."""
        for exact in ("m-1", "m-2"):
            with host.request(), host.span("chat", asked) as span:
                span.set_attribute(answered, exact)
        with host.request() as server, host.span("chat", asked):
            assert server.attributes[semconv.FEEDBACK_MODEL] == "m-2"

    def test_the_facts_of_an_ended_interaction_are_found(self, seen, host):
        """What a stream told after its handle left is there for ``record()`` in this process, documents excepted."""
        with host.request() as span:
            stream = host.start_chat()
            own = span.get_span_context()
            assert _ledger.finished_facts(own.trace_id, own.span_id)["feedback.model"] == "m"
            host.end_chat(stream, **{"gen_ai.response.id": "r-1"})
        assert _ledger.finished_facts(own.trace_id, own.span_id) == snapshot(
            {
                "feedback.prompt.name": "/ask",
                "feedback.prompt.version": "unknown",
                "feedback.provider": "openai",
                "feedback.response.id": "r-1",
                "feedback.model": "m-1",
                "feedback.service.name": "test",
            }
        )

    def test_facts_of_what_is_no_interaction(self, seen, host):
        """An inference below a request has none of its own, nor has an ended request without an answer."""
        with host.request() as span:
            stream = host.start_chat()
            own = stream.get_span_context()
            assert _ledger.finished_facts(own.trace_id, own.span_id) is None
            stream.end()
        with host.request() as span:
            own = span.get_span_context()
            assert _ledger.finished_facts(own.trace_id, own.span_id)["feedback.prompt.name"] == "/ask"
        assert _ledger.finished_facts(own.trace_id, own.span_id) is None

    def test_who_answers(self):
        """Service, namespace and environment come from the resource, by the new name and the old one."""
        for name in ("deployment.environment.name", "deployment.environment"):
            with telemetry(resource={"service.namespace": "shop", name: "prod"}) as seen:
                host = Host(seen)
                with host.request():
                    host.chat()
                found = seen.spans()[0]["attributes"]
            names = ("feedback.service.name", "feedback.service.namespace", "feedback.environment")
            assert [found[name] for name in names] == ["test", "shop", "prod"]


SYSTEM = '[{"role": "system", "parts": [{"type": "text", "content": "Be brief."}]}]'
BRIEF = PromptTemplate("x", "Be brief.").fingerprint


class TestPrompt:
    """The template of an inference: told by its span, declared, or read from the call."""

    def prompt(self, seen, at_start=None, at_end=None, *, note=None, template=None):
        """What request and inference say of the prompt."""
        host = Host(seen)
        with host.request():
            if template is not None:
                template.format()
            token = _ledger.note_call(note)
            with host.span("chat", CHAT | (at_start or {})) as span:
                span.set_attributes(at_end or {})
            _ledger.forget_call(token)
        server, chat = seen.spans()
        found = facts(server)
        published = chat["attributes"]["gen_ai.prompt.name"], chat["attributes"]["gen_ai.prompt.version"]
        return (found["prompt.name"], found["prompt.version"], found.get("prompt.fingerprint")), published

    def test_told_by_our_hook_when_the_span_has_started(self, host):
        """Where the instrumentation's wrapper is outside of ours, the call's arguments come to a running span."""
        with host.request() as server, host.span("chat", {"openinference.span.kind": "LLM"}) as span:
            assert semconv.FEEDBACK_MODEL not in server.attributes
            _processor.tell_current_call(CallNote("stored", None, BRIEF, "m"))
            assert server.attributes[semconv.FEEDBACK_MODEL] == "m"
            for attributes, prefix in ((server.attributes, "feedback"), (span.attributes, "gen_ai")):
                assert attributes[f"{prefix}.prompt.name"] == "stored"
                assert attributes[f"{prefix}.prompt.version"] == BRIEF

    def test_our_hook_knows_no_better_than_span_or_template(self, host):
        """What is told or declared stays; a call below a span that is no inference is nobody's yet."""
        with host.request() as server:
            _processor.tell_current_call(CallNote(model="too early"))
            PromptTemplate("declared", "{x}", "1").format(x=1)
            with host.span("chat", CHAT):
                _processor.tell_current_call(CallNote("other", "2", BRIEF, "other"))
            assert facts({"attributes": server.attributes}) == {
                "prompt.name": "declared",
                "prompt.version": "1",
                "prompt.fingerprint": PromptTemplate("declared", "{x}").fingerprint,
                "provider": "openai",
                "model": "m",
            }

    def test_our_hook_tells_the_call_that_is_current(self, host):
        """Of parallel calls only the last one started is the answer's: what is told of the other stays its own."""
        with host.request() as server, host.span("first", {"openinference.span.kind": "LLM"}) as first:
            with host.span("second", {"openinference.span.kind": "LLM"}):
                _processor.tell_current_call(CallNote("second", "2"))
            with trace.use_span(first):
                _processor.tell_current_call(CallNote("first", "1"))
            assert first.attributes["gen_ai.prompt.name"] == "first"
            assert server.attributes["feedback.prompt.name"] == "second"

    def test_the_model_that_the_arguments_ask_for(self, host):
        """An instrumentation that tells the model only later: the client's arguments have it at the start."""
        with host.request() as server:
            token = _ledger.note_call(CallNote(model="m"))
            with host.span("chat", {"openinference.span.kind": "LLM"}):
                assert server.attributes[semconv.FEEDBACK_MODEL] == "m"
            _ledger.forget_call(token)

    def test_nothing_is_known(self, seen):
        """The route, and a version that says so."""
        assert self.prompt(seen) == (("/ask", "unknown", None), ("/ask", "unknown"))

    def test_read_from_the_calls_arguments(self, seen):
        """The route, and the fingerprint of the system instruction."""
        assert self.prompt(seen, note=CallNote(fingerprint=BRIEF)) == (("/ask", BRIEF, BRIEF), ("/ask", BRIEF))

    def test_stored_at_the_provider(self, seen):
        """A stored prompt has a name, and perhaps a version, of its own."""
        note = CallNote("stored", "7", BRIEF)
        assert self.prompt(seen, note=note) == (("stored", "7", BRIEF), ("stored", "7"))

    def test_read_from_the_inference_at_its_start(self, seen):
        """An instrumentation with content on shows the instruction."""
        at_start = {"gen_ai.input.messages": SYSTEM}
        assert self.prompt(seen, at_start) == (("/ask", BRIEF, BRIEF), ("/ask", BRIEF))

    def test_read_from_the_inference_at_its_end(self, seen):
        """Some show it only then: the request learns it, while the inference's own attributes are written."""
        at_end = {"gen_ai.input.messages": SYSTEM}
        assert self.prompt(seen, at_end=at_end) == (("/ask", BRIEF, BRIEF), ("/ask", "unknown"))

    def test_told_by_the_inference(self, seen):
        """Its own word is left as it is, and wins over a template that was declared."""
        at_start = {"gen_ai.prompt.name": "told", "gen_ai.prompt.version": "9"}
        template = PromptTemplate("declared", "Be brief.", "1")
        assert self.prompt(seen, at_start, template=template) == (("told", "9", None), ("told", "9"))

    def test_told_without_a_version(self, seen):
        """Then the fingerprint is the version, as for a template; a declared one of that name has its own."""
        at_start = {"gen_ai.prompt.name": "told"}
        note = CallNote(fingerprint=BRIEF)
        assert self.prompt(seen, at_start, note=note) == (("told", BRIEF, BRIEF), ("told", BRIEF))

    def test_told_by_the_name_of_the_declared_one(self, seen):
        """Its version and fingerprint are the declared template's."""
        template = PromptTemplate("told", "Be brief.", "1")
        at_start = {"gen_ai.prompt.name": "told"}
        assert self.prompt(seen, at_start, template=template) == (("told", "1", BRIEF), ("told", "1"))

    def test_told_by_the_inference_at_its_end(self, seen):
        """What an instrumentation names late is what the request says in the end."""
        at_end = {"gen_ai.prompt.name": "told", "gen_ai.prompt.version": "9"}
        assert self.prompt(seen, at_end=at_end) == (("told", "9", None), ("told", "9"))

    def test_a_version_without_a_name(self, seen):
        """OpenInference tells a template's version alone: the route names it."""
        at_start = {"llm.prompt_template.version": "v2"}
        assert self.prompt(seen, at_start) == (("/ask", "v2", None), ("/ask", "v2"))

    def test_declared(self, seen):
        """A template that was rendered before is the call's, whatever its arguments are."""
        template = PromptTemplate("declared", "Be brief.", "1")
        note = CallNote(fingerprint="0" * 12)
        assert self.prompt(seen, note=note, template=template) == (("declared", "1", BRIEF), ("declared", "1"))

    def test_a_prompt_that_never_stays_the_same(self, host, caplog):
        """A system instruction with the date in it would make labels without end: from 50 on its version varies."""
        versions = []
        for number in range(_ledger.MAX_VERSIONS + 2):
            with host.request() as span:
                token = _ledger.note_call(CallNote(fingerprint=f"{number:012}"))
                host.chat()
                _ledger.forget_call(token)
                versions.append(
                    (span.attributes["feedback.prompt.version"], span.attributes["feedback.prompt.fingerprint"])
                )
        assert versions == [
            (f"{number:012}" if number < _ledger.MAX_VERSIONS else "varies", f"{number:012}")
            for number in range(_ledger.MAX_VERSIONS + 2)
        ]
        with host.request() as span:
            token = _ledger.note_call(CallNote(fingerprint=f"{0:012}"))
            host.chat()
            _ledger.forget_call(token)
            assert span.attributes["feedback.prompt.version"] == f"{0:012}", "a known one stays known"
        (warning,) = caplog.records
        assert "PromptTemplate" in warning.getMessage()

    def test_prompts_without_end(self, host):
        """Names that never stay the same don't fill the memory: beyond the first ones the version varies."""
        for number in range(_ledger.MAX_VERSIONED_NAMES):
            assert _ledger.ledger.version(f"n{number}", "f") == "f"
        assert _ledger.ledger.version("one more", "f") == "varies"
        assert _ledger.ledger.version("n0", "f") == "f"
