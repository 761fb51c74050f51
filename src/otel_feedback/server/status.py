"""What the process says of itself: where it is, what has arrived, and what is missing if nothing has."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, NamedTuple

from otel_feedback import semconv
from otel_feedback._version import VERSION
from otel_feedback.server.receiving import Seen
from otel_feedback.store import Store


class Counts(NamedTuple):
    """What the store has."""

    interactions: int
    interaction_at: datetime | None
    feedback: int
    feedback_at: datetime | None
    explicit: int
    joined: int
    spans: int
    span_at: datetime | None
    services: frozenset[str]


@dataclass(frozen=True)
class Place:
    """Where the process is."""

    data: str
    url: str
    otlp_grpc: str | None
    otlp_http: str | None
    content_kept: bool


class Status:
    """Makes the answer of ``/api/status``; it may block."""

    def __init__(self, store: Store, seen: Seen, place: Place) -> None:
        self._store = store
        self._seen = seen
        self._place = place
        self._started_at = datetime.now(timezone.utc)

    def __call__(self) -> dict[str, Any]:
        """Return it, as JSON's values."""
        counts = _count(self._store)
        queue = self._store.queued()
        return {
            "version": VERSION,
            "data": self._place.data,
            "url": self._place.url,
            "otlp_grpc": self._place.otlp_grpc,
            "otlp_http": self._place.otlp_http,
            "content": "kept" if self._place.content_kept else "dropped",
            "started_at": _iso(self._started_at),
            "counts": {"interactions": counts.interactions, "feedback": counts.feedback, "spans": counts.spans},
            "last": {
                "span_at": _iso(counts.span_at),
                "interaction_at": _iso(counts.interaction_at),
                "feedback_at": _iso(counts.feedback_at),
            },
            "seen": {
                "services": sorted(counts.services | self._seen.services),
                "instrumentations": sorted(self._seen.scopes),
            },
            "hints": list(_hints(counts, self._seen, self._place.url)),
            "queue": {"batches": queue.batches, "bytes": queue.bytes},
        }


def _count(store: Store) -> Counts:
    with store.cursor() as cursor:

        def one(sql: str) -> tuple[Any, ...]:
            return tuple(cursor.execute(sql).fetchall()[0])

        interactions = one("SELECT count(*), max(started_at) FROM interactions WHERE flagged")
        feedback = one(
            f"SELECT count(*), max(given_at), count(*) FILTER (kind = '{semconv.EXPLICIT}'), "  # noqa: S608
            "count(*) FILTER (joined) FROM feedback"
        )
        spans = [
            (*one(f'SELECT count(*) FROM "{name}".spans'), *one(f'SELECT max(received_at) FROM "{name}".chunks'))  # noqa: S608
            for name in store.content_databases()
        ]
        services = cursor.execute("SELECT DISTINCT service FROM interactions LIMIT 1000").fetchall()
    return Counts(
        interactions=interactions[0],
        interaction_at=interactions[1],
        feedback=feedback[0],
        feedback_at=feedback[1],
        explicit=feedback[2],
        joined=feedback[3],
        spans=sum(count for count, _ in spans),
        span_at=max((at for _, at in spans if at), default=None),
        services=frozenset(service for (service,) in services),
    )


def _hints(counts: Counts, seen: Seen, url: str) -> Iterator[str]:
    if not (counts.spans or counts.feedback):
        if seen.metrics:
            yield "Metrics arrive, which are not kept, but no spans: set OTEL_TRACES_EXPORTER=otlp in the service."
        else:
            yield f"Nothing has arrived yet. Start your service with: otel-feedback run --url {url} -- python app.py"
        return
    if not counts.interactions:
        if seen.telling:
            yield (
                "Spans of model calls arrive, but no answer that can be judged: install otel-feedback in the service's "
                "environment and start it with: otel-feedback run -- python app.py"
            )
        elif counts.spans:
            yield (
                "Spans arrive, but none of a model call: install the GenAI instrumentation of your model's client, "
                "and otel-feedback, in the service's environment. `otel-feedback run` names what is missing."
            )
    elif not counts.feedback:
        yield (
            f"Answers arrive, but no feedback yet: send the handle of an answer and a value to {url}/v1/feedback. "
            "The page Setup has the snippet."
        )
    elif not counts.explicit:
        yield "All feedback so far was derived by software: no person has voted yet."
    if counts.feedback and not counts.joined:
        yield (
            "There is feedback, but none on an answer that has arrived: have the service send its spans here, too, "
            "and see that they are sampled."
        )


def _iso(moment: datetime | None) -> str | None:
    if moment is None:
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
    return aware.isoformat().replace("+00:00", "Z")
