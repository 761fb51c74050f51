"""One bad answer for the terminal: which is chosen, what of it is told, and that it is safe to look at."""

import io
import json
from typing import Any

from examples.jaeger import choose, read_trace
from examples.trace_tree import LONGEST_VALUE, Trace, build_tree, plain
from rich.console import Console, RenderableType

from otel_feedback import semconv

DOCUMENTS = '[{"id": "del#0", "score": 2.25}, {"id": "naming#1", "score": 1}]'


def shown(what: RenderableType) -> list[str]:
    console = Console(file=io.StringIO(), width=80, color_system=None)
    console.print(what)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    return [line.rstrip() for line in lines]


def span(name: str, number: int, parent: int | None = None, tags: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "traceID": "t",
        "spanID": str(number),
        "operationName": name,
        "startTime": number * 1000,
        "duration": 1500,
        "references": [] if parent is None else [{"spanID": str(parent)}],
        "tags": [{"key": key, "value": value} for key, value in (tags or {}).items()],
    }


def read(*spans: dict[str, Any]) -> Trace:
    return read_trace("t", spans)


def interaction(number: int = 1) -> dict[str, Any]:
    tags = {
        semconv.FEEDBACK_INTERACTION: True,
        semconv.FEEDBACK_PROMPT_NAME: "/ask",
        semconv.FEEDBACK_PROMPT_VERSION: "e8cacefe5611",
        semconv.FEEDBACK_MODEL: "extract-1",
        "http.url": "not shown",
    }
    return span("POST /ask", number, parent=99, tags=tags)


def feedback(number: int, sentiment: str, before: str, **more: Any) -> dict[str, Any]:
    labels = {semconv.NEGATIVE: "down", semconv.POSITIVE: "up", semconv.RETRACTED: "retracted"}
    tags = {
        semconv.FEEDBACK_SIGNAL: "thumbs",
        semconv.FEEDBACK_KIND: semconv.EXPLICIT,
        semconv.FEEDBACK_SENTIMENT: sentiment,
        semconv.FEEDBACK_PREVIOUS_SENTIMENT: before,
        semconv.ANNOTATION_LABEL: labels[sentiment],
    }
    names = {"comment": semconv.ANNOTATION_EXPLANATION, "reasons": semconv.FEEDBACK_REASONS}
    return span("feedback thumbs", number, 1, tags | {names[name]: value for name, value in more.items()})


def message(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "parts": [{"type": "text", "content": text}, {"type": "image"}]}


def model_call(number: int, answer: str) -> dict[str, Any]:
    asked = [message("system", "Be brief."), message("user", "Passages:\n\nText\n\nQuestion: What is [bold]del[/x]?")]
    tags = {
        semconv.GEN_AI_INPUT_MESSAGES: json.dumps(asked),
        semconv.GEN_AI_OUTPUT_MESSAGES: json.dumps([message("assistant", answer)]),
    }
    return span("chat extract-1", number, parent=1, tags=tags)


def test_a_trace_becomes_a_tree_with_what_tells_the_story() -> None:
    """Prompt, documents, question, answer and judgement in order of time; single HTTP messages are only counted."""
    trace = read(
        feedback(5, semconv.NEGATIVE, semconv.NEGATIVE, comment="It breaks off."),
        feedback(4, semconv.NEGATIVE, semconv.UNSET, reasons='["cut-off", "outdated"]'),
        model_call(3, "A\nstatement."),
        interaction(),
        span("POST /ask http send", 6, parent=1, tags={"asgi.event.type": "http.response.body"}),
        span("retrieval", 2, parent=1, tags={semconv.GEN_AI_RETRIEVAL_DOCUMENTS: DOCUMENTS}),
    )
    assert shown(build_tree(trace, {"e8cacefe5611": "terse"})) == [
        "trace t",
        "├── POST /ask  1.5 ms",
        '│   prompt: /ask, version e8cacefe5611 ("terse")',
        "│   model:  extract-1",
        "│   ├── retrieval  1.5 ms",
        "│   │   documents: del#0 (score 2.2), naming#1 (score 1.0)",
        "│   ├── chat extract-1  1.5 ms",
        "│   │   instruction: Be brief.",
        "│   │   question:    What is [bold]del[/x]?",
        "│   │   answer:      A statement.",
        "│   ├── feedback thumbs  3.0 ms later",
        "│   │   thumbs:  down",
        "│   │   reasons: cut-off, outdated",
        "│   └── feedback thumbs  4.0 ms later",
        "│       thumbs:  down, as before",
        "│       comment: It breaks off.",
        "└── and spans of single HTTP messages: 1",
    ]
    assert shown(build_tree(read())) == ["trace t"]


def test_a_change_of_mind_is_told_with_what_was_thought_before() -> None:
    """The second vote says what the first one was; in a trace of its own there is nothing that it came later than."""
    told = shown(build_tree(read(feedback(2, semconv.NEGATIVE, semconv.POSITIVE))))
    assert told == ["trace t", "└── feedback thumbs", "    thumbs: down, and was positive"]


def test_without_content_the_tree_tells_the_rest() -> None:
    """A trace of a service that keeps no content has neither question nor answer, and an unnamed version."""
    told = shown(build_tree(read(interaction(), span("chat", 2, parent=1))))
    assert told == [
        "trace t",
        "└── POST /ask  1.5 ms",
        "    prompt: /ask, version e8cacefe5611",
        "    model:  extract-1",
        "    └── chat  1.5 ms",
    ]


def test_what_people_wrote_is_cut_and_harmless() -> None:
    """A long text ends in an ellipsis; escape sequences and markup of a comment are shown as they are, harmless."""
    comment = f"\x1b]8;;x\x07[link=file:///x]y[/link] {'long ' * 100}"
    told = "\n".join(shown(build_tree(read(feedback(2, semconv.NEGATIVE, semconv.UNSET, comment=comment)))))
    assert "\x1b" not in told
    assert "[link=file:///x]y[/link]" in told
    assert told.endswith("\N{HORIZONTAL ELLIPSIS}")
    assert len(told) < 2 * LONGEST_VALUE
    assert shown(plain("\x1b[31mred\x1b]8;;x\x07 [/x]")) == ["�[31mred�]8;;x� [/x]"]
    assert plain("\u202eleft \ud800").plain == "�left �"


def test_the_answer_that_is_shown_is_the_one_whose_user_said_most() -> None:
    """A comment before reasons, reasons before a bare vote; else the first."""
    down = feedback(2, semconv.NEGATIVE, semconv.UNSET)
    bare = read(interaction(), down)
    other = read(interaction(), feedback(3, semconv.NEGATIVE, semconv.UNSET))
    reasoned = read(interaction(), feedback(2, semconv.NEGATIVE, semconv.UNSET, reasons='["outdated"]'))
    explained = read(interaction(), down, feedback(3, semconv.NEGATIVE, semconv.NEGATIVE, comment="No."))
    assert choose([bare, reasoned, explained]) == explained
    assert choose([bare, reasoned]) == reasoned
    assert choose([bare, other]) == bare


def test_no_bad_answer_is_one_that_its_user_came_to_like_or_that_is_not_there() -> None:
    """What was changed or taken back later isn't bad any more, and a judgement without its answer tells nothing."""
    down = feedback(2, semconv.NEGATIVE, semconv.UNSET)
    liked = read(feedback(3, semconv.POSITIVE, semconv.NEGATIVE), down, interaction())
    taken_back = read(interaction(), down, feedback(3, semconv.RETRACTED, semconv.NEGATIVE))
    assert choose([liked, taken_back, read(down), read(interaction())]) is None
    assert read(down).answer is None
