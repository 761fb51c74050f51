"""Judgements in telemetry: our carriers, and what other producers write, by one rule of what is a person's word.

A carrier has ``feedback.signal``; annotation and event on it say the same feedback to other readers and are not read
a second time. Of other producers a judgement by ``HUMAN`` is a person's word; ``CODE`` is an implicit signal; all
else (``LLM``, or nobody says) is an evaluation, which is shown and never counted. ``docs/foreign-feedback.md`` has the
rules for what is judged, by whom and how.
"""

from otel_feedback import _dialects, semconv
from otel_feedback._limits import MAX_FACT
from otel_feedback.intake import _foreign
from otel_feedback.intake._carriers import add_carrier
from otel_feedback.intake._judgements import add_foreign, annotations_of, evaluation_events_of, logfire_of
from otel_feedback.intake._span import ReadSpan, first_link
from otel_feedback.intake._values import clean
from otel_feedback.intake.rows import Batch


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
            add_carrier(batch, seen, clean(signal), keep_content=keep_content)
        return
    if seen.attributes.get(_foreign.LOGFIRE_SPAN_TYPE) == _foreign.LOGFIRE_ANNOTATION:
        add_foreign(batch, seen, logfire_of(seen), (seen.trace_id, seen.parent_id), keep_content=keep_content)
        return
    annotations = annotations_of(seen)
    annotated = {judgement.name for judgement in annotations}
    # Gateways write both: an event that repeats an annotation of the same span is no second judgement.
    judgements = [*annotations, *(event for event in evaluation_events_of(seen) if event.name not in annotated)]
    if judgements:
        add_foreign(batch, seen, judgements, judged_span(seen), keep_content=keep_content)


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
