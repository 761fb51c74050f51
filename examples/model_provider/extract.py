"""Answers a question with sentences of the prompt it is given: what the prompt lacks, no answer can hold."""

import math
import re
from collections import Counter
from dataclasses import dataclass

NO_ANSWER = "I can't tell from what I was given."

_NUMERALS = "one two three four five six seven eight nine ten eleven twelve"
_NUMBERS = {word: value for value, word in enumerate(_NUMERALS.split(), start=1)}
_LIMIT = re.compile(rf"\b(\d+|{'|'.join(_NUMBERS)})\s+(?:\w+\s+)?(sentence|word)s?\b", re.IGNORECASE)
_PARAGRAPH = re.compile(r"\n\s*\n")
_SENTENCE = re.compile(r"(?<=[.!?])\s+")
_WORD = re.compile(r"[a-z0-9_]+|\*\*|[<>=!+*/%-]=?")
_RULE = re.compile(r"^[\s+|=*~^\"-]*$")
_COMMON_WORDS = """
a an and are as at be been by can could did do does for from had has have how i if in into is it its may me
my of on or s so than that the their then there these they this to use used was what when where which why
will with would you your
"""
_COMMON = frozenset(_COMMON_WORDS.split())


@dataclass(frozen=True)
class Limits:
    """How long an answer may be."""

    sentences: int = 3
    words: int | None = None


def read_limits(instruction: str) -> Limits:
    """The limits that an instruction sets in words such as ``at most two sentences`` or ``five words``."""
    limits: dict[str, int] = {}
    for count, unit in _LIMIT.findall(instruction):
        value = int(count) if count.isdigit() else _NUMBERS[count.lower()]
        limits[f"{unit.lower()}s"] = max(value, 1)
    return Limits(**limits)


def split_prompt(messages: list[tuple[str, str]]) -> tuple[str, str, str]:
    """Instruction, context and question of ``(role, text)`` messages.

    The system's messages instruct; the question is the last paragraph of the last message; the paragraphs
    before it, and what was said before, are the context.
    """
    instruction = "\n".join(text for role, text in messages if role in {"system", "developer"})
    said = [text for role, text in messages if role not in {"system", "developer"}]
    paragraphs = _PARAGRAPH.split("\n\n".join(said).strip())
    return instruction, "\n\n".join(paragraphs[:-1]), paragraphs[-1].removeprefix("Question:").strip()


def answer(messages: list[tuple[str, str]]) -> str:
    """The sentences of the context that fit the question best, as many as the instruction allows."""
    instruction, context, question = split_prompt(messages)
    limits = read_limits(instruction)
    best = _rank(_sentences(context), Counter(_stems(question)))[: limits.sentences]
    words = " ".join(best).split()[: limits.words]
    return " ".join(words) or NO_ANSWER


def _sentences(context: str) -> list[str]:
    found: dict[str, None] = {}
    for paragraph in _PARAGRAPH.split(context):
        lines = [line.strip() for line in paragraph.splitlines() if not _RULE.match(line)]
        found.update(dict.fromkeys(s for s in _SENTENCE.split(" ".join(lines)) if len(s.split()) > 1))
    return list(found)


def _rank(sentences: list[str], question: Counter[str]) -> list[str]:
    """Sentences with a word of the question, best first; rare words weigh more, length a little less."""
    stems = [set(_stems(sentence)) for sentence in sentences]
    known = Counter(stem for of_sentence in stems for stem in of_sentence)
    weight = {stem: math.log(1 + len(sentences) / known[stem]) for stem in question if known[stem]}
    scored = [
        (sum(weight.get(stem, 0.0) for stem in of_sentence) / math.log(8 + len(of_sentence)), sentence)
        for sentence, of_sentence in zip(sentences, stems, strict=True)
    ]
    return [sentence for score, sentence in sorted(scored, key=lambda pair: -pair[0]) if score > 0]


def _stems(text: str) -> list[str]:
    return [_stem(word) for word in _WORD.findall(text.lower()) if word not in _COMMON]


def _stem(word: str) -> str:
    for ending in ("ations", "ation", "ings", "ing", "ed", "es", "s", "e"):
        if word.endswith(ending) and len(word) - len(ending) > 3:
            return word[: -len(ending)]
    return word
