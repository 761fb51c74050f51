"""Charts as SVG files of their own: no script, no reference to elsewhere, light and dark by the reader's wish."""

import base64
import hashlib
import itertools
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Final
from xml.etree import ElementTree as ET

import pygal  # type: ignore[import-untyped]
from pygal.style import Style  # type: ignore[import-untyped]

from otel_feedback.analysis._views import TrendPoint

# pygal puts a finder for its plugins into everybody's imports, which Python 3.10 and 3.11 warn about at each failing
# import of anything. There are no plugins here.
sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__module__ != pygal.__name__]

_XLINK: Final = "{http://www.w3.org/1999/xlink}"

_DROPPED: Final = ("script", "title", ET.Comment)
"""Parts of pygal's that a chart in a page has no use for: its text stands beside it."""

_FONT: Final = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"
_LIGHT: Final = {
    "background": "transparent",
    "plot_background": "transparent",
    "foreground": "#4d5866",
    "foreground_strong": "#17202b",
    "foreground_subtle": "#d5dbe3",
}
_LOOK: Final = """inline:
.axis .guide.line, .axis .guides .guide.line, .axis .major.line {
  stroke: #d5dbe3 !important; stroke-dasharray: none !important;
}
.axis .guides:first-child .guide.line { stroke: #8a97a6 !important; }
text, .axis text, .axis text.major, .legends .legend text { fill: #4d5866 !important; }
.interval { fill: #8db8e2; fill-opacity: .45; stroke: none; }
@media (prefers-color-scheme: dark) {
  text, .axis text, .axis text.major, .legends .legend text { fill: #aab6c5 !important; }
  .axis .line, .axis .guide.line, .axis .guides .guide.line, .axis .major.line { stroke: #333f4d !important; }
  .trend-graph .color-0, .trend-graph .color-0 a:visited { stroke: #74b3f2 !important; fill: #74b3f2 !important; }
  .trend-graph .color-1 { stroke: #3f6fa3 !important; fill: #3f6fa3 !important; }
  .trend-graph .series.color-0 path { fill: none !important; }
  .interval { fill: #3f6fa3; }
}"""
_WIDE: Final = (720, 220)
_NARROW: Final = (340, 190)
_BAR: Final = 4
"""Half the width of the interval of a point that stands alone."""

_MOST_LABELS: Final = 6
_MOST_POINTS: Final = 1000


def draw_satisfaction(points: Sequence[TrendPoint], *, narrow: bool = False) -> bytes:
    """Draw satisfaction in percent over time with the bounds of its interval; ``narrow`` for a phone."""
    chart = Trend(
        points,
        **_common(points, narrow=narrow),
        style=_style("#0b62b8", "#8db8e2"),
        range=(0, 100),
        y_labels=[0, 25, 50, 75, 100],
        value_formatter="{:.0f} %".format,
        dots_size=2.5,
        allow_interruptions=True,
    )
    chart.add("Satisfaction", [_percent(point.satisfaction) for point in points], stroke_style={"width": 2.5})
    chart.add("95 % interval", [None] * len(points))  # for the legend
    return _write(chart)


def draw_votes(points: Sequence[TrendPoint], *, narrow: bool = False) -> bytes:
    """Draw the numbers of positive and negative votes over time, stacked; ``narrow`` for a phone."""
    most = max(_voted(points), default=0)
    chart = pygal.StackedBar(
        **_common(points, narrow=narrow),
        style=_style("#c2463a", "#2f8a57"),
        y_labels=sorted({0, most // 2, most}),
        value_formatter="{:.0f}".format,
    )
    chart.add("Negative", [point.negative for point in points])
    chart.add("Positive", [point.positive for point in points])
    return _write(chart)


def policy_of(svg: bytes) -> str:
    """Return the Content-Security-Policy for a chart: its own style by its hash, and nothing else."""
    styles = re.findall(rb"<style[^>]*>(.*?)</style>", svg, re.DOTALL)
    # A browser hashes what it has parsed, not what was sent.
    texts = (style.replace(b"&gt;", b">").replace(b"&lt;", b"<").replace(b"&amp;", b"&") for style in styles)
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(text).digest()).decode()}'" for text in texts)
    return f"default-src 'none'; style-src {hashes or chr(39) + 'none' + chr(39)}; frame-ancestors 'none'; sandbox"


def fill(points: Sequence[TrendPoint]) -> list[TrendPoint]:
    """Return the points with empty ones where a time between two is left out, so that a chart's steps are even."""
    filled: list[TrendPoint] = []
    for point in points:
        while filled and filled[-1].end < point.start and len(filled) < _MOST_POINTS:
            last = filled[-1]
            filled.append(TrendPoint(last.end, last.end + (last.end - last.start), {}, 0, 0, 0, None, None, None))
        filled.append(point)
    return filled


class Trend(pygal.Line):  # type: ignore[misc]
    """Lines before the interval of their points: a band, and a bar where a point stands alone.

    pygal gives a chart's root the class of its Python class, such as ``trend-graph``.
    """

    def __init__(self, points: Sequence[TrendPoint], **options: object) -> None:
        super().__init__(**options)
        self._bounds = [(point.low, point.high) for point in points]

    def _plot(self) -> None:
        known = [
            (self.view.x(x), self.view.y(100 * low), self.view.y(100 * high))
            if low is not None and high is not None
            else None
            for x, (low, high) in zip(self._x_pos, self._bounds, strict=True)
        ]
        for there, run in itertools.groupby(known, key=bool):
            if there:
                self._draw_band(list(filter(None, run)))
        super()._plot()

    def _draw_band(self, run: list[tuple[float, float, float]]) -> None:
        if len(run) == 1:
            ((x, low, high),) = run
            run = [(x - _BAR, low, high), (x + _BAR, low, high)]
        edge = [(x, low) for x, low, _ in run] + [(x, high) for x, _, high in reversed(run)]
        corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in edge)
        self.svg.node(self.nodes["plot"], "polygon", points=corners, class_="interval")


def _common(points: Sequence[TrendPoint], *, narrow: bool) -> dict[str, object]:
    hours = bool(points) and (points[0].end - points[0].start).total_seconds() < 24 * 3600
    labels = [point.start.strftime("%d %b %H:%M" if hours else "%d %b") for point in points]
    every = max(1, -(-len(labels) // (_MOST_LABELS // 2 if narrow else _MOST_LABELS)))
    width, height = _NARROW if narrow else _WIDE
    return {
        "x_labels": labels,
        "x_labels_major": labels[::every],
        "show_minor_x_labels": False,
        "width": width,
        "height": height,
        "js": (),
        "css": ("file://style.css", "file://graph.css", _LOOK),
        "legend_at_bottom": True,
        "legend_at_bottom_columns": 2,
        "legend_box_size": 9,
        "truncate_legend": -1,
        "truncate_label": -1,
        "margin": 6,
        "margin_right": 48 if hours else 28,  # half of the last label
        "no_data_text": "Not enough votes yet" if any(_voted(points)) else "No votes in this time",
    }


def _voted(points: Sequence[TrendPoint]) -> Iterator[int]:
    return (point.positive + point.negative for point in points)


def _style(*colors: str) -> Style:
    return Style(
        **_LIGHT,
        colors=colors,
        font_family=_FONT,
        label_font_size=12,
        major_label_font_size=12,
        legend_font_size=12,
        no_data_font_size=16,
        opacity=".9",
        transition="0s",
    )


def _write(chart: pygal.Graph) -> bytes:
    """Return the chart without its scripts and links: the one for tooltips has no use in an image."""
    root = chart.render_tree()
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in _DROPPED:
                parent.remove(child)
        for name in [name for name in parent.attrib if name.startswith(_XLINK) or name == "style"]:
            del parent.attrib[name]
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True))


def _percent(share: float | None) -> float | None:
    return None if share is None else share * 100
