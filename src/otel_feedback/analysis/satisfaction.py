"""Satisfaction by whatever answers have in common, its trend, and what there is to choose from.

What stands now counts: the latest state of each explicit vote. Implicit signals and corrections are beside it.
"""

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from otel_feedback import semconv
from otel_feedback.analysis._interval import response_rate, wilson
from otel_feedback.analysis._views import SatisfactionRow, TrendPoint
from otel_feedback.exceptions import InvalidQueryError
from otel_feedback.store._gather import in_utc
from otel_feedback.store.filters import FACTS, TIMES, Filter

if TYPE_CHECKING:
    import duckdb

    from otel_feedback.store._store import Store

GROUPS: Final = ("template", "version", "model", "query_type", "service", "environment", "namespace")
"""What answers can be grouped by."""

MOST: Final = 1000
"""Rows at the most."""

_OF_FEEDBACK: Final = {"signal": "signal", "reason": "unnest(reasons)"}

OPTIONS: Final = (*FACTS, *_OF_FEEDBACK)
"""Filters whose values can be chosen from."""

_SHORT: Final = dt.timedelta(days=2)

_BEYOND: Final = 2.0
"""Sorts groups with too few votes behind every bound."""

_STATES: Final = ("kind", "signal", "sentiment", "previous_sentiment", "standing")
"""What says how a feedback counts: there are few different ones, so the rest is counted here and not by DuckDB."""

Key = tuple[Any, ...]
"""What a group has in common, after the hour or day where there is one."""


def satisfaction(
    store: "Store",
    *,
    by: Sequence[str] = ("template", "version"),
    filter: Filter | None = None,  # noqa: A002 - what it is, everywhere
    limit: int = MOST,
) -> list[SatisfactionRow]:
    """Return satisfaction by group, the worst first: by the upper bound of its interval, which few votes raise.

    Groups with too few votes come last, those with the most answers first.

    Args:
        store: Where answers and feedback are.
        by: One or more of ``GROUPS``.
        filter: Which answers; all by default.
        limit: Rows at the most, 1 to 1000.

    Raises:
        InvalidQueryError: An argument can't be understood.
    """
    names = _groups(by)
    if not 1 <= limit <= MOST:
        raise InvalidQueryError("limit", f"limit must be a number from 1 to {MOST}.")
    chosen = filter or Filter()
    with store.cursor() as connection:
        answered, voted = _answered(connection, names, chosen), _voted(connection, names, chosen)
        tallies = _judged(connection, names, chosen)
    rows = [
        _row(dict(zip(names, key, strict=True)), answered.get(key, 0), voted.get(key, 0), tallies.get(key, Tally()))
        for key in {**answered, **tallies}
    ]
    return sorted(rows, key=_rank)[:limit]


def trend(
    store: "Store",
    filter: Filter | None = None,  # noqa: A002
    *,
    bucket: str = "auto",
    by: str | None = None,
) -> list[TrendPoint]:
    """Return satisfaction over time, by the time of the answers, oldest first; hours and days without any are left out.

    Args:
        store: Where answers and feedback are.
        filter: Which answers; all by default.
        bucket: ``hour``, ``day`` (of UTC) or ``auto``: hours where the answers that are asked for lie within two
            days, unless no hour has enough votes for a share and a day has.
        by: One of ``GROUPS`` for a line each.

    Raises:
        InvalidQueryError: An argument can't be understood.
    """
    names = _groups((by,)) if by else ()
    if bucket not in {"auto", "hour", "day"}:
        raise InvalidQueryError("bucket", "bucket must be auto, hour or day.")
    chosen = filter or Filter()
    with store.cursor() as connection:
        width = _width(connection, chosen) if bucket == "auto" else bucket
        points = _points(connection, names, chosen, width)
        if bucket == "auto" and width == "hour" and not _has_shares(points):
            days = _points(connection, names, chosen, "day")
            return days if _has_shares(days) else points
    return points


def options(store: "Store", names: Sequence[str] = OPTIONS) -> dict[str, list[str]]:
    """Return what filters can be set to: the values that answers and feedback have, by name of the filter, sorted.

    Args:
        store: Where answers and feedback are.
        names: Of the filters, all by default; ``signal`` and ``reason`` are those of lists of answers.
    """
    with store.cursor() as connection:
        return {
            name: [value for (value,) in connection.execute(f"{_values(name)} ORDER BY 1 LIMIT {MOST}").fetchall()]
            for name in names
        }


def _values(name: str) -> str:
    if column := FACTS.get(name):
        return f"SELECT {column} FROM interactions UNION SELECT {column} FROM feedback"  # noqa: S608 - names of ours
    return f"SELECT DISTINCT {_OF_FEEDBACK[name]} FROM feedback"  # noqa: S608


def _groups(by: Sequence[str]) -> Key:
    names = tuple(dict.fromkeys(by))
    if not names or not set(names) <= set(GROUPS):
        raise InvalidQueryError("by", f"by must be one or more of {', '.join(GROUPS)}.")
    return names


def _width(connection: "duckdb.DuckDBPyConnection", chosen: Filter) -> str:
    oldest, newest = connection.execute("SELECT min(started_at), max(started_at) FROM interactions").fetchall()[0]
    starts = [moment for moment in (chosen.since, oldest and in_utc(oldest)) if moment]
    ends = [moment for moment in (chosen.until, newest and in_utc(newest)) if moment]
    return "hour" if not starts or not ends or min(ends) - max(starts) <= _SHORT else "day"


def _points(connection: "duckdb.DuckDBPyConnection", names: Key, chosen: Filter, width: str) -> list[TrendPoint]:
    answered, tallies = _answered(connection, names, chosen, width), _judged(connection, names, chosen, width)
    length = dt.timedelta(hours=1) if width == "hour" else dt.timedelta(days=1)
    return [
        _point(start, length, dict(zip(names, key, strict=True)), answered.get((start, *key), 0), tally)
        for start, *key in sorted({**answered, **tallies})
        for tally in (tallies.get((start, *key), Tally()),)
    ]


def _has_shares(points: Sequence[TrendPoint]) -> bool:
    return any(point.satisfaction is not None for point in points)


def _answered(connection: "duckdb.DuckDBPyConnection", names: Key, chosen: Filter, width: str = "") -> dict[Key, int]:
    """Count answers by group."""
    where, parameters = chosen.where("interactions")
    keys = _keys("interactions", names, width)
    sql = f"SELECT {keys} count(*) FROM interactions WHERE flagged AND {where} GROUP BY ALL"  # noqa: S608 - our names
    return {tuple(key): count for *key, count in connection.execute(sql, parameters).fetchall()}


def _voted(connection: "duckdb.DuckDBPyConnection", names: Key, chosen: Filter) -> dict[Key, int]:
    """Count answers that were voted on, by group: those the store has and counts; a vote may be taken back by now.

    By a hash of 64 bits, which takes a third of the time: that any two of a million votes share one is a matter of
    3 in 100 million.
    """
    where, parameters = chosen.where("feedback")
    keys = _keys("feedback", names, "")
    sql = f"""
        SELECT {keys} count(*) FROM (
            SELECT DISTINCT {keys} hash(trace_id, span_id) AS target FROM feedback
            WHERE joined AND kind = '{semconv.EXPLICIT}' AND sentiment <> '{semconv.RETRACTED}' AND {where}
        ) ANTI JOIN (SELECT hash(trace_id, span_id) AS target FROM interactions WHERE NOT flagged) USING (target)
        GROUP BY ALL
    """  # noqa: S608
    return {tuple(key): count for *key, count in connection.execute(sql, parameters).fetchall()}


def _judged(connection: "duckdb.DuckDBPyConnection", names: Key, chosen: Filter, width: str = "") -> "dict[Key, Tally]":
    """Count feedback by group."""
    where, parameters = chosen.where("feedback")
    keys = _keys("feedback", names, width)
    sql = f"SELECT {keys} {', '.join(_STATES)}, count(*) FROM feedback WHERE {where} GROUP BY ALL"  # noqa: S608
    tallies: defaultdict[Key, Tally] = defaultdict(Tally)
    for row in connection.execute(sql, parameters).fetchall():
        key, (kind, signal, sentiment, previous, standing, count) = row[: -len(_STATES) - 1], row[-len(_STATES) - 1 :]
        tallies[key].add(kind, signal, sentiment, previous, standing=standing, count=count)
    return tallies


def _keys(table: str, names: Key, width: str) -> str:
    keys = [f"date_trunc('{width}', {TIMES[table]})"] if width else []
    return "".join(f"{key}, " for key in [*keys, *(FACTS[name] for name in names)])


class Tally:
    """Feedback of one group, counted."""

    def __init__(self) -> None:
        self.standing: Counter[str] = Counter()
        """Standing explicit votes by sentiment."""
        self.expressed: Counter[str] = Counter()
        """Opinions ever expressed by sentiment: what repeats what the vote was is a detail, and no opinion."""
        self.changed = 0
        self.implicit: Counter[str] = Counter()
        self.corrections = 0

    def add(self, kind: str, signal: str, sentiment: str, previous: str | None, *, standing: bool, count: int) -> None:
        """Count some feedback that is alike."""
        if kind == semconv.EXPLICIT:
            if sentiment != previous:
                self.expressed[sentiment] += count
                self.changed += count if previous in semconv.SENTIMENTS else 0
            if standing:
                self.standing[sentiment] += count
        elif standing and sentiment != semconv.RETRACTED:
            if kind == semconv.IMPLICIT:
                self.implicit[signal] += count
            elif sentiment != semconv.POSITIVE:  # what was positive confirmed what the system gave
                self.corrections += count


def _row(key: dict[str, str], answered: int, voted: int, tally: Tally) -> SatisfactionRow:
    positive, negative = tally.standing[semconv.POSITIVE], tally.standing[semconv.NEGATIVE]
    share = wilson(positive, negative)
    return SatisfactionRow(
        key=key,
        interactions=answered,
        voted=voted,
        response_rate=response_rate(voted, answered),
        positive=positive,
        negative=negative,
        neutral=tally.standing[semconv.NEUTRAL],
        satisfaction=share.value,
        low=share.low,
        high=share.high,
        expressed={name: tally.expressed[name] for name in (semconv.POSITIVE, semconv.NEGATIVE)},
        changed=tally.changed,
        retracted=tally.standing[semconv.RETRACTED],
        implicit=dict(sorted(tally.implicit.items(), key=lambda item: (-item[1], item[0]))),
        corrections=tally.corrections,
    )


def _point(start: dt.datetime, length: dt.timedelta, key: dict[str, str], answered: int, tally: Tally) -> TrendPoint:
    positive, negative = tally.standing[semconv.POSITIVE], tally.standing[semconv.NEGATIVE]
    share = wilson(positive, negative)
    begins = start.replace(tzinfo=dt.timezone.utc)
    return TrendPoint(
        start=begins,
        end=begins + length,
        key=key,
        interactions=answered,
        positive=positive,
        negative=negative,
        satisfaction=share.value,
        low=share.low,
        high=share.high,
    )


def _rank(row: SatisfactionRow) -> tuple[float, int, list[str]]:
    if row.high is None:
        return _BEYOND, -row.interactions, list(row.key.values())
    return row.high, -row.positive - row.negative, list(row.key.values())
