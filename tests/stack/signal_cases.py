"""The signals and their ways in: what is done in each case, and what everybody should then say of it."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

from tests.stack.chat_services import KNOWN, Chats
from tests.stack.reader_at_the_page import Reader

from otel_feedback import _likeness, semconv

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


@dataclass
class Act:
    """Whoever acts in one case: the loop, the case's template, and a reader at the page where there is one."""

    loop: Chats
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
