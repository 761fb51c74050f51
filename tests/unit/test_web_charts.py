"""Charts: what they say, and that they carry no script, no link and a policy that fits their style."""

import datetime as dt
import re
import sys

import pytest
from tests.unit.web_parts import NOW

from otel_feedback.analysis._views import TrendPoint
from otel_feedback.web import _charts

DAY = dt.timedelta(days=1)


def point(days, positive=8, negative=4, length=DAY):
    """A point of a trend."""
    start = NOW + days * DAY
    return TrendPoint(start, start + length, {}, 40, positive, negative, 0.667, 0.4, 0.85)


@pytest.mark.parametrize("draw", [_charts.draw_satisfaction, _charts.draw_votes])
@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("points", [[], [point(0)], [point(n) for n in range(40)], [point(0, length=DAY / 24)]])
def test_a_chart_carries_nothing_that_runs_or_loads(draw, narrow, points):
    """No script, no link, no inline style, nothing of the day it was drawn."""
    svg = draw(points, narrow=narrow)
    for unwanted in (b"<script", b"href", b"style=", b"@import", b"url(", b"<!--"):
        assert unwanted not in svg
    assert re.findall(rb"https?://[^\"]*", svg) == [b"http://www.w3.org/2000/svg"]


def test_a_chart_shows_its_numbers():
    """The lines are named, and percent stand at the axis."""
    text = _charts.draw_satisfaction([point(0), point(1)]).decode()
    assert "Satisfaction" in text
    assert "75 %" in text
    assert b"Negative" in _charts.draw_votes([point(0)])


def test_few_votes_are_not_called_none():
    """A first vote gives no share yet: the chart must not deny it."""
    start = NOW
    few = TrendPoint(start, start + DAY, {}, 2, 1, 1, None, None, None)
    assert b"Not enough votes yet" in _charts.draw_satisfaction([few])
    assert b"No votes in this time" in _charts.draw_satisfaction([])


def test_the_policy_lets_the_own_style_through():
    """The style by its hash, nothing else; without any style nothing at all."""
    policy = _charts.policy_of(b"<svg><style>a &gt; b{}</style></svg>")
    assert policy == (
        "default-src 'none'; style-src 'sha256-hcoOTYs3ufffUP2clNuiNC3KjwgWOht9Hhp3f0Kr4k0='; "
        "frame-ancestors 'none'; sandbox"
    )
    assert "style-src 'none'" in _charts.policy_of(b"<svg/>")


def test_imports_stay_as_they_were():
    """What pygal puts into everybody's imports is taken out again."""
    assert [finder for finder in sys.meta_path if "pygal" in type(finder).__module__] == []


def test_times_without_answers_are_steps_too():
    """Days that the trend leaves out have an empty point, so that a chart's steps are even."""
    filled = _charts.fill([point(0), point(3)])
    assert [(each.start - NOW).days for each in filled] == [0, 1, 2, 3]
    assert [each.satisfaction for each in filled] == [0.667, None, None, 0.667]


def test_a_long_gap_is_not_filled_without_end():
    """A clock that was years off makes no chart of a million steps."""
    assert len(_charts.fill([point(0), point(10_000)])) == 1001
