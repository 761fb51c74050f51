"""Figures against their goals, and two functions compared fairly.

Fairly is in turns, block by block, on one thread, by the median of the blocks' ratios.
"""

import gc
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from rich.table import Table


@dataclass(frozen=True)
class Figure:
    """One row: what was measured, against which goal."""

    what: str
    measured: str
    value: float
    goal: float | None
    at_least: bool = False
    """Whether more is better."""

    @property
    def verdict(self) -> str:
        """Whether the goal is met; nothing where there is none."""
        if self.goal is None:
            return ""
        return "met" if (self.value >= self.goal if self.at_least else self.value <= self.goal) else "missed"


def table(title: str, rows: Iterable[Figure]) -> Table:
    """Return the figures as a table."""
    made = Table(title=title)
    for heading in ("what", "measured", "goal", ""):
        made.add_column(heading)
    for row in rows:
        goal = "" if row.goal is None else f"{'≥' if row.at_least else '≤'} {row.goal:g}"
        made.add_row(row.what, row.measured, goal, row.verdict)
    return made


@dataclass(frozen=True)
class Comparison:
    """How one function's time relates to another's.

    Attributes:
        bare: Microseconds a call of the one compared with, median over blocks.
        ours: Microseconds a call of ours, likewise.
        ratio: Median of the ratios of neighbouring blocks.
        low: Their first quartile.
        high: Their third quartile.
    """

    bare: float
    ours: float
    ratio: float
    low: float
    high: float


def compare(
    bare: Callable[[], object], ours: Callable[[], object], *, calls: int = 200, blocks: int = 60
) -> Comparison:
    """Time two functions in alternating blocks, so that a busy moment of the machine hits both."""
    for function in (bare, ours):
        _block(function, calls)
    pairs = []
    for number in range(blocks):
        # The order changes from pair to pair, or the second would always find warm caches.
        first, second = (bare, ours) if number % 2 else (ours, bare)
        times = {first: _block(first, calls), second: _block(second, calls)}
        pairs.append((times[bare], times[ours]))
    ratios = [own / other for other, own in pairs]
    low, middle, high = statistics.quantiles(ratios, n=4)
    return Comparison(
        bare=statistics.median(one for one, _ in pairs),
        ours=statistics.median(one for _, one in pairs),
        ratio=middle,
        low=low,
        high=high,
    )


def _block(function: Callable[[], object], calls: int) -> float:
    gc.collect()
    gc.disable()
    try:
        start = time.thread_time_ns()
        for _ in range(calls):
            function()
        return (time.thread_time_ns() - start) / calls / 1000
    finally:
        gc.enable()
