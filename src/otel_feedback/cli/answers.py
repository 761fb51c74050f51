"""``otel-feedback answers``: answers and what people said of them; the bad ones first of all."""

from collections import Counter
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Annotated, Any, Final

import typer
from rich.table import Table
from rich.text import Text

from otel_feedback._limits import cut_middle
from otel_feedback.cli import _options, _show
from otel_feedback.cli._http import Json
from otel_feedback.cli._progress import show_pages
from otel_feedback.cli._source import Source, open_source

SHORT_ID: Final = 12
"""Digits of an id in a table: enough for ``show``, unless two rows begin with them; then there are more."""


QUESTION: Final = 12
"""Columns that the question has at least: what stands beside it goes into more lines."""


class Which(str, Enum):
    """Which answers."""

    bad = "bad"
    good = "good"
    any = "any"
    all = "all"


def answers(
    *,
    feedback: Annotated[
        Which, typer.Option(help="bad: judged badly or corrected. any: with whatever feedback. all: also without.")
    ] = Which.bad,
    signal: Annotated[str | None, typer.Option(help="Only with this signal, such as thumbs or copy.")] = None,
    reason: Annotated[str | None, typer.Option(help="Only with this reason.")] = None,
    search: Annotated[str | None, typer.Option(metavar="TEXT", help="Only with this in question or answer.")] = None,
    since: _options.Since = None,
    until: _options.Until = None,
    service: _options.Service = None,
    namespace: _options.Namespace = None,
    environment: _options.Environment = None,
    template: _options.Template = None,
    version: _options.Version = None,
    model: _options.Model = None,
    query_type: _options.QueryType = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="Rows at most.")] = 20,
    after: Annotated[str | None, typer.Option(metavar="CURSOR", help="Go on where a page ended.")] = None,
    url: _options.Url = None,
    data: _options.Data = None,
    as_json: _options.AsJson = False,
) -> None:
    """Show answers and what was said of them.

    The newest come first; without options, only the bad ones.

    \b
    Examples:
      otel-feedback answers --since 24h
      otel-feedback answers --template qa --reason outdated
      otel-feedback answers --feedback all --search refund --json | jq -r '.rows[].id'
    """  # noqa: D301 - \b keeps the lines below it as they are
    query = _options.query(
        feedback=feedback.value,
        signal=signal,
        reason=reason,
        search=search,
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
        after=after,
    )
    with open_source(_options.place(url, data)) as source:
        found = _gather(source, query, limit)
    if as_json:
        _show.print_json(found)
        return
    console = _show.console()
    if not found["rows"]:
        console.print("No such answers.")
        return
    console.print(_table(found["rows"], fills=console.width < _show.UNBOUNDED))
    if found.get("next"):
        may = "There may be more" if found.get("looked_back_to") else "There are more"
        console.print(_show.plain(f"{may}: --after {found['next']}", "dim"), soft_wrap=True)


def _gather(source: Source, query: Mapping[str, str], limit: int) -> Json:
    """Ask on where a search ended before its page was full, until there are enough rows or no more answers."""
    found = source.answers(query)
    with show_pages("Searching") as tell:
        while found.get("next") and found.get("looked_back_to") and len(found["rows"]) < limit:
            tell(f"looked back to {_show.when(found['looked_back_to'])}")
            more = source.answers({**query, "limit": str(limit - len(found["rows"])), "after": found["next"]})
            found = {**more, "rows": [*found["rows"], *more["rows"]]}
    return found


def _table(rows: Sequence[Mapping[str, Any]], *, fills: bool) -> Table:
    table = _show.new_table("time (UTC)", "id", "template", "feedback", "question")
    table.columns[0].no_wrap = table.columns[1].no_wrap = True
    if fills:
        table.expand, table.columns[4].ratio, table.columns[4].width = True, 1, QUESTION
    for row, name in zip(rows, _names(rows), strict=True):
        moment = _show.when(row["started_at"])
        table.add_row(
            moment[5:16],
            _show.plain(name),
            _show.plain(f"{row['prompt_name']} {row['prompt_version']}", longest=40),
            _feedback(row),
            _texts(row),
        )
    return table


def _names(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what ``show`` takes, as short as it is told apart."""
    names: dict[str, str] = {}
    rest, length = [str(row["id"]) for row in rows], SHORT_ID
    while rest:
        begun = Counter(name[:length] for name in rest)
        alone = [name for name in rest if begun[name[:length]] == 1 or length >= len(name)]
        names |= {name: name[:length] for name in alone}
        rest = [name for name in rest if name not in names]
        length += 1
    return [names[str(row["id"])] for row in rows]


def _feedback(row: Mapping[str, Any]) -> Text:
    """Return what stands, one line each."""
    return Text("\n").join(
        _show.plain(
            f"{vote['signal']} {vote['label'] or ''}".strip(), _show.sentiment_style(vote["sentiment"]), longest=24
        )
        for vote in row["feedback"]
    )


def _texts(row: Mapping[str, Any]) -> Text:
    """Return the question, and below it what people gave as reasons and wrote."""
    question = row["question"]
    lines = [_show.plain(cut_middle(question, _show.LONGEST_CELL)) if question else Text("not recorded", style="dim")]
    if row["reasons"]:
        lines.append(_show.plain(", ".join(map(str, row["reasons"])), "yellow", longest=_show.LONGEST_CELL))
    if row["comment"]:
        lines.append(_show.plain(row["comment"], "italic", longest=_show.LONGEST_CELL))
    if row["correction"] and row["correction"]["corrected"]:
        lines.append(_show.plain(f"rather: {row['correction']['corrected']}", "italic", longest=_show.LONGEST_CELL))
    return Text("\n").join(lines)
