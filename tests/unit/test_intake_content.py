"""Where content isn't kept, nothing that people wrote or read is in what a request becomes."""

import dataclasses
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.intake_parts import TARGET_SPAN, TARGET_TRACE, put, read, read_records, request, stored

from otel_feedback import semconv
from otel_feedback.intake import read_traces
from otel_feedback.intake._foreign import FOREIGN_CONTENT
from otel_feedback.intake.chunks import decompress

SECRET = "s3cret"
EXAMPLES = (
    *("gen_ai.system_instructions", "gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.prompt"),
    *("gen_ai.completion", "gen_ai.tool.definitions", "gen_ai.prompt.0.content", "gen_ai.completion.0.content"),
    *("gen_ai.prompt.variable.question", "gen_ai.tool.call.arguments", "gen_ai.tool.call.result"),
    *("gen_ai.retrieval.query.text", "gen_ai.evaluation.explanation", "gen_ai.event.content"),
    *("input.value", "output.value", "llm.input_messages.0.message.content", "llm.output_messages.0.message.content"),
    *("llm.prompts.0.prompt.text", "llm.choices.0.completion.text", "llm.prompt_template.variables"),
    *("retrieval.documents.0.document.content", "retrieval.documents.0.document.metadata", "reranker.query"),
    *("embedding.embeddings.0.embedding.text", "tool.parameters", "traceloop.entity.input", "gen_ai.task.output"),
    *(
        "traceloop.prompt.template",
        "traceloop.prompt.template_variables.question",
        "mcp.request.argument",
        "db.query.result.document",
        "db.search.result.entity",
    ),
    *("annotations.0.annotation.explanation", "session.evaluations.1.evaluation.explanation"),
    *("feedback.correction.original", "feedback.correction.corrected", "feedback.comment"),
)
EVENTS = (
    *("gen_ai.system.message", "gen_ai.user.message", "gen_ai.assistant.message", "gen_ai.tool.message"),
    *("gen_ai.content.prompt", "gen_ai.content.completion", "gen_ai.choice"),
    "gen_ai.client.inference.operation.details",
)
DOCUMENTS = '[{"id": "d1", "score": 0.5, "content": "s3cret", "title": "s3cret"}]'


def leaks(batch):
    """Whether the secret is anywhere in a batch, in rows or in raw."""
    raw = decompress(batch.chunk) if batch.chunk is not None else b""
    return SECRET in repr(dataclasses.replace(batch, chunk=None)) or SECRET.encode() in raw


def test_the_examples_are_all_that_there_is():
    """Every pattern of content has an example here, and every example is content."""
    for patterns, examples in (
        ((*semconv.CONTENT_ATTRIBUTES, *FOREIGN_CONTENT), EXAMPLES),
        (semconv.CONTENT_EVENTS, EVENTS),
    ):
        used = {pattern for pattern in patterns for example in examples if re.fullmatch(pattern, example)}
        rest = set(patterns) - used
        assert not {pattern for pattern in rest if not pattern.startswith("db")}
        assert all(any(re.fullmatch(pattern, example) for pattern in patterns) for example in examples)


@pytest.mark.parametrize("where", ["span", "event", "link", "resource", "scope"])
def test_no_content_is_left_anywhere(where):
    """Attributes of spans, events, links, the resource and the scope."""
    values = dict.fromkeys(EXAMPLES, SECRET)
    sent = request({"attributes": {"kept": "yes"}, "events": [("e", {})], "links": [(TARGET_TRACE, TARGET_SPAN)]})
    group = sent.resource_spans[0]
    span = group.scope_spans[0].spans[0]
    place = {
        "span": span.attributes,
        "event": span.events[0].attributes,
        "link": span.links[0].attributes,
        "resource": group.resource.attributes,
        "scope": group.scope_spans[0].scope.attributes,
    }[where]
    put(place, values)
    put(place, {"last": "yes"})
    raw = sent.SerializeToString()
    kept = read_traces(sent, received_ns=10**18, raw=raw)
    assert leaks(kept)
    batch = read_traces(sent, received_ns=10**18, raw=raw, keep_content=False)
    assert not leaks(batch)
    assert b"kept" in decompress(batch.chunk)
    assert b"last" in decompress(batch.chunk)


def test_links_of_a_span_that_tells_nothing_are_looked_at_too():
    """It has no event and no attribute that anybody reads."""
    sent = request({"links": [(TARGET_TRACE, TARGET_SPAN)]})
    put(sent.resource_spans[0].scope_spans[0].spans[0].links[0].attributes, {"input.value": SECRET})
    assert not leaks(read_traces(sent, received_ns=10**18, raw=sent.SerializeToString(), keep_content=False))


def test_events_of_content_are_dropped_and_others_kept():
    """With all that they hold."""
    events = [(name, {"content": SECRET}) for name in EVENTS]
    [span] = stored({"events": [("first", {}), *events, ("last", {})]}, keep_content=False)
    assert [event.name for event in span.span.events] == ["first", "last"]


@pytest.mark.parametrize("name", ["feedback.documents", "gen_ai.retrieval.documents"])
@pytest.mark.parametrize("value", [DOCUMENTS, [{"id": "d1", "score": 0.5, "text": SECRET}], SECRET, 5])
def test_documents_lose_their_texts_only(name, value):
    """Ids and scores are no content."""
    span = {"attributes": {"feedback.interaction": True, name: value}}
    batch = read(span, keep_content=False)
    assert not leaks(batch)
    expected = [("d1", 0.5)] if isinstance(value, list) or value == DOCUMENTS else []
    assert [row[4:] for row in batch.documents] == expected
    [raw] = stored(span, keep_content=False)
    text = raw.span.attributes[1].value.string_value
    assert text == ('[{"id":"d1","score":0.5}]' if expected else "[]")


def test_feedback_keeps_its_judgement_and_loses_its_words():
    """Comments and corrections, of carriers and of others."""
    carrier = {
        "attributes": {"feedback.signal": "thumbs", "annotations.0.annotation.explanation": SECRET},
        "events": [
            ("gen_ai.evaluation.result", {"gen_ai.evaluation.explanation": SECRET, "gen_ai.evaluation.name": "thumbs"}),
            ("feedback.correction", {"feedback.correction.original": SECRET}),
        ],
        "links": [(TARGET_TRACE, TARGET_SPAN)],
    }
    named = {"annotations.0.annotation.name": "n", "annotations.0.annotation.annotator_kind": "HUMAN"}
    other = {"attributes": {**named, "annotations.0.annotation.explanation": SECRET}}
    logfire = {
        "attributes": {"logfire.span_type": "annotation", "feedback.name": "n", "feedback.comment": SECRET},
        "parent_id": TARGET_SPAN,
    }
    assert len(read(carrier, other, logfire).words) == 3
    batch = read(carrier, other, logfire, keep_content=False)
    assert len(batch.feedback) == 3
    assert not leaks(batch)


def test_questions_and_answers_are_not_read():
    """Of spans and of log records."""
    chat = {"gen_ai.operation.name": "chat", "gen_ai.prompt.0.role": "user", "gen_ai.prompt.0.content": SECRET}
    assert leaks(read({"attributes": chat}))
    batch = read({"attributes": chat}, keep_content=False)
    assert not batch.texts
    assert batch.telling
    record = ("gen_ai.user.message", {}, {"content": SECRET})
    assert read_records(record).texts
    assert not read_records(record, keep_content=False).texts


@given(
    st.lists(
        st.tuples(st.sampled_from((*EXAMPLES, "kept", "http.route", "feedback.documents")), st.booleans()), max_size=12
    )
)
def test_whatever_stands_beside_it(attributes):
    """In any order and number; what is no content stays, in its order."""
    sent = request({})
    for name, _ in attributes:
        put(sent.resource_spans[0].scope_spans[0].spans[0].attributes, {name: SECRET if name in EXAMPLES else "[]"})
    batch = read_traces(sent, received_ns=10**18, keep_content=False)
    assert not leaks(batch)
    names = [item.key for item in sent.resource_spans[0].scope_spans[0].spans[0].attributes]
    assert names == [name for name, _ in attributes if name not in EXAMPLES]
