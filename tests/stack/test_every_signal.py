"""Every signal of the table, from the browser or the service to its carrier, its number in Prometheus and its row."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from examples.satisfaction import Line
from stack.client import span_tags
from stack.parts import Parts
from tests.chromium import browser, chromium  # noqa: F401 - fixtures of this module
from tests.stack.reader_at_the_page import Reader
from tests.stack.whole_loop import KNOWN, Counts, Loop, running_loop, settled

from otel_feedback import _likeness, semconv
from otel_feedback.signals import DEFAULT_SIGNALS

POSITIVE, NEGATIVE, NEUTRAL, RETRACTED = semconv.SENTIMENTS
EXPLICIT, IMPLICIT, CORRECTION = semconv.EXPLICIT, semconv.IMPLICIT, semconv.CORRECTION

BEFORE = [*["up"] * 7, *["down"] * 3]
"""How ten other answers of each case's template were judged before: so that its satisfaction is a number."""
JUDGED = Counter({(EXPLICIT, "thumbs", POSITIVE, semconv.UNSET): 7, (EXPLICIT, "thumbs", NEGATIVE, semconv.UNSET): 3})
"""The same, as Prometheus counts it."""

ASKED = "How do I reset my password?"
ASKED_ELSE = "How do I reset my password please?"
LIKE = _likeness.likeness(_likeness.features(ASKED), _likeness.features(ASKED_ELSE))
ASKED_OTHER = "Which countries do you deliver to?"

WORDS = ("Valmar at dawn", "Ostrava at noon")
"""What a correction is about: words that are nowhere else."""

CORRECTED = (semconv.FEEDBACK_CORRECTION_ORIGINAL, semconv.FEEDBACK_CORRECTION_CORRECTED)
ON_CARRIERS = (
    semconv.FEEDBACK_KIND,
    semconv.FEEDBACK_SIGNAL,
    semconv.FEEDBACK_SENTIMENT,
    semconv.FEEDBACK_PREVIOUS_SENTIMENT,
    semconv.FEEDBACK_SOURCE,
    semconv.FEEDBACK_CONFIDENCE,
    semconv.ANNOTATION_NAME,
    semconv.ANNOTATION_LABEL,
    semconv.ANNOTATION_SCORE,
    semconv.ANNOTATION_ANNOTATOR_KIND,
)
IN_ROWS = [
    "signal",
    "kind",
    "sentiment",
    "previous_sentiment",
    "label",
    "score",
    "confidence",
    "source",
    "standing",
    "correction",
]


@dataclass
class Act:
    """Whoever acts in one case: the loop, the case's template, and a reader at the page where there is one."""

    loop: Loop
    template: str
    page: Callable[[], Reader]
    texts: bool = True
    """Whether the process that takes the feedback in records what people write."""


@dataclass(frozen=True)
class Said:
    """One carrier, as it should be."""

    sentiment: str
    score: float | None
    label: str


@dataclass(frozen=True)
class Case:
    """A signal and its way in: what is done, which gives the handle, and what everybody then says of it."""

    act: Callable[[Act], str]
    signal: str
    kind: str
    source: str
    said: tuple[Said, ...]
    confidence: float | None = None
    correction: tuple[str, str] | None = None
    texts: bool = True

    @property
    def keeps_words(self) -> bool:
        """Whether any word of answer or reader is to be found afterwards."""
        return self.correction is not None and self.texts


def vote(*parts: str) -> Callable[[Act], str]:
    """Ask at the page and click parts of the widget."""

    def act(on: Act) -> str:
        signal = {"v4": "stars", "vno": "helpful"}.get(parts[0], "thumbs")
        handle = on.page().ask(on.template, signal=signal)
        on.page().press(*parts)
        return handle

    return act


def at_the_page(gesture: Callable[[Reader], None], *, endless: bool = False) -> Callable[[Act], str]:
    """Ask at the page and do something with the answer."""

    def act(on: Act) -> str:
        handle = on.page().ask(on.template, texts=on.texts, endless=endless)
        gesture(on.page())
        return handle

    return act


def ask_again(question: str) -> Callable[[Act], str]:
    """Ask twice in one conversation, then for something else: the first answer is the one that is judged."""

    def act(on: Act) -> str:
        first, *_ = [on.loop.ask(on.template, each, on.template) for each in (ASKED, question, ASKED_OTHER)]
        return first

    return act


def ask_and_say_no_more(on: Act) -> str:
    """Ask in a conversation that ends with the answer."""
    return on.loop.ask(on.template, ASKED, on.template, texts=False)


def stop_reading(on: Act) -> str:
    """Go away while the answer still comes, without a page that could tell."""
    return on.loop.stop_reading(on.template, ASKED)


def tell_the_service(signal: str, *words: str) -> Callable[[Act], str]:
    """Correct an answer in a program that tells the service: it calls ``record()``."""

    def act(on: Act) -> str:
        handle = on.loop.ask(on.template, ASKED, texts=on.texts)
        on.loop.correct(handle, signal, *words, texts=on.texts)
        return handle

    return act


def post(signal: str, *words: str) -> Callable[[Act], str]:
    """Correct an answer in a program that tells capture."""

    def act(on: Act) -> str:
        handle = on.loop.ask(on.template, ASKED)
        correction = dict(zip(("original", "corrected"), words, strict=True))
        on.loop.post({"handle": handle, "signal": signal, "correction": correction}, texts=on.texts)
        return handle

    return act


DOWN, UP = Said(NEGATIVE, 0.0, "down"), Said(POSITIVE, 1.0, "up")
AGAIN, GONE = Said(NEGATIVE, 0.0, "regenerated"), Said(NEGATIVE, 0.0, "abandoned")
BY_PAGE, BY_SERVICE, BY_PROGRAM = semconv.SOURCE_CAPTURE, semconv.SOURCE_DERIVED, semconv.SOURCE_RECORD

EDITED = f"{KNOWN} {WORDS[1]}."
CASES = {
    "thumbs, clicked": Case(vote("vup"), "thumbs", EXPLICIT, BY_PAGE, (UP,)),
    "thumbs, changed": Case(vote("vup", "vdown"), "thumbs", EXPLICIT, BY_PAGE, (UP, DOWN)),
    "stars, clicked": Case(vote("v4"), "stars", EXPLICIT, BY_PAGE, (Said(POSITIVE, 0.75, "4"),)),
    "helpful, clicked": Case(vote("vno"), "helpful", EXPLICIT, BY_PAGE, (Said(NEGATIVE, 0.0, "no"),)),
    "copy, by the keyboard": Case(
        at_the_page(lambda page: page.copy(28)), "copy", IMPLICIT, BY_PAGE, (Said(POSITIVE, 0.44, "copied"),), 0.9
    ),
    "copy, more of it later": Case(
        at_the_page(lambda page: page.copy(28, len(KNOWN))),
        "copy",
        IMPLICIT,
        BY_PAGE,
        (Said(POSITIVE, 0.44, "copied"), Said(POSITIVE, 1.0, "copied")),
        0.9,
    ),
    "edit, at use": Case(
        at_the_page(lambda page: page.add_and_use(" Bring a coat.")),
        "edit",
        IMPLICIT,
        BY_PAGE,
        (Said(POSITIVE, 0.83, "kept"),),
        0.8,
    ),
    "accept, by the page": Case(
        at_the_page(lambda page: page.click("accept")),
        "accept",
        IMPLICIT,
        BY_PAGE,
        (Said(POSITIVE, 1.0, "accepted"),),
        0.9,
    ),
    "regenerate, by the page": Case(
        at_the_page(lambda page: page.click("again")), "regenerate", IMPLICIT, BY_PAGE, (AGAIN,), 0.9
    ),
    "abandon, page left": Case(at_the_page(Reader.leave, endless=True), "abandon", IMPLICIT, BY_PAGE, (GONE,), 0.3),
    "rephrase, found by the service": Case(
        ask_again(ASKED_ELSE),
        "rephrase",
        IMPLICIT,
        BY_SERVICE,
        (Said(NEGATIVE, 1 - LIKE, "asked again"),),
        _likeness.confidence(LIKE),
    ),
    "regenerate, found by the service": Case(ask_again(ASKED), "regenerate", IMPLICIT, BY_SERVICE, (AGAIN,), 0.9),
    "abandon, reader gone": Case(stop_reading, "abandon", IMPLICIT, BY_SERVICE, (GONE,), 0.7),
    "abandon, no later sign": Case(ask_and_say_no_more, "abandon", IMPLICIT, BY_SERVICE, (GONE,), 0.3, texts=False),
    "text, in the widget": Case(
        at_the_page(lambda page: page.correct(f" {WORDS[1]}.")),
        "text",
        CORRECTION,
        BY_PAGE,
        (Said(NEGATIVE, 0.0, "corrected"),),
        correction=(KNOWN, EDITED),
    ),
    "label, by record()": Case(
        tell_the_service("label", *WORDS),
        "label",
        CORRECTION,
        BY_PROGRAM,
        (Said(NEGATIVE, 0.0, "wrong"),),
        correction=WORDS,
    ),
    "choice, posted": Case(
        post("choice", *WORDS), "choice", CORRECTION, BY_PAGE, (Said(NEGATIVE, 0.0, "overruled"),), correction=WORDS
    ),
}
CASES |= {
    f"{name}, its words not kept": replace(case, texts=False) for name, case in CASES.items() if case.kind == CORRECTION
}


@pytest.fixture(scope="module")
def loop(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loop]:
    """Everything that runs, with ten votes on each case's template, that everybody has counted."""
    with running_loop(tmp_path_factory.mktemp("every-signal"), parts) as running:
        running.vote_all(list(CASES), BEFORE)
        for template in CASES:
            assert settled(lambda template=template: running.counted(template), JUDGED) == JUDGED
        yield running


@pytest.fixture
def page(request: pytest.FixtureRequest, loop: Loop) -> Callable[[], Reader]:
    """The reader at the page; only who needs one needs Chromium."""
    return lambda: Reader(request.getfixturevalue("browser"), loop)


@pytest.mark.parametrize("name", CASES)
def test_every_signal_comes_to_its_carrier_its_number_and_its_row(
    name: str, loop: Loop, page: Callable[[], Reader]
) -> None:
    """What was done is carried, counted and stored once, as its kind; only a person's opinion moves satisfaction."""
    case = CASES[name]
    before = loop.lines(name)
    assert [line.shares["satisfaction"] for line in before.values()] == [0.7, 0.7]

    handle = case.act(Act(loop, name, page, case.texts))

    wanted = JUDGED + counts(case)
    assert settled(lambda: loop.counted(name), wanted) == wanted
    assert settled(lambda: carried(loop, handle), carriers(case)) == carriers(case)
    assert settled(lambda: stored(loop, handle), rows(case)) == rows(case)
    for reader, line in loop.lines(name).items():
        assert changes(before[reader], line) == expected_changes(case, reader)
        assert (line.shares == before[reader].shares) is (case.kind != EXPLICIT)
    told = str(loop.carriers(handle)), str(loop.stored(handle))
    assert [any(town in each for town in ("Valmar", "Ostrava")) for each in told] == [case.keeps_words] * 2


def test_every_signal_of_the_table_has_a_case() -> None:
    """A signal that is added without a way to its number fails here."""
    table = {(signal.name, signal.kind) for signal in DEFAULT_SIGNALS.values()}
    assert {(case.signal, case.kind) for case in CASES.values()} == table


def counts(case: Case) -> Counts:
    """What Prometheus should count for a case."""
    return Counter(
        {(case.kind, case.signal, said.sentiment, was): 1 for was, said in zip(previous(case), case.said, strict=True)}
    )


def previous(case: Case) -> list[str]:
    """What the vote was before each carrier."""
    return [semconv.UNSET, *(said.sentiment for said in case.said)][:-1]


def carriers(case: Case) -> list[dict[str, Any]]:
    """What the carriers of a case should say."""
    found = []
    for was, said in zip(previous(case), case.said, strict=True):
        evaluation = {
            semconv.GEN_AI_EVALUATION_NAME: case.signal,
            semconv.GEN_AI_EVALUATION_SCORE_LABEL: said.label,
            semconv.GEN_AI_EVALUATION_SCORE_VALUE: about(said.score),
        }
        words = dict(zip(CORRECTED, case.correction, strict=True)) if case.correction and case.texts else None
        found.append(
            {
                "name": f"feedback {case.signal}",
                semconv.FEEDBACK_KIND: case.kind,
                semconv.FEEDBACK_SIGNAL: case.signal,
                semconv.FEEDBACK_SENTIMENT: said.sentiment,
                semconv.FEEDBACK_PREVIOUS_SENTIMENT: was,
                semconv.FEEDBACK_SOURCE: case.source,
                semconv.FEEDBACK_CONFIDENCE: about(case.confidence),
                semconv.ANNOTATION_NAME: case.signal,
                semconv.ANNOTATION_LABEL: said.label,
                semconv.ANNOTATION_SCORE: about(said.score),
                semconv.ANNOTATION_ANNOTATOR_KIND: semconv.CODE if case.kind == IMPLICIT else semconv.HUMAN,
                semconv.EVENT_EVALUATION_RESULT: evaluation,
                semconv.EVENT_CORRECTION: words,
            }
        )
    return found


def carried(loop: Loop, handle: str) -> list[dict[str, Any]]:
    """What the carriers on an answer say, by the names that ``carriers`` gives."""
    found = []
    for span in loop.carriers(handle):
        tags = span_tags(span)
        events = {event.pop("event"): event for event in map(fields_of, span["logs"])}
        evaluation = events.get(semconv.EVENT_EVALUATION_RESULT, {})
        evaluation.pop(semconv.GEN_AI_RESPONSE_ID, None)
        found.append(
            {name: tags.get(name) for name in ON_CARRIERS}
            | {"name": span["operationName"], semconv.EVENT_EVALUATION_RESULT: evaluation}
            | {semconv.EVENT_CORRECTION: events.get(semconv.EVENT_CORRECTION)}
        )
    return found


def fields_of(event: dict[str, Any]) -> dict[str, Any]:
    """The attributes of an event, and its name as ``event``, as Jaeger has it."""
    return {field["key"]: field["value"] for field in event["fields"]}


def rows(case: Case) -> list[dict[str, Any]]:
    """What the store should have of a case: its history, of which the last one stands."""
    words = dict(zip(("original", "corrected"), case.correction, strict=True)) if case.correction else None
    return [
        {
            "signal": case.signal,
            "kind": case.kind,
            "sentiment": said.sentiment,
            "previous_sentiment": was,
            "label": said.label,
            "score": about(said.score),
            "confidence": about(case.confidence),
            "source": case.source,
            "standing": said is case.said[-1],
            "correction": words if case.texts else None,
        }
        for was, said in zip(previous(case), case.said, strict=True)
    ]


def stored(loop: Loop, handle: str) -> list[dict[str, Any]]:
    """What the store has of an answer, by the names that ``rows`` gives."""
    return [{name: row[name] for name in IN_ROWS} for row in loop.stored(handle)["feedback"]]


def about(number: float | None) -> Any:
    """A number to be equal to the precision of floating point."""
    return None if number is None else pytest.approx(number)


def changes(before: Line, after: Line) -> dict[str, int]:
    """By how much the counts of a line changed, but for its answers."""
    names = {*before.counts, *after.counts} - {"answers"}
    found = {name: after.counts.get(name, 0) - before.counts.get(name, 0) for name in names}
    return {name: number for name, number in found.items() if number}


def expected_changes(case: Case, reader: str) -> dict[str, int]:
    """By how much a case should change them: votes as they stand are known to the store only."""
    if case.kind != EXPLICIT:
        return {case.signal: 1} if case.kind == IMPLICIT else {}
    expected = Counter({"voted": 1, "changes": len(case.said) - 1})
    expected.update(said.sentiment for said in case.said)
    if reader == "store":
        expected[f"standing {case.said[-1].sentiment}"] += 1
    return dict(+expected)
