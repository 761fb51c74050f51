"""``interaction()`` as a context manager: the span that it opens, what it takes and records, and its handle."""

import json
import re
import uuid
from pathlib import Path
from unittest import mock

import pytest
from inline_snapshot import snapshot
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from tests.unit.interaction_parts import PSEUDONYM_KEYS, attributes_of, chat
from tests.unit.spans_of_a_host import CHAT, lenient

from otel_feedback import PromptTemplate, _runtime, interaction, semconv
from otel_feedback._dialects import MAX_DOCUMENTS
from otel_feedback.testing import Telemetry, telemetry


def test_the_page_s_example_runs():
    """What docs/interaction.md shows is so: two interactions with all that was said, and a vote on the second."""
    page = Path(__file__).parent.parent.parent / "docs" / "interaction.md"
    (example,) = re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL)
    with telemetry() as seen:
        with mock.patch.object(trace, "get_tracer_provider", return_value=seen.provider):
            exec(compile(example, str(page), "exec"), {})  # noqa: S102 - our own page
        first, second, vote = seen.spans()
    assert vote["links"] == [second["context"]]
    for span in (first, second):
        assert span["attributes"]["feedback.prompt.name"] == "brief"
        assert span["attributes"]["feedback.model"] == "model-1-2026-08-01"
        assert json.loads(span["attributes"]["feedback.documents"])[1] == {"id": "reference/12", "score": 0.41}


def test_an_interaction_is_one_span(seen):
    """Everything that was said and seen inside stands on one INTERNAL span, and the inference has its prompt's name."""
    with interaction(
        "answer", query_type="how-to", conversation_id="c-1", attributes={"tier": "gold"}, tracer_provider=seen.provider
    ) as answer:
        answer.documents([{"id": "d1", "score": 0.9}, "d2"])
        PromptTemplate("brief", "Be brief. {question}", "3").format(question="why?")
        chat(seen, **{"gen_ai.response.id": "r-1"})
    assert seen.spans() == snapshot(
        [
            {
                "name": "invoke_workflow answer",
                "kind": "INTERNAL",
                "context": "1:1",
                "parent": None,
                "start": 0,
                "end": 3,
                "status": "UNSET",
                "attributes": {
                    "gen_ai.operation.name": "invoke_workflow",
                    "gen_ai.workflow.name": "answer",
                    "tier": "gold",
                    "feedback.interaction": True,
                    "feedback.prompt.name": "brief",
                    "feedback.prompt.version": "3",
                    "feedback.prompt.fingerprint": "1137a267ce41",
                    "feedback.response.id": "r-1",
                    "feedback.provider": "openai",
                    "feedback.model": "m-1",
                    "feedback.query.type": "how-to",
                    "gen_ai.conversation.id": "c-1",
                    "feedback.service.name": "test",
                    "feedback.documents": '[{"id":"d1","score":0.9},{"id":"d2"}]',
                },
                "events": [],
                "links": [],
            },
            {
                "name": "chat m",
                "kind": "INTERNAL",
                "context": "1:2",
                "parent": "1:1",
                "start": 1,
                "end": 2,
                "status": "UNSET",
                "attributes": {
                    "gen_ai.operation.name": "chat",
                    "gen_ai.provider.name": "openai",
                    "gen_ai.request.model": "m",
                    "gen_ai.response.id": "r-1",
                    "gen_ai.prompt.name": "brief",
                    "gen_ai.prompt.version": "3",
                    "gen_ai.response.model": "m-1",
                },
                "events": [],
                "links": [],
            },
        ]
    )


def test_a_pseudonym_stands_for_the_user():
    """With a key the user is a keyed hash, without one nothing; whatever type the id has."""
    with telemetry(pseudonym_keys=PSEUDONYM_KEYS) as seen:
        for user in ("ada", 7, "7", ""):
            with interaction("answer", user=user, tracer_provider=seen.provider):
                pass
        ada, seven, same, nobody = (span["attributes"].get(semconv.USER_HASH) for span in seen.spans())
    assert ada.startswith("p1:")
    assert len(ada) == len("p1:") + 32
    assert seven == same != ada
    assert nobody is None
    with telemetry() as seen:
        with interaction("answer", user="ada", tracer_provider=seen.provider):
            pass
        assert "ada" not in repr(seen.spans())
        assert attributes_of(seen, semconv.USER_HASH) == [{}]


@pytest.mark.parametrize("capture", [True, False])
def test_question_and_answer_are_content(capture):
    """They are recorded, as messages of the GenAI conventions, only where content is captured."""
    with telemetry(capture_content=capture) as seen:
        with interaction("answer", input="Why\ud800?", tracer_provider=seen.provider) as answer:
            answer.documents([{"id": "d1", "content": "Because."}])
            answer.output("So.", model="m-1", provider="local", response_id="r-1")
        names = ("gen_ai.input.messages", "gen_ai.output.messages", "feedback.documents")
        found = attributes_of(seen, *names, "feedback.model", "feedback.provider", "feedback.response.id")
    facts = {"feedback.model": "m-1", "feedback.provider": "local", "feedback.response.id": "r-1"}
    if capture:
        assert found == [
            facts
            | {
                "gen_ai.input.messages": ('[{"role": "user", "parts": [{"type": "text", "content": "Why\\ud800?"}]}]'),
                "gen_ai.output.messages": '[{"role": "assistant", "parts": [{"type": "text", "content": "So."}]}]',
                "feedback.documents": '[{"id":"d1","content":"Because."}]',
            }
        ]
    else:
        assert found == [facts | {"feedback.documents": '[{"id":"d1"}]'}]


def test_what_the_service_says_wins(seen):
    """What ``output()`` names stands, whatever an instrumentation saw; what it doesn't name is taken from there."""
    with interaction("answer", tracer_provider=seen.provider) as answer:
        chat(seen)
        answer.output(model="fine-tuned")
    assert attributes_of(seen, "feedback.model", "feedback.provider")[0] == {
        "feedback.model": "fine-tuned",
        "feedback.provider": "openai",
    }


def test_documents_come_in_any_form_and_in_steps(seen):
    """Mappings, ids and pairs, said once or bit by bit; the first of an id stays."""
    with interaction("answer", tracer_provider=seen.provider) as answer:
        answer.documents([{"id": "a", "score": 0.5}, ("b", 1), "c"])
        answer.documents(document for document in ["a", uuid.UUID(int=0), 4])
        answer.documents("e")
        answer.documents([])
    assert attributes_of(seen, semconv.FEEDBACK_DOCUMENTS) == [
        {
            semconv.FEEDBACK_DOCUMENTS: (
                '[{"id":"a","score":0.5},{"id":"b","score":1.0},{"id":"c"},'
                '{"id":"00000000-0000-0000-0000-000000000000"},{"id":"4"},{"id":"e"}]'
            )
        }
    ]


def test_documents_have_an_end(seen):
    """Said bit by bit, too, so many are kept of one answer, the first ones."""
    with interaction("answer", tracer_provider=seen.provider) as answer:
        for number in range(200):
            answer.documents([f"{number}", "again"])
    text = seen.spans()[0]["attributes"][semconv.FEEDBACK_DOCUMENTS]
    assert [each["id"] for each in json.loads(text)] == ["0", "again", *map(str, range(1, MAX_DOCUMENTS - 1))]


def test_a_name_that_is_no_text_is_no_trouble():
    """It is never raised in the service, and no exporter is given what UTF-8 cannot hold."""

    class Wordless:
        def __str__(self):
            raise RuntimeError

    with telemetry() as seen, lenient():
        for name in (Wordless(), 7, "cut \ud83d"):
            with interaction(name, tracer_provider=seen.provider):
                pass
        names = [span["name"] for span in seen.spans()]
    assert names == ["invoke_workflow unknown", "invoke_workflow 7", "invoke_workflow cut \ufffd"]


def test_values_of_any_type_become_text(seen):
    """A service has numbers and UUIDs for ids: an attribute and a handle hold text that UTF-8 can hold."""
    with interaction("answer", query_type=3, conversation_id=uuid.UUID(int=1), tracer_provider=seen.provider) as answer:
        answer.output(7, model="half \ud83d", provider="", response_id=type("Empty", (), {"__str__": lambda _: ""})())
    assert attributes_of(seen, semconv.FEEDBACK_QUERY_TYPE, semconv.GEN_AI_CONVERSATION_ID, "feedback.model") == [
        {
            semconv.FEEDBACK_QUERY_TYPE: "3",
            semconv.GEN_AI_CONVERSATION_ID: str(uuid.UUID(int=1)),
            "feedback.model": "half \ufffd",
        }
    ]


class TestHandle:
    """The reference that the user's page gets."""

    def test_it_points_at_the_interaction_span(self, seen):
        """It decodes to the ids of the span and the facts that were known when it was made."""
        with interaction("answer", query_type="how-to", tracer_provider=seen.provider) as answer:
            before = answer.handle
            PromptTemplate("brief", "Be brief.", "3").format()
            chat(seen)
            after = answer.handle
        span, _ = seen.spans()
        read = _runtime.codec().read(after)
        assert (f"{read.trace_id:x}:{read.span_id:x}", read.sampled) == (span["context"], True)
        assert read.facts == snapshot(
            {
                "feedback.service.name": "test",
                "feedback.prompt.name": "brief",
                "feedback.prompt.version": "3",
                "feedback.prompt.fingerprint": "213c22ed7234",
                "feedback.model": "m-1",
                "feedback.provider": "openai",
                "feedback.query.type": "how-to",
            }
        )
        assert _runtime.codec().read(before).facts == snapshot(
            {
                "feedback.service.name": "test",
                "feedback.prompt.name": "answer",
                "feedback.prompt.version": "unknown",
                "feedback.query.type": "how-to",
            }
        )

    def test_it_can_be_made_afterwards(self, seen):
        """Behind the block it is still there, with all that was learned inside."""
        with interaction("answer", tracer_provider=seen.provider) as answer:
            chat(seen)
        read = _runtime.codec().read(answer.handle)
        assert (read.facts["feedback.prompt.name"], read.facts["feedback.model"]) == ("answer", "m-1")
        assert f"{read.trace_id:x}:{read.span_id:x}" == seen.spans()[0]["context"]

    def test_it_guesses_the_exact_model_of_a_stream(self, seen):
        """While a model is still answering, it is the one that answered for this name before."""
        with interaction("answer", tracer_provider=seen.provider):
            chat(seen, "m-2026-08-01")
        with interaction("answer", tracer_provider=seen.provider) as answer:
            span = seen.provider.get_tracer("host").start_span("chat m", attributes=CHAT)
            assert _runtime.codec().read(answer.handle).facts["feedback.model"] == "m-2026-08-01"
            span.end()

    def test_one_that_cannot_be_made(self, monkeypatch):
        """A codec that fails is ours to bear: the service gets no handle and goes on."""
        with telemetry() as seen, lenient(), interaction("answer", tracer_provider=seen.provider) as answer:
            monkeypatch.setattr(_runtime.codec(), "issue", None)
            assert answer.handle is None

    def test_before_it_is_opened_there_is_none(self, seen):
        """Nor is there anything to say to it, or to close."""
        answer = interaction("answer", tracer_provider=seen.provider)
        answer.__exit__(None, None, None)
        answer.documents(["a"])
        answer.output("text", model="m")
        assert answer.handle is None

    def test_a_dropped_interaction_has_one_too(self):
        """Where the service's sampler drops it, it can be voted on; the handle says so, and by whom it was given."""
        with telemetry(sampler=ALWAYS_OFF) as seen:
            with interaction("answer", tracer_provider=seen.provider) as answer:
                chat(seen)
                read = _runtime.codec().read(answer.handle)
            assert seen.spans() == []
        assert not read.sampled
        assert read.facts["feedback.model"] == "m-1"

    def test_a_dropped_interaction_without_our_sampler(self):
        """Even where nothing of ours is in the provider: the span is not recorded, and the service is known."""
        provider = TracerProvider(sampler=ALWAYS_OFF, resource=Telemetry().provider.resource, shutdown_on_exit=False)
        with telemetry():
            with interaction("answer", tracer_provider=provider) as answer:
                context = trace.get_current_span().get_span_context()
            read = _runtime.codec().read(answer.handle)
        assert (read.trace_id, read.span_id, read.sampled) == (context.trace_id, context.span_id, False)
        assert read.facts == {
            "feedback.prompt.name": "answer",
            "feedback.prompt.version": "unknown",
            "feedback.service.name": "test",
        }
