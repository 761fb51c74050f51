"""``otel-feedback show``: everything about one answer."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Final

import typer
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from otel_feedback._limits import cut_repeated
from otel_feedback.cli import _options, _show
from otel_feedback.cli._source import open_source

Json = Mapping[str, Any]

LONGEST_VALUE: Final = 240
"""Characters of an attribute in the tree; --json and the page have it whole."""

LONGEST_QUESTION: Final = 600
"""Characters of a question that the prompt below has whole."""

_ID: Final = re.compile(r"[0-9a-f]{8,32}|[0-9a-f]{32}-[0-9a-f]{1,16}")

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

_NOTHING: Final = (None, "", "unknown")


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

    That is its facts, question and answer, all feedback with its history, documents, the prompt as it was sent, and the
    trace with its times.

    \b
    Examples:
      otel-feedback show 4bf92f3577b3
      otel-feedback show 4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7 --attributes
      otel-feedback show 4bf92f3577b3 --json | jq .feedback
    """  # noqa: D301 - \b keeps the lines below it as they are
    if not _ID.fullmatch(answer.strip().lower()):
        raise typer.BadParameter(
            "it takes the id of an answer or of its trace, or its first 8 hex digits or more.", param_hint="ID"
        )
    with open_source(_options.place(url, data)) as source:
        found = source.answer(answer)
    if as_json:
        _show.print_json(found)
        return
    console = _show.console()
    for heading, part in _parts(found, attributes=attributes):
        console.print(_show.plain(heading, "bold"))
        console.print(Padding(part, (0, 0, 1, 2), expand=False))


def _parts(found: Json, *, attributes: bool) -> Iterator[tuple[str, RenderableType]]:
    """Give headings and what stands below them; what nobody recorded has none."""
    yield f"Answer {found['id']}", _facts(found)
    if found["question"]:
        asked = cut_repeated(found["question"], (one["text"] for one in found["prompt"]), LONGEST_QUESTION)
        yield ("Question" if asked == found["question"] else "Question, whole in the prompt below"), _lines(asked)
    else:
        yield "Question", _missing()
    yield "Answer", _lines(found["answer"]) if found["answer"] else _missing()
    if found["feedback"]:
        yield "Feedback", Group(*(_vote(one) for one in found["feedback"]))
    if found["evaluations"]:
        yield "Evaluations by models", _evaluations(found["evaluations"])
    if found["documents"]:
        yield "Documents", _documents(found["documents"])
    if found["variables"]:
        yield "Variables", _show.new_list((name, _lines(text)) for name, text in found["variables"].items())
    if found["prompt"]:
        yield "Prompt", Group(*(_message(one) for one in found["prompt"]))
    if found["spans"]:
        yield _heading(found), _tree(found["spans"], attributes=attributes)


def _lines(text: str) -> Text:
    return _show.plain(text, lines=True)


def _missing() -> Text:
    return Text("not recorded", style="dim")


def _heading(found: Json) -> str:
    """Name the trace, and say where it has more spans than are read."""
    read, there = len(found["spans"]), found["span_count"]
    return f"Trace {found['trace_id']}" + (f": {read:,} of its {there:,} spans" if there > read else "")


def _facts(found: Json) -> Table:
    facts = [("time", _show.when(found["started_at"], fine=True))]
    if found["duration_ms"] is not None:
        facts.append(("took", Text(_show.milliseconds(found["duration_ms"]))))
    facts += [(word, _show.plain(found[name])) for name, word in FACTS.items() if _tells(found, name)]
    if not found["recorded"]:
        facts.append(("note", Text("its own span never came: it was sampled out, or is on its way", style="yellow")))
    return _show.new_list(facts)


def _tells(found: Json, name: str) -> bool:
    """Whether a fact is one: of a template without a version the fingerprint is the version, and that says it all."""
    if name == "prompt_fingerprint" and found[name] == found["prompt_version"]:
        return False
    return found[name] not in _NOTHING


def _message(message: Json) -> RenderableType:
    role = _show.plain(message["role"] or "message", "cyan")
    return Group(role, Padding(_lines(message["text"]), (0, 0, 0, 2), expand=False))


def _documents(documents: Sequence[Json]) -> Table:
    table = _show.new_table("rank", "score", "document", numbers=("rank", "score"))
    for each in documents:
        score = "" if each["score"] is None else f"{each['score']:.3f}"
        name = _show.plain(each["id"])
        if each["text"]:
            name.append_text(_show.plain(f"\n{each['text']}", "dim", lines=True, longest=LONGEST_VALUE))
        table.add_row(str(each["rank"]), score, name)
    return table


def _vote(vote: Json) -> RenderableType:
    """One feedback, and whether another has replaced it."""
    parts = [_show.when(vote["at"]), _show.plain(f"{vote['signal']} {vote['label'] or ''}".strip())]
    parts.append(_show.transition(vote))
    if vote["submitter"]:
        parts.append(_show.plain(vote["submitter"], "dim"))
    if not vote["standing"]:
        parts.append(Text("replaced", style="dim"))
    told = [_show.plain(", ".join(map(str, vote["reasons"])), "yellow")] if vote["reasons"] else []
    if vote["comment"]:
        told.append(_show.plain(vote["comment"], "italic", lines=True))
    for name, text in (vote["correction"] or {}).items():
        if text is not None:
            told.append(Text.assemble((f"{name}: ", "cyan"), _show.plain(text, lines=True)))
    return Group(Text("  ").join(parts), *(Padding(one, (0, 0, 0, 2), expand=False) for one in told))


def _evaluations(evaluations: Sequence[Json]) -> Table:
    table = _show.new_table("time (UTC)", "name", "score", "label", numbers=("score",))
    for each in evaluations:
        score = "" if each["score"] is None else f"{each['score']:.3f}"
        table.add_row(
            _show.when(each["at"], zone=False), _show.plain(each["name"]), score, _show.plain(each["label"] or "")
        )
    return table


def _tree(spans: Sequence[Json], *, attributes: bool) -> Tree:
    """Build the trace's tree: each span with its start, from the trace's, and its length."""
    root = Tree("", hide_root=True, guide_style="dim")
    branches = [root]
    for span in spans:
        # A span may not be deeper than one below the last, whatever came over the wire.
        depth = min(span["depth"], len(branches) - 1)
        del branches[depth + 1 :]
        branches.append(branches[depth].add(_span(span, attributes=attributes)))
    return root


def _span(span: Json, *, attributes: bool) -> RenderableType:
    style = "bold red" if span["status"] == "error" else "bold" if span["is_answer"] else ""
    line = _show.plain(span["name"], style, longest=LONGEST_VALUE)
    line.append(f"  {_show.milliseconds(span['duration_ms'])}", "cyan")
    line.append(f"  at {_show.milliseconds(span['offset_ms'])}", "dim")
    if span["is_answer"]:
        line.append("  the answer", "green")
    if span["status_message"]:
        line.append_text(_show.plain(f"  {span['status_message']}", "red", longest=LONGEST_VALUE))
    if not attributes:
        return line
    values = list(_values(span["attributes"]))
    for event in span["events"]:
        values.append((f"event {event['name']}", Text(f"at {_show.milliseconds(event['offset_ms'])}", style="dim")))
        values += _values(event["attributes"], indent="  ")
    return Group(line, _show.new_list(values)) if values else line


def _values(attributes: Json, *, indent: str = "") -> Iterator[tuple[str, Text]]:
    for name, value in attributes.items():
        text = value if isinstance(value, str) else json.dumps(value)
        yield f"{indent}{name}", _show.plain(text, longest=LONGEST_VALUE)
