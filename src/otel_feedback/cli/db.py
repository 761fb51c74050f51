"""``otel-feedback db``: look after the data folder."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from otel_feedback.cli import _options, _show
from otel_feedback.cli._progress import show_progress
from otel_feedback.cli._source import open_source

app = typer.Typer(help="Look after the data folder.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def group() -> None:
    """Look after the data folder, of a running server too: its token is read from the folder."""


@app.command("info")
def info(*, url: _options.Url = None, data: _options.Data = None, as_json: _options.AsJson = False) -> None:
    """Show the files of the data folder and what is in them.

    \b
    Examples:
      otel-feedback db info
      otel-feedback db info --data ./feedback --json
    """  # noqa: D301 - \b keeps the lines below it as they are
    with open_source(_options.place(url, data)) as source:
        found = source.db_info()
    if as_json:
        _show.print_json(found)
        return
    console = _show.console()
    console.print(_show.new_list(_facts(found)))
    console.print(_files(found))


@app.command("backup")
def backup(
    target: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder for the copy.", show_default=False)],
    *,
    url: _options.Url = None,
    data: _options.Data = None,
    as_json: _options.AsJson = False,
) -> None:
    """Copy the data folder into a new one, while the server goes on.

    The copy is a data folder like any other: `otel-feedback up --data DIR` opens it. Keys and
    token stay where they are.

    \b
    Examples:
      otel-feedback db backup /backups/2026-11-25
      otel-feedback db backup ./copy --data ./feedback
    """  # noqa: D301 - \b keeps the lines below it as they are
    folder = target.expanduser().absolute()
    with open_source(_options.place(url, data)) as source, show_progress("Copying") as tell:
        source.backup(str(folder), tell)
    if as_json:
        _show.print_json({"target": str(folder)})
    else:
        _show.console().print(_show.plain(f"Copied to {folder}."), soft_wrap=True)


@app.command("check")
def check(*, url: _options.Url = None, data: _options.Data = None, as_json: _options.AsJson = False) -> None:
    """Read everything in the data folder and say what is wrong with it.

    Exit code 1 where something is.

    \b
    Examples:
      otel-feedback db check
      otel-feedback db check --json --data ./feedback
    """  # noqa: D301 - \b keeps the lines below it as they are
    with open_source(_options.place(url, data)) as source, show_progress("Reading") as tell:
        problems = source.check(tell)
    if as_json:
        _show.print_json({"problems": problems})
    elif problems:
        console = _show.console()
        for problem in problems:
            console.print(Text.assemble(("! ", "red"), _show.plain(problem)))
    else:
        print("Nothing is wrong.")
    if problems:
        raise typer.Exit(1)


@app.command("vacuum")
def vacuum(*, url: _options.Url = None, data: _options.Data = None, as_json: _options.AsJson = False) -> None:
    """Give back room that the files don't use.

    And let go of the bytes of what was overwritten: DuckDB keeps both in its files until they are written anew. That is
    done here, one after the other, so there must be room for a second copy of the largest. Nothing that can be read is
    removed.

    \b
    Examples:
      otel-feedback db vacuum
    """  # noqa: D301 - \b keeps the lines below it as they are
    with open_source(_options.place(url, data)) as source, show_progress("Rewriting") as tell:
        result = source.vacuum(tell)
    if as_json:
        _show.print_json(result)
    elif result["after"] < result["before"]:
        print(f"{_show.size(result['before'])} became {_show.size(result['after'])}.")
    else:
        print(f"Nothing to give back; the files have {_show.size(result['after'])}.")


def _facts(found: Mapping[str, Any]) -> Iterator[tuple[str, Text]]:
    yield "folder", _show.plain(found["path"])
    yield "size", Text(f"{_show.size(found['bytes'])}, {_show.size(found['free_bytes'])} free on its disk")
    yield "answers", Text.assemble("from ", _show.when(found["oldest"]), " to ", _show.when(found["newest"]))
    yield "DuckDB", _show.plain(found["duckdb"])


def _files(found: Mapping[str, Any]) -> Table:
    """Build the table of files: what is in them, and how large they are."""
    table = _show.new_table("file", "version", "size", "rows", numbers=("version", "size"))
    for file in found["files"]:
        rows = ", ".join(f"{name} {_show.number(count)}" for name, count in file["rows"].items() if count)
        size, version = _show.size(file["bytes"]), _show.number(file["version"])
        table.add_row(_show.plain(file["name"]), _show.plain(version), size, _show.plain(rows))
    return table
