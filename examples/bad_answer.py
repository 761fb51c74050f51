"""Chooses the bad answer that the demo shows: one whose user said why, if any did."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from stack.client import JaegerClient, span_tags

from otel_feedback import semconv

Span = Mapping[str, Any]
Trace = Sequence[Span]

MOST_TRACES = 300
"""So many of the newest are looked through."""


def find_bad_answer(jaeger: JaegerClient, service: str) -> Trace:
    """The trace of an answer that a user judged bad, and stayed with it; empty if Jaeger has none.

    Args:
        jaeger: Whom to ask.
        service: ``service.name``.
    """
    wanted = {semconv.FEEDBACK_SENTIMENT: semconv.NEGATIVE, semconv.FEEDBACK_KIND: semconv.EXPLICIT}
    found = jaeger.search(service, tags=wanted, limit=MOST_TRACES)
    return choose(trace["spans"] for trace in found)


def choose(traces: Iterable[Trace]) -> Trace:
    """The first of those that tell most: a comment before reasons, reasons before a bare vote."""
    bad = [trace for trace in traces if _is_bad(trace)]
    return max(bad, key=_told, default=())


def interaction_of(trace: Trace) -> Span | None:
    """The span of the answer; ``None`` where the trace has only the judgement."""
    return next((span for span in trace if semconv.FEEDBACK_INTERACTION in span_tags(span)), None)


def _opinions(trace: Trace) -> list[dict[str, Any]]:
    """What was said in so many words, in order of time."""
    tagged = [span_tags(span) for span in sorted(trace, key=lambda span: int(span["startTime"]))]
    return [tags for tags in tagged if tags.get(semconv.FEEDBACK_KIND) == semconv.EXPLICIT]


def _is_bad(trace: Trace) -> bool:
    opinions = _opinions(trace)
    stands = bool(opinions) and opinions[-1][semconv.FEEDBACK_SENTIMENT] == semconv.NEGATIVE
    return stands and interaction_of(trace) is not None


def _told(trace: Trace) -> tuple[bool, bool]:
    opinions = _opinions(trace)
    commented = any(semconv.ANNOTATION_EXPLANATION in opinion for opinion in opinions)
    return commented, any(semconv.FEEDBACK_REASONS in opinion for opinion in opinions)
