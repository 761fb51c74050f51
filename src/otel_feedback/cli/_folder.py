"""A data folder as a source: opened by this process, since no server runs on it. Gives the same JSON as the server."""

import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from otel_feedback._version import VERSION
from otel_feedback.analysis.satisfaction import satisfaction
from otel_feedback.cli._http import Json, Progress
from otel_feedback.store import Store
from otel_feedback.store._answers import answers
from otel_feedback.store._detail import answer
from otel_feedback.store._views import jsonable
from otel_feedback.store.filters import Filter

if TYPE_CHECKING:
    import duckdb

_SERVICES: Final = 100
"""Names of services that a status has at the most."""


class FolderSource:
    """A data folder that this process holds until it is closed.

    Args:
        folder: The folder.

    Raises:
        StoreError: It can't be opened; the message says what to do.
        MissingExtraError: DuckDB isn't installed.
    """

    def __init__(self, folder: Path) -> None:
        self.name = f"the data folder {folder}"
        self._folder = folder
        self._store = Store.open(folder)

    def close(self) -> None:
        """Let the folder go."""
        self._store.close()

    def status(self) -> Json:
        """What is in the folder; what only a server has is missing."""
        contents = self._store.content_databases()
        with self._store.cursor() as cursor:
            answered = _one(cursor, "SELECT count(*), max(started_at) FROM interactions WHERE flagged")
            judged = _one(cursor, "SELECT count(*), max(given_at) FROM feedback")
            spans = [_spans(cursor, name) for name in contents]
            services = cursor.execute(
                f"SELECT DISTINCT service FROM interactions ORDER BY service LIMIT {_SERVICES}"  # noqa: S608 - a number
            ).fetchall()
        return {
            "version": VERSION,
            "data": str(self._folder),
            "counts": {"interactions": answered[0], "feedback": judged[0], "spans": sum(count for count, _ in spans)},
            "last": {
                "span_at": _utc(max((last for _, last in spans if last is not None), default=None)),
                "interaction_at": _utc(answered[1]),
                "feedback_at": _utc(judged[1]),
            },
            "seen": {"services": [service for (service,) in services]},
        }

    def satisfaction(self, query: Mapping[str, str]) -> Json:
        """Satisfaction by group."""
        chosen = Filter.from_query(query)
        rows = satisfaction(self._store, by=query["by"].split(","), filter=chosen, limit=int(query["limit"]))
        return {"rows": jsonable(rows), "filter": chosen.to_query()}

    def answers(self, query: Mapping[str, str]) -> Json:
        """Answers and what was said of them."""
        asked = {name: query[name] for name in ("feedback", "signal", "reason", "search", "after") if name in query}
        return answers(self._store, Filter.from_query(query), limit=int(query["limit"]), **asked).to_json()

    def answer(self, name: str) -> Json:
        """Everything about one answer."""
        return answer(self._store, name).to_json()

    def db_info(self) -> Json:
        """Files, rows and versions of the store."""
        return self._store.info()

    def backup(self, target: str, progress: Progress) -> None:
        """Copy the store into a folder."""
        self._store.backup(Path(target), progress)

    def check(self, progress: Progress) -> list[str]:
        """Read everything and return what is wrong."""
        return self._store.check(progress)

    def vacuum(self, progress: Progress) -> dict[str, int]:
        """Give room back that is not used; says how many bytes there were before and are after."""
        return self._store.vacuum(progress)


def _one(cursor: "duckdb.DuckDBPyConnection", sql: str) -> tuple[int, dt.datetime | None]:
    (count, last), *_ = cursor.execute(sql).fetchall()
    return count, last


def _utc(moment: dt.datetime | None) -> str | None:
    """The tables' times have no zone: they are UTC."""
    return None if moment is None else str(jsonable(moment.replace(tzinfo=dt.timezone.utc)))


def _spans(cursor: "duckdb.DuckDBPyConnection", name: str) -> tuple[int, dt.datetime | None]:
    """Count the spans of a content file; the last is the one that came last."""
    count, _ = _one(cursor, f'SELECT count(*), NULL FROM "{name}".spans')  # noqa: S608 - a name of the store's own
    _, last = _one(cursor, f'SELECT count(*), max(received_at) FROM "{name}".chunks')  # noqa: S608 - the same
    return count, last
