"""The corpus: Python's own language reference, which every interpreter carries, cut into passages."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pydoc_data.topics import topics

import bm25s  # type: ignore[import-untyped]  # ships no type information

PASSAGE_LENGTH = 700
"""Characters that a passage may have before the next paragraph begins a new one."""


@dataclass(frozen=True)
class Passage:
    """One piece of a topic; ``id`` is the topic's name and the piece's number in it."""

    id: str
    text: str


@dataclass(frozen=True)
class Hit:
    """A passage that was found, and its BM25 score for the question."""

    passage: Passage
    score: float


def cut(topic: str, text: str) -> Iterator[Passage]:
    """Cut a topic's text at paragraphs, so that no passage tears a sentence apart."""
    whole_words = re.sub(r"(?<=\w)-\n\s*(?=\w)", "-", text.strip())  # undo line breaks after a hyphen
    number, kept = 0, ""
    for paragraph in re.split(r"\n\s*\n", whole_words):
        if kept and len(kept) + len(paragraph) > PASSAGE_LENGTH:
            yield Passage(f"{topic}#{number}", kept)
            number, kept = number + 1, ""
        kept = f"{kept}\n\n{paragraph}" if kept else paragraph
    if kept:
        yield Passage(f"{topic}#{number}", kept)


def read_passages() -> list[Passage]:
    """All passages of the language reference; a text that several topics share is kept once."""
    found: dict[str, Passage] = {}
    for topic, text in sorted(topics.items()):
        for passage in cut(topic, text):
            found.setdefault(passage.text, passage)
    return list(found.values())


class Library:
    """A BM25 index over passages."""

    def __init__(self, passages: list[Passage]) -> None:
        self._passages = passages
        self._index = bm25s.BM25()
        texts = bm25s.tokenize([passage.text for passage in passages], show_progress=False)
        self._index.index(texts, show_progress=False)

    def search(self, question: str, count: int) -> list[Hit]:
        """The ``count`` passages that fit the question best, best first; fewer if no more share a word."""
        tokens = bm25s.tokenize(question, show_progress=False)
        places, scores = self._index.retrieve(tokens, k=count, show_progress=False)
        found = zip(places[0].tolist(), scores[0].tolist(), strict=True)
        return [Hit(self._passages[place], round(score, 4)) for place, score in found if score > 0]
