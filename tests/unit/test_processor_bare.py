"""Which span is the interaction where there is neither a request nor ``interaction()``: rule 3 of the design."""

import pytest
from inline_snapshot import snapshot
from tests.unit.spans_of_a_host import AGENT, EMBEDDINGS, RETRIEVAL, TOOL, WORKFLOW, facts, interactions

from otel_feedback import interaction


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
