"""How sure a share is: Wilson's score interval."""

import math
from typing import Final, NamedTuple

Z: Final = 1.96
"""Quantile of the normal distribution for a two-sided interval of 95 %."""

ENOUGH: Final = 10
"""Fewer votes, or fewer answers behind a response rate, give no number: at n = 9 the interval is 0.5 wide."""

_FINE: Final = 9.95
"""Percent below which a decimal is shown: what is nearer to 10 would be 10.0."""


class Share(NamedTuple):
    """A share and its bounds, all in [0, 1]; all ``None`` where too few stand behind it."""

    value: float | None
    low: float | None
    high: float | None


def in_percent(share: float) -> str:
    """Return a share in [0, 1] in percent as it is shown, without the sign: whole, with a decimal below 10."""
    percent = 100 * share
    return f"{percent:.1f}" if 0 < percent < _FINE else f"{percent:.0f}"


def response_rate(voted: int, answered: int) -> float | None:
    """Return which share of answers was voted on, in [0, 1]; ``None`` below ``ENOUGH`` answers."""
    return voted / answered if answered >= ENOUGH else None


def wilson(positive: int, negative: int) -> Share:
    """Return positive / (positive + negative) with its 95 % interval; nothing below ``ENOUGH``.

    The interval is the score interval of E. B. Wilson, "Probable inference, the law of succession, and statistical
    inference", Journal of the American Statistical Association 22 (1927), 209-212, in the form that dashboards use:
    (p + z^2/2 -+ z sqrt(p n / (p + n) + z^2/4)) / (p + n + z^2) for p positive and n negative.
    """
    total = positive + negative
    if total < ENOUGH:
        return Share(None, None, None)
    root = Z * math.sqrt(positive * negative / total + Z**2 / 4)
    low, high = ((positive + Z**2 / 2 + sign * root) / (total + Z**2) for sign in (-1, 1))
    return Share(positive / total, max(low, 0.0), min(high, 1.0))
