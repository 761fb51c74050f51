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


def bands(svg):
    """The corners of the intervals that are drawn, as numbers."""
    drawn = re.findall(r'<polygon points="([^"]*)" class="interval"', svg.decode())
    return [[tuple(map(float, corner.split(","))) for corner in each.split()] for each in drawn]


def test_an_interval_is_drawn_around_all_points_and_around_one_that_stands_alone():
    """As one band while points follow each other, as a bar of some width where one has no neighbour."""
    empty = TrendPoint(NOW + 3 * DAY, NOW + 4 * DAY, {}, 0, 0, 0, None, None, None)
    band, bar = bands(_charts.draw_satisfaction([point(0), point(1), point(2), empty, point(4)]))
    assert len(band) == 6
    assert len(bar) == 4
    for corners in (band, bar, *bands(_charts.draw_satisfaction([point(0)]))):
        xs, ys = zip(*corners, strict=True)
        assert max(xs) - min(xs) >= 8
        assert max(ys) - min(ys) > 50
    assert bands(_charts.draw_satisfaction([])) == []


def test_a_legend_names_each_colour_once_and_lies_within_the_chart():
    """The interval is one entry; colours of votes have theirs."""
    for draw, names in (
        (_charts.draw_satisfaction, ["Satisfaction", "95 % interval"]),
        (_charts.draw_votes, ["Negative", "Positive"]),
    ):
        svg = draw([point(0), point(1)]).decode()
        top, legends = re.search(r'translate\([0-9.]+, ([0-9.]+)\)" class="legends">(.*)$', svg).groups()
        assert re.findall("<text[^>]*>([^<]*)", legends) == names
        assert float(top) < 205


def test_all_labels_of_an_axis_have_one_shade():
    """The library has a darker one for every other."""
    svg = _charts.draw_satisfaction([point(0)]).decode()
    assert re.search(r"text, *[^{]*\.axis text\.major[^{]*\{ ?fill: ?#4d5866 !important", svg)


@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("length", [DAY, DAY / 24])
def test_the_last_label_has_its_place(narrow, length):
    """Half of it stands beyond the last point; a letter of 12 pixels is 7 wide at most."""
    points = [TrendPoint(NOW + n * length, NOW + (n + 1) * length, {}, 40, 8, 4, 0.667, 0.4, 0.85) for n in range(2)]
    svg = _charts.draw_satisfaction(points, narrow=narrow).decode()
    left = float(re.search(r'translate\(([0-9.]+), [0-9.]+\)" class="plot"', svg)[1])
    axis = svg.partition('class="axis x')[2]
    x, label = re.findall(r'<text x="([0-9.]+)"[^>]*>([^<]*)', axis.partition("<polygon")[0])[-1]
    assert left + float(x) + len(label) * 7 / 2 <= (340 if narrow else 720)


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
