"""One trace out of Jaeger as a tree for the terminal."""

import json
import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.text import Text
from rich.tree import Tree
from stack.client import span_tags

SHOWN: Final = (
    "feedback.prompt.name",
    "feedback.prompt.version",
    "feedback.model",
    "feedback.documents",
    "gen_ai.request.model",
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.output_tokens",
    "gen_ai.retrieval.documents",
    "feedback.sentiment",
    "feedback.previous_sentiment",
    "feedback.reasons",
)
"""Attributes that tell the story; the rest is in Jaeger."""

LONGEST_VALUE: Final = 100

Span = Mapping[str, Any]


def plain(text: str) -> Text:
    """Foreign text, safe on a terminal: no markup is read in it, control characters are replaced."""
    return Text("".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(c)[0] == "C" else c for c in text))


def build_tree(spans: Sequence[Span]) -> Tree:
    """Build the tree of a trace's spans, as Jaeger's JSON has them; feedback stands below its answer."""
    told = [span for span in spans if "asgi.event.type" not in span_tags(span)]
    ids = {span["spanID"] for span in told}
    below: dict[str | None, list[Span]] = defaultdict(list)
    for span in sorted(told, key=lambda span: int(span["startTime"])):
        parent = next((one["spanID"] for one in span["references"]), None)
        below[parent if parent in ids else None].append(span)
    tree = Tree(Text(f"trace {spans[0]['traceID']}" if spans else "an empty trace", style="bold"))
    _grow(tree, below, None)
    if len(told) < len(spans):
        tree.add(Text(f"and spans of single HTTP messages: {len(spans) - len(told)}", style="dim"))
    return tree


def _grow(branch: Tree, below: Mapping[str | None, Sequence[Span]], parent: str | None) -> None:
    for span in below.get(parent, ()):
        _grow(branch.add(_describe(span)), below, span["spanID"])


def _describe(span: Span) -> Text:
    """Name, duration and the attributes that tell the story."""
    tags = span_tags(span)
    line = plain(span["operationName"])
    line.stylize("bold red" if tags.get("feedback.sentiment") == "negative" else "bold")
    line.append(f"  {span['duration'] / 1000:.1f} ms", style="dim")
    for name in SHOWN:
        if name in tags:
            line.append(f"\n{name} ", style="cyan")
            line.append_text(plain(_shorten(name, tags[name])))
    return line


def _shorten(name: str, value: Any) -> str:
    text = str(value)
    if name.endswith(".documents"):
        text = ", ".join(f"{document['id']} ({document['score']:.1f})" for document in json.loads(text))
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}..."
