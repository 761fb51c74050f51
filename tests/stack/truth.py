"""The numbers that dashboards show, computed in plain Python from the list of what was emitted."""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tests.stack.carriers import NEGATIVE, NEUTRAL, POSITIVE, Answer, Truth, Vote

from otel_feedback import semconv

Key = tuple[str, ...]
Numbers = Mapping[Key, float]

Z = 1.96
ENOUGH = 10
"""Written down a second time on purpose: a changed constant changes what people see."""


@dataclass(frozen=True)
class Window:
    """What was emitted up to the end of a range of time, and where the range starts."""

    everything: Truth
    start: float
    end: float

    @property
    def votes(self) -> list[Vote]:
        """Carriers of the range."""
        return self.everything.between(self.start, self.end).votes

    @property
    def answers(self) -> list[Answer]:
        """Sampled answers of the range."""
        return [one for one in self.everything.between(self.start, self.end).answers if one.sampled]

    def upto_end(self) -> Truth:
        """Return everything up to the end of the range."""
        return self.everything.between(-math.inf, self.end)


def key(answer: Answer, names: tuple[str, ...]) -> Key:
    """Return the values of some facts of an answer."""
    return tuple(getattr(answer.facts, name) for name in names)


def rows(window: Window, names: tuple[str, ...]) -> set[Key]:
    """Return the rows of a table: whatever was ever counted, even if nothing of it in the range."""
    seen = window.upto_end()
    counted = [one for one in seen.answers if one.sampled] + [one.answer for one in seen.votes]
    return {key(one, names) for one in counted} or ({()} if not names else set())


def opinions(sentiment: str) -> Callable[[Window, tuple[str, ...]], Numbers]:
    """Return the count of opinions of one sentiment by row."""
    return lambda window, names: _count(
        window, names, [one for one in window.votes if one.is_opinion and one.sentiment == sentiment]
    )


positive = opinions(POSITIVE)
negative = opinions(NEGATIVE)
neutral = opinions(NEUTRAL)


def both(window: Window, names: tuple[str, ...]) -> Numbers:
    """Positive and negative opinions: the n of satisfaction."""
    p, n = positive(window, names), negative(window, names)
    return {row: p[row] + n[row] for row in p}


def satisfaction(window: Window, names: tuple[str, ...]) -> Numbers:
    """Share of positive among positive and negative opinions, where there are enough."""
    p, n = positive(window, names), both(window, names)
    return {row: p[row] / n[row] for row in p if n[row] >= ENOUGH}


def dissatisfaction(window: Window, names: tuple[str, ...]) -> Numbers:
    """Share of negative among positive and negative opinions, where there are enough."""
    return {row: 1 - share for row, share in satisfaction(window, names).items()}


def bound(sign: int) -> Callable[[Window, tuple[str, ...]], Numbers]:
    """Return a bound of Wilson's interval in its textbook form."""

    def numbers(window: Window, names: tuple[str, ...]) -> Numbers:
        n = both(window, names)
        found = {}
        for row, p in satisfaction(window, names).items():
            center = p + Z**2 / (2 * n[row])
            half = Z * math.sqrt(p * (1 - p) / n[row] + Z**2 / (4 * n[row] ** 2))
            found[row] = (center + sign * half) / (1 + Z**2 / n[row])
        return found

    return numbers


def rank(window: Window, names: tuple[str, ...]) -> Numbers:
    """Sort key: the upper bound, 2 where there are not enough opinions."""
    return dict.fromkeys(rows(window, names), 2.0) | dict(bound(1)(window, names))


def changes(window: Window, names: tuple[str, ...]) -> Numbers:
    """Votes that replaced another sentiment."""
    return _count(window, names, [one for one in window.votes if one.is_change])


def answers(window: Window, names: tuple[str, ...]) -> Numbers:
    """Sampled answers given in the range."""
    found = Counter(key(one, names) for one in window.answers)
    return {row: found[row] for row in rows(window, names)}


def voted(window: Window, names: tuple[str, ...]) -> Numbers:
    """Distinct sampled answers, of whatever time, whose first explicit feedback is of the range."""
    first: dict[int, Vote] = {}
    for vote in window.upto_end().votes:
        if vote.kind == semconv.EXPLICIT and vote.answer.sampled:
            first.setdefault(vote.answer.context.span_id, vote)
    return _count(window, names, [one for one in first.values() if window.start < one.at])


def response_rate(window: Window, names: tuple[str, ...]) -> Numbers:
    """Answers voted on by answers, where there are enough answers."""
    above, below = voted(window, names), answers(window, names)
    return {row: above[row] / below[row] for row in below if below[row] >= ENOUGH}


def implicit(window: Window, names: tuple[str, ...], *, sampled_only: bool = False) -> Numbers:
    """Implicit signals by row and signal, those that were ever seen; one that comes again on an answer is the same."""

    def of(votes: list[Vote]) -> list[Vote]:
        new = [one for one in votes if one.kind == semconv.IMPLICIT and one.previous == semconv.UNSET]
        return [one for one in new if one.answer.sampled or not sampled_only]

    found = Counter((*key(one.answer, names), one.signal) for one in of(window.votes))
    seen = {(*key(one.answer, names), one.signal) for one in of(window.upto_end().votes)}
    return {row: found[row] for row in seen}


def implicit_share(window: Window, names: tuple[str, ...]) -> Numbers:
    """Implicit signals on sampled answers per sampled answer, where there are enough answers."""
    n = answers(window, names)
    signals = implicit(window, names, sampled_only=True)
    return {row: count / n[row[:-1]] for row, count in signals.items() if n[row[:-1]] >= ENOUGH}


def implicit_answers(window: Window, names: tuple[str, ...]) -> Numbers:
    """The n of ``implicit_share``, for every signal of a row."""
    n = answers(window, names)
    return {row: n[row[:-1]] for row in implicit(window, names)}


def _count(window: Window, names: tuple[str, ...], votes: list[Vote]) -> Numbers:
    found = Counter(key(one.answer, names) for one in votes)
    return {row: found[row] for row in rows(window, names)}
