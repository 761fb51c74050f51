"""``otel-feedback templates``: satisfaction by template, or by whatever else answers have in common."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import typer
from rich.table import Table
from rich.text import Text

from otel_feedback.cli import _options, _show
from otel_feedback.cli._source import open_source

GROUPS: Final = ("template", "version", "model", "query-type", "service", "environment", "namespace")
"""What answers can be grouped by, as it is typed."""


def templates(
    *,
    by: Annotated[
        str, typer.Option(metavar="GROUPS", help=f"One or more of {', '.join(GROUPS)}, with commas between.")
    ] = "template,version",
    since: _options.Since = None,
    until: _options.Until = None,
    service: _options.Service = None,
    namespace: _options.Namespace = None,
    environment: _options.Environment = None,
    template: _options.Template = None,
    version: _options.Version = None,
    model: _options.Model = None,
    query_type: _options.QueryType = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Rows at most.")] = 50,
    url: _options.Url = None,
    data: _options.Data = None,
    as_json: _options.AsJson = False,
) -> None:
    """Show satisfaction by template, worst first.

    Satisfaction is the share of standing votes that are positive, with its 95 % interval; the worst has the lowest
    upper end. Few votes give no number. Times are those of the answers. ``voted`` counts answers with a vote; one may
    have several: thumbs and stars, or those of several people.

    \b
    Examples:
      otel-feedback templates --since 7d
      otel-feedback templates --by model,query-type --service shop
      otel-feedback templates --json | jq '.rows[0]'
    """  # noqa: D301 - \b keeps the lines below it as they are
    groups = _groups(by)
    query = _options.query(
        by=",".join(group.replace("-", "_") for group in groups),
        since=since,
        until=until,
        service=service,
        namespace=namespace,
        environment=environment,
        template=template,
        version=version,
        model=model,
        query_type=query_type,
        limit=limit,
    )
    with open_source(_options.place(url, data)) as source:
        found = source.satisfaction(query)
    if as_json:
        _show.print_json(found)
        return
    console = _show.console()
    if not found["rows"]:
        console.print("No answers yet." if not _is_filtered(query) else "No answers match.")
        return
    console.print(_table(groups, found["rows"], roomy=console.width >= _show.ROOMY))


def _groups(by: str) -> list[str]:
    groups = [group.strip().replace("_", "-") for group in by.split(",") if group.strip()]
    if not groups or not set(groups) <= set(GROUPS):
        raise typer.BadParameter(f"It takes {', '.join(GROUPS)}, with commas between.", param_hint="--by")
    return list(dict.fromkeys(groups))


def _is_filtered(query: Mapping[str, str]) -> bool:
    return bool(set(query) & set(_options.FILTERS))


def _table(groups: Sequence[str], rows: Sequence[Mapping[str, Any]], *, roomy: bool) -> Table:
    """Build the table; where there is room, with what stands beside satisfaction."""
    numbers = ["answers", "voted", "positive", "negative", *(("neutral", "changed", "corrections") if roomy else ())]
    columns = [*groups, *numbers, "satisfaction", *(("implicit",) if roomy else ())]
    table = _show.new_table(*columns, numbers=(*numbers, "satisfaction"))
    for row in rows:
        key = row["key"]
        cells = [_show.plain(key.get(group.replace("-", "_"), ""), longest=_show.LONGEST_CELL) for group in groups]
        cells += [
            Text(f"{row['interactions']:,}"),
            Text(_voted(row, roomy=roomy)),
            Text(f"{row['positive']:,}"),
            Text(f"{row['negative']:,}"),
        ]
        if roomy:
            cells += [Text(f"{row[name]:,}") for name in ("neutral", "changed", "corrections")]
        cells.append(_show.interval(row))
        if roomy:
            told = ", ".join(f"{signal} {count:,}" for signal, count in row["implicit"].items())
            cells.append(_show.plain(told or "0"))
        table.add_row(*cells)
    return table


def _voted(row: Mapping[str, Any], *, roomy: bool) -> str:
    """Return how many answers were voted on; where there is room, and enough of them, as a share of all too."""
    rate = row["response_rate"]
    return f"{row['voted']:,} ({_show.percent(rate)})" if roomy and rate is not None else f"{row['voted']:,}"
