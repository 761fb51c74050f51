"""Satisfaction by whatever answers have in common, its trend, and what there is to choose from.

What stands now counts: the latest state of each explicit vote. Implicit signals and corrections are beside it.
"""

import datetime as dt
import math
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from otel_feedback import semconv
from otel_feedback.analysis._interval import ENOUGH, wilson
from otel_feedback.analysis._views import SatisfactionRow, TrendPoint
from otel_feedback.exceptions import InvalidQueryError
from otel_feedback.store.filters import FACTS, Filter

if TYPE_CHECKING:
    from otel_feedback.store._store import Store

GROUPS: Final = ("template", "version", "model", "query_type", "service", "environment", "namespace")
"""What answers can be grouped by."""

MOST: Final = 1000
"""Rows at the most."""

_BEYOND: Final = 2.0
"""Sorts groups with too few votes behind every bound."""

_OPINIONS: Final = ", ".join(f"'{sentiment}'" for sentiment in semconv.SENTIMENTS)
_EXPLICIT: Final = f"kind = '{semconv.EXPLICIT}'"
_COUNTS: Final = {
    "positive": f"standing AND {_EXPLICIT} AND sentiment = '{semconv.POSITIVE}'",
    "negative": f"standing AND {_EXPLICIT} AND sentiment = '{semconv.NEGATIVE}'",
    "neutral": f"standing AND {_EXPLICIT} AND sentiment = '{semconv.NEUTRAL}'",
    "retracted": f"standing AND {_EXPLICIT} AND sentiment = '{semconv.RETRACTED}'",
    "expressed_positive": (
        f"{_EXPLICIT} AND sentiment = '{semconv.POSITIVE}' AND previous_sentiment IS DISTINCT FROM sentiment"
    ),
    "expressed_negative": (
        f"{_EXPLICIT} AND sentiment = '{semconv.NEGATIVE}' AND previous_sentiment IS DISTINCT FROM sentiment"
    ),
    "changed": f"{_EXPLICIT} AND previous_sentiment IN ({_OPINIONS}) AND previous_sentiment <> sentiment",
    "corrections": (
        f"standing AND kind = '{semconv.CORRECTION}' AND sentiment NOT IN ('{semconv.POSITIVE}', '{semconv.RETRACTED}')"
    ),
}

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
        answered = dict(_fetch(connection, *_answered(names, chosen), groups=len(names)))
        judged = dict(_fetch(connection, *_judged(names, chosen), groups=len(names)))
        signals: defaultdict[Key, dict[str, int]] = defaultdict(dict)
        for key, (signal, count) in _fetch(connection, *_implicit(names, chosen), groups=len(names)):
            signals[key][signal] = count
    rows = [
        _row(dict(zip(names, key, strict=True)), answered.get(key, [0])[0], judged.get(key), signals.get(key, {}))
        for key in {**answered, **judged}
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
        bucket: ``hour``, ``day`` (of UTC) or ``auto``: hours where at most two days are asked for.
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
        answered = dict(_fetch(connection, *_answered(names, chosen, width), groups=len(names) + 1))
        judged = dict(_fetch(connection, *_judged(names, chosen, width), groups=len(names) + 1))
    length = dt.timedelta(hours=1) if width == "hour" else dt.timedelta(days=1)
    points = []
    for key in sorted({**answered, **judged}):
        start: dt.datetime = key[0].replace(tzinfo=dt.timezone.utc)
        counts = _counted(judged.get(key))
        points.append(
            TrendPoint(
                start=start,
                end=start + length,
                key=dict(zip(names, key[1:], strict=True)),
                interactions=answered.get(key, [0])[0],
                positive=counts["positive"],
                negative=counts["negative"],
                **_share(counts),
            )
        )
    return points


def options(store: "Store") -> dict[str, list[str]]:
    """Return what filters can be set to: the values that answers and feedback have, by name of the filter, sorted."""
    found: dict[str, list[str]] = {}
    with store.cursor() as connection:
        for name, column in FACTS.items():
            rows = connection.execute(
                f"SELECT {column} FROM interactions UNION SELECT {column} FROM feedback ORDER BY 1 LIMIT {MOST}"  # noqa: S608
            ).fetchall()
            found[name] = [value for (value,) in rows]
    return found


def _groups(by: Sequence[str]) -> Key:
    names = tuple(dict.fromkeys(by))
    if not names or not set(names) <= set(GROUPS):
        raise InvalidQueryError("by", f"by must be one or more of {', '.join(GROUPS)}.")
    return names


def _width(connection: Any, chosen: Filter) -> str:
    since, until = chosen.since, chosen.until
    if since is None:
        (oldest,) = connection.execute("SELECT min(started_at) FROM interactions").fetchall()[0]
        since = oldest and oldest.replace(tzinfo=dt.timezone.utc)
    until = until or dt.datetime.now(dt.timezone.utc)
    return "hour" if since is None or until - since <= dt.timedelta(days=2) else "day"


def _answered(names: Key, chosen: Filter, width: str | None = None) -> tuple[str, dict[str, Any]]:
    keys = _keys("interactions", names, width)
    where, parameters = chosen.where("interactions")
    sql = f"SELECT {keys} count(*) FROM interactions WHERE flagged AND {where} GROUP BY ALL"  # noqa: S608
    return sql, parameters


def _judged(names: Key, chosen: Filter, width: str | None = None) -> tuple[str, dict[str, Any]]:
    keys = _keys("feedback", names, width)
    where, parameters = chosen.where("feedback")
    counts = ", ".join(f"count(*) FILTER ({condition}) AS {name}" for name, condition in _COUNTS.items())
    sql = f"""
        SELECT {keys} {counts}, count(DISTINCT hash(trace_id, span_id)) FILTER (
            joined AND {_EXPLICIT} AND sentiment <> '{semconv.RETRACTED}' AND (trace_id, span_id) NOT IN (
                SELECT (trace_id, span_id) FROM interactions WHERE NOT flagged)
        ) AS voted
        FROM feedback WHERE {where} GROUP BY ALL
    """  # noqa: S608
    return sql, parameters


def _implicit(names: Key, chosen: Filter) -> tuple[str, dict[str, Any]]:
    where, parameters = chosen.where("feedback")
    sql = f"""
        SELECT {_keys("feedback", names, None)} signal, count(*) FROM feedback
        WHERE standing AND kind = '{semconv.IMPLICIT}' AND sentiment <> '{semconv.RETRACTED}' AND {where} GROUP BY ALL
        ORDER BY count(*) DESC, signal
    """  # noqa: S608
    return sql, parameters


def _keys(table: str, names: Key, width: str | None) -> str:
    time = {"interactions": "started_at", "feedback": "answered_at"}[table]
    keys = [f"date_trunc('{width}', {time})"] if width else []
    return "".join(f"{key}, " for key in [*keys, *(FACTS[name] for name in names)])


def _fetch(connection: Any, sql: str, parameters: dict[str, Any], *, groups: int) -> list[tuple[Key, list[Any]]]:
    rows = connection.execute(sql, parameters).fetchall()
    return [(row[:groups], list(row[groups:])) for row in rows]


def _counted(counts: list[int] | None) -> dict[str, int]:
    names = (*_COUNTS, "voted")
    return dict(zip(names, counts or [0] * len(names), strict=True))


def _share(counts: dict[str, int]) -> dict[str, float | None]:
    share = wilson(counts["positive"], counts["negative"])
    return {"satisfaction": share.value, "low": share.low, "high": share.high}


def _row(key: dict[str, str], interactions: int, judged: list[int] | None, implicit: dict[str, int]) -> SatisfactionRow:
    counts = _counted(judged)
    return SatisfactionRow(
        key=key,
        interactions=interactions,
        voted=counts["voted"],
        response_rate=counts["voted"] / interactions if interactions >= ENOUGH else None,
        positive=counts["positive"],
        negative=counts["negative"],
        neutral=counts["neutral"],
        **_share(counts),
        expressed={name: counts[f"expressed_{name}"] for name in (semconv.POSITIVE, semconv.NEGATIVE)},
        changed=counts["changed"],
        retracted=counts["retracted"],
        implicit=implicit,
        corrections=counts["corrections"],
    )


def _rank(row: SatisfactionRow) -> tuple[float, float, list[str]]:
    high = _BEYOND if row.high is None else row.high
    return (
        high,
        -(row.interactions if math.isclose(high, _BEYOND) else row.positive + row.negative),
        list(row.key.values()),
    )
