"""The table *satisfaction by template*, wherever it was read, and what the users say about the same numbers."""

import hashlib
from dataclasses import dataclass, field
from typing import Final

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from examples.rag_service.prompts import ASK, STREAM, Prompt
from examples.users import Row, Truth
from otel_feedback.analysis._interval import ENOUGH

COUNTS: Final = ("answers", "voted", "positive", "negative", "changes", "copy")
"""What every backend and the users count, by the names that this module gives it."""
FOUND: Final = "rephrase"
"""What the service finds by itself, when a question is asked again in other words: never more often than users did."""
STANDING: Final = ("standing positive", "standing negative")
"""What a backend may count beside it: votes as they stand, each once. Metrics can't tell."""

PAGES: Final[dict[str, tuple[Prompt, ...]]] = {"/ask": ASK, "/ask/stream": STREAM}


@dataclass
class Line:
    """One template in one version, as a backend has it."""

    template: str
    version: str
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTS, 0))
    shares: dict[str, float] = field(default_factory=dict)
    """``satisfaction``, ``low`` and ``high``, in [0, 1]; none where too few opinions stand behind them."""


NOTES: Final = (
    "Satisfaction: the share of opinions that are up, and its 95 % interval. Worst first, by the interval's upper end: "
    f"a few bad votes alone make no prompt the worst. Fewer than {ENOUGH} opinions give no number. The service "
    "declares no templates: its pages stand for them, fingerprints of its instructions for their versions.\n"
)

Key = tuple[str, str]
Lines = dict[Key, Line]
"""By template and version."""


def version_of(instruction: str) -> str:
    """The version of a system instruction that has no version: its fingerprint, as docs/conventions.md has it."""
    return hashlib.sha256(instruction.encode()).hexdigest()[:12]


def expected(truth: Truth) -> dict[Key, dict[str, int]]:
    """What the users counted, by the template and version that a service without declared templates has."""
    versions = {
        (page, prompt.name): version_of(prompt.instruction) for page, prompts in PAGES.items() for prompt in prompts
    }
    return {(page, versions[page, name]): _counts(row) for (page, name), row in truth.rows.items()}


def _counts(row: Row) -> dict[str, int]:
    return {
        "answers": row.answers,
        "voted": row.voted,
        "positive": row.positive,
        "negative": row.negative,
        "changes": row.changed + row.retracted,
        "copy": row.implicit["copy"],
        "asked again": row.asked_again,
        "standing positive": row.standing_positive,
        "standing negative": row.standing_negative,
    }


def find_differences(lines: Lines, truth: Truth, source: str) -> list[str]:
    """Every count on which a backend and the users differ, in words; empty if they agree.

    Args:
        lines: What the backend has.
        truth: What the users know.
        source: What the backend is called.
    """
    wanted = expected(truth)
    names = {*COUNTS, *(name for line in lines.values() for name in line.counts)} - {FOUND}
    found = []
    for key in sorted({*lines, *wanted}):
        have = lines[key].counts if key in lines else {}
        want = wanted.get(key, {})
        found += [
            f"{key[0]} {key[1]}, {name}: {source} {have.get(name, 0)}, users {want.get(name, 0)}"
            for name in sorted(names)
            if have.get(name, 0) != want.get(name, 0)
        ]
        if have.get(FOUND, 0) > want.get("asked again", 0):
            found.append(
                f"{key[0]} {key[1]}, {FOUND}: {source} {have[FOUND]}, users {want.get('asked again', 0)} at most"
            )
    return found


def prompt_names() -> dict[str, str]:
    """What the example calls its prompts, by version."""
    return {version_of(prompt.instruction): prompt.name for prompts in PAGES.values() for prompt in prompts}


def show_lines(lines: Lines) -> Group:
    """The table, worst first: by the upper bound of the interval; what has too few votes comes last."""
    names = prompt_names()
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), collapse_padding=True, pad_edge=False)
    for heading in ("page", "prompt", "version"):
        table.add_column(heading, no_wrap=True)
    for heading in ("voted on", "opinions", "satisfaction"):
        table.add_column(heading, justify="right", no_wrap=True)
    for _, line in sorted(lines.items(), key=lambda item: (item[1].shares.get("high", 2), item[0])):
        counts = line.counts
        table.add_row(
            Text(line.template),
            Text(names.get(line.version, "?")),
            Text(line.version),
            f"{counts['voted']} of {counts['answers']}",
            str(counts["positive"] + counts["negative"]),
            _satisfaction(line.shares),
        )
    return Group(table, Text(NOTES))


def _satisfaction(shares: dict[str, float]) -> str:
    if "satisfaction" not in shares:
        return "not enough"
    return f"{shares['satisfaction']:.0%} ({100 * shares['low']:.0f}\N{EN DASH}{shares['high']:.0%})".replace("%", " %")


def agreement(truth: Truth, source: str, lines: Lines) -> str:
    """The sentence for equal numbers, with their totals, and what the service found of those who asked again."""
    seen = sum(line.counts.get(FOUND, 0) for line in lines.values())
    total = {name: sum(counts[name] for counts in expected(truth).values()) for name in COUNTS}
    return (
        f"{source} and the users agree on every count, row by row. In total:\n"
        f"  {total['answers']} answers, {total['voted']} of them voted on\n"
        f"  {total['positive'] + total['negative']} opinions, {total['positive']} up and {total['negative']} down\n"
        f"  {total['changes']} votes changed or taken back\n"
        f"  {total['copy']} answers copied\n"
        f"  {truth.asked_again} questions asked again in other words, {seen} of them found by the service itself"
    )


def standing(truth: Truth) -> str:
    """The sentence for a backend whose votes, as they stand, were compared, too."""
    up, down = (sum(counts[name] for counts in expected(truth).values()) for name in STANDING)
    return f"  {up + down} votes as they stand now, {up} up and {down} down: that is what the page shows"
