"""The table *satisfaction by template* read from Prometheus, and what the users say about the same numbers."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

from dashboards.queries import BY_TEMPLATE, ENOUGH, SERVICE, SIGNAL, TEMPLATE, VERSION, Increase, Numbers
from rich import box
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
        "response_rate": numbers.response_rate(),
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


def feedback_query(*, window: str = "1h") -> str:
    """A short PromQL to try by hand: all feedback by template."""
    return Increase(window).of(BY_TEMPLATE.votes, {}, (TEMPLATE,))


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


def show_lines(lines: Lines) -> Table:
    """The table, worst first: by the upper bound of the interval; what has too few votes comes last."""
    names = {version_of(prompt.instruction): prompt.name for prompts in PAGES.values() for prompt in prompts}
    table = Table(title="Satisfaction by template", box=box.SIMPLE_HEAD)
    for heading in ("template", "version", "which is"):
        table.add_column(heading, no_wrap=True)
    for heading in ("answers", "voted on", "opinions", "satisfaction", "95 % interval"):
        table.add_column(heading, justify="right")
    for line in sorted(lines.values(), key=lambda line: line.shares.get("high", 2)):
        counts, shares = line.counts, line.shares
        table.add_row(
            Text(line.template),
            Text(line.version),
            Text(names.get(line.version, "?")),
            str(counts["answers"]),
            f"{counts['voted']} ({_percent(shares.get('response_rate'))})",
            str(counts["positive"] + counts["negative"]),
            _percent(shares.get("satisfaction")),
            f"{_percent(shares.get('low'))} to {_percent(shares.get('high'))}" if "low" in shares else "",
        )
    table.caption = f"Fewer than {ENOUGH} opinions give no number."
    return table


def _percent(share: float | None) -> str:
    return "not enough" if share is None else f"{share:.0%}"
