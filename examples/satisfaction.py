"""The table *satisfaction by template* read from Prometheus, and what the users say about the same numbers."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

from dashboards.queries import BY_TEMPLATE, ENOUGH, SERVICE, SIGNAL, TEMPLATE, VERSION, Increase, Numbers
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text
from stack.client import PrometheusClient

from examples.rag_service.prompts import ASK, STREAM, Prompt
from examples.users import Row, Truth

COUNTS: Final = ("answers", "voted", "positive", "negative", "changes", "copy", "rephrase")
"""What Prometheus and the users both count, by the names that this module gives it."""

PAGES: Final[dict[str, tuple[Prompt, ...]]] = {"/ask": ASK, "/ask/stream": STREAM}


@dataclass
class Line:
    """One template in one version, as Prometheus has it."""

    template: str
    version: str
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTS, 0))
    shares: dict[str, float] = field(default_factory=dict)
    """Shares and bounds in [0, 1]; none where too few stand behind them."""


NOTES: Final = (
    "Satisfaction: the share of opinions that are up, and its 95 % interval. Worst first, by the interval's upper end: "
    f"a few bad votes alone make no prompt the worst. Fewer than {ENOUGH} opinions give no number. The service "
    "declares no templates: its pages stand for them, fingerprints of its instructions for their versions.\n"
)

Lines = dict[tuple[str, str], Line]


def version_of(instruction: str) -> str:
    """The version of a system instruction that has no version: its fingerprint, as docs/conventions.md has it."""
    return hashlib.sha256(instruction.encode()).hexdigest()[:12]


def read_lines(prometheus: PrometheusClient, service: str, *, window: str = "1h") -> Lines:
    """Ask Prometheus for every line of one service.

    Args:
        prometheus: Whom to ask.
        service: ``service.name``.
        window: PromQL duration that holds all of the run.
    """
    lines: Lines = {}
    numbers = _numbers(service, window)
    counts = {
        "answers": numbers.interactions(),
        "voted": numbers.voted(),
        "positive": numbers.positive(),
        "negative": numbers.negative(),
        "changes": numbers.changes(),
    }
    shares = {
        "satisfaction": numbers.satisfaction(),
        "low": numbers.satisfaction_low(),
        "high": numbers.satisfaction_high(),
    }
    for name, promql in counts.items():
        for line, value, _ in _ask(prometheus, promql, lines):
            line.counts[name] = round(value)
    for line, value, labels in _ask(prometheus, numbers.implicit(), lines):
        line.counts[labels[SIGNAL]] = round(value)
    for name, promql in shares.items():
        for line, value, _ in _ask(prometheus, promql, lines):
            line.shares[name] = value
    return lines


def _numbers(service: str, window: str) -> Numbers:
    view = replace(BY_TEMPLATE, filters={SERVICE: service})
    return Numbers(view, by=(TEMPLATE, VERSION), increase=Increase(window))


def _ask(prometheus: PrometheusClient, promql: str, lines: Lines) -> Iterator[tuple[Line, float, dict[str, Any]]]:
    for series in prometheus.query(promql):
        labels = series["metric"]
        key = labels[TEMPLATE], labels[VERSION]
        yield lines.setdefault(key, Line(*key)), float(series["value"][1]), labels


def expected(truth: Truth) -> dict[tuple[str, str], dict[str, int]]:
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
        "rephrase": row.implicit["rephrase"],
    }


def find_differences(lines: Lines, truth: Truth) -> list[str]:
    """Every count on which Prometheus and the users differ, in words; empty if they agree."""
    wanted = expected(truth)
    found = []
    for key in sorted({*lines, *wanted}):
        have = lines[key].counts if key in lines else dict.fromkeys(COUNTS, 0)
        want = wanted.get(key, dict.fromkeys(COUNTS, 0))
        found += [
            f"{key[0]} {key[1]}, {name}: Prometheus {have.get(name, 0)}, users {want.get(name, 0)}"
            for name in sorted({*have, *want})
            if have.get(name, 0) != want.get(name, 0)
        ]
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
    for line in sorted(lines.values(), key=lambda line: line.shares.get("high", 2)):
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


def agreement(truth: Truth) -> str:
    """The sentence for equal numbers, with their totals."""
    total = {name: sum(counts[name] for counts in expected(truth).values()) for name in COUNTS}
    return (
        "Prometheus and the users agree on every count, row by row. In total:\n"
        f"  {total['answers']} answers, {total['voted']} of them voted on\n"
        f"  {total['positive'] + total['negative']} opinions, {total['positive']} up and {total['negative']} down\n"
        f"  {total['changes']} votes changed or taken back\n"
        f"  {total['copy']} answers copied, {total['rephrase']} questions seen to be asked again"
    )
