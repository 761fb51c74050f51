"""A data folder as a source: opened by this process, since no server runs on it. Gives the same JSON as the server."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from otel_feedback._version import VERSION
from otel_feedback.analysis import questions
from otel_feedback.cli._http import Json, Progress
from otel_feedback.store import Store
from otel_feedback.store._counts import count
from otel_feedback.store._views import jsonable

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
        counts = count(self._store)
        return {
            "version": VERSION,
            "data": str(self._folder),
            "counts": {"interactions": counts.interactions, "feedback": counts.feedback, "spans": counts.spans},
            "last": {
                "span_at": jsonable(counts.span_at),
                "interaction_at": jsonable(counts.interaction_at),
                "feedback_at": jsonable(counts.feedback_at),
            },
            "seen": {"services": list(counts.services[:_SERVICES])},
        }

    def satisfaction(self, query: Mapping[str, str]) -> Json:
        """Satisfaction by group."""
        return questions.ask_satisfaction(self._store, query)

    def answers(self, query: Mapping[str, str]) -> Json:
        """Answers and what was said of them."""
        return questions.ask_answers(self._store, query)

    def answer(self, name: str) -> Json:
        """Everything about one answer."""
        return questions.ask_answer(self._store, name)

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
