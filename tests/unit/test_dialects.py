"""What the attributes of the three instrumentation families mean, and that garbage in them means nothing."""

import json
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inline_snapshot import snapshot

from otel_feedback import _dialects, _messages
from otel_feedback._dialects import MAX_DOCUMENTS, Role

OFFICIAL_START = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o-mini",
    "server.address": "api.openai.com",
}
OFFICIAL_END = {
    **OFFICIAL_START,
    "gen_ai.response.model": "gpt-4o-mini-2024-07-18",
    "gen_ai.response.id": "chatcmpl-1",
    "gen_ai.usage.input_tokens": 12,
    "gen_ai.response.finish_reasons": ("stop",),
}
OPENLLMETRY_END = {
    "gen_ai.operation.name": "chat",
    "llm.request.type": "chat",
    "gen_ai.system": "openai",
    "gen_ai.request.model": "gpt-4o-mini",
    "gen_ai.response.model": "gpt-4o-mini-2024-07-18",
    "gen_ai.response.id": "chatcmpl-1",
    "traceloop.association.properties.session_id": "s-1",
    "traceloop.prompt.key": "answer",
    "traceloop.prompt.version": "3",
}
OPENINFERENCE_END = {
    "openinference.span.kind": "LLM",
    "llm.system": "openai",
    "llm.model_name": "gpt-4o-mini-2024-07-18",
    "llm.input_messages.0.message.role": "system",
    "llm.input_messages.0.message.content": "Be brief.",
    "session.id": "s-1",
    "llm.prompt_template.version": "v2",
}


@pytest.mark.parametrize(
    ("attributes", "role"),
    [
        (OFFICIAL_START, Role.INFERENCE),
        (OPENLLMETRY_END, Role.INFERENCE),
        (OPENINFERENCE_END, Role.INFERENCE),
        ({"gen_ai.operation.name": "text_completion"}, Role.INFERENCE),
        ({"gen_ai.operation.name": "generate_content"}, Role.INFERENCE),
        ({"gen_ai.operation.name": "embeddings"}, Role.EMBEDDING),
        ({"gen_ai.operation.name": "retrieval"}, Role.RETRIEVAL),
        ({"gen_ai.operation.name": "execute_tool"}, Role.TOOL),
        ({"gen_ai.operation.name": "invoke_agent"}, Role.AGENT),
        ({"gen_ai.operation.name": "invoke_workflow"}, Role.WORKFLOW),
        ({"gen_ai.operation.name": "create_agent"}, Role.OTHER),
        ({"openinference.span.kind": "CHAIN"}, Role.WORKFLOW),
        ({"openinference.span.kind": "AGENT"}, Role.AGENT),
        ({"openinference.span.kind": "TOOL"}, Role.TOOL),
        ({"openinference.span.kind": "RETRIEVER"}, Role.RETRIEVAL),
        ({"openinference.span.kind": "RERANKER"}, Role.RETRIEVAL),
        ({"openinference.span.kind": "EMBEDDING"}, Role.EMBEDDING),
        ({"openinference.span.kind": "EVALUATOR"}, Role.OTHER),
        ({"openinference.span.kind": "GUARDRAIL"}, Role.OTHER),
        ({"traceloop.span.kind": "workflow"}, Role.WORKFLOW),
        ({"traceloop.span.kind": "agent"}, Role.AGENT),
        ({"traceloop.span.kind": "tool"}, Role.TOOL),
        ({"traceloop.span.kind": "task"}, Role.OTHER),
        ({"llm.request.type": "completion"}, Role.INFERENCE),
        ({"llm.request.type": "embedding"}, Role.EMBEDDING),
        ({"llm.request.type": "rerank"}, Role.OTHER),
        ({"http.request.method": "GET"}, Role.OTHER),
        ({}, Role.OTHER),
        # What nobody should send tells nothing.
        ({"gen_ai.operation.name": 7}, Role.OTHER),
        ({"gen_ai.operation.name": ("chat",)}, Role.OTHER),
        # The first convention in the table decides.
        ({"openinference.span.kind": "LLM", "gen_ai.operation.name": "execute_tool"}, Role.TOOL),
    ],
)
def test_a_spans_role_in_each_dialect(attributes, role):
    """Known operations have their role; new and odd ones have none, so they make no interaction by surprise."""
    assert _dialects.role_of(attributes) is role


def test_only_workflow_agent_and_inference_answer():
    """Embeddings, retrieval and tools give facts, never an interaction."""
    assert [role.name for role in Role if role.answers] == ["WORKFLOW", "AGENT", "INFERENCE"]


@pytest.mark.parametrize(
    ("attributes", "named"),
    [
        (OFFICIAL_START, True),
        ({"openinference.span.kind": "CHAIN"}, True),
        ({"traceloop.span.kind": "task"}, True),
        ({"db.system.name": "sqlite"}, False),
        ({}, False),
        (None, False),
    ],
)
def test_the_sampler_can_tell_who_follows_a_convention(attributes, named):
    """At the start of a span it is enough that one of the conventions' own attributes is there."""
    assert _dialects.names_a_role(attributes) is named


def test_facts_of_the_three_families():
    """Model, provider, response, conversation and prompt come out under our names, whoever told them."""
    assert [_dialects.facts_of(each) for each in (OFFICIAL_END, OPENLLMETRY_END, OPENINFERENCE_END)] == snapshot(
        [
            {
                "feedback.provider": "openai",
                "gen_ai.request.model": "gpt-4o-mini",
                "feedback.model": "gpt-4o-mini-2024-07-18",
                "feedback.response.id": "chatcmpl-1",
            },
            {
                "feedback.provider": "openai",
                "gen_ai.request.model": "gpt-4o-mini",
                "feedback.model": "gpt-4o-mini-2024-07-18",
                "feedback.response.id": "chatcmpl-1",
                "gen_ai.conversation.id": "s-1",
                "feedback.prompt.name": "answer",
                "feedback.prompt.version": "3",
            },
            {
                "feedback.provider": "openai",
                "feedback.model": "gpt-4o-mini-2024-07-18",
                "gen_ai.conversation.id": "s-1",
                "feedback.prompt.version": "v2",
            },
        ]
    )


@pytest.mark.parametrize("in_order", [True, False])
def test_the_current_name_of_a_fact_beats_older_ones(in_order):
    """Where a span tells one fact twice, the name that ranks first wins, in whatever order they were set."""
    told = {
        "gen_ai.system": "openai",
        "gen_ai.provider.name": "azure.ai.openai",
        "feedback.model": "what we wrote at the start",
        "gen_ai.response.model": "gpt-4o",
        "llm.model_name": "older",
        "traceloop.prompt.key": "older",
        "gen_ai.prompt.name": "answer",
    }
    if not in_order:
        told = dict(reversed(told.items()))
    assert _dialects.facts_of(told) == {
        "feedback.provider": "azure.ai.openai",
        "feedback.model": "gpt-4o",
        "feedback.prompt.name": "answer",
    }


def test_most_spans_are_passed_over():
    """A span without any attribute of the table is told at once; one with any of them is read."""
    assert _dialects.tells_nothing({"http.request.method": "GET", "db.system.name": "sqlite"})
    for name in (*_dialects.FACT_ATTRIBUTES, "gen_ai.retrieval.documents", "openinference.span.kind"):
        assert not _dialects.tells_nothing({name: "x"})


def test_empty_and_odd_facts_tell_nothing():
    """An empty string is no model, a number is no provider, a list is no conversation."""
    assert _dialects.facts_of({"gen_ai.request.model": "", "gen_ai.provider.name": 3, "session.id": ("a",)}) == {}


@pytest.mark.parametrize(
    ("attributes", "name"),
    [
        ({"gen_ai.workflow.name": "triage", "gen_ai.operation.name": "invoke_workflow"}, "triage"),
        ({"gen_ai.agent.name": "Planner", "gen_ai.operation.name": "invoke_agent"}, "Planner"),
        ({"traceloop.entity.name": "joke", "traceloop.span.kind": "workflow"}, "joke"),
        ({"gen_ai.operation.name": "chat"}, "chat"),
        ({"gen_ai.workflow.name": 3, "gen_ai.agent.name": ""}, None),
        ({}, None),
    ],
)
def test_what_ran_has_a_name(attributes, name):
    """A workflow or agent is called by its own name, an inference by its operation."""
    assert _dialects.name_of(attributes) == name


class TestDocuments:
    """Retrieved documents, in every form that somebody writes them."""

    @pytest.mark.parametrize(
        "attributes",
        [
            {"gen_ai.retrieval.documents": '[{"id": "a", "score": 0.5}, {"id": "b"}]'},
            {"gen_ai.retrieval.documents": ({"id": "a", "score": 0.5}, {"id": "b"})},
            {"gen_ai.retrieval.documents": [("a", 0.5), "b"]},
            {"feedback.documents": '[["a", 0.5], "b"]'},
            {
                "openinference.span.kind": "RETRIEVER",
                "retrieval.documents.1.document.id": "b",
                "retrieval.documents.0.document.id": "a",
                "retrieval.documents.0.document.score": 0.5,
                "retrieval.documents.0.document.metadata": "{}",
            },
        ],
    )
    def test_each_form_says_the_same(self, attributes):
        """A JSON string, mappings, pairs, ids and OpenInference's flat keys are one list of documents."""
        assert _dialects.documents_of(attributes) == [{"id": "a", "score": 0.5}, {"id": "b"}]

    @pytest.mark.parametrize("key", ["content", "text", "page_content"])
    def test_the_text_of_a_document(self, key):
        """Whatever its usual name, the text is under ``content``."""
        assert _dialects.normal_documents([{"id": 1, key: "Zen"}]) == [{"id": "1", "content": "Zen"}]

    def test_ids_of_other_types(self):
        """Databases have whole numbers and UUIDs for ids; both are written as text."""
        one = uuid.UUID(int=1)
        assert _dialects.normal_documents([7, one, (8, 1), {"document.id": one}]) == [
            {"id": "7"},
            {"id": str(one)},
            {"id": "8", "score": 1.0},
            {"id": str(one)},
        ]

    @pytest.mark.parametrize(
        "score",
        [float("nan"), float("inf"), True, "high", None, 10**400, b"1", object()],
        ids=lambda value: str(value)[:4],
    )
    def test_a_score_that_is_no_number_is_none(self, score):
        """JSON has no NaN, and an endless number is no score: the document stays."""
        assert _dialects.normal_documents([("a", score)]) == [{"id": "a"}]

    def test_a_score_of_an_array_library(self):
        """Search libraries give scores of their own number types, which count as Python's do."""
        numpy = pytest.importorskip("numpy")
        assert _dialects.normal_documents([("a", numpy.float32(0.5)), (numpy.int64(3), numpy.float64(1))]) == [
            {"id": "a", "score": 0.5},
            {"id": "3", "score": 1.0},
        ]

    @pytest.mark.parametrize(
        "document",
        [None, True, 1.5, "", {}, {"id": None}, {"id": True}, [], ("a", 1, 2), {"id": []}, 10**5000],
        ids=lambda value: type(value).__name__,
    )
    def test_what_has_no_id_is_left_out(self, document):
        """The rest of the list stays."""
        assert _dialects.normal_documents([document, "b"]) == [{"id": "b"}]

    @pytest.mark.parametrize("given", ["a", {"id": "a"}])
    def test_one_document_alone(self, given):
        """A single id or mapping is one document, not a list of its letters or keys."""
        assert _dialects.normal_documents(given) == [{"id": "a"}]

    def test_there_is_an_end(self):
        """Only so many are kept of one answer."""
        assert len(_dialects.normal_documents(map(str, range(1000)))) == MAX_DOCUMENTS

    @pytest.mark.parametrize("value", ["", "no json", "{}", '"a"', "7", "[" * 10_000, 3, "[1e999]", "[" + "9" * 5000])
    def test_what_cannot_be_read_is_no_document(self, value):
        """Somebody else's attribute may hold anything."""
        assert _dialects.documents_of({"gen_ai.retrieval.documents": value}) == []

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.uuids(),
            lambda inner: (
                st.lists(inner)
                | st.tuples(inner, inner)
                | st.dictionaries(st.sampled_from(["id", "score", "content", "document.id"]) | st.text(), inner)
            ),
        )
    )
    def test_garbage_never_raises(self, value):
        """Whatever an attribute holds, what comes out is documents that JSON can hold."""
        for name in ("gen_ai.retrieval.documents", "feedback.documents"):
            found = _dialects.documents_of({name: value})
            assert all(isinstance(each["id"], str) for each in found)
            json.dumps(found, allow_nan=False)

    @given(
        st.dictionaries(
            st.builds(
                "retrieval.documents.{}.document.{}".format,
                st.integers() | st.text(max_size=3) | st.sampled_from(["٣", "9" * 5000]),
                st.sampled_from(["id", "score", "content", "metadata", ""]),
            ),
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        )
    )
    def test_flat_garbage_never_raises(self, attributes):
        """OpenInference's keys may be numbered by anything."""
        kind = {"openinference.span.kind": "RETRIEVER"}
        json.dumps(_dialects.documents_of({**attributes, **kind}), allow_nan=False)


PARTS = [{"type": "text", "content": "Be brief."}]


@pytest.mark.parametrize(
    ("attributes", "system"),
    [
        ({"gen_ai.system_instructions": json.dumps(PARTS)}, "Be brief."),
        ({"gen_ai.system_instructions": "Be brief."}, "Be brief."),
        ({"gen_ai.input.messages": json.dumps([{"role": "system", "parts": PARTS}])}, "Be brief."),
        ({"gen_ai.input.messages": json.dumps([{"role": "developer", "content": "Be brief."}])}, "Be brief."),
        (
            {"gen_ai.input.messages": json.dumps([{"role": "user", "parts": PARTS}, {"role": "system", "parts": []}])},
            None,
        ),
        ({"gen_ai.prompt.0.role": "system", "gen_ai.prompt.0.content": "Be brief."}, "Be brief."),
        ({"gen_ai.prompt.0.role": "user", "gen_ai.prompt.0.content": "Hi"}, None),
        (OPENINFERENCE_END, "Be brief."),
        ({"gen_ai.input.messages": "no json"}, None),
        ({"gen_ai.input.messages": "{}"}, None),
        ({"gen_ai.input.messages": "[3, null]"}, None),
        ({"gen_ai.input.messages": "[" * 10_000}, None),
        ({"gen_ai.system_instructions": 3}, None),
        ({}, None),
    ],
)
def test_the_system_instruction_in_each_dialect(attributes, system):
    """Where an instrumentation recorded it, the text is found; else there is none."""
    assert _messages.system_of(attributes) == system


ASKED = {"role": "user", "parts": [{"type": "text", "content": "Why?"}]}
TOLD = {"role": "assistant", "content": "So."}


@pytest.mark.parametrize(
    ("attributes", "question"),
    [
        ({"gen_ai.input.messages": json.dumps([TOLD, ASKED])}, "Why?"),
        ({"gen_ai.input.messages": json.dumps([ASKED, TOLD])}, None),
        ({"gen_ai.prompt.0.role": "user", "gen_ai.prompt.0.content": "Why?"}, "Why?"),
        ({"gen_ai.prompt.0.role": "user", "gen_ai.prompt.0.content": "Why?", "gen_ai.prompt.1.role": "tool"}, None),
        ({"gen_ai.prompt.0.role": "user"}, None),
        (
            OPENINFERENCE_END
            | {"llm.input_messages.1.message.role": "user", "llm.input_messages.1.message.content": "Hi"},
            "Hi",
        ),
        (OPENINFERENCE_END, None),
        ({"gen_ai.input.messages": "no json"}, None),
        ({"gen_ai.input.messages": "[]"}, None),
        ({"gen_ai.input.messages": "[3]"}, None),
        ({"gen_ai.input.messages": "[" * 10_000}, None),
        ({"gen_ai.input.messages": 3}, None),
        ({}, None),
    ],
)
def test_the_question_in_each_dialect(attributes, question):
    """The last message, where it is the user's: after an answer or a tool's result it was asked before."""
    assert _messages.question_of(attributes) == question
    assert _messages.may_ask(attributes) or not attributes


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("a", "a"),
        ("", None),
        ([{"type": "text", "text": "a"}, {"type": "text", "content": "b"}, "c", {"image": 1}, 3], "a\nb\nc"),
        ([], None),
        (None, None),
        ({"text": "a"}, None),
    ],
)
def test_the_text_of_a_message(content, text):
    """A string, or the texts among its parts."""
    assert _messages.text_of(content) == text


@given(
    st.dictionaries(
        st.sampled_from(
            [
                "gen_ai.system_instructions",
                "gen_ai.input.messages",
                "gen_ai.prompt.0.content",
                "gen_ai.prompt.0.role",
                "gen_ai.operation.name",
                "openinference.span.kind",
                *_dialects.FACT_ATTRIBUTES,
            ]
        ),
        st.text()
        | st.integers()
        | st.booleans()
        | st.lists(st.text())
        | st.recursive(st.none() | st.text(), st.lists).map(json.dumps),
    )
)
def test_garbage_in_any_attribute_never_raises(attributes):
    """Roles, names, facts and instructions are read from whatever is there."""
    assert _dialects.role_of(attributes) in Role
    assert all(isinstance(fact, str) and fact for fact in _dialects.facts_of(attributes).values())
    assert isinstance(_messages.system_of(attributes), str | None)
    assert isinstance(_dialects.name_of(attributes), str | None)
