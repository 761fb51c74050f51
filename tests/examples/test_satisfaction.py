"""What the demo shows: the comparison finds every difference, the table ranks, the tree is safe to look at."""

import io
from collections import Counter
from typing import Any

import pytest
from examples.satisfaction import PAGES, Line, Lines, expected, find_differences, show_lines, version_of
from examples.trace_tree import build_tree, plain
from examples.users import Row, Truth
from rich.console import Console, RenderableType

from otel_feedback._prompts import fingerprint

TERSE = next(prompt for prompt in PAGES["/ask"] if prompt.name == "terse")
KEY = ("/ask", version_of(TERSE.instruction))
COUNTS = {"answers": 9, "voted": 5, "positive": 4, "negative": 2, "changes": 3, "copy": 1, "rephrase": 0}


def truth() -> Truth:
    row = Row(9, 6, voted=5, positive=4, negative=2, changed=1, retracted=2, implicit=Counter(copy=1))
    return Truth(rows={("/ask", "terse"): row})


def lines(**changed: int) -> Lines:
    return {KEY: Line(*KEY, counts={**COUNTS, **changed})}


def shown(what: RenderableType) -> str:
    console = Console(file=io.StringIO(), width=200, color_system=None)
    console.print(what)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_the_example_computes_a_fingerprint_as_the_library_does() -> None:
    """The versions that the example expects are those that an undeclared template gets."""
    versions = [version_of(prompt.instruction) for prompts in PAGES.values() for prompt in prompts]
    assert versions == [fingerprint(prompt.instruction) for prompts in PAGES.values() for prompt in prompts]
    assert len(set(versions)) == 4


def test_equal_counts_are_no_difference() -> None:
    """Retractions are changes of mind; what has no series counts 0."""
    assert expected(truth()) == {KEY: COUNTS}
    assert find_differences(lines(), truth()) == []


@pytest.mark.parametrize("name", sorted(COUNTS))
def test_a_count_that_is_off_by_one_is_told(name: str) -> None:
    """Every single count is compared."""
    (difference,) = find_differences(lines(**{name: COUNTS[name] + 1}), truth())
    assert difference == f"/ask {KEY[1]}, {name}: Prometheus {COUNTS[name] + 1}, users {COUNTS[name]}"


def test_lines_that_only_one_side_has_are_differences() -> None:
    """A template that Prometheus lacks, and one that no user saw, under a name of nobody's."""
    assert find_differences({}, truth())[0].endswith("answers: Prometheus 0, users 9")
    unknown = {("/ask", "unknown"): Line("/ask", "unknown", counts=dict(COUNTS))}
    assert any(found.startswith("/ask unknown, answers: Prometheus 9") for found in find_differences(unknown, Truth()))
    assert find_differences({**lines(), KEY: Line(*KEY, counts={**COUNTS, "accept": 1})}, truth())


def test_the_table_is_worst_first_and_says_where_there_is_not_enough() -> None:
    """The upper bound of the interval ranks; without one a line comes last and has no number."""
    good = Line("/ask", "b" * 12, shares={"satisfaction": 0.8, "low": 0.6, "high": 0.9, "response_rate": 0.1})
    bad = Line("/ask", KEY[1], shares={"satisfaction": 0.4, "low": 0.2, "high": 0.6, "response_rate": 0.12})
    few = Line("/few", "c" * 12)
    text = shown(show_lines({(line.template, line.version): line for line in (few, good, bad)}))
    assert text.index(KEY[1]) < text.index("b" * 12) < text.index("c" * 12)
    assert "terse" in text
    assert "20% to 60%" in text
    assert text.count("not enough") == 2  # response rate and satisfaction of the line without numbers


DOCUMENTS = '[{"id": "del#0", "score": 2.25}]'


def span(name: str, number: int, parent: int | None = None, **tags: Any) -> dict[str, Any]:
    return {
        "traceID": "t",
        "spanID": str(number),
        "operationName": name,
        "startTime": number,
        "duration": 1500,
        "references": [] if parent is None else [{"spanID": str(parent)}],
        "tags": [{"key": key, "value": value} for key, value in tags.items()],
    }


def test_a_trace_becomes_a_tree_with_what_tells_the_story() -> None:
    """Children stand below their parents in order of time; spans of single HTTP messages are only counted."""
    spans = [
        span("feedback thumbs", 3, parent=1, **{"feedback.sentiment": "negative"}),
        span("POST /ask", 1, parent=99, **{"feedback.documents": DOCUMENTS, "http.url": "not shown"}),
        span("POST /ask http send", 4, parent=1, **{"asgi.event.type": "http.response.body"}),
        span("chat", 2, parent=1, **{"gen_ai.request.model": "m" * 200}),
    ]
    assert shown(build_tree(spans)).split("\n")[:-1] == [
        "trace t",
        "├── POST /ask  1.5 ms",
        "│   feedback.documents del#0 (2.2)",
        "│   ├── chat  1.5 ms",
        f"│   │   gen_ai.request.model {'m' * 100}...",
        "│   └── feedback thumbs  1.5 ms",
        "│       feedback.sentiment negative",
        "└── and spans of single HTTP messages: 1",
    ]
    assert shown(build_tree([])) == "an empty trace\n"


def test_foreign_text_cannot_speak_to_the_terminal() -> None:
    """Escape sequences, links and broken markup of others are shown as they are, harmless."""
    assert shown(plain("\x1b[31mred\x1b]8;;x\x07 [link=file:///x]y[/link] [/x]")) == (
        "�[31mred�]8;;x� [link=file:///x]y[/link] [/x]\n"
    )
    assert plain("\u202eleft \ud800").plain == "�left �"
