"""What analysis tells: satisfaction of a group of answers, and how it went on."""

import datetime as dt
from dataclasses import dataclass

from otel_feedback.store._views import View


@dataclass(frozen=True)
class SatisfactionRow(View):
    """What people said of the answers of one group, by what stands now."""

    key: dict[str, str]
    """What the group has in common: ``template``, ``version``, ... as asked for."""
    interactions: int
    """Answers, judged or not: the n of the response rate."""
    voted: int
    """Those of them that were voted on, neutral votes and votes taken back since included."""
    response_rate: float | None
    """In [0, 1]; ``None`` where there are too few answers."""
    positive: int
    """Standing explicit votes, as are the next."""
    negative: int
    neutral: int
    satisfaction: float | None
    """positive / (positive + negative); ``None`` where there are too few, as are the next."""
    low: float | None
    """Lower bound of its 95 % interval."""
    high: float | None
    expressed: dict[str, int]
    """``positive`` and ``negative`` opinions ever expressed: what Prometheus counts."""
    changed: int
    """Changes of mind, retractions included."""
    retracted: int
    """Votes that are taken back now."""
    implicit: dict[str, int]
    """Answers' standing implicit signals, by signal: copied, asked again, ..."""
    corrections: int
    """Standing corrections that changed something."""


@dataclass(frozen=True)
class TrendPoint(View):
    """One hour or day of a trend, by the time of the answers."""

    start: dt.datetime
    end: dt.datetime
    key: dict[str, str]
    """Empty, or what its line has in common."""
    interactions: int
    positive: int
    negative: int
    satisfaction: float | None
    """``None`` where there are too few votes, as are the next."""
    low: float | None
    high: float | None
