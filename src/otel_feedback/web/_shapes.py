"""Geometry of what is drawn within pages: the interval of a satisfaction, the bars of a trace."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from otel_feedback.store._views import SpanView

WIDTH: Final = 1000
"""Units of a waterfall's bar, from the start of the trace to its end."""

_THINNEST: Final = 3
_DEEPEST: Final = 12
"""Steps of indentation; what is deeper stands no further in."""


@dataclass(frozen=True)
class Bar:
    """One span of a waterfall."""

    span: SpanView
    depth: int
    x: float
    width: float
    events: tuple[float, ...]
    """Where its events are."""


def lay_out(spans: Sequence[SpanView]) -> Iterator[Bar]:
    """Yield the spans of a trace with the places of their bars, in units of ``WIDTH``.

    The whole is what the service did: feedback comes minutes later, and stands at the end.
    """
    work = [span for span in spans if not span.is_feedback] or spans
    first = min((span.offset_ms for span in work), default=0.0)
    whole = max((span.offset_ms + span.duration_ms - first for span in work), default=0.0) or 1.0

    def place(at: float) -> float:
        return round(min(max((at - first) / whole, 0.0), 1.0) * WIDTH, 1)

    for span in spans:
        width = min(max(round(span.duration_ms / whole * WIDTH, 1), _THINNEST), WIDTH)
        x = min(place(span.offset_ms), WIDTH - width)
        events = tuple(place(event.offset_ms) for event in span.events if not span.is_feedback)
        yield Bar(span=span, depth=min(span.depth, _DEEPEST), x=x, width=width, events=events)
