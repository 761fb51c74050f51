"""How alike two consecutive questions of one conversation are: does the second ask the same again?

Text work without a model; ``docs/rephrase.md`` has the formula, where it comes from, and what it gets wrong. What is
kept of a question are hashes under a key that each process draws for itself: never its text.
"""

import math
import re
import secrets
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from hashlib import blake2b
from typing import Final, NamedTuple

from otel_feedback import _wording

MAX_READ: Final = 100_000
"""Characters of a question that are looked at; of a longer one also its length."""

_ENDS: Final = 2_000
"""Characters from which words are taken, at the beginning and at the end each: passages stand between."""

_TOKENS: Final = 128
"""Words, or characters of a script without spaces, that are kept of each end."""

_LETTERS: Final = 20
"""Letters of a word that are looked at."""

_SOFT: Final = 0.55
"""Dice's coefficient of two words' letter pairs from which on they are one word, misspelt or inflected."""

_MIXED: Final = 0.9
"""How near two words are that have the same letters and the same first one."""

_LIGHT: Final = 0.1
"""What a function word weighs beside a content word's 0.4 to 1."""

_WORD: Final = re.compile(
    r"(?P<han>[\u2e80-\u2fdf\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff])"
    r"|(?P<kana>[\u30a1-\u30fa\u30fc-\u30ff]+)|(?P<hira>[\u3041-\u309f])|(?P<word>(?:(?![\u2e80-\u9fff\uf900-\ufaff"
    r"\U00020000-\U0003ffff])[^\W_])+)"
)
_MARKS: Final = re.compile("[\u0300-\u036f]")
_NOISE: Final = re.compile(r"[\W_]+")


class Word(NamedTuple):
    """What is kept of a word.

    Attributes:
        weight: How much it says.
        letters: A bit for each pair of letters; 0 where only the very same word will do.
        mixed: The hash of its first letter and of all its letters in order of the alphabet: two letters that changed
            places don't change it.
        root: The hash of the word without a beginning that turns its sense; of the word itself where it has none.
    """

    weight: float
    letters: int
    mixed: int
    root: int


@dataclass(frozen=True)
class Features:
    """What is kept of a question, at most 512 words: hashes that say nothing outside of this process.

    Attributes:
        digest: Of the text without case, white space and punctuation.
        order: Hashes of words, or of characters in scripts without spaces, as they stand.
        words: What is compared, by hash: words, and pairs of characters in scripts without spaces.
        light: Those of ``order`` that say little.
        numbers: Those of ``order`` that have digits.
        asked: A bit for each thing asked for: a place, a time, a quantity, a person, a reason, a way; else yes or no.
        negated: Whether something is denied.
        thanks: Whether there are thanks, or other words that close.
        onward: Whether it speaks as a next step does.
        repair: Whether it says that it is asked again.
    """

    digest: bytes
    order: tuple[int, ...]
    words: dict[int, Word]
    light: frozenset[int]
    numbers: frozenset[int]
    asked: int
    negated: bool
    thanks: bool
    onward: bool
    repair: bool


@cache
def _key() -> bytes:
    """Return this process's key; a forked child goes on with its parent's, whose features it has too."""
    return secrets.token_bytes(32)


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8, key=_key()).digest(), "big")


def _normal(text: str) -> str:
    """Return a text without case, width and accents (kana keep their marks)."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    if folded.isascii():
        return folded
    return unicodedata.normalize("NFC", _MARKS.sub("", unicodedata.normalize("NFD", folded)))


def features(text: str) -> Features:
    """Take from a question what its likeness to another one needs; any text is taken, and none of it is kept.

    The time is bounded for texts of any length, and so is what is kept (about 100 KB at most, 10 for usual questions).
    """
    normal = _normal(text[:MAX_READ])
    bare = _NOISE.sub("", normal) or "".join(normal.split())
    if len(text) > MAX_READ:
        bare = f"{len(text)} {bare}"
    digest = blake2b(bare.encode("utf-8", "surrogatepass"), digest_size=16, key=_key()).digest()
    if len(normal) > 2 * _ENDS:
        end = normal if len(text) <= MAX_READ else _normal(text[-_ENDS:])
        normal = f"{normal[:_ENDS]} {end[-_ENDS:]}"
    plain = normal.replace("\u2019", "'")
    tokens = [(match.lastgroup or "", match[0]) for match in _WORD.finditer(plain)]
    if len(tokens) > 2 * _TOKENS:
        tokens = tokens[:_TOKENS] + tokens[-_TOKENS:]
    order, light, numbers = [], set(), set()
    words: dict[int, Word] = {}
    before = ""
    for script, token in tokens:
        hashed = _hash(token)
        order.append(hashed)
        says_little = script == "hira" or token in _wording.FUNCTION or token in _wording.LIGHT_HAN
        if says_little:
            light.add(hashed)
        if any(map(str.isdigit, token)):
            numbers.add(hashed)
        if script in {"word", "kana"}:
            words[hashed] = _word(token, hashed, light=says_little, number=hashed in numbers)
            before = ""
            continue
        pair = before + token
        weight = _LIGHT if says_little else 0.35
        if len(pair) > 1:
            weight = (weight + (_LIGHT if before in _wording.LIGHT_HAN or _is_hiragana(before) else 0.35)) / 2
        made = _hash(pair)
        words[made] = Word(weight, 0, made, made)
        before = token
    return Features(
        digest=digest,
        order=tuple(order),
        words=words,
        light=frozenset(light),
        numbers=frozenset(numbers),
        asked=_asked(plain),
        negated=bool(_wording.NEGATED.search(plain)) or any(token in _wording.NEGATIONS for _, token in tokens),
        thanks=bool(_wording.THANKS.search(plain)),
        onward=bool(_wording.ONWARD.search(plain)),
        repair=bool(_wording.REPAIR.search(plain)),
    )


def _asked(plain: str) -> int:
    kinds = sum(1 << bit for bit, pattern in enumerate(_wording.QUESTIONS) if pattern.search(plain))
    return kinds or bool(_wording.WHETHER.search(plain)) << len(_wording.QUESTIONS)


def _is_hiragana(token: str) -> bool:
    return "\u3041" <= token <= "\u309f"


@lru_cache(4096)
def _bit(pair: str) -> int:
    return 1 << (_hash(pair) & 255)


def _word(token: str, hashed: int, *, light: bool, number: bool) -> Word:
    weight = _LIGHT if light else 0.3 + 0.1 * min(len(token), 7)
    letters, mixed = 0, hashed
    if not (light or number):
        token = token[:_LETTERS]
        around = f"^{token}$"
        for at in range(len(around) - 1):
            letters |= _bit(around[at : at + 2])
        mixed = _hash(token[0] + "".join(sorted(token)))
    root = hashed
    for beginning in _wording.OPPOSITES:
        if token.startswith(beginning) and len(token) >= len(beginning) + 3:
            root = _hash(token[len(beginning) :])
            break
    return Word(weight, letters, mixed, root)


def same(a: Features, b: Features) -> bool:
    """Whether two questions are the same text but for case, accents, white space and punctuation."""
    return a.digest == b.digest


class Evidence(NamedTuple):
    """What two questions have in common and what tells them apart, each in [0, 1] and the same both ways.

    Attributes:
        contained: The weight of the words in common to that of the question with less.
        both: The lesser of what each has of its own, to the weight of its question.
        swapped: How much stands the same around what is different, where both have something of their own there.
        number: Whether each has a number of its own.
        opposite: Whether one denies what the other doesn't, or a word of one is the other's with its sense turned: as
            much as the rest is the same, by the square of Dice's coefficient.
        asks_same: Whether both ask for a thing of the same kind.
        asks_other: Whether they ask for things of different kinds.
        thanks: Whether one says thanks, or closes.
        onward: Whether one speaks as a next step does.
        repair: Whether one says that it asks again.
    """

    contained: float
    both: float
    swapped: float
    number: float
    opposite: float
    asks_same: float
    asks_other: float
    thanks: float
    onward: float
    repair: float


def compare(a: Features, b: Features) -> Evidence:
    """Compare two questions."""
    ours, theirs, shared, opposite = _match(a, b)
    total_a, total_b = _weight(a.words.values()), _weight(b.words.values())
    least = min(total_a, total_b)
    share_a = _weight(a.words[word] for word in a.words.keys() - ours) / total_a if total_a else 0.0
    share_b = _weight(b.words[word] for word in b.words.keys() - theirs) / total_b if total_b else 0.0
    dice = 2 * shared / (total_a + total_b) if least else 0.0
    return Evidence(
        contained=shared / least if least else 0.0,
        both=min(share_a, share_b),
        swapped=_swapped(a, b, ours, theirs),
        number=bool(a.numbers - set(b.order)) and bool(b.numbers - set(a.order)),
        opposite=dice * dice if opposite or a.negated != b.negated else 0.0,
        asks_same=bool(a.asked & b.asked),
        asks_other=bool(a.asked) and bool(b.asked) and not a.asked & b.asked,
        thanks=a.thanks != b.thanks,
        onward=a.onward != b.onward,
        repair=a.repair != b.repair,
    )


def _weight(words: Iterable[Word]) -> float:
    return math.fsum(word.weight for word in words)  # exact, whatever the order: both ways give the same


def _match(a: Features, b: Features) -> tuple[set[int], set[int], float, bool]:
    """Return what of each is in the other, the weight of that, and whether words are opposites."""
    ours = set(a.words.keys() & b.words.keys())
    theirs = set(ours)
    weights = [a.words[word].weight for word in ours]
    opposite = False
    near: list[tuple[float, int, int]] = []
    for one, other, found in _pairs(a, b, ours):
        opposite = opposite or found < 0
        if found >= _SOFT:
            near.append((found, one, other))
    # The nearest first; among equals by what is the same both ways.
    for found, one, other in sorted(near, key=lambda pair: (-pair[0], min(pair[1:]), max(pair[1:]))):
        if one not in ours and other not in theirs:
            ours.add(one)
            theirs.add(other)
            weights.append(found * (a.words[one].weight + b.words[other].weight) / 2)
    return ours, theirs, math.fsum(weights), opposite


def _pairs(a: Features, b: Features, common: set[int]) -> Iterator[tuple[int, int, float]]:
    """Return pairs of words that only one has, with how near their letters are; -1 for a word and its opposite."""
    rest = [(hashed, word) for hashed, word in b.words.items() if word.letters and hashed not in common][:_PAIRED]
    mine = [(hashed, word) for hashed, word in a.words.items() if word.letters and hashed not in common][:_PAIRED]
    for one, word in mine:
        many = word.letters.bit_count()
        for other, another in rest:
            if word.root == another.root:
                yield one, other, -1.0
                continue
            alike = 2 * (word.letters & another.letters).bit_count() / (many + another.letters.bit_count())
            yield one, other, max(alike, _MIXED) if word.mixed == another.mixed else alike


_PAIRED: Final = 48
"""Words of each question whose letters are compared: the time grows with its square."""


def _swapped(a: Features, b: Features, ours: set[int], theirs: set[int]) -> float:
    shortest, longest = sorted((len(a.order), len(b.order)))
    begin = 0
    while begin < shortest and a.order[begin] == b.order[begin]:
        begin += 1
    end = 0
    while end < shortest - begin and a.order[-1 - end] == b.order[-1 - end]:
        end += 1
    if not begin + end:
        return 0.0
    own_a = set(a.order[begin : len(a.order) - end]) - a.light - ours - set(b.order)
    own_b = set(b.order[begin : len(b.order) - end]) - b.light - theirs - set(a.order)
    return (begin + end) / longest if own_a and own_b else 0.0


BIAS: Final = 0.58
WEIGHTS: Final = Evidence(0.78, -1.55, -4.51, -0.43, -2.32, 1.64, -2.80, -2.01, -2.70, 1.33)
"""Of a logistic regression on the pairs for training alone: ``python -m benchmarks.likeness_fit`` finds them."""

THRESHOLD: Final = 0.6
"""How likely it must be that a question asks again before it is said: who is blamed for a good answer loses more."""

_SHIFT: Final = math.log(THRESHOLD / (1 - THRESHOLD))

_SUREST: Final = 0.9
"""What a verdict is trusted at the most."""


def likeness(a: Features, b: Features) -> float:
    """Return how alike two questions are, the same both ways.

    Returns:
        A number in [0, 1]: above 0.5 it is asked again, 1 where both are the same text.
    """
    if same(a, b):
        return 1.0
    return _logistic(
        BIAS - _SHIFT + math.fsum(weight * found for weight, found in zip(WEIGHTS, compare(a, b), strict=True))
    )


def confidence(value: float) -> float:
    """Return how likely the verdict of a likeness is right, "asked again" above 0.5 and "moved on" otherwise.

    It holds where as many questions ask again as move on; where fewer do, "asked again" is less sure.

    Returns:
        A number from 0.4 to 0.9, above 0.6 for "asked again"; 1.0 for the same text (likeness 1).
    """
    if value >= 1:
        return 1.0
    again = _logistic(math.log(value / (1 - value)) + _SHIFT) if value > 0 else 0.0
    return min(again if value > 0.5 else 1 - again, _SUREST)


def _logistic(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))
