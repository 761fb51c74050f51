"""Which facts an interaction gets: what spans tell, when they tell it, and which prompt an inference had."""

import pytest
from inline_snapshot import snapshot
from opentelemetry import trace
from tests.unit.spans_of_a_host import CHAT, EMBEDDINGS, RETRIEVAL, TOOL, Host, facts, interactions

from otel_feedback import PromptTemplate, _ledger, _processor, semconv
from otel_feedback._facts import CallNote
from otel_feedback.testing import telemetry


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
