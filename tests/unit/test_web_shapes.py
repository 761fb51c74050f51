"""The waterfall of a trace: where its bars are."""

import dataclasses

import pytest
from tests.unit.web_parts import NOW

from otel_feedback.store._views import SpanEvent, SpanView
from otel_feedback.web._render import _duration
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


def test_late_feedback_does_not_press_the_bars_together():
    """The scale is that of the work; feedback that came an hour later stands at its end."""
    late = dataclasses.replace(span(3_600_000, 0, 1, events=(3_600_000,)), is_feedback=True)
    bars = list(lay_out([span(0, 100), span(50, 50, 1), late]))
    assert [(bar.x, bar.width, bar.events) for bar in bars] == [(0, 1000, ()), (500, 500, ()), (997, 3, ())]


@pytest.mark.parametrize(
    ("ms", "said"),
    [(0.25, "250 µs"), (12.34, "12.3 ms"), (912.3, "912 ms"), (1234, "1.23 s"), (3_600_000, "60 min")],
)
def test_durations_have_three_digits(ms, said):
    """From microseconds to minutes, whatever fits."""
    assert _duration(ms).replace("\u202f", " ") == said
