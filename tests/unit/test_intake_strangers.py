"""The sender is a stranger: whatever a request holds, it is read, and what a database can't hold isn't in the rows."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.intake_parts import (
    RECEIVED,
    SPAN,
    TARGET_SPAN,
    TARGET_TRACE,
    TRACE,
    kept_names,
    logs,
    members,
    put,
    read,
    request,
)

from otel_feedback import semconv
from otel_feedback.intake import complete_trace, decode_traces, exchange_of, read_logs, read_traces, tree, unpack
from otel_feedback.intake._foreign import TEXT_NAMES

NAMES = sorted(
    {
        *(value for name, value in vars(semconv).items() if name.isupper() and isinstance(value, str) and "." in value),
        *TEXT_NAMES,
        *("annotations.0.annotation.name", "annotations.1.annotation.score", "evaluations.0.evaluation.name"),
        *("annotations.1.annotation.name", "annotations.1.annotation.annotator_kind", "evaluations.0.evaluation.label"),
        *("gen_ai.prompt.0.role", "gen_ai.prompt.0.content", "gen_ai.completion.0.content", "traceloop.span.kind"),
        *("llm.input_messages.0.message.role", "llm.input_messages.0.message.contents.0.message_content.text"),
        *("logfire.span_type", "feedback.name", "feedback.score", "feedback.label", "feedback.assertion"),
        *("retrieval.documents.0.document.id", "retrieval.documents.0.document.score", "llm.prompts.0.prompt.text"),
        *("service.name", "deployment.environment", "event.name", "message", "content", "role", "http.route"),
    }
)
TEXTS = st.one_of(
    st.sampled_from(
        [
            *(
                "HUMAN",
                "LLM",
                "CODE",
                "EVALUATOR",
                "chat",
                "retrieval",
                "annotation",
                "pending_span",
                "thumbs",
                "stars",
            ),
            *("up", "4", "true", "\0", "nul\0", "", '["a\\ud83d"]', '{"role":"user","content":"\\u0000"}', "[" * 3000),
            *('[{"role":"user","parts":[{"content":"q"}]}]', '[{"id":"d\\ud800","score":1e999}]', "[1,[2,[3]]]"),
            *("workflow", "explicit", "positive", "retracted", "9" * 5000, "x" * 2000, "\u202e\U0001f600", "null"),
            *('{"message":{"message":{"message":{"content":"x"}}}}', '"q"', '{"args":[{"text":["a"]}]}', "²"),
        ]
    ),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=10),
)
VALUES = st.recursive(
    st.one_of(
        TEXTS,
        st.booleans(),
        st.none(),
        st.integers(-(2**63), 2**63 - 1),
        st.floats(),
        st.binary(max_size=5),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS.map(lambda text: text[:50]), inner, max_size=3),
    max_leaves=4,
)
ATTRIBUTES = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=10)
EVENT_NAMES = st.sampled_from(
    [
        *("gen_ai.evaluation.result", "feedback.correction", "gen_ai.user.message", "gen_ai.choice", "exception"),
        *("gen_ai.content.prompt", "gen_ai.content.completion", "gen_ai.client.inference.operation.details", ""),
    ]
)
TIMES = st.sampled_from([0, 1, RECEIVED, RECEIVED + 10**15, 2**63, 2**64 - 1]) | st.integers(0, 2**64 - 1)
TRACES, SPANS = (
    st.sampled_from([TRACE, TARGET_TRACE, "00" * 16, "ab", ""]),
    st.sampled_from([SPAN, TARGET_SPAN, "00" * 8, "ab", ""]),
)
SPAN_PARTS = st.fixed_dictionaries(
    {"attributes": ATTRIBUTES, "trace_id": TRACES, "span_id": SPANS, "parent_id": SPANS, "start": TIMES, "end": TIMES},
    optional={
        "name": TEXTS,
        "events": st.lists(st.tuples(EVENT_NAMES, ATTRIBUTES), max_size=3),
        "links": st.lists(st.tuples(TRACES, SPANS), max_size=2),
    },
)


def every_value(batch):
    """All values of all rows."""
    for field in dataclasses.fields(batch):
        rows = getattr(batch, field.name)
        if isinstance(rows, (list, set)):
            for row in rows:
                for value in row if isinstance(row, tuple) else (row,):
                    yield from value if isinstance(value, tuple) else (value,)


def check_storable(batch):
    """A database takes all of it: UTF-8 without NUL, 64-bit integers, finite numbers, times of this age."""
    for value in every_value(batch):
        if isinstance(value, str):
            assert "\0" not in value
            value.encode()
        elif isinstance(value, float):
            assert abs(value) < float("inf")
        elif value is not None:
            assert isinstance(value, int)
            assert 0 <= value < 2**63
    for row in batch.traces:
        assert 0 < row.first_at <= row.last_at
    for row in batch.interactions:
        assert row.started_ns > 0
        assert row.duration_ns >= 0
    for row in (*batch.interactions, *batch.feedback):
        assert all((row.service, row.namespace, row.environment, row.prompt_name, row.prompt_version, row.model))


@settings(max_examples=80, deadline=None)
@given(st.lists(SPAN_PARTS, max_size=4), ATTRIBUTES, TEXTS, st.booleans())
def test_any_request_becomes_a_batch(parts, resource, scope, keep_content):
    """Every span is kept or counted, and the rows of those that are kept can be stored."""
    sent = request(*parts, resource=resource, scope=scope)
    raw = sent.SerializeToString()
    batch = read_traces(decode_traces(raw), received_ns=RECEIVED, keep_content=keep_content, raw=raw)
    assert batch.spans + batch.rejected == len(parts)
    assert bool(batch.message) is bool(batch.rejected)
    check_storable(batch)
    spans = list(unpack(batch.chunk)) if batch.chunk is not None else []
    assert sorted(member[:3] for member in members(batch)) == sorted(span[:3] for span in spans)
    again = read_traces(
        request(*parts, resource=resource, scope=scope), received_ns=RECEIVED, keep_content=keep_content
    )
    assert again.feedback == batch.feedback
    for row, documents in complete_trace(spans, targets={span[:2] for span in spans}, received_ns=RECEIVED):
        check_storable(dataclasses.replace(batch, interactions=[row], documents=documents))
    tree(spans)
    for span in spans:
        exchange_of(spans, span.trace_id, span.span_id)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(EVENT_NAMES, ATTRIBUTES, VALUES), max_size=4), TIMES)
def test_any_log_request_becomes_a_batch(records, time):
    """And can be stored."""
    sent = logs(*records)
    for record in sent.resource_logs[0].scope_logs[0].log_records:
        record.time_unix_nano = time
    check_storable(read_logs(sent, received_ns=RECEIVED))


def test_a_hundred_thousand_attributes_cost_their_own_span():
    """The next one is kept."""
    many = {f"a{number}": "" for number in range(100_000)}
    batch = read({"attributes": many}, {"name": "next", "span_id": TARGET_SPAN})
    assert kept_names(batch) == ["next"]
    assert batch.message == "A span was left out: it has more than 10000 attributes, events or links."


def test_an_attribute_of_ten_megabytes_costs_its_own_span():
    """The next one is kept."""
    batch = read({"attributes": {"input.value": "x" * 10_000_000}}, {"name": "next", "span_id": TARGET_SPAN})
    assert kept_names(batch) == ["next"]
    assert batch.rejected == 1


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("gen_ai.user.message", {"content": "hi"}),
        ("gen_ai.evaluation.result", {"gen_ai.evaluation.name": "n", "gen_ai.evaluation.score.value": 1.0}),
    ],
)
@pytest.mark.parametrize(("more", "is_read"), [(9_000, True), (10_001, False)])
def test_an_event_with_endless_attributes_is_not_read(name, told, more, is_read):
    """It stays in the raw span; one with very many is read."""
    batch = read({"events": [(name, told | {f"a{number}": "" for number in range(more)})]})
    assert bool(batch.texts or batch.evaluations) is is_read
    assert batch.spans == 1


@pytest.mark.parametrize(("more", "is_read"), [(9_000, True), (10_001, False)])
def test_a_log_record_with_endless_attributes_is_not_read(more, is_read):
    """Neither are its texts; one with very many is read."""
    sent = logs(("gen_ai.user.message", {f"a{number}": "" for number in range(more)}, {"content": "hi"}))
    assert bool(read_logs(sent, received_ns=RECEIVED).texts) is is_read


def test_values_in_values_in_values_are_read_as_far_as_they_matter():
    """As deep as protobuf lets them be, which is no endless recursion."""
    deep = "x"
    for _ in range(40):
        deep = [deep]
    sent = request({"attributes": {"gen_ai.operation.name": "chat", "gen_ai.input.messages": deep}})
    put(sent.resource_spans[0].scope_spans[0].spans[0].attributes, {"feedback.documents": {"a": {"b": deep}}})
    raw = sent.SerializeToString()
    batch = read_traces(decode_traces(raw), received_ns=RECEIVED, raw=raw)
    assert batch.spans == 1
