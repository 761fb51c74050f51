"""What everybody should say of a case of ``signal_cases``, and what they do say, in the same words."""

from collections import Counter
from typing import Any

import pytest
from examples.satisfaction import Line
from stack.client import span_tags
from tests.stack.chat_services import Chats
from tests.stack.signal_cases import EXPLICIT, IMPLICIT, Case
from tests.stack.whole_loop import Counts, Loop

from otel_feedback import semconv

CORRECTED = (semconv.FEEDBACK_CORRECTION_ORIGINAL, semconv.FEEDBACK_CORRECTION_CORRECTED)
ON_CARRIERS = (
    semconv.FEEDBACK_KIND,
    semconv.FEEDBACK_SIGNAL,
    semconv.FEEDBACK_SENTIMENT,
    semconv.FEEDBACK_PREVIOUS_SENTIMENT,
    semconv.FEEDBACK_SOURCE,
    semconv.FEEDBACK_CONFIDENCE,
    semconv.ANNOTATION_NAME,
    semconv.ANNOTATION_LABEL,
    semconv.ANNOTATION_SCORE,
    semconv.ANNOTATION_ANNOTATOR_KIND,
)
IN_ROWS = [
    "signal",
    "kind",
    "sentiment",
    "previous_sentiment",
    "label",
    "score",
    "confidence",
    "source",
    "standing",
    "correction",
]


def counts(case: Case) -> Counts:
    """What Prometheus should count for a case."""
    return Counter(
        {(case.kind, case.signal, said.sentiment, was): 1 for was, said in zip(previous(case), case.said, strict=True)}
    )


def previous(case: Case) -> list[str]:
    """What the vote was before each carrier."""
    return [semconv.UNSET, *(said.sentiment for said in case.said)][:-1]


def carriers(case: Case) -> list[dict[str, Any]]:
    """What the carriers of a case should say."""
    found = []
    for was, said in zip(previous(case), case.said, strict=True):
        evaluation = {
            semconv.GEN_AI_EVALUATION_NAME: case.signal,
            semconv.GEN_AI_EVALUATION_SCORE_LABEL: said.label,
            semconv.GEN_AI_EVALUATION_SCORE_VALUE: about(said.score),
        }
        words = dict(zip(CORRECTED, case.correction, strict=True)) if case.correction and case.texts else None
        found.append(
            {
                "name": f"feedback {case.signal}",
                semconv.FEEDBACK_KIND: case.kind,
                semconv.FEEDBACK_SIGNAL: case.signal,
                semconv.FEEDBACK_SENTIMENT: said.sentiment,
                semconv.FEEDBACK_PREVIOUS_SENTIMENT: was,
                semconv.FEEDBACK_SOURCE: case.source,
                semconv.FEEDBACK_CONFIDENCE: about(case.confidence),
                semconv.ANNOTATION_NAME: case.signal,
                semconv.ANNOTATION_LABEL: said.label,
                semconv.ANNOTATION_SCORE: about(said.score),
                semconv.ANNOTATION_ANNOTATOR_KIND: semconv.CODE if case.kind == IMPLICIT else semconv.HUMAN,
                semconv.EVENT_EVALUATION_RESULT: evaluation,
                semconv.EVENT_CORRECTION: words,
            }
        )
    return found


def carried(loop: Loop, handle: str) -> list[dict[str, Any]]:
    """What the carriers on an answer say, by the names that ``carriers`` gives."""
    found = []
    for span in loop.carriers(handle):
        tags = span_tags(span)
        events = {event.pop("event"): event for event in map(fields_of, span["logs"])}
        evaluation = events.get(semconv.EVENT_EVALUATION_RESULT, {})
        evaluation.pop(semconv.GEN_AI_RESPONSE_ID, None)
        found.append(
            {name: tags.get(name) for name in ON_CARRIERS}
            | {"name": span["operationName"], semconv.EVENT_EVALUATION_RESULT: evaluation}
            | {semconv.EVENT_CORRECTION: events.get(semconv.EVENT_CORRECTION)}
        )
    return found


def fields_of(event: dict[str, Any]) -> dict[str, Any]:
    """The attributes of an event, and its name as ``event``, as Jaeger has it."""
    return {field["key"]: field["value"] for field in event["fields"]}


def rows(case: Case) -> list[dict[str, Any]]:
    """What the store should have of a case: its history, of which the last one stands."""
    words = dict(zip(("original", "corrected"), case.correction, strict=True)) if case.correction else None
    return [
        {
            "signal": case.signal,
            "kind": case.kind,
            "sentiment": said.sentiment,
            "previous_sentiment": was,
            "label": said.label,
            "score": about(said.score),
            "confidence": about(case.confidence),
            "source": case.source,
            "standing": said is case.said[-1],
            "correction": words if case.texts else None,
        }
        for was, said in zip(previous(case), case.said, strict=True)
    ]


def stored(chats: Chats, handle: str) -> list[dict[str, Any]]:
    """What the store has of an answer, by the names that ``rows`` gives."""
    return [{name: row[name] for name in IN_ROWS} for row in chats.stored(handle)["feedback"]]


def about(number: float | None) -> Any:
    """A number to be equal to the precision of floating point."""
    return None if number is None else pytest.approx(number)


def changes(before: Line, after: Line) -> dict[str, int]:
    """By how much the counts of a line changed, but for its answers."""
    names = {*before.counts, *after.counts} - {"answers"}
    found = {name: after.counts.get(name, 0) - before.counts.get(name, 0) for name in names}
    return {name: number for name, number in found.items() if number}


def expected_changes(case: Case, reader: str) -> dict[str, int]:
    """By how much a case should change them: votes as they stand are known to the store only."""
    if case.kind != EXPLICIT:
        return {case.signal: 1} if case.kind == IMPLICIT else {}
    expected = Counter({"voted": 1, "changes": len(case.said) - 1})
    expected.update(said.sentiment for said in case.said)
    if reader == "store":
        expected[f"standing {case.said[-1].sentiment}"] += 1
    return dict(+expected)
