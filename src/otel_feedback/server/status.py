"""What the process says of itself: where it is, what has arrived, and what is missing if nothing has."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from otel_feedback._version import VERSION
from otel_feedback.server.options import run_command
from otel_feedback.server.receiving import Seen
from otel_feedback.store import Store
from otel_feedback.store._counts import Counts, count
from otel_feedback.store._views import jsonable


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
        counts = count(self._store)
        queue = self._store.queued()
        return {
            "version": VERSION,
            "data": self._place.data,
            "url": self._place.url,
            "run": run_command(Path(self._place.data)),
            "otlp_grpc": self._place.otlp_grpc,
            "otlp_http": self._place.otlp_http,
            "content": "kept" if self._place.content_kept else "dropped",
            "started_at": jsonable(self._started_at),
            "counts": {"interactions": counts.interactions, "feedback": counts.feedback, "spans": counts.spans},
            "last": {
                "span_at": jsonable(counts.span_at),
                "interaction_at": jsonable(counts.interaction_at),
                "feedback_at": jsonable(counts.feedback_at),
            },
            "seen": {
                "services": sorted(self._seen.services.union(counts.services)),
                "instrumentations": sorted(self._seen.scopes),
            },
            "hints": list(_hints(counts, self._seen, self._place)),
            "queue": {"batches": queue.batches, "bytes": queue.bytes},
        }


def _hints(counts: Counts, seen: Seen, place: Place) -> Iterator[str]:
    if not (counts.spans or counts.feedback):
        if seen.metrics:
            yield "Metrics arrive, which are not kept, but no spans: set OTEL_TRACES_EXPORTER=otlp in the service."
        else:
            yield f"Nothing has arrived yet. Start your service with: {_start(place)}"
        return
    if not counts.interactions:
        if seen.telling:
            yield (
                "Spans of model calls arrive, but no answer that can be judged: install otel-feedback in the service's "
                f"environment and start it with: {_start(place)}"
            )
        elif counts.spans:
            yield (
                "Spans arrive, but none of a model call: install the GenAI instrumentation of your model's client, "
                "and otel-feedback, in the service's environment. `otel-feedback run` names what is missing."
            )
    elif not counts.feedback:
        yield (
            "Answers arrive, but no feedback yet: send the handle of an answer and a value to "
            f"{place.url}/v1/feedback. The page Setup has the snippet."
        )
    elif not counts.explicit:
        yield "All feedback so far was derived by software: no person has voted yet."
    if counts.feedback and not counts.joined:
        yield (
            "There is feedback, but none on an answer that has arrived: have the service send its spans here, too, "
            "and see that they are sampled."
        )


def _start(place: Place) -> str:
    """Return what starts a service, whichever kind it is."""
    return f"{run_command(Path(place.data))} -- uvicorn app:app (or: -- python app.py)"
