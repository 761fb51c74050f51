"""What other producers say of an answer: annotations of OpenInference, events of the GenAI conventions, Logfire."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from otel_feedback import _dialects, semconv
from otel_feedback._limits import MAX_FACT
from otel_feedback._signals import DEFAULT_SIGNALS
from otel_feedback.intake import _foreign
from otel_feedback.intake._carriers import add_words
from otel_feedback.intake._sentiment import sentiment_of
from otel_feedback.intake._span import NOWHERE, ReadSpan
from otel_feedback.intake._values import clean, fact, number, values_of
from otel_feedback.intake.rows import Batch, EvaluationRow, FeedbackRow

MAX_JUDGEMENTS: Final = 100
"""Judgements by other producers that one span may hold."""

_FIELD: Final = re.compile(
    r"(?:annotations\.([0-9]{1,4})\.annotation|evaluations\.([0-9]{1,4})\.evaluation)"
    r"\.(name|score|label|explanation|annotator_kind|identifier)"
)


class Judgement(NamedTuple):
    """What another producer says, still in its own words."""

    name: str
    value: Any
    """Score as it was sent: a number or a truth value; ``None`` where there is none."""
    label: str | None
    explanation: str | None
    annotator: str
    identifier: str | None
    at_ns: int
    source: str
    place: str
    """Where on its span it stands."""


def annotations_of(seen: ReadSpan) -> list[Judgement]:
    """Read OpenInference's annotations, in both of its forms; of one that is there in both, one."""
    groups: dict[tuple[str, str], dict[str, Any]] = {}
    for name, value in seen.attributes.items():
        match = _FIELD.fullmatch(name) if name.startswith(("annotations.", "evaluations.")) else None
        if match is not None:
            form, index = ("annotation", match[1]) if match[1] is not None else ("evaluation", match[2])
            groups.setdefault((form, index), {})[match[3]] = value
    found: dict[tuple[str, str | None, Any, str | None], Judgement] = {}
    for (form, index), values in list(groups.items())[:MAX_JUDGEMENTS]:
        judgement = _judgement(
            fact(values, "name"),
            values.get("score"),
            fact(values, "label"),
            values.get("explanation"),
            annotator=values.get("annotator_kind"),
            identifier=fact(values, "identifier"),
            at_ns=seen.ended_ns,
            source="annotation",
            place=f"{form}.{index}",
        )
        if judgement is not None:
            key = (judgement.name, judgement.identifier, judgement.value, judgement.label)
            found.setdefault(key, judgement)
    return list(found.values())


def evaluation_events_of(seen: ReadSpan) -> Iterator[Judgement]:
    """Read the events of the GenAI conventions."""
    events = [event for event in seen.events if event[0] == semconv.EVENT_EVALUATION_RESULT]
    for index, (_, at_ns, values) in enumerate(events[:MAX_JUDGEMENTS]):
        judgement = _evaluation(values, at_ns, f"event.{index}")
        if judgement is not None:
            yield judgement


def _evaluation(values: Mapping[str, Any], at_ns: int, place: str) -> Judgement | None:
    kind = next((values[name] for name in _foreign.ANNOTATOR_KINDS if isinstance(values.get(name), str)), "")
    return _judgement(
        fact(values, semconv.GEN_AI_EVALUATION_NAME),
        values.get(semconv.GEN_AI_EVALUATION_SCORE_VALUE),
        fact(values, semconv.GEN_AI_EVALUATION_SCORE_LABEL),
        values.get(semconv.GEN_AI_EVALUATION_EXPLANATION),
        annotator=_foreign.JUDGES.get(kind.lower()),
        identifier=next((fact(values, name) for name in _foreign.IDENTIFIERS if name in values), None),
        at_ns=at_ns,
        source="evaluation",
        place=place,
    )


def logfire_of(seen: ReadSpan) -> list[Judgement]:
    """Read a span of ``logfire.experimental.annotations``: a child of the span that it judges.

    It is a user's word, unless an extra attribute of the caller's says who else judged.
    """
    values = values_of(seen.span.attributes)
    score = values.get(_foreign.LOGFIRE_ASSERTION)
    label = values.get(_foreign.LOGFIRE_LABEL)
    judgement = _judgement(
        fact(values, _foreign.LOGFIRE_NAME),
        values.get(_foreign.LOGFIRE_SCORE) if score is None else score,
        clean(label) if isinstance(label, str) and 0 < len(label) <= MAX_FACT else None,
        values.get(_foreign.LOGFIRE_COMMENT),
        annotator=values.get("annotator_kind", semconv.HUMAN),
        identifier=fact(values, "identifier"),
        at_ns=seen.started_ns,
        source="logfire",
        place="logfire",
    )
    return [judgement] if judgement is not None and seen.parent_id else []


def _judgement(
    name: str | None,
    value: Any,
    label: str | None,
    explanation: Any,
    *,
    annotator: Any,
    identifier: str | None,
    at_ns: int,
    source: str,
    place: str,
) -> Judgement | None:
    if name is None:
        return None
    if not isinstance(value, bool):
        value = value if number(value) is not None else None
    explanation = explanation if isinstance(explanation, str) and explanation else None
    if value is None and label is None and explanation is None:
        return None
    annotator = annotator if isinstance(annotator, str) else ""
    return Judgement(name, value, label, explanation, annotator, identifier, at_ns, source, place)


def add_foreign(
    batch: Batch, seen: ReadSpan, judgements: list[Judgement], target: tuple[str, str], *, keep_content: bool
) -> None:
    for judgement in judgements:
        if judgement.annotator in (semconv.HUMAN, semconv.CODE):
            row = _foreign_feedback(seen, judgement, target)
            batch.feedback.append(row)
            if keep_content:
                add_words(batch, row, judgement.explanation, None, None)
        else:
            batch.evaluations.append(
                EvaluationRow(
                    *target,
                    judgement.name,
                    seen.id_of(judgement.place),
                    judgement.at_ns,
                    number(int(judgement.value) if isinstance(judgement.value, bool) else judgement.value),
                    judgement.label,
                    judgement.source,
                )
            )


def _foreign_feedback(seen: ReadSpan, judgement: Judgement, target: tuple[str, str]) -> FeedbackRow:
    own = target == (seen.trace_id, seen.span_id)
    facts = _dialects.facts_of(seen.attributes) if own else {}
    home = seen.home if own else NOWHERE
    name = judgement.name
    table_name = name.lower()
    signal = DEFAULT_SIGNALS.get(table_name)
    kind = semconv.IMPLICIT
    if judgement.annotator == semconv.HUMAN:
        kind = signal.kind if signal is not None else semconv.EXPLICIT
    return FeedbackRow(
        trace_id=target[0],
        span_id=target[1],
        signal=table_name if signal is not None else name,
        submitter=fact(seen.attributes, semconv.USER_HASH) or judgement.identifier or "",
        feedback_id=fact(seen.attributes, semconv.FEEDBACK_ID) or seen.id_of(judgement.place),
        at_ns=judgement.at_ns,
        kind=kind,
        sentiment=sentiment_of(name, judgement.value, judgement.label),
        previous_sentiment=None,
        revises=None,
        score=number(int(judgement.value) if isinstance(judgement.value, bool) else judgement.value),
        label=judgement.label,
        confidence=None,
        reasons=(),
        source=judgement.source,
        target_sampled=None,
        first=None,
        carrier_trace_id=seen.trace_id,
        carrier_span_id=seen.span_id,
        service=home.service,
        namespace=home.namespace,
        environment=home.environment,
        prompt_name=clean(facts.get(semconv.FEEDBACK_PROMPT_NAME, semconv.UNKNOWN)),
        prompt_version=clean(facts.get(semconv.FEEDBACK_PROMPT_VERSION, semconv.UNKNOWN)),
        model=clean(facts.get(semconv.FEEDBACK_MODEL) or facts.get(_dialects.REQUEST_MODEL) or semconv.UNKNOWN),
        query_type=clean(facts.get(semconv.FEEDBACK_QUERY_TYPE, semconv.UNKNOWN)),
        conversation_id=fact(facts, semconv.GEN_AI_CONVERSATION_ID),
    )
