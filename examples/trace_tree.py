"""One trace as a tree for the terminal: what was asked, found, answered and thought of it."""

import json
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.console import Group
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from examples.model_provider.extract import split_prompt
from otel_feedback import semconv

LONGEST_VALUE: Final = 240
"""Characters of a text; a longer one is cut."""

MESSAGE_KIND: Final = "asgi.event.type"
"""Attribute of the spans that FastAPI's instrumentation makes for single HTTP messages."""

Facts = Iterator[tuple[str, str]]


@dataclass(frozen=True)
class Span:
    """One span, wherever it was read; times in milliseconds."""

    id: str
    parent: str | None
    name: str
    start: float
    duration: float
    tags: Mapping[str, Any]

    @property
    def is_answer(self) -> bool:
        """Whether users can judge it."""
        return semconv.FEEDBACK_INTERACTION in self.tags


@dataclass(frozen=True)
class Trace:
    """One trace."""

    id: str
    spans: Sequence[Span]

    @property
    def answer(self) -> Span | None:
        """The span of the answer; ``None`` where the trace has only the judgement."""
        return next((span for span in self.spans if span.is_answer), None)


def plain(text: str) -> Text:
    """Foreign text, safe on a terminal: no markup is read in it, control characters are replaced."""
    return Text("".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(c)[0] == "C" else c for c in text))


def build_tree(trace: Trace, names: Mapping[str, str] | None = None) -> Tree:
    """Build the tree of a trace's spans; feedback stands below its answer.

    Args:
        trace: What to show.
        names: What people call a prompt, by its version.
    """
    told = [span for span in trace.spans if MESSAGE_KIND not in span.tags]
    ids = {span.id for span in told}
    below: dict[str | None, list[Span]] = defaultdict(list)
    for span in sorted(told, key=lambda span: span.start):
        below[span.parent if span.parent in ids else None].append(span)
    tree = Tree(Text(f"trace {trace.id}", style="bold"))
    _grow(tree, below, None, names or {})
    if len(told) < len(trace.spans):
        tree.add(Text(f"and spans of single HTTP messages: {len(trace.spans) - len(told)}", style="dim"))
    return tree


def _grow(
    branch: Tree, below: Mapping[str | None, Sequence[Span]], parent: Span | None, names: Mapping[str, str]
) -> None:
    for span in below.get(None if parent is None else parent.id, ()):
        _grow(branch.add(_describe(span, parent, names)), below, span, names)


def _describe(span: Span, parent: Span | None, names: Mapping[str, str]) -> Group:
    """Name, time and the facts that tell the story; the rest stays where it was read."""
    tags = span.tags
    line = plain(span.name)
    line.stylize("bold red" if tags.get(semconv.FEEDBACK_SENTIMENT) == semconv.NEGATIVE else "bold")
    if semconv.FEEDBACK_SIGNAL in tags:
        if parent is not None:
            line.append(f"  {_duration(span.start - parent.start)} later", style="dim")
        facts = _feedback_facts(tags)
    else:
        line.append(f"  {_duration(span.duration)}", style="dim")
        facts = _answer_facts(tags, names)
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(no_wrap=True, style="cyan")
    grid.add_column(overflow="fold")
    for name, value in facts:
        grid.add_row(plain(f"{name}:"), plain(_shorten(value)))
    return Group(line, grid) if grid.row_count else Group(line)


def _feedback_facts(tags: Mapping[str, Any]) -> Facts:
    """What a user said, and whether it was said before."""
    before, label = tags[semconv.FEEDBACK_PREVIOUS_SENTIMENT], str(tags.get(semconv.ANNOTATION_LABEL, ""))
    if before == tags[semconv.FEEDBACK_SENTIMENT]:
        label += ", as before"
    elif before != semconv.UNSET:
        label += f", and was {before}"
    yield tags[semconv.FEEDBACK_SIGNAL], label
    reasons = tags.get(semconv.FEEDBACK_REASONS, ())
    if reasons := json.loads(reasons) if isinstance(reasons, str) else reasons:  # Jaeger has lists as texts
        yield "reasons", ", ".join(reasons)
    if comment := tags.get(semconv.ANNOTATION_EXPLANATION):
        yield "comment", comment


def _answer_facts(tags: Mapping[str, Any], names: Mapping[str, str]) -> Facts:
    """What a request, a retrieval or a model call did for the answer."""
    if semconv.FEEDBACK_INTERACTION in tags:
        version = str(tags[semconv.FEEDBACK_PROMPT_VERSION])
        called = f' ("{names[version]}")' if version in names else ""
        yield "prompt", f"{tags[semconv.FEEDBACK_PROMPT_NAME]}, version {version}{called}"
        yield "model", str(tags[semconv.FEEDBACK_MODEL])
    if semconv.GEN_AI_RETRIEVAL_DOCUMENTS in tags:
        found = json.loads(tags[semconv.GEN_AI_RETRIEVAL_DOCUMENTS])
        yield "documents", ", ".join(f"{document['id']} (score {document['score']:.1f})" for document in found)
    if semconv.GEN_AI_INPUT_MESSAGES in tags:
        instruction, _, question = split_prompt(_messages(tags[semconv.GEN_AI_INPUT_MESSAGES]))
        yield "instruction", instruction
        yield "question", question
    if semconv.GEN_AI_OUTPUT_MESSAGES in tags:
        yield "answer", " ".join(text for _, text in _messages(tags[semconv.GEN_AI_OUTPUT_MESSAGES]))


def _messages(recorded: str) -> list[tuple[str, str]]:
    """``(role, text)`` of messages as the GenAI conventions record them."""
    return [
        (message["role"], "\n\n".join(part["content"] for part in message["parts"] if part["type"] == "text"))
        for message in json.loads(recorded)
    ]


def _duration(milliseconds: float) -> str:
    return f"{milliseconds:.1f} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.1f} s"


def _shorten(value: str) -> str:
    """One line, cut where it is long."""
    text = " ".join(value.split())
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}\N{HORIZONTAL ELLIPSIS}"
