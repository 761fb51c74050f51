"""``otel-feedback status``: whether a server runs, what has arrived, and what is missing."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import typer
from rich.text import Text

from otel_feedback.cli import _options, _show
from otel_feedback.cli._http import HttpSource
from otel_feedback.cli._source import open_source

_SAID: Final = {
    "data": "data",
    "otlp_grpc": "OTLP/gRPC",
    "otlp_http": "OTLP/HTTP",
    "content": "content",
    "started_at": "started",
}
_COUNTED: Final = {
    "spans": ("spans", "span_at"),
    "interactions": ("answers", "interaction_at"),
    "feedback": ("feedback", "feedback_at"),
}


def status(
    *,
    url: _options.Url = None,
    data: _options.Data = None,
    as_json: _options.AsJson = False,
) -> None:
    """Show what runs, what has arrived and what is missing.

    Exit code 1 where no server runs; what is in the data folder is shown all the same.

    \b
    Examples:
      otel-feedback status
      otel-feedback status --json --url http://127.0.0.1:9000
    """  # noqa: D301 - \b keeps the lines below it as they are
    with open_source(_options.place(url, data)) as source:
        found = source.status()
        runs = isinstance(source, HttpSource)
    if as_json:
        _show.print_json(found)
    else:
        _tell(found, source.name, runs=runs)
    if not runs:
        raise typer.Exit(1)


def _tell(found: Mapping[str, Any], name: str, *, runs: bool) -> None:
    console = _show.console()
    sentence = f"{name} runs, version {found.get('version')}." if runs else f"No server runs. This is {name}."
    console.print(_show.plain(f"{sentence[0].upper()}{sentence[1:]}", "bold"))
    console.print(_show.new_list(_facts(found)))
    for hint in found.get("hints") or []:
        console.print(Text.assemble(("! ", "yellow"), _show.plain(hint)), soft_wrap=True)  # a command in it stays whole


def _facts(found: Mapping[str, Any]) -> Iterator[tuple[str, Text]]:
    counts, last = found.get("counts") or {}, found.get("last") or {}
    for key, name in _SAID.items():
        if found.get(key):
            yield name, _show.when(found[key]) if key.endswith("_at") else _show.plain(found[key])
    for key, (name, time) in _COUNTED.items():
        line = _show.plain(_show.number(counts.get(key, 0)))
        yield name, Text.assemble(line, ", the last ", _show.when(last[time])) if last.get(time) else line
    for key, names in (found.get("seen") or {}).items():
        if names:
            yield key, _show.plain(", ".join(map(str, names)))
    queue = found.get("queue") or {}
    if queue.get("batches"):
        yield "waiting", _show.plain(f"{_show.number(queue['batches'])} batches, {_show.size(queue.get('bytes'))}")
