"""The waterfall of a trace: where its bars are."""

from tests.unit.web_parts import NOW

from otel_feedback.store._views import SpanEvent, SpanView
from otel_feedback.web._shapes import lay_out


def span(offset, duration, depth=0, events=()):
    """A span of a trace."""
    return SpanView(
        "b" * 16, "", depth, "work", "internal", "rag", "scope", NOW, offset, duration, "unset", "", False, False, {},
        tuple(SpanEvent("e", NOW, at, {}) for at in events), (),
    )  # fmt: skip


def test_bars_lie_by_time():
    """The whole trace is a thousand units wide; what takes no time is to be seen; events are where they were."""
    bars = list(lay_out([span(0, 100, events=(50, 900)), span(25, 50, 1), span(100, 0, 40)]))
    assert [(bar.x, bar.width, bar.depth) for bar in bars] == [(0, 1000, 0), (250, 500, 1), (997, 3, 12)]
    assert bars[0].events == (500, 1000)


def test_a_trace_without_length_has_bars():
    """Nothing is divided by no time, and no trace has no bars."""
    assert [(bar.x, bar.width) for bar in lay_out([span(0, 0)])] == [(0, 3)]
    assert list(lay_out([])) == []
