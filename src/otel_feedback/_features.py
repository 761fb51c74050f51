"""What is kept of a question, to compare it with the next one: hashes under a key of this process, never its text."""

import re
import secrets
import unicodedata
from dataclasses import dataclass
from functools import cache, lru_cache
from hashlib import blake2b
from typing import Final, NamedTuple

from otel_feedback import _wording

_END: Final = 400
"""Characters at the beginning, and as many at the end, from which words are taken: passages stand between."""

_TOKENS: Final = 48
"""Words, or characters of a script without spaces, that are kept of each end."""

_MIDDLE: Final = 100_000
"""Characters between the ends that are looked at, to tell whether two texts are the same."""

_LETTERS: Final = 20
"""Letters of a word that are looked at."""

_PAIRS: Final = 1021
"""Pairs of letters that are told apart: all of a to z, with ``_BEFORE`` and ``_AFTER``, as 28 * 31 are fewer."""

_BEFORE: Final = ord("a") - 1
"""Stands before a word's first letter."""

_AFTER: Final = ord("z") + 1
"""Stands behind its last."""

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
        mixed: Of its first letter and of which letters it has: two letters that changed places don't change it.
        root: The hash of the word without a beginning that turns its sense; of the word itself where it has none.
    """

    weight: float
    letters: int
    mixed: int
    root: int


@dataclass(frozen=True)
class Features:
    """What is kept of a question, at most 96 words: hashes that say nothing outside of this process.

    Attributes:
        digest: Of the text without case, white space and punctuation.
        order: Hashes of words, or of characters in scripts without spaces, as they stand.
        words: What is compared, by hash: words, and pairs of characters in scripts without spaces.
        light: Those of ``order`` that say little.
        numbers: Those of ``order`` that have digits.
        asked: A bit for each thing asked for: a place, a time, a quantity, a person, a reason, a way; else yes or no.
        denied: Whether something is denied.
        closing: Whether there are thanks, or other words that close.
        onward: Whether it speaks as a next step does.
        repair: Whether it says that it is asked again.
    """

    digest: bytes
    order: tuple[int, ...]
    words: dict[int, Word]
    light: frozenset[int]
    numbers: frozenset[int]
    asked: int
    denied: bool
    closing: bool
    onward: bool
    repair: bool


@cache
def _key() -> bytes:
    """Return this process's key; a forked child goes on with its parent's, whose features it has too."""
    return secrets.token_bytes(32)


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8, key=_key()).digest(), "big")


def _normal(text: str) -> str:
    """Return a text without case, width and accents (kana keep their marks)."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    if folded.isascii():
        return folded
    return unicodedata.normalize("NFC", _MARKS.sub("", unicodedata.normalize("NFD", folded)))


def _ends(text: str, size: int) -> str:
    return text if len(text) <= 2 * size else f"{text[:size]} {text[-size:]}"


def features(text: str) -> Features:
    """Take from a question what its likeness to another one needs; any text is taken, and none of it is kept.

    The time is bounded for texts of any length, and so is what is kept (40 KB at most, 5 for a usual question).
    """
    digest = blake2b(digest_size=16, key=_key())
    if len(text) > 2 * _END:
        middle = text[_END:-_END][:_MIDDLE]
        digest.update(f"{len(text)} {middle} ".encode("utf-8", "surrogatepass"))
        normal = f"{_normal(text[:_END])} {_normal(text[-_END:])}"
    else:
        normal = _normal(text)
    digest.update((_NOISE.sub("", normal) or "".join(normal.split())).encode("utf-8", "surrogatepass"))
    plain = _ends(normal, _END).replace("\u2019", "'")
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
    spaced = " ".join(["", *(token for script, token in tokens if script == "word"), ""])
    unspaced = plain if any(script != "word" for script, _ in tokens) else ""
    kinds = sum(turn.found(spaced, unspaced) << bit for bit, turn in enumerate(_wording.QUESTIONS))
    return Features(
        digest=digest.digest(),
        order=tuple(order),
        words=words,
        light=frozenset(light),
        numbers=frozenset(numbers),
        asked=kinds or _wording.WHETHER.found(spaced, unspaced) << len(_wording.QUESTIONS),
        denied=_wording.DENIAL.found(spaced, unspaced),
        closing=_wording.CLOSING.found(spaced, unspaced),
        onward=_wording.ONWARD.found(spaced, unspaced),
        repair=_wording.REPAIR.found(spaced, unspaced),
    )


def _is_hiragana(token: str) -> bool:
    return "\u3041" <= token <= "\u309f"


@cache
def _bits() -> list[int]:
    """Return a bit for each pair of letters, in an order that only this process knows."""
    return [1 << place for place in sorted(range(_PAIRS), key=lambda place: _hash(str(place)))]


@lru_cache(4096)
def _letter(letter: str) -> int:
    return _hash(letter)


def _word(token: str, hashed: int, *, light: bool, number: bool) -> Word:
    weight = _LIGHT if light else 0.3 + 0.1 * min(len(token), 7)
    letters, mixed = 0, hashed
    if not (light or number):
        token = token[:_LETTERS]
        bits, before = _bits(), _BEFORE
        for letter in map(ord, token):
            letters |= bits[(31 * before + letter) % _PAIRS]
            before = letter
        letters |= bits[(31 * before + _AFTER) % _PAIRS]
        mixed = 2 * _letter(token[0]) + sum(map(_letter, token))
    root = hashed
    if token.startswith(_wording.OPPOSITES):
        beginning = next(filter(token.startswith, _wording.OPPOSITES))
        if len(token) >= len(beginning) + 3:
            root = _hash(token[len(beginning) :])
    return Word(weight, letters, mixed, root)


def same(a: Features, b: Features) -> bool:
    """Whether two questions are the same text but for case, accents, white space and punctuation.

    Of texts of more than 800 characters, what stands between the first and the last 400 is the same to the letter.
    """
    return a.digest == b.digest
