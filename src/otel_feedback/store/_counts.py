"""How much a store has and when the last of it came, for whoever asks what has arrived."""

import datetime as dt
from typing import TYPE_CHECKING, Any, NamedTuple

from otel_feedback import semconv
from otel_feedback.store._gather import in_utc

if TYPE_CHECKING:
    from otel_feedback.store._store import Store


class Counts(NamedTuple):
    """What the store has; times are UTC, ``None`` where there is nothing."""

    interactions: int
    """Answers that count."""
    interaction_at: dt.datetime | None
    feedback: int
    feedback_at: dt.datetime | None
    explicit: int
    """Of the feedback."""
    joined: int
    """Feedback whose answer is here."""
    spans: int
    span_at: dt.datetime | None
    services: tuple[str, ...]
    """That gave answers, by name; a thousand at the most."""


def count(store: "Store") -> Counts:
    """Count what a store has."""
    with store.cursor() as cursor:

        def one(sql: str) -> tuple[Any, ...]:
            return tuple(cursor.execute(sql).fetchall()[0])

        interactions, interaction_at = one("SELECT count(*), max(started_at) FROM interactions WHERE flagged")
        feedback, feedback_at, explicit, joined = one(
            f"SELECT count(*), max(given_at), count(*) FILTER (kind = '{semconv.EXPLICIT}'), "  # noqa: S608
            "count(*) FILTER (joined) FROM feedback"
        )
        spans = [
            (
                *one(f'SELECT coalesce(sum(spans), 0) FROM "{name}".traces'),  # noqa: S608 - names of ours
                *one(f'SELECT max(received_at) FROM "{name}".chunks'),  # noqa: S608
            )
            for name in store.content_databases()
        ]
        services = cursor.execute("SELECT DISTINCT service FROM interactions ORDER BY service LIMIT 1000").fetchall()
    return Counts(
        interactions=interactions,
        interaction_at=_utc(interaction_at),
        feedback=feedback,
        feedback_at=_utc(feedback_at),
        explicit=explicit,
        joined=joined,
        spans=sum(number for number, _ in spans),
        span_at=_utc(max((at for _, at in spans if at), default=None)),
        services=tuple(service for (service,) in services),
    )


def _utc(moment: dt.datetime | None) -> dt.datetime | None:
    return None if moment is None else in_utc(moment)
