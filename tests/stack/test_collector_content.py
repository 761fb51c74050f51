"""What people wrote or read leaves no trace behind the real Collector, unless it was told to keep it."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from stack.client import span_tags
from stack.parts import Parts
from stack.processes import Stack
from tests.stack import otlp

from otel_feedback import semconv

SECRET = "what she wrote"

DIALECTS: dict[str, tuple[dict[str, Any], dict[str, dict[str, Any]]]] = {
    "OpenTelemetry": (
        {
            "gen_ai.system_instructions": SECRET,
            "gen_ai.input.messages": json.dumps([{"role": "user", "parts": [{"content": SECRET}]}]),
            "gen_ai.output.messages": SECRET,
            "gen_ai.tool.definitions": SECRET,
            "gen_ai.tool.call.arguments": SECRET,
            "gen_ai.tool.call.result": SECRET,
            "gen_ai.retrieval.query.text": SECRET,
            "gen_ai.prompt.variable.question": SECRET,
        },
        {
            "gen_ai.client.inference.operation.details": {"gen_ai.input.messages": SECRET},
            "gen_ai.user.message": {"content": SECRET},
            "gen_ai.choice": {"message": SECRET},
            "gen_ai.content.prompt": {"gen_ai.prompt": SECRET},
        },
    ),
    "OpenLLMetry": (
        {
            "gen_ai.prompt.0.content": SECRET,
            "gen_ai.prompt.0.tool_calls.0.arguments": SECRET,
            "gen_ai.completion.0.content": SECRET,
            "traceloop.entity.input": SECRET,
            "traceloop.entity.output": SECRET,
            "traceloop.prompt.template": SECRET,
            "traceloop.prompt.template_variables": SECRET,
            "traceloop.prompt.template_variables.question": SECRET,
            "gen_ai.task.input": SECRET,
            "llm.request.functions.0.description": SECRET,
            "mcp.request.argument": SECRET,
            "mcp.response.value": SECRET,
            "db.chroma.query.where_document": SECRET,
            "db.marqo.search.query": SECRET,
        },
        {
            "db.query.result": {"db.query.result.document": SECRET, "db.query.result.metadata": SECRET},
            "db.search.result": {"db.search.result.entity": SECRET},
        },
    ),
    "OpenInference": (
        {
            "input.value": SECRET,
            "output.value": SECRET,
            "llm.input_messages.0.message.content": SECRET,
            "llm.output_messages.0.message.tool_calls.0.tool_call.function.arguments": SECRET,
            "llm.prompts.0": SECRET,
            "llm.prompt_template.template": SECRET,
            "llm.prompt_template.variables": SECRET,
            "llm.invocation_parameters": SECRET,
            "llm.tools.0.tool.json_schema": SECRET,
            "retrieval.documents.0.document.content": SECRET,
            "retrieval.documents.0.document.metadata": SECRET,
            "reranker.input_documents.0.document.content": SECRET,
            "reranker.query": SECRET,
            "input.documents.0.document.content": SECRET,
            "input.images.0.image.url": SECRET,
            "input.audio.transcript": SECRET,
            "session.annotations.0.annotation.explanation": SECRET,
            "evaluations.0.evaluation.explanation": SECRET,
            "embedding.embeddings.0.embedding.text": SECRET,
            "tool.parameters": SECRET,
        },
        {},
    ),
    "otel-feedback": (
        {
            semconv.FEEDBACK_SIGNAL: "text",
            semconv.ANNOTATION_EXPLANATION: SECRET,
            semconv.FEEDBACK_DOCUMENTS: json.dumps([{"id": "d1", "score": 0.5, "content": SECRET}]),
        },
        {
            semconv.EVENT_EVALUATION_RESULT: {semconv.GEN_AI_EVALUATION_EXPLANATION: SECRET},
            semconv.EVENT_CORRECTION: {
                semconv.FEEDBACK_CORRECTION_ORIGINAL: SECRET,
                semconv.FEEDBACK_CORRECTION_CORRECTED: SECRET,
                semconv.FEEDBACK_DOCUMENTS: SECRET,
            },
        },
    ),
}

INNOCENT = {
    "gen_ai.operation.name": "chat",
    "gen_ai.request.model": "m",
    "gen_ai.output.type": "text",
    "gen_ai.usage.input_tokens": 3,
    "gen_ai.prompt.name": "faq",
    "gen_ai.prompt.version": "2",
    "llm.model_name": "m",
    "llm.token_count.prompt": 3,
    "retrieval.documents.0.document.id": "d1",
    "retrieval.documents.0.document.score": 0.5,
    "annotations.0.annotation.label": "up",
    "openinference.span.kind": "LLM",
}


def arrived(stack: Stack, span: dict[str, Any]) -> dict[str, Any]:
    """Return the one span of a trace as Jaeger has it."""
    (found,) = stack.wait_until(lambda: stack.trace(span["traceId"]), "the span in Jaeger")
    return found


@pytest.mark.parametrize("dialect", DIALECTS)
def test_content_is_dropped(stack: Stack, dialect: str) -> None:
    """By default no attribute and no event in any dialect brings content to Jaeger; everything else stays."""
    content, events = DIALECTS[dialect]
    span = otlp.span(content | INNOCENT, events=events | {"progress": {"percent": 50}})
    otlp.send(stack.otlp_http, span)
    found = arrived(stack, span)
    assert SECRET not in json.dumps(found)
    assert INNOCENT.items() <= span_tags(found).items()
    assert "progress" in json.dumps(found["logs"])


def test_content_is_kept_where_asked(parts: Parts, tmp_path: Path) -> None:
    """With `keep` everything arrives as it was sent."""
    with Stack(tmp_path, parts=parts, env={"OTEL_FEEDBACK_COLLECTOR_CONTENT": "keep"}) as stack:
        for content, events in DIALECTS.values():
            span = otlp.span(content, events=events)
            otlp.send(stack.otlp_http, span)
            found = arrived(stack, span)
            assert content.items() <= span_tags(found).items()
            assert len(found["logs"]) == len(events)
            assert json.dumps(found["logs"]).count(SECRET) == sum(map(len, events.values()))


def test_content_is_not_in_the_queues_either(fresh_stack: Stack) -> None:
    """What waits on disk for Jaeger has been cleaned before."""
    fresh_stack.jaeger_process.stop()
    for content, events in DIALECTS.values():
        otlp.send(fresh_stack.otlp_http, otlp.span(content | {"mark": "waits on disk"}, events=events))

    def queued() -> bytes:
        return b"".join(path.read_bytes() for path in fresh_stack.collector.queue_folder.iterdir() if path.is_file())

    fresh_stack.wait_until(lambda: queued().count(b"waits on disk") >= len(DIALECTS), "the spans on disk")
    assert SECRET.encode() not in queued()


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ('[{"id": "a", "score": 0.5}]', [{"id": "a", "score": 0.5}]),
        ('[{"id": 7, "score": null, "rank": -1e-05}]', [{"id": 7, "score": None, "rank": -1e-05}]),
        ('[{"text": "what she wrote", "id": "a"}, {"id": "b", "title": "what she wrote"}]', [{"id": "a"}, {"id": "b"}]),
        ('[{"id": "a", "metadata": {"k": "what she wrote}"}, "score": 1}]', [{"id": "a", "score": 1}]),
        ('[{"id": "a", "tags": ["what she wrote]", 1], "score": 1}]', [{"id": "a", "score": 1}]),
        ('[{"id": "a,", "text": "what she wrote \\", \\"id\\": \\"b", "score": 1}]', [{"id": "a,", "score": 1}]),
        ("[]", []),
        ('[{"id": "a", "deep": {"er": {"k": "what she wrote"}}}]', None),
        ('["what she wrote"]', None),
        ('{"id": "a", "text": "what she wrote"}', None),
        ("what she wrote", None),
        ('[{"id": "a"}] what she wrote', None),
        (f'[{{"id": "{"what she wrote" * 30}"}}]', None),
        ([{"id": "a", "content": "what she wrote"}], [{"id": "a"}]),
    ],
)
def test_documents_keep_ids_and_scores(stack: Stack, sent: Any, kept: Any) -> None:
    """A list of documents loses their texts; what cannot be told safe goes as a whole."""
    for attribute in (semconv.FEEDBACK_DOCUMENTS, semconv.GEN_AI_RETRIEVAL_DOCUMENTS):
        span = otlp.span({attribute: sent})
        otlp.send(stack.otlp_http, span)
        found = span_tags(arrived(stack, span)).get(attribute)
        assert (None if found is None else json.loads(found)) == kept


def test_no_document_escapes(stack: Stack) -> None:
    """However members, quotes, brackets and nesting are mixed, no text gets through, and what does is JSON."""
    source = random.Random(7)  # noqa: S311 - a sequence that repeats, not a secret
    pieces = ['"', "\\", ",", ":", "{", "}", "[", "]", ' "id": ', ', "score": 1', "~id~", "\n", "é", " "]

    def text() -> str:
        return "".join(source.choices(pieces, k=source.randrange(6))) + SECRET + "".join(source.choices(pieces, k=3))

    def value(depth: int) -> Any:
        if depth and source.random() < 0.2:
            return [value(depth - 1), {source.choice(["id", "k"]): value(depth - 1)}]
        return text()

    def document() -> dict[str, Any]:
        members = [("id", source.choice(["a", 'b"', "c\\", "d,", "e}"])), ("score", source.random())]
        members += [(source.choice(["text", "title", "body\\", 'x"']), value(3)) for _ in range(source.randrange(3))]
        source.shuffle(members)
        return dict(members)

    trace = otlp.trace_id()
    separators = [(",", ":"), (", ", ": "), (" ,\n", " :\t")]
    lists = [
        json.dumps([document() for _ in range(3)], separators=source.choice(separators), ensure_ascii=False)
        for _ in range(300)
    ]
    otlp.send(stack.otlp_http, *(otlp.span({semconv.FEEDBACK_DOCUMENTS: one}, trace=trace) for one in lists))
    stack.wait_until(lambda: len(stack.trace(trace)) == len(lists), "all spans in Jaeger")
    found = [span_tags(span).get(semconv.FEEDBACK_DOCUMENTS) for span in stack.trace(trace)]
    assert not any(SECRET in one for one in found if one)
    kept = [json.loads(one) for one in found if one]
    assert len(kept) > 100
    assert all({"id", "score"} == set(one) for documents in kept for one in documents)
