"""Judgements in telemetry: our carriers, and what other producers write, by one rule of what is a person's word.

A carrier has ``feedback.signal``; annotation and event on it say the same feedback to other readers and are not read
a second time. Of other producers a judgement by ``HUMAN`` is a person's word; ``CODE`` is an implicit signal; all
else (``LLM``, or nobody says) is an evaluation, which is shown and never counted. ``docs/foreign-feedback.md`` has the
rules for what is judged, by whom and how.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from otel_feedback import _dialects, semconv
from otel_feedback._limits import MAX_FACT
from otel_feedback._signals import DEFAULT_SIGNALS, Happened, Scale, Share
from otel_feedback.exceptions import InvalidFeedbackError
from otel_feedback.intake import _foreign
from otel_feedback.intake._span import NOWHERE, ReadSpan, first_link
from otel_feedback.intake._values import clean, fact, number, values_of
from otel_feedback.intake.rows import Batch, EvaluationRow, FeedbackRow, WordsRow
from otel_feedback.intake.texts import shorten

MAX_REASONS: Final = 10
MAX_REASON: Final = 64
MAX_JUDGEMENTS: Final = 100
"""Judgements by other producers that one span may hold."""

_TRACE_ID: Final = re.compile(r"[0-9a-f]{32}")
_SPAN_ID: Final = re.compile(r"[0-9a-f]{16}")
_FIELD: Final = re.compile(
    r"(?:annotations\.([0-9]{1,4})\.annotation|evaluations\.([0-9]{1,4})\.evaluation)"
    r"\.(name|score|label|explanation|annotator_kind|identifier)"
)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_GOOD: Final = _words(
    "accept accepted agree approve approved correct excellent good great happy helpful like liked love pass passed"
    " positive relevant resolved right satisfied thumbs-up thumbs_up thumbsup true up upvote useful yes 👍"
)
_BAD: Final = _words(
    "bad decline declined disagree dislike disliked down downvote fail failed false hallucinated harmful hate incorrect"
    " inaccurate irrelevant negative no poor reject rejected terrible thumbs-down thumbs_down thumbsdown toxic unhappy"
    " unhelpful unresolved unsatisfied useless wrong 👎"
)
_NEUTRAL: Final = _words("mixed neutral ok okay partial partially_correct so-so unsure")
_TAKEN_BACK: Final = _words("retracted removed unset")
_FALLING: Final = _words(
    "bias confusion frustration hallucination hallucinations harmfulness pii profanity refusal toxicity"
)
"""Criteria of which much is bad: their scores and yes or no are turned round."""


class _Judgement(NamedTuple):
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


def add_judgements(batch: Batch, seen: ReadSpan, *, keep_content: bool) -> None:
    """Add to a batch what a span says about an answer: as feedback, or as evaluations.

    Args:
        batch: What the request becomes.
        seen: The span.
        keep_content: Whether comments and corrections are kept.
    """
    signal = seen.attributes.get(semconv.FEEDBACK_SIGNAL)
    if signal is not None:
        if isinstance(signal, str) and 0 < len(signal) <= MAX_FACT:
            _add_carrier(batch, seen, clean(signal), keep_content=keep_content)
        return
    if seen.attributes.get(_foreign.LOGFIRE_SPAN_TYPE) == _foreign.LOGFIRE_ANNOTATION:
        _add_foreign(batch, seen, _logfire(seen), (seen.trace_id, seen.parent_id), keep_content=keep_content)
        return
    annotations = _annotations(seen)
    annotated = {judgement.name for judgement in annotations}
    # Gateways write both: an event that repeats an annotation of the same span is no second judgement.
    judgements = [*annotations, *(event for event in _evaluation_events(seen) if event.name not in annotated)]
    if judgements:
        _add_foreign(batch, seen, judgements, judged_span(seen), keep_content=keep_content)


def judged_span(seen: ReadSpan) -> tuple[str, str]:
    """Return trace and span id of what a span's annotations and evaluation events are about.

    A span that plays a part in an answer is judged itself. Any other one judges what it links to; without a link an
    EVALUATOR judges its parent; and else a span is about itself.
    """
    evaluator = seen.attributes.get(semconv.OPENINFERENCE_SPAN_KIND) == semconv.EVALUATOR
    if evaluator or _dialects.role_of(seen.attributes) is _dialects.Role.OTHER:
        target = first_link(seen.span)
        if target is not None:
            return target
        if evaluator and seen.parent_id:
            return seen.trace_id, seen.parent_id
    return seen.trace_id, seen.span_id


# --- Carriers ---


def _add_carrier(batch: Batch, seen: ReadSpan, signal: str, *, keep_content: bool) -> None:
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
        feedback_id=fact(attributes, semconv.FEEDBACK_ID) or _hashed(seen, "carrier"),
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
        _add_words(
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


def _add_words(batch: Batch, row: FeedbackRow, *words: Any) -> None:
    comment, original, corrected = (shorten(text) if isinstance(text, str) and text else None for text in words)
    if comment is not None or original is not None or corrected is not None:
        batch.words.append(WordsRow(*row[:6], comment, original, corrected))


def _reasons(value: Any) -> tuple[str, ...]:
    found = [clean(item) for item in (value if isinstance(value, list) else ()) if isinstance(item, str)]
    return tuple(dict.fromkeys(item for item in found if 0 < len(item) <= MAX_REASON))[:MAX_REASONS]


# --- Other producers ---


def _annotations(seen: ReadSpan) -> list[_Judgement]:
    """Read OpenInference's annotations, in both of its forms; of one that is there in both, one."""
    groups: dict[tuple[str, str], dict[str, Any]] = {}
    for name, value in seen.attributes.items():
        match = _FIELD.fullmatch(name) if name.startswith(("annotations.", "evaluations.")) else None
        if match is not None:
            form, index = ("annotation", match[1]) if match[1] is not None else ("evaluation", match[2])
            groups.setdefault((form, index), {})[match[3]] = value
    found: dict[tuple[str, str | None, Any, str | None], _Judgement] = {}
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


def _evaluation_events(seen: ReadSpan) -> Iterator[_Judgement]:
    """Read the events of the GenAI conventions."""
    events = [event for event in seen.events if event[0] == semconv.EVENT_EVALUATION_RESULT]
    for index, (_, at_ns, values) in enumerate(events[:MAX_JUDGEMENTS]):
        judgement = _evaluation(values, at_ns, f"event.{index}")
        if judgement is not None:
            yield judgement


def _evaluation(values: Mapping[str, Any], at_ns: int, place: str) -> _Judgement | None:
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


def _logfire(seen: ReadSpan) -> list[_Judgement]:
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
) -> _Judgement | None:
    if name is None:
        return None
    if not isinstance(value, bool):
        value = value if number(value) is not None else None
    explanation = explanation if isinstance(explanation, str) and explanation else None
    if value is None and label is None and explanation is None:
        return None
    annotator = annotator if isinstance(annotator, str) else ""
    return _Judgement(name, value, label, explanation, annotator, identifier, at_ns, source, place)


def _add_foreign(
    batch: Batch, seen: ReadSpan, judgements: list[_Judgement], target: tuple[str, str], *, keep_content: bool
) -> None:
    for judgement in judgements:
        if judgement.annotator in (semconv.HUMAN, semconv.CODE):
            row = _foreign_feedback(seen, judgement, target)
            batch.feedback.append(row)
            if keep_content:
                _add_words(batch, row, judgement.explanation, None, None)
        else:
            batch.evaluations.append(
                EvaluationRow(
                    *target,
                    judgement.name,
                    _hashed(seen, judgement.place),
                    judgement.at_ns,
                    number(int(judgement.value) if isinstance(judgement.value, bool) else judgement.value),
                    judgement.label,
                    judgement.source,
                )
            )


def _foreign_feedback(seen: ReadSpan, judgement: _Judgement, target: tuple[str, str]) -> FeedbackRow:
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
        feedback_id=fact(seen.attributes, semconv.FEEDBACK_ID) or _hashed(seen, judgement.place),
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


def sentiment_of(name: str, value: float | bool | None, label: str | None) -> str:  # noqa: FBT001 - a score
    """Say what a judgement of another producer means, as far as it can be told.

    Where its name is one of our signals and its label or score a value of it, our signal table decides; else a label
    that is a plain word of praise or blame; else a score in [-1, 1]: truth values and scores from 0 are good above
    one half, a negative one is bad. Of criteria such as ``hallucination`` much is bad. All else is neutral: a score
    of 4 may be of 5 or of 100.

    Args:
        name: Of the criterion.
        value: The score, if any.
        label: The value in words, if any.
    """
    if label is not None and label.strip().lower() in _TAKEN_BACK:
        return semconv.RETRACTED
    by_table = _by_table(name.lower(), value, label)
    if by_table is not None:
        return by_table
    falling = name.lower() in _FALLING
    sentiment = _by_word(label, falling=falling)
    if sentiment is not None:
        return sentiment
    share = float(value) if value is not None else 0.5
    if not -1.0 <= share <= 1.0 or share == 0.5:  # noqa: PLR2004 - a half says neither
        return semconv.NEUTRAL
    good = (share > 0.5) is not falling  # noqa: PLR2004 - see above
    return semconv.POSITIVE if good else semconv.NEGATIVE


def _by_table(name: str, value: float | bool | None, label: str | None) -> str | None:  # noqa: FBT001 - a score
    """Ask the signal table, by the label and by values of its own scale: scores are another thing than values."""
    signal = DEFAULT_SIGNALS.get(name)
    if signal is None:
        return None
    word = label.strip().lower() if label is not None else ""
    rule = signal.rule
    if isinstance(rule, Share):
        return next((band.sentiment for band in rule.bands if band.label == word), None)
    candidate: object = word
    if isinstance(rule, Happened):
        candidate = value
    elif isinstance(rule, Scale):
        whole = isinstance(value, float) and value > 1 and value.is_integer()  # by one who sends doubles only
        candidate = int(word) if word.isdecimal() and len(word) < 5 else int(value or 0) if whole else value  # noqa: PLR2004 - to 9999
    try:
        return rule.judge(candidate, None).sentiment
    except InvalidFeedbackError:
        return None


def _by_word(label: str | None, *, falling: bool) -> str | None:
    word = label.strip().lower().replace(" ", "_") if label is not None else ""
    if word in _NEUTRAL:
        return semconv.NEUTRAL
    turned = falling and word in ("true", "yes", "false", "no")
    if word in _GOOD:
        return semconv.NEGATIVE if turned else semconv.POSITIVE
    if word in _BAD:
        return semconv.POSITIVE if turned else semconv.NEGATIVE
    return None


# --- Helpers ---


def _hashed(seen: ReadSpan, place: str) -> str:
    """Make the id of a judgement that brings none: the same whenever its span is sent again."""
    return hashlib.sha256(f"{seen.trace_id}{seen.span_id}{place}".encode()).hexdigest()[:32]


def _one_of(attributes: Mapping[str, Any], name: str, values: tuple[str, ...]) -> str | None:
    value = attributes.get(name)
    return value if isinstance(value, str) and value in values else None


def _truth(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _first_number(*values: Any) -> float | None:
    return next((found for value in values if (found := number(value)) is not None), None)
