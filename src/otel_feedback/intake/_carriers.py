"""Our own carriers: one feedback each, whatever annotation and event on them say to other readers."""

import re
from collections.abc import Mapping
from typing import Any, Final

from otel_feedback import semconv
from otel_feedback._feedback import MAX_REASONS
from otel_feedback._signals import DEFAULT_SIGNALS
from otel_feedback.intake._sentiment import sentiment_of
from otel_feedback.intake._span import ReadSpan, first_link
from otel_feedback.intake._values import clean, fact, number
from otel_feedback.intake.rows import Batch, FeedbackRow, WordsRow
from otel_feedback.intake.texts import shorten

MAX_REASON: Final = 64
"""Characters of a reason."""

_TRACE_ID: Final = re.compile(r"[0-9a-f]{32}")
_SPAN_ID: Final = re.compile(r"[0-9a-f]{16}")


def add_carrier(batch: Batch, seen: ReadSpan, signal: str, *, keep_content: bool) -> None:
    target = _target_of(seen)
    if target is None:
        return
    attributes = seen.attributes
    event = next((values for name, _, values in seen.events if name == semconv.EVENT_EVALUATION_RESULT), {})
    row_of_table = DEFAULT_SIGNALS.get(signal)
    score = _first_number(attributes.get(semconv.ANNOTATION_SCORE), event.get(semconv.GEN_AI_EVALUATION_SCORE_VALUE))
    label = fact(attributes, semconv.ANNOTATION_LABEL) or fact(event, semconv.GEN_AI_EVALUATION_SCORE_LABEL)
    sentiment = _one_of(attributes, semconv.FEEDBACK_SENTIMENT, semconv.SENTIMENTS)
    before = _one_of(attributes, semconv.FEEDBACK_PREVIOUS_SENTIMENT, (*semconv.SENTIMENTS, semconv.UNSET))
    kind = _one_of(attributes, semconv.FEEDBACK_KIND, semconv.KINDS)
    row = FeedbackRow(
        trace_id=target[0],
        span_id=target[1],
        signal=signal,
        submitter=fact(attributes, semconv.USER_HASH) or "",
        feedback_id=fact(attributes, semconv.FEEDBACK_ID) or seen.id_of("carrier"),
        at_ns=seen.started_ns,
        kind=kind or (row_of_table.kind if row_of_table is not None else semconv.EXPLICIT),
        sentiment=sentiment or sentiment_of(signal, score, label),
        previous_sentiment=before,
        revises=fact(attributes, semconv.FEEDBACK_REVISES),
        score=score,
        label=label,
        confidence=number(attributes.get(semconv.FEEDBACK_CONFIDENCE)),
        reasons=_reasons(attributes.get(semconv.FEEDBACK_REASONS)),
        source=fact(attributes, semconv.FEEDBACK_SOURCE) or semconv.SOURCE_RECORD,
        target_sampled=_truth(attributes.get(semconv.FEEDBACK_TARGET_SAMPLED)),
        first=_truth(attributes.get(semconv.FEEDBACK_FIRST)),
        carrier_trace_id=seen.trace_id,
        carrier_span_id=seen.span_id,
        service=fact(attributes, semconv.FEEDBACK_SERVICE_NAME) or semconv.UNKNOWN,
        namespace=fact(attributes, semconv.FEEDBACK_SERVICE_NAMESPACE) or semconv.UNKNOWN,
        environment=fact(attributes, semconv.FEEDBACK_ENVIRONMENT) or semconv.UNKNOWN,
        prompt_name=fact(attributes, semconv.FEEDBACK_PROMPT_NAME) or semconv.UNKNOWN,
        prompt_version=fact(attributes, semconv.FEEDBACK_PROMPT_VERSION) or semconv.UNKNOWN,
        model=fact(attributes, semconv.FEEDBACK_MODEL) or semconv.UNKNOWN,
        query_type=fact(attributes, semconv.FEEDBACK_QUERY_TYPE) or semconv.UNKNOWN,
        conversation_id=fact(attributes, semconv.GEN_AI_CONVERSATION_ID),
    )
    batch.feedback.append(row)
    if keep_content:
        correction = next((values for name, _, values in seen.events if name == semconv.EVENT_CORRECTION), {})
        explanation = attributes.get(semconv.ANNOTATION_EXPLANATION) or event.get(semconv.GEN_AI_EVALUATION_EXPLANATION)
        add_words(
            batch,
            row,
            explanation,
            correction.get(semconv.FEEDBACK_CORRECTION_ORIGINAL),
            correction.get(semconv.FEEDBACK_CORRECTION_CORRECTED),
        )


def _target_of(seen: ReadSpan) -> tuple[str, str] | None:
    """Return what a carrier is about: its link, else the ids that it repeats."""
    target = first_link(seen.span)
    if target is not None:
        return target
    trace_id = seen.attributes.get(semconv.FEEDBACK_TARGET_TRACE_ID)
    span_id = seen.attributes.get(semconv.FEEDBACK_TARGET_SPAN_ID)
    if isinstance(trace_id, str) and isinstance(span_id, str):
        trace_id, span_id = trace_id.lower(), span_id.lower()
        if _TRACE_ID.fullmatch(trace_id) and _SPAN_ID.fullmatch(span_id):
            return trace_id, span_id
    return None


def add_words(batch: Batch, row: FeedbackRow, *words: Any) -> None:
    comment, original, corrected = (shorten(text) if isinstance(text, str) and text else None for text in words)
    if comment is not None or original is not None or corrected is not None:
        batch.words.append(WordsRow(*row[:6], comment, original, corrected))


def _reasons(value: Any) -> tuple[str, ...]:
    found = [clean(item) for item in (value if isinstance(value, list) else ()) if isinstance(item, str)]
    return tuple(dict.fromkeys(item for item in found if 0 < len(item) <= MAX_REASON))[:MAX_REASONS]


def _one_of(attributes: Mapping[str, Any], name: str, values: tuple[str, ...]) -> str | None:
    value = attributes.get(name)
    return value if isinstance(value, str) and value in values else None


def _truth(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _first_number(*values: Any) -> float | None:
    return next((found for value in values if (found := number(value)) is not None), None)
