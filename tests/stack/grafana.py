"""Does with the committed dashboards what Grafana does: finds their queries, fills in variables, asks the servers."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stack.client import get_json
from stack.processes import Stack

DASHBOARDS = Path(__file__).resolve().parents[2] / "dashboards"
ALL = "$__all"


@dataclass(frozen=True)
class Target:
    """One query of one panel."""

    page: str
    panel: str
    ref: str
    json: Mapping[str, Any]

    @property
    def name(self) -> tuple[str, str, str]:
        return self.page, self.panel, self.ref


@dataclass(frozen=True)
class Look:
    """What a reader has set on a page: the range of time and the filters; all of them by default."""

    start: float
    end: float
    chosen: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    interval: int = 0
    """Seconds between two points of a trend; the whole range by default."""


def pages(folder: str) -> dict[str, dict[str, Any]]:
    """Return the dashboards of a folder by file name."""
    return {file.stem: json.loads(file.read_text()) for file in sorted((DASHBOARDS / folder).glob("*.json"))}


def panels(page: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the panels that show something, those inside of rows included."""
    for panel in page["panels"]:
        yield from panels(panel) if panel["type"] == "row" else [panel]


def targets(folder: str) -> list[Target]:
    """Return every query of every panel of a folder."""
    return [
        Target(name, panel["title"], target["refId"], target)
        for name, page in pages(folder).items()
        for panel in panels(page)
        for target in panel["targets"]
    ]


def variables(page: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the variables of a page by name."""
    return {one["name"]: one for one in page["templating"].get("list", [])}


def interpolate(text: str, page: Mapping[str, Any], look: Look) -> str:
    """Put values for variables, as the Prometheus data source does: escaped for a regular expression, many by ``|``."""
    seconds = round(look.end - look.start)
    values = {"__range": f"{seconds}s", "__interval": f"{look.interval or seconds}s"}
    for name, variable in variables(page).items():
        chosen = look.chosen.get(name, ALL if variable.get("includeAll") else "")
        if chosen == ALL:
            values[name] = variable["allValue"]
        elif not variable.get("multi"):
            values[name] = str(chosen)
        else:
            many = [_escape(one) for one in ([chosen] if isinstance(chosen, str) else chosen)]
            values[name] = many[0] if len(many) == 1 else f"({'|'.join(many)})"
    replaced = re.sub(r"\$(\w+)", lambda found: values[found[1]], text)
    assert "$" not in replaced, replaced
    return replaced


def ask_prometheus(stack: Stack, target: Target, page: Mapping[str, Any], look: Look) -> list[dict[str, Any]]:
    """Run a query as of the end of the range, as tables and big numbers do, and each single point of a trend."""
    return stack.query(interpolate(target.json["expr"], page, look), time=look.end)


def ask_prometheus_range(stack: Stack, target: Target, page: Mapping[str, Any], look: Look) -> list[dict[str, Any]]:
    """Run a query for every point of a trend; the first covers the first interval of the range."""
    answer = get_json(
        f"{stack.prometheus}/api/v1/query_range",
        {
            "query": interpolate(target.json["expr"], page, look),
            "start": repr(look.start + look.interval),
            "end": repr(look.end),
            "step": str(look.interval),
        },
    )
    series: list[dict[str, Any]] = answer["data"]["result"]
    return series


def ask_exemplars(stack: Stack, target: Target, page: Mapping[str, Any], look: Look) -> list[dict[str, Any]]:
    """Ask for the dots of a trend, by the trend's own query."""
    found = stack.prometheus_client.exemplars(
        interpolate(target.json["expr"], page, look), start=look.start, end=look.end
    )
    return [exemplar for series in found for exemplar in series["exemplars"]]


def ask_jaeger(stack: Stack, target: Target, page: Mapping[str, Any], look: Look) -> list[dict[str, Any]]:
    """Run a search: the data source reads tags as logfmt and gives the range in microseconds."""
    tags = interpolate(target.json["tags"], page, look)
    pairs = re.findall(r'(\S+?)=(?:"([^"]*)"|(\S+))', tags)
    found = get_json(
        f"{stack.jaeger}/api/traces",
        {
            "service": interpolate(target.json["service"], page, look),
            "tags": json.dumps({key: quoted or plain for key, quoted, plain in pairs}),
            "limit": str(target.json["limit"]),
            "start": str(round(look.start * 1e6)),
            "end": str(round(look.end * 1e6)),
        },
    )
    traces: list[dict[str, Any]] = (found or {}).get("data") or []
    return traces


def ask_values(stack: Stack, variable: Mapping[str, Any], page: Mapping[str, Any], look: Look) -> set[str]:
    """Return the values that a filter offers: ``label_values(selector, label)`` asks for those of the range."""
    found = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
    assert found, variable["query"]
    selector, label = found.groups()
    params = {
        "match[]": interpolate(selector, page, look),
        "start": repr(look.start),
        "end": repr(look.end),
    }
    return set(get_json(f"{stack.prometheus}/api/v1/label/{label}/values", params)["data"])


def _escape(value: str) -> str:
    """Escape for a regular expression inside of a PromQL string: two backslashes are one for the expression."""
    return re.sub(r"[$^*{}\[\]'+?.()|]", r"\\\\\g<0>", value.replace("\\", "\\" * 4))
