"""``otel-feedback show``: everything about one answer."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from otel_feedback.cli import _options, _show
from otel_feedback.cli._source import open_source

Json = Mapping[str, Any]

LONGEST_VALUE: Final = 240
"""Characters of an attribute in the tree; --json and the page have it whole."""

FACTS: Final = {
    "service": "service",
    "namespace": "namespace",
    "environment": "environment",
    "prompt_name": "template",
    "prompt_version": "version",
    "prompt_fingerprint": "fingerprint",
    "model": "model",
    "provider": "provider",
    "query_type": "query type",
    "conversation_id": "conversation",
    "user_hash": "user",
    "error": "error",
}
"""What is shown of an answer's facts, and how it is called."""


def show(
    answer: Annotated[
        str, typer.Argument(metavar="ID", help="Id of the answer, of its trace, or their first 8 digits or more.")
    ],
    *,
    attributes: Annotated[bool, typer.Option("--attributes", help="Show every attribute of every span.")] = False,
    url: _options.Url = None,
    data: _options.Data = None,
    as_json: _options.AsJson = False,
) -> None:
    """Show everything about one answer.

    That is its facts, question and answer, the prompt as it was sent, documents, all feedback with its history, and the
    trace with its times.

    \b
    Examples:
      otel-feedback show 4bf92f3577b3
      otel-feedback show 4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7 --attributes
      otel-feedback show 4bf92f3577b3 --json | jq .feedback
    """  # noqa: D301 - \b keeps the lines below it as they are
    with open_source(_options.place(url, data)) as source:
        found = source.answer(answer)
    if as_json:
        _show.print_json(found)
        return
    console = _show.console()
    for heading, part in _parts(found, attributes=attributes):
        _print_part(console, heading, part)


def _print_part(console: Console, heading: str, part: Any) -> None:
    console.print(Text(heading, style="bold"))
    console.print(part)
    console.print()


def _parts(found: Json, *, attributes: bool) -> Iterator[tuple[str, Any]]:
    yield f"Answer {_show.clean(found['id'])}", _facts(found)
    for name in ("question", "answer", "system"):
        if found.get(name):
            yield name.capitalize(), _show.plain(found[name], lines=True)
    yield "Trace", _tree(found.get("spans") or [], attributes=attributes)


def _facts(found: Json) -> Any:
    facts = {"time": _show.when(found.get("started_at"), fine=True)}
    facts |= {word: _show.plain(found[name]) for name, word in FACTS.items() if found.get(name)}
    return _show.new_list(facts)


def _tree(spans: Sequence[Json], *, attributes: bool) -> Tree:
    tree = Tree("")
    return tree
