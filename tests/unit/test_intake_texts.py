"""Question, answer and system instruction of a span, in every way that the three families record them."""

import json

import httpx
import pytest
from openai import OpenAI
from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor
from opentelemetry.util.genai.environment_variables import OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT
from tests.unit.intake_parts import PARENT, SPAN, STARTED, TRACE, messages, parts_of, read, read_records, read_sdk

from otel_feedback.intake import TextRow
from otel_feedback.intake.texts import MAX_TEXT, Message, texts_of

Q, A, S = "What is it?", "It is this.", "Be brief."
CHAT = {"gen_ai.operation.name": "chat"}
ANSWER = {
    "id": "r-1",
    "object": "chat.completion",
    "created": 1,
    "model": "m-1",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": A}}],
}
SENT = (("system", S), ("user", "Hello?"), ("assistant", "Hello."), ("user", Q), ("tool", "result"))
OPENLLMETRY = {
    **CHAT,
    **{f"gen_ai.prompt.{index}.role": role for index, (role, _) in enumerate(SENT)},
    **{f"gen_ai.prompt.{index}.content": text for index, (_, text) in enumerate(SENT)},
    "gen_ai.prompt.name": "qa",
    "gen_ai.completion.0.role": "assistant",
    "gen_ai.completion.0.content": A,
}
OPENINFERENCE = {
    "openinference.span.kind": "LLM",
    "input.value": "the whole request",
    "output.value": "the whole response",
    **{f"llm.input_messages.{index}.message.role": role for index, (role, _) in enumerate(SENT)},
    **{f"llm.input_messages.{index}.message.content": text for index, (_, text) in enumerate(SENT)},
    "llm.output_messages.0.message.role": "assistant",
    "llm.output_messages.0.message.content": A,
}
OFFICIAL = {
    **CHAT,
    "gen_ai.system_instructions": json.dumps(parts_of(S)),
    "gen_ai.input.messages": messages(*SENT[1:]),
    "gen_ai.output.messages": messages(("assistant", A)),
}


def told(attributes, events=()):
    """Question, answer, system."""
    return texts_of(attributes, events)[:3]


@pytest.fixture
def official(seen, monkeypatch):
    """The official OpenAI instrumentation, with content on its spans."""
    monkeypatch.setenv(OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT, "span_only")
    instrumentor = OpenAIInstrumentor()
    instrumentor.instrument(tracer_provider=seen.provider, skip_dep_check=True)
    yield seen
    instrumentor.uninstrument()


def test_a_real_call_through_the_official_instrumentation(official):
    """As its span arrives: over the SDK, its exporter and the wire."""
    http = httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(200, json=ANSWER)))
    client = OpenAI(api_key="x", base_url="http://provider/v1", http_client=http)
    sent = [{"role": "system", "content": S}, {"role": "user", "content": Q}]
    client.chat.completions.create(model="m", messages=sent)
    batch = read_sdk(official.exporter.get_finished_spans())
    [row] = batch.texts
    [answer] = batch.interactions
    assert row == TextRow(answer.trace_id, answer.span_id, "", STARTED, Q, A, S, "span")
    assert (answer.model, answer.provider, answer.response_id) == ("m-1", "openai", "r-1")


@pytest.mark.parametrize("attributes", [OFFICIAL, OPENLLMETRY, OPENINFERENCE])
def test_the_families_tell_the_same(attributes):
    """The last message of a user, the answer, the instruction; and what was sent, in order."""
    assert told(attributes) == (Q, A, S)
    assert texts_of(attributes).messages[-4:] == tuple(Message(*pair) for pair in SENT[1:])
    [row] = read({"attributes": attributes, "parent_id": PARENT}).texts
    assert row == TextRow(TRACE, SPAN, PARENT, STARTED, Q, A, S, "span")


OLD_EVENTS = [
    ("gen_ai.system.message", {"content": S}),
    ("gen_ai.user.message", {"content": Q, "role": "user"}),
    ("gen_ai.choice", {"index": 0, "message": json.dumps({"role": "assistant", "content": A})}),
]
PACKED_EVENTS = [
    ("gen_ai.system.message", {"gen_ai.event.content": json.dumps({"content": S})}),
    ("gen_ai.user.message", {"gen_ai.event.content": json.dumps({"content": parts_of(Q)})}),
    ("gen_ai.choice", {"gen_ai.event.content": json.dumps({"message": {"content": A}})}),
]
OLDEST_EVENTS = [
    ("gen_ai.content.prompt", {"gen_ai.prompt": messages(("system", S), ("user", Q))}),
    ("gen_ai.content.completion", {"gen_ai.completion": messages(("assistant", A))}),
]
DETAILS = [
    (
        "gen_ai.client.inference.operation.details",
        {
            "gen_ai.input.messages": messages(("system", S), ("user", Q)),
            "gen_ai.output.messages": messages(("assistant", A)),
        },
    )
]


@pytest.mark.parametrize("events", [OLD_EVENTS, PACKED_EVENTS, OLDEST_EVENTS, DETAILS])
def test_events_of_a_span_tell_it_too(events):
    """In the forms that the conventions had, one after the other."""
    [row] = read({"attributes": CHAT, "events": events}).texts
    assert row[4:7] == (Q, A, S)


def test_log_records_tell_it_too():
    """One row of all records of one span; what isn't content is dropped."""
    bodies = [
        (name, {}, {**values, "message": {"content": A}} if "message" in values else values)
        for name, values in OLD_EVENTS
    ]
    batch = read_records(*bodies, ("http.request", {}, "other"), ("", {"event.name": "gen_ai.user.message"}, Q))
    assert batch.texts == [TextRow(TRACE, SPAN, "", STARTED, Q, A, S, "log")]
    assert batch.telling == {TRACE}
    assert (batch.rejected, batch.chunk, batch.scopes) == (0, None, {"logs"})


def test_the_details_of_a_call_are_one_log_record():
    """In its attributes, or in its body as earlier packages write it; structured, not JSON."""
    values = {
        "gen_ai.input.messages": [{"role": "user", "parts": parts_of(Q)}],
        "gen_ai.output.messages": [{"role": "assistant", "parts": parts_of(A)}],
        "gen_ai.system_instructions": parts_of(S),
    }
    for attributes, body in ((values, None), ({}, values)):
        [row] = read_records(("gen_ai.client.inference.operation.details", attributes, body)).texts
        assert row[4:7] == (Q, A, S)
    batch = read_records(("gen_ai.client.inference.operation.details", {}, None))
    assert not batch.texts


@pytest.mark.parametrize("ids", [{"trace_id": b""}, {"span_id": bytes(8)}])
def test_a_log_record_of_no_span_is_dropped(ids):
    """Nobody could find it."""
    from tests.unit.intake_parts import RECEIVED, logs

    from otel_feedback.intake import read_logs

    sent = logs(("gen_ai.user.message", {}, {"content": Q}))
    record = sent.resource_logs[0].scope_logs[0].log_records[0]
    for name, value in ids.items():
        setattr(record, name, value)
    assert not read_logs(sent, received_ns=RECEIVED).texts


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"input.value": Q, "output.value": A}, (Q, A, None)),
        ({"input.value": json.dumps({"question": Q}), "output.value": json.dumps({"answer": A})}, (Q, A, None)),
        ({"input.value": json.dumps({"inputs": {"query": Q}})}, (Q, None, None)),
        ({"input.value": json.dumps({"messages": [{"role": "user", "content": Q}]})}, (Q, None, None)),
        ({"input.value": '{"other": 5}'}, ('{"other": 5}', None, None)),
        ({"input.value": "{no json"}, ("{no json", None, None)),
        ({"input.value": 5, "output.value": ""}, (None, None, None)),
        ({"traceloop.entity.input": json.dumps({"args": [5, Q], "kwargs": {}})}, (Q, None, None)),
        ({"traceloop.entity.input": json.dumps({"args": [], "kwargs": {"question": Q}})}, (Q, None, None)),
        ({"traceloop.entity.output": json.dumps(A)}, (None, A, None)),
        ({"gen_ai.task.input": Q, "gen_ai.task.output": json.dumps({"outputs": {"result": A}})}, (Q, A, None)),
        ({"input.value": json.dumps([[[[[[[Q]]]]]]])}, (json.dumps([[[[[[[Q]]]]]]]), None, None)),
    ],
)
def test_chains_and_tasks_tell_it_by_their_values(attributes, expected):
    """The text in a call's arguments or results; else the value as it is."""
    assert told({"openinference.span.kind": "CHAIN", **attributes}) == expected


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"gen_ai.prompt": messages(("user", Q)), "gen_ai.completion": A}, (Q, A, None)),
        ({"llm.prompts": [Q], "llm.choices.0.completion.text": A}, (Q, A, None)),
        ({"llm.prompts.0.prompt.text": Q}, (Q, None, None)),
        ({"gen_ai.prompt.0.content": json.dumps([{"type": "text", "text": Q}])}, (Q, None, None)),
        ({"gen_ai.prompt.0.role": "user", "gen_ai.prompt.x.content": Q, "gen_ai.prompt.99999.content": Q}, (None,) * 3),
        (
            {
                "llm.input_messages.0.message.role": "user",
                "llm.input_messages.0.message.contents.1.message_content.text": "it?",
                "llm.input_messages.0.message.contents.0.message_content.text": "What is",
                "llm.input_messages.0.message.contents.x.message_content.text": "no",
                "llm.input_messages.0.message.tool_calls.0.tool_call.id": "no",
            },
            ("What is\nit?", None, None),
        ),
        ({"gen_ai.input.messages": messages(("assistant", "x"))}, (None, None, None)),
        ({"gen_ai.input.messages": json.dumps([{"content": Q}])}, (Q, None, None)),
        ({"gen_ai.input.messages": json.dumps([{"type": "human", "content": Q}])}, (Q, None, None)),
        ({"gen_ai.input.messages": json.dumps([5, None, {"role": 5}, {"role": "user", "content": {}}])}, (None,) * 3),
        ({"gen_ai.input.messages": "[{no json"}, ("[{no json", None, None)),
        ({"gen_ai.input.messages": "[" * 100_000}, ("[" * 100_000, None, None)),
        ({"gen_ai.input.messages": b"bytes", "gen_ai.output.messages": True}, (None, None, None)),
        ({"gen_ai.output.messages": messages(("assistant", "a"), ("assistant", "b"))}, (None, "a\nb", None)),
        ({"gen_ai.system_instructions": S}, (None, None, S)),
    ],
)
def test_other_forms(attributes, expected):
    """Completions without roles, parts of content, and what can't be read."""
    assert told({**CHAT, **attributes}) == expected


@pytest.mark.parametrize(
    "role",
    [
        {"gen_ai.operation.name": "retrieval"},
        {"gen_ai.operation.name": "execute_tool"},
        {"openinference.span.kind": "RETRIEVER"},
    ],
)
def test_retrievals_and_tools_have_no_question_and_answer(role):
    """Their input is a query and their output what was found."""
    assert not read({"attributes": {**role, "input.value": Q, "output.value": A}}).texts


PASSAGES = messages(("user", f"Answer from these passages: ...\n\n{Q}"))


@pytest.mark.parametrize(
    "variables",
    [
        {"gen_ai.prompt.variable.question": Q, "gen_ai.prompt.variable.passages": "..."},
        {"gen_ai.prompt.variable.input": "x", "gen_ai.prompt.variable.query": Q},
        {"traceloop.prompt.template_variables.question": Q},
        {"llm.prompt_template.variables": json.dumps({"context": "...", "question": Q})},
        {"llm.prompt_template.variables": json.dumps({"input": Q, "query": 5})},
        {"traceloop.prompt.template_variables": json.dumps({"query": Q})},
    ],
)
def test_the_question_is_what_the_template_was_rendered_with(variables):
    """And not the prompt that was made of it and of passages; as it arrives, too."""
    attributes = {**CHAT, "gen_ai.input.messages": PASSAGES, **variables}
    assert told(attributes) == (Q, None, None)
    assert [message.text for message in texts_of(attributes).messages] == [f"Answer from these passages: ...\n\n{Q}"]
    [row] = read({"attributes": attributes}).texts
    assert row.question == Q


@pytest.mark.parametrize(
    "variables",
    [
        {"gen_ai.prompt.variable.passages": "..."},
        {"gen_ai.prompt.variable.question": " "},
        {"llm.prompt_template.variables": json.dumps({"context": "...", "question": ["a", "b"], "input": ""})},
        {"llm.prompt_template.variables": "{no json"},
        {"llm.prompt_template.variables": "[1]"},
        {"llm.prompt_template.variables": 5},
    ],
)
def test_variables_that_are_no_question_leave_the_message_of_the_user(variables):
    """Passages and empty texts aren't what was asked."""
    attributes = {**CHAT, "gen_ai.input.messages": messages(("user", Q)), **variables}
    assert told(attributes) == (Q, None, None)


def test_long_texts_are_cut_in_rows():
    """Their middle goes, and the raw span has all of it; half an emoji in JSON is replaced."""
    long = "b" * (MAX_TEXT // 2) + "-" + "e" * (MAX_TEXT // 2)
    attributes = {**CHAT, "gen_ai.input.messages": messages(("user", long)), "gen_ai.completion": '["a\\u0000\\ud83d"]'}
    [row] = read({"attributes": attributes}).texts
    assert len(row.question) == MAX_TEXT
    assert set(row.question.partition(" … ")[0]) == {"b"}
    assert set(row.question.partition(" … ")[2]) == {"e"}
    assert row.answer == "a\ufffd\ufffd"
    [row] = read({"attributes": {**CHAT, "gen_ai.input.messages": messages(("user", long[1:]))}}).texts
    assert row.question == long[1:]
