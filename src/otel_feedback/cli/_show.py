"""How things are shown to people: tables that fit a terminal, and strangers' text without anything a terminal obeys.

Everything that users and services wrote goes through ``plain``, which gives ``rich.text.Text``: rich reads no markup
in it. What a terminal would obey or hide (escape sequences, controls, directions) is replaced by a visible sign.
"""

import datetime as dt
import json
import os
import sys
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from otel_feedback.analysis._interval import in_percent

LONGEST_CELL: Final = 160
"""Characters of a text in a table; a longer one is cut there, and whole in ``show`` and ``--json``."""

ROOMY: Final = 110
"""Columns from which on a terminal gets the columns that are good to have."""

UNBOUNDED: Final = 1_000_000
"""Columns of what is no terminal."""

_REPLACED: Final = "\N{REPLACEMENT CHARACTER}"
_CONTROL_PICTURES: Final = 0x2400
_JOINERS: Final = "\u200c\u200d"
"""Needed to write Persian, and within emoji; they move nothing."""

_UNSAFE: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Categories of Unicode: controls, formats (all that change the direction), halves of pairs, separators of lines."""

_BLANKS: Final = dict.fromkeys(map(ord, "\t\n\r\v\f\u0085\u2028\u2029"), " ")

_SENTIMENT_STYLES: Final = {"positive": "green", "negative": "red", "neutral": "yellow", "retracted": "dim"}


def clean(text: object, *, lines: bool = False) -> str:
    """Return text that a terminal shows and doesn't obey.

    Args:
        text: Anything; what isn't text is written as Python writes it.
        lines: Whether line breaks stay; else the text becomes one line.
    """
    raw = str(text).replace("\r\n", "\n")
    raw = raw.expandtabs(4) if lines else raw.translate(_BLANKS)
    return "".join(_visible(each) if each != "\n" and unicodedata.category(each) in _UNSAFE else each for each in raw)


def _visible(character: str) -> str:
    if character in _JOINERS:
        return character
    if character < " ":
        return chr(_CONTROL_PICTURES + ord(character))
    return "\N{SYMBOL FOR DELETE}" if character == "\x7f" else _REPLACED


def plain(text: object, style: str = "", *, lines: bool = False, longest: int | None = None) -> Text:
    """Return strangers' text for rich: no markup is read in it, no control character left in it.

    Args:
        text: What somebody wrote.
        style: Of the whole.
        lines: Whether line breaks stay.
        longest: Characters from which on it is cut, with an ellipsis.
    """
    shown = clean(text, lines=lines)
    if longest is not None and len(shown) > longest:
        shown = f"{shown[: longest - 1]}\N{HORIZONTAL ELLIPSIS}"
    return Text(shown, style=style)


def console(*, stderr: bool = False) -> Console:
    """Return a console that reads no markup or emoji codes, highlights nothing, and writes any character somehow.

    A terminal's width is its own, or what ``COLUMNS`` says; what goes to a file or a program is not wrapped.
    """
    stream: Any = sys.stderr if stderr else sys.stdout
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="backslashreplace")
    made = Console(stderr=stderr, markup=False, emoji=False, highlight=False, soft_wrap=False)
    if not made.is_terminal and not os.environ.get("COLUMNS"):
        made.width = UNBOUNDED
    return made


def print_json(value: object) -> None:
    """Print what a program reads. It is ASCII: a terminal obeys nothing in it."""
    print(json.dumps(value, indent=2))


def print_json_line(value: object) -> None:
    """Print one line of NDJSON, at once."""
    print(json.dumps(value), flush=True)


def note(sentence: str) -> None:
    """Tell a person something beside the result, on stderr."""
    print(clean(sentence, lines=True), file=sys.stderr, flush=True)


def new_table(*headings: str, numbers: tuple[str, ...] = ()) -> Table:
    """Return a table of the house style; columns named in ``numbers`` stand to the right and are never cut."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), collapse_padding=True, pad_edge=False)
    for heading in headings:
        right = heading in numbers
        table.add_column(heading, justify="right" if right else "left", no_wrap=right, overflow="fold")
    return table


def new_list(pairs: Iterable[tuple[str, Text]]) -> Table:
    """Return names and values below each other."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, style="cyan")
    grid.add_column(overflow="fold")
    for name, value in pairs:
        grid.add_row(plain(name), value)
    return grid


def sentiment(word: object) -> Text:
    """Return a sentiment in its colour."""
    return plain(word, sentiment_style(word))


def sentiment_style(word: object) -> str:
    """Return the colour of a sentiment."""
    return _SENTIMENT_STYLES.get(str(word), "")


def transition(vote: Mapping[str, Any]) -> Text:
    """Return what a vote is, and what it was before where that says something."""
    now, before = vote["sentiment"], vote["previous_sentiment"]
    shown = sentiment(now)
    if before == now:
        shown.append(", as before", "dim")
    elif before not in (None, "unset"):
        shown.append(f", was {clean(before)}", "dim")
    return shown


def when(moment: object, *, date: bool = True, fine: bool = False, zone: bool = True) -> Text:
    """Return a time in UTC, as the pages, JSON and ``--since`` have it, to the second.

    Args:
        moment: ISO 8601; what isn't is shown as it came.
        date: Whether the day is shown.
        fine: Whether milliseconds are shown.
        zone: Whether it says that it is UTC; where not, the heading does.
    """
    if moment is None:
        return Text("never", style="dim")
    try:
        utc = dt.datetime.fromisoformat(str(moment).replace("Z", "+00:00")).astimezone(dt.timezone.utc)
    except (ValueError, OverflowError, OSError):
        return plain(moment)
    shown = utc.strftime("%Y-%m-%d %H:%M:%S" if date else "%H:%M:%S")
    shown += f".{utc.microsecond // 1000:03}" if fine else ""
    return Text(f"{shown} UTC" if zone else shown)


def number(count: object) -> str:
    """Return a whole number with its thousands set apart; what isn't one is shown as it came."""
    return f"{count:,}" if isinstance(count, int) else str(count)


def percent(share: object) -> str:
    """Return a share in [0, 1] as a percentage."""
    return f"{in_percent(share)} %" if isinstance(share, int | float) else "\N{EN DASH}"


def interval(row: Mapping[str, Any]) -> Text:
    """Return a satisfaction with its interval; without one, that there is too little to tell."""
    if not isinstance(row.get("satisfaction"), int | float):
        return Text("not enough", style="dim")
    low, high = row.get("low"), row.get("high")
    if not isinstance(low, int | float) or not isinstance(high, int | float):
        return Text(percent(row["satisfaction"]))
    return Text(f"{percent(row['satisfaction'])} ({in_percent(low)}\N{EN DASH}{percent(high)})")


def size(count: object) -> str:
    """Return bytes in the unit that suits them."""
    if not isinstance(count, int | float):
        return "\N{EN DASH}"
    value = float(count)
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:  # noqa: PLR2004 - the next unit
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"


def milliseconds(duration: float) -> str:
    """Return a duration, given in milliseconds, in the unit that suits it."""
    return f"{duration:.1f} ms" if duration < 1000 else f"{duration / 1000:.1f} s"  # noqa: PLR2004 - a second
