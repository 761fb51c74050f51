"""How often the likeness of two questions is right, and what it takes: ``python -m benchmarks.likeness`` prints both.

The tables stand in ``docs/rephrase.md``, where a test holds them against these functions.
"""

import random
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from statistics import mean, median
from typing import Final, Literal

from benchmarks import likeness_fit
from benchmarks.likeness_fit import Pair
from benchmarks.measure import Figure
from otel_feedback import _likeness
from otel_feedback.analysis._interval import wilson

GOAL: Final = 1.0
"""Milliseconds a pair."""

ROUNDS: Final = 20

Split = Literal["train", "held_out"]
SPLITS: Final[tuple[Split, ...]] = ("train", "held_out")
LANGUAGES: Final = ("en", "de", "es", "fr", "ja", "zh")
BINS: Final = (0.0, 0.6, 0.7, 0.8, 0.9)
"""Where the classes of confidence begin."""


RATES: Final = (0.5, 0.3, 0.2, 0.1, 0.05)
"""Shares of next questions that ask again."""


@dataclass(frozen=True)
class Verdict:
    """What is said of a pair."""

    pair: Pair
    value: float

    @property
    def again(self) -> bool:
        """Whether it is said that the second question asks the same again."""
        return self.value > _likeness.ASKED_AGAIN

    @property
    def right(self) -> bool:
        """Whether the label says so, too."""
        return self.again == self.pair.again

    @property
    def confidence(self) -> float:
        """How likely it is said to be right."""
        return _likeness.confidence(self.value)


def verdicts(split: Split) -> list[Verdict]:
    """Return what is said of each pair of one part."""
    return [Verdict(pair, _value(pair)) for pair in likeness_fit.pairs(split)]


def unseen() -> list[Verdict]:
    """Return what weights say of each pair for training that were fitted to the others (cross-validation)."""
    chosen = likeness_fit.pairs("train")
    found = []
    for pair, chance in zip(chosen, likeness_fit.cross_validate(chosen, 0), strict=True):
        odds = chance / (1 - chance) * (1 - _likeness.THRESHOLD) / _likeness.THRESHOLD
        found.append(Verdict(pair, odds / (1 + odds)))
    return found


def _value(pair: Pair) -> float:
    return _likeness.likeness(_likeness.features(pair.first), _likeness.features(pair.next))


def _share(hits: int, of: int) -> str:
    found = wilson(hits, of - hits)
    if found.low is None or found.high is None:  # too few for a rate
        return f"{hits} of {of}" if of else "-"
    return f"{hits} of {of}: {hits / of:.2f} ({found.low:.2f} to {found.high:.2f})"


def _precision(found: Iterable[Verdict]) -> str:
    said = [verdict.right for verdict in found if verdict.again]
    return _share(sum(said), len(said))


def _recall(found: Iterable[Verdict]) -> str:
    asked = [verdict.again for verdict in found if verdict.pair.again]
    return _share(sum(asked), len(asked))


def overall() -> Iterator[tuple[str, ...]]:
    """Yield precision and recall of each part."""
    yield "pairs", "n", "precision", "recall"
    for name, found in (("train", verdicts("train")), ("unseen", unseen()), ("held_out", verdicts("held_out"))):
        yield name, str(len(found)), _precision(found), _recall(found)


def by_language() -> Iterator[tuple[str, ...]]:
    """Yield precision and recall of each language."""
    yield "language", "precision, train", "recall, train", "precision, held_out", "recall, held_out"
    parts = [verdicts(split) for split in SPLITS]
    for language in LANGUAGES:
        row = [language]
        for part in parts:
            found = [verdict for verdict in part if verdict.pair.language == language]
            row += [_precision(found), _recall(found)]
        yield tuple(row)


def by_kind() -> Iterator[tuple[str, ...]]:
    """Yield how many of each kind of pair are judged right."""
    yield "kind", "label", *(f"right, {split}" for split in SPLITS)
    parts = [verdicts(split) for split in SPLITS]
    kinds = {(verdict.pair.label, verdict.pair.kind) for part in parts for verdict in part}
    for label, kind in sorted(kinds):
        rights = [[verdict.right for verdict in part if verdict.pair.kind == kind] for part in parts]
        yield kind, label, *(_share(sum(right), len(right)) for right in rights)


def calibration() -> Iterator[tuple[str, ...]]:
    """Yield how often verdicts of each class of confidence are right."""
    yield "verdict", "confidence", "said, unseen", "right, unseen", "said, held_out", "right, held_out"
    parts = [unseen(), verdicts("held_out")]
    for again, word in ((True, "asked again"), (False, "moved on")):
        for low, high in zip(BINS, (*BINS[1:], 1.01), strict=True):
            row = []
            for part in parts:
                found = [each for each in part if each.again == again and low <= each.confidence < high]
                row += [f"{mean(each.confidence for each in found):.2f}" if found else "-"]
                row += [_share(sum(each.right for each in found), len(found))]
            if set(row) != {"-"}:
                yield word, f"{low:g} to {min(high, 1):g}", *row


def base_rates() -> Iterator[tuple[str, ...]]:
    """Yield what precision becomes where fewer questions ask again: r R / (r R + (1 - r) F)."""
    yield "of all next questions ask again", "precision, unseen", "precision, held_out"
    for rate in RATES:
        row = []
        for part in (unseen(), verdicts("held_out")):
            recall = mean(each.again for each in part if each.pair.again)
            false = mean(each.again for each in part if not each.pair.again)
            row.append(f"{rate * recall / (rate * recall + (1 - rate) * false):.2f}")
        yield f"{rate:.0%}", *row


def wrong() -> Iterator[tuple[str, ...]]:
    """Yield pairs for training that are judged wrong: every "asked again", of the others the surest of each kind."""
    yield "before", "next", "is", "likeness"
    found = sorted((each for each in verdicts("train") if not each.right), key=lambda each: each.value)
    kinds = set()
    for each in reversed(found):
        if each.again:
            yield each.pair.first, each.pair.next, "another question", f"{each.value:.2f}"
    for each in found:
        if not each.again and each.pair.kind not in kinds:
            kinds.add(each.pair.kind)
            yield each.pair.first, each.pair.next, "the same again", f"{each.value:.2f}"


TABLES: Final[dict[str, Callable[[], Iterator[tuple[str, ...]]]]] = {
    "overall": overall,
    "language": by_language,
    "kind": by_kind,
    "calibration": calibration,
    "base_rates": base_rates,
    "wrong": wrong,
}


def markdown(rows: Iterable[tuple[str, ...]]) -> str:
    """Return rows as a table, the first as its head."""
    head, *rest = rows
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ("---",) * len(head), *rest))


def times() -> list[float]:
    """Return the processor time of each pair, in milliseconds, ascending: both questions read, and compared."""
    found = []
    for split in SPLITS:
        for pair in likeness_fit.pairs(split) * ROUNDS:
            began = time.thread_time_ns()
            _value(pair)
            found.append((time.thread_time_ns() - began) / 1e6)
    return sorted(found)


def longest() -> dict[int, float]:
    """Return milliseconds of processor time to read a next question of so many characters, and compare it."""
    chosen = random.Random(6)
    found = {}
    for size in (200, 500, 2_000, 100_000):
        one, other = ("".join(chosen.choice("abcdefghijklmnop    ") for _ in range(size)) for _ in range(2))
        before = _likeness.features(one)
        taken = []
        for _ in range(ROUNDS):
            began = time.thread_time_ns()
            _likeness.likeness(before, _likeness.features(other))
            taken.append((time.thread_time_ns() - began) / 1e6)
        found[size] = median(taken)
    return found


def figures() -> list[Figure]:
    """Measure, and say it in rows."""
    found = times()
    middle, slow = found[len(found) // 2], found[int(0.99 * len(found))]
    return [
        Figure("likeness of a pair of questions, p99", f"{slow:.2f} ms (median {middle:.2f} ms)", slow, GOAL),
    ]


def main() -> None:
    """Print all tables, then times."""
    for table in TABLES.values():
        print(markdown(table()), end="\n\n")
    for figure in figures():
        print(f"{figure.what}: {figure.measured}")
    for size, taken in longest().items():
        print(f"a next question of {size:,} characters: {taken:.2f} ms")


if __name__ == "__main__":
    main()
