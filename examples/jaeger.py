"""Finds the bad answer that the demo shows in Jaeger: one whose user said why, if any did."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from stack.client import JaegerClient, span_tags

from examples.trace_tree import Span, Trace
from otel_feedback import semconv

MOST_TRACES: Final = 300
"""So many of the newest are looked through."""


def find_bad_answer(jaeger: JaegerClient, service: str) -> Trace | None:
    """The trace of an answer that a user judged bad, and stayed with it; ``None`` if Jaeger has none.

    Args:
        jaeger: Whom to ask.
        service: ``service.name``.
    """
    wanted = {semconv.FEEDBACK_SENTIMENT: semconv.NEGATIVE, semconv.FEEDBACK_KIND: semconv.EXPLICIT}
    found = jaeger.search(service, tags=wanted, limit=MOST_TRACES)
    return choose(read_trace(trace["traceID"], trace["spans"]) for trace in found)


def read_trace(trace_id: str, spans: Sequence[Mapping[str, Any]]) -> Trace:
    """A trace out of Jaeger's JSON, whose times are microseconds."""
    return Trace(
        trace_id,
        [
            Span(
                id=span["spanID"],
                parent=next((one["spanID"] for one in span["references"]), None),
                name=span["operationName"],
                start=int(span["startTime"]) / 1000,
                duration=int(span["duration"]) / 1000,
                tags=span_tags(span),
            )
            for span in spans
        ],
    )


def choose(traces: Iterable[Trace]) -> Trace | None:
    """The first of those that tell most: a comment before reasons, reasons before a bare vote."""
    bad = [trace for trace in traces if _is_bad(trace)]
    return max(bad, key=_told, default=None)


def _opinions(trace: Trace) -> list[Mapping[str, Any]]:
    """What was said in so many words, in order of time."""
    tagged = [span.tags for span in sorted(trace.spans, key=lambda span: span.start)]
    return [tags for tags in tagged if tags.get(semconv.FEEDBACK_KIND) == semconv.EXPLICIT]


def _is_bad(trace: Trace) -> bool:
    opinions = _opinions(trace)
    stands = bool(opinions) and opinions[-1][semconv.FEEDBACK_SENTIMENT] == semconv.NEGATIVE
    return stands and trace.answer is not None


def _told(trace: Trace) -> tuple[bool, bool]:
    opinions = _opinions(trace)
    commented = any(semconv.ANNOTATION_EXPLANATION in opinion for opinion in opinions)
    return commented, any(semconv.FEEDBACK_REASONS in opinion for opinion in opinions)
