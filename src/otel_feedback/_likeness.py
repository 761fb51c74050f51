"""How alike two consecutive questions of one conversation are: does the second ask the same again?

Text work without a model; ``docs/rephrase.md`` has the formula, where it comes from, and what it gets wrong.
"""

import math
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from otel_feedback._features import Features, Word, features, same

__all__ = ["ASKED_AGAIN", "THRESHOLD", "Evidence", "Features", "compare", "confidence", "features", "likeness", "same"]

ASKED_AGAIN: Final = 0.5
"""The likeness above which a question asks the same again."""

_SOFT: Final = 0.55
"""Dice's coefficient of two words' letter pairs from which on they are one word, misspelt or inflected."""

_MIXED: Final = 0.9
"""How near two words are that have the same letters and the same first one."""

_PAIRED: Final = 24
"""Words of each question whose letters are compared: the time grows with its square."""


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
        closing: Whether one says thanks, or closes.
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
    closing: float
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
        opposite=dice * dice if opposite or a.denied != b.denied else 0.0,
        asks_same=bool(a.asked & b.asked),
        asks_other=bool(a.asked) and bool(b.asked) and not a.asked & b.asked,
        closing=a.closing != b.closing,
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
        if found < 0:
            opposite = True
        else:
            near.append((found, one, other))
    # The nearest first; among equals by what is the same both ways.
    for found, one, other in sorted(near, key=lambda pair: (-pair[0], min(pair[1:]), max(pair[1:]))):
        if one not in ours and other not in theirs:
            ours.add(one)
            theirs.add(other)
            weights.append(found * (a.words[one].weight + b.words[other].weight) / 2)
    return ours, theirs, math.fsum(weights), opposite


def _pairs(a: Features, b: Features, common: set[int]) -> Iterator[tuple[int, int, float]]:
    """Yield pairs of words that only one has and that are near, with how near; -1 for a word and its opposite."""
    mine, rest = _apart(a, common), _apart(b, common)
    for one, (_, letters, mixed, root), many in mine:
        for other, another, count in rest:
            if root == another.root:
                yield one, other, -1.0
                continue
            alike = 2 * (letters & another.letters).bit_count() / (many + count)
            if mixed == another.mixed:
                alike = max(alike, _MIXED)
            if alike >= _SOFT:
                yield one, other, alike


def _apart(question: Features, common: set[int]) -> list[tuple[int, Word, int]]:
    """Return words that may be misspelt, with how many letter pairs they have."""
    words = [(hashed, word) for hashed, word in question.words.items() if word.letters and hashed not in common]
    return [(hashed, word, word.letters.bit_count()) for hashed, word in words[:_PAIRED]]


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


BIAS: Final = 0.57
WEIGHTS: Final = Evidence(0.78, -1.53, -4.51, -0.43, -2.32, 1.64, -2.80, -2.01, -2.70, 1.33)
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
    logit = BIAS + math.fsum(weight * found for weight, found in zip(WEIGHTS, compare(a, b), strict=True))
    return _logistic(logit - _SHIFT)


def confidence(value: float) -> float:
    """Return how likely the verdict of a likeness is right, "asked again" above 0.5 and "moved on" otherwise.

    It holds where as many questions ask again as move on; where fewer do, "asked again" is less sure.

    Returns:
        A number from 0.4 to 0.9, above 0.6 for "asked again"; 1.0 for the same text (likeness 1).
    """
    if value >= 1:
        return 1.0
    again = _logistic(math.log(value / (1 - value)) + _SHIFT) if value > 0 else 0.0
    return min(again if value > ASKED_AGAIN else 1 - again, _SUREST)


def _logistic(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))
