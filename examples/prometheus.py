"""Reads the table *satisfaction by template* out of Prometheus, by the queries that the dashboards show."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from dashboards.queries import BY_TEMPLATE, SERVICE, SIGNAL, TEMPLATE, VERSION, Increase, Numbers
from stack.client import PrometheusClient

from examples.satisfaction import Line, Lines


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
