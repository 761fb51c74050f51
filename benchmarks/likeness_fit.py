"""Where the weights of ``_likeness`` come from: ``python -m benchmarks.likeness_fit`` prints them.

They are fitted to the pairs for training alone; those held out are never read here. Plain Python: eleven numbers.


"""

import json
import math
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from otel_feedback import _likeness

PAIRS: Final = Path(__file__).parent.parent / "tests" / "data" / "rephrase-pairs.jsonl"
PENALTY: Final = 0.002
"""Of the squared weights (L2), the constant apart: with 0.001 to 0.005 cross-validation finds much the same."""
FOLDS: Final = 8
SHUFFLES: Final = 5
STEPS: Final = 25
"""Of Newton's method; it stands still after eight."""


@dataclass(frozen=True)
class Pair:
    """Two consecutive questions and what a reader says of them."""

    first: str
    next: str
    label: Literal["again", "on"]
    language: str
    kind: str
    split: Literal["train", "held_out"]

    @property
    def again(self) -> bool:
        """Whether the second asks the same again."""
        return self.label == "again"


def pairs(split: Literal["train", "held_out"]) -> list[Pair]:
    """Return the labelled pairs of one part."""
    read = [Pair(**json.loads(line)) for line in PAIRS.read_text(encoding="utf-8").splitlines()]
    return [pair for pair in read if pair.split == split]


def row(pair: Pair) -> list[float]:
    """Return a 1 for the constant, then the evidence."""
    return [1.0, *map(float, _likeness.compare(_likeness.features(pair.first), _likeness.features(pair.next)))]


def fit(rows: list[list[float]], again: list[bool], penalty: float = PENALTY) -> list[float]:
    """Return the constant and the weights of a logistic regression with an L2 penalty, by Newton's method."""
    size, count = len(rows[0]), len(rows)
    weights = [0.0] * size
    for _ in range(STEPS):
        gradient = [penalty * weight if at else 0.0 for at, weight in enumerate(weights)]
        curvature = [[penalty if one == other and one else 0.0 for other in range(size)] for one in range(size)]
        for values, label in zip(rows, again, strict=True):
            found = probability(weights, values)
            for one, value in enumerate(values):
                if not value:
                    continue
                gradient[one] += (found - label) * value / count
                for other, another in enumerate(values):
                    curvature[one][other] += found * (1 - found) * value * another / count
        step = _solve(curvature, gradient)
        weights = [weight - change for weight, change in zip(weights, step, strict=True)]
    return weights


def probability(weights: list[float], values: list[float]) -> float:
    """Return how likely "asked again" is."""
    return 1 / (1 + math.exp(-math.fsum(weight * value for weight, value in zip(weights, values, strict=True))))


def _solve(matrix: list[list[float]], right: list[float]) -> list[float]:
    """Solve linear equations of a positive definite matrix by elimination."""
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    for at, pivot in enumerate(rows):
        for other in rows[at + 1 :]:
            factor = other[at] / pivot[at]
            for column in range(at, len(pivot)):
                other[column] -= factor * pivot[column]
    found = [0.0] * len(rows)
    for at in reversed(range(len(rows))):
        known = math.fsum(rows[at][column] * found[column] for column in range(at + 1, len(rows)))
        found[at] = (rows[at][-1] - known) / rows[at][at]
    return found


def cross_validate(chosen: list[Pair], shuffle: int) -> list[float]:
    """Return for each pair how likely "asked again" is, by weights that saw no pair with the same first question."""
    firsts = sorted({pair.first for pair in chosen})
    random.Random(shuffle).shuffle(firsts)
    fold = {first: at % FOLDS for at, first in enumerate(firsts)}
    rows, again = [row(pair) for pair in chosen], [pair.again for pair in chosen]
    found = [0.0] * len(chosen)
    for left_out in range(FOLDS):
        seen = [at for at, pair in enumerate(chosen) if fold[pair.first] != left_out]
        weights = fit([rows[at] for at in seen], [again[at] for at in seen])
        for at, pair in enumerate(chosen):
            if fold[pair.first] == left_out:
                found[at] = probability(weights, rows[at])
    return found


def main() -> None:
    """Print the weights, and what cross-validation says of thresholds."""
    chosen = pairs("train")
    constant, *weights = fit([row(pair) for pair in chosen], [pair.again for pair in chosen])
    print(f"{len(chosen)} pairs for training\nBIAS {constant:.2f}")
    for name, weight in zip(_likeness.Evidence._fields, weights, strict=True):
        print(f"{name:<10} {weight:+.2f}")
    every = [cross_validate(chosen, shuffle) for shuffle in range(SHUFFLES)]
    print(f"\n{FOLDS}-fold cross-validation, mean of {SHUFFLES}: threshold, precision, recall")
    for threshold in (0.5, 0.55, 0.6, 0.65, 0.7):
        said = hit = 0
        for found in every:
            said += sum(value > threshold for value in found)
            hit += sum(value > threshold and pair.again for value, pair in zip(found, chosen, strict=True))
        asked = sum(pair.again for pair in chosen)
        print(f"{threshold:.2f}  {hit / said:.3f}  {hit / SHUFFLES / asked:.3f}")


if __name__ == "__main__":
    main()
