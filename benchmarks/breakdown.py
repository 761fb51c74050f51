"""Where the time goes that we take beyond the bare SDK: ``python -m benchmarks --profile``."""

import cProfile
import pstats
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks import calls, spans

_CALLS = 3000
_ROWS = 14

Place = tuple[str, int, str]


def show(console: Console) -> None:
    """Print, for what misses its goal, the functions that take the most time beyond the bare SDK.

    A profiler's own cost makes all of it slower, small functions most: shares, not microseconds, are what to read.
    """
    with spans.providers() as (bare, ours):
        tracer = bare.get_tracer("bench")
        _print(
            console,
            "interaction of three spans",
            spans.bare_interaction(tracer),
            spans.our_interaction(ours, handle=True),
        )
    with calls.recording() as (bare_carrier, record):
        _print(console, "record()", bare_carrier, record)


def _print(console: Console, title: str, bare: Callable[[], object], ours: Callable[[], object]) -> None:
    before, after = _profile(bare), _profile(ours)
    extra = {place: after.get(place, (0.0, 0.0))[0] - before.get(place, (0.0, 0.0))[0] for place in before | after}
    total = sum(extra.values())
    table = Table(title=f"{title}: where the {total:.0f} µs beyond the bare SDK go, under the profiler")
    for heading in ("share", "file", "the most in it"):
        table.add_column(heading)
    files: dict[str, list[tuple[float, str]]] = {}
    for (file, _, name), time in extra.items():
        files.setdefault(Path(file).name if file != "~" else "(built in)", []).append((time, name))
    ranked = sorted(((sum(time for time, _ in rows), file, rows) for file, rows in files.items()), reverse=True)
    for time, file, rows in ranked[:_ROWS]:
        most = [name for _, name in sorted(rows, reverse=True)[:3]]
        table.add_row(f"{time / total:.0%}", file, Text(", ".join(most)))
    console.print(table)


def _profile(function: Callable[[], object]) -> dict[Place, tuple[float, float]]:
    """Return microseconds and calls of each function, per call of the one given, without what it calls in turn."""
    for _ in range(_CALLS // 10):
        function()
    profiler = cProfile.Profile()
    profiler.enable()
    for _ in range(_CALLS):
        function()
    profiler.disable()
    stats: Any = pstats.Stats(profiler)
    return {place: (row[2] / _CALLS * 1e6, row[1] / _CALLS) for place, row in stats.stats.items()}
