"""Which browser may change a vote: what a store of telemetry must not hold, in a small file beside it."""

import sqlite3
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from otel_feedback._votes import Ballot, VoteKey, digest
from otel_feedback.exceptions import DeliveryError
from otel_feedback.outbox._book import GRACE_SECONDS
from otel_feedback.outbox._committer import Committer
from otel_feedback.outbox._database import Kind, open_database

T = TypeVar("T")

VOTERS_FILE: Final = "voters.db"
"""Its name in the data folder."""

PRUNED_AT_ONCE: Final = 1_000
"""Seals that are forgotten in one transaction, when no handle for their votes can be valid any more."""

VOTERS: Final = Kind(
    "file",
    application_id=132_250_380,
    version=1,
    schema=(
        (
            "CREATE TABLE seals (vote TEXT PRIMARY KEY, feedback TEXT NOT NULL, nonce TEXT NOT NULL, "
            "expires_at INTEGER NOT NULL) WITHOUT ROWID"
        ),
        "CREATE INDEX seals_by_expiry ON seals (expires_at)",
    ),
    advice="Move it away: a new one is made, and then whoever has its handle can change a vote that is there now.",
)


class Seals:
    """Digests of the nonces that votes were first given with: thread-safe, and known after a restart.

    A seal is written before its vote. It holds from the moment on at which the feedback that it came with is in the
    store, so that one whose vote was never written binds nobody.
    """

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.time) -> None:
        """Prepare them; nothing is opened before the first use.

        Args:
            folder: The data folder.
            clock: Seconds since 1970.
        """
        self._path = folder / VOTERS_FILE
        self._clock = clock
        self._pruned_at = 0
        self._committer = Committer(self._connect, self._begin)

    def open(self) -> None:
        """Open the file now, and not with the first vote.

        Raises:
            ConfigurationError: It can't be opened, or it is something else.
        """
        self._connect().close()

    def put(self, ballot: Ballot) -> None:
        """Note who is about to give a vote that nobody has given; it is on the disk when this returns.

        Raises:
            DeliveryError: It can't be written.
        """
        vote, nonce = _vote(ballot.key), ballot.nonce

        def write(session: "_Session") -> None:
            if nonce is None:
                session.connection.execute("DELETE FROM seals WHERE vote = ?", (vote,))
            else:
                row = vote, digest(ballot.id), digest(nonce), _expiry(ballot)
                session.connection.execute("INSERT OR REPLACE INTO seals VALUES (?, ?, ?, ?)", row)

        self._run(write)

    def seal_of(self, ballot: Ballot, given: Collection[str]) -> str | None:
        """Return the digest of the nonce that a vote was first given with, if it was.

        Args:
            ballot: Of the feedback that would change it: with a handle that lasts longer the seal does, too.
            given: Digests of the ids of all feedback that the store has of the vote.

        Raises:
            DeliveryError: The file can't be read.
        """
        vote = _vote(ballot.key)

        def read(session: "_Session") -> str | None:
            found = session.connection.execute(
                "SELECT feedback, nonce, expires_at FROM seals WHERE vote = ?", (vote,)
            ).fetchone()
            if found is None:
                return None
            if found[0] not in given:  # what it came with was never written, and somebody else was the first
                session.connection.execute("DELETE FROM seals WHERE vote = ?", (vote,))
                return None
            if found[2] < _expiry(ballot):
                session.connection.execute("UPDATE seals SET expires_at = ? WHERE vote = ?", (_expiry(ballot), vote))
            nonce: str = found[1]
            return nonce

        return self._run(read)

    def close(self) -> None:
        """Close the file. Can be repeated; later votes are refused."""
        self._committer.close()

    def _run(self, work: Callable[["_Session"], T]) -> T:
        try:
            return self._committer.run(work)
        except DeliveryError as error:
            raise DeliveryError(
                f"{VOTERS_FILE} in the data folder can't be used. Is its disk full, or gone?"
            ) from error

    def _connect(self) -> sqlite3.Connection:
        return open_database(self._path, VOTERS)

    def _begin(self, connection: sqlite3.Connection) -> "_Session":
        now = int(self._clock())
        if now != self._pruned_at:
            self._pruned_at = now
            connection.execute(
                "DELETE FROM seals WHERE vote IN (SELECT vote FROM seals WHERE expires_at < ? LIMIT ?)",
                (now, PRUNED_AT_ONCE),
            )
        return _Session(connection)


class _Session:
    """A transaction in which each piece of work is a statement or two, of which none is half done."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def prepare(self, hints: Sequence[Any]) -> None:
        """Each reads one row of its own."""

    def mark(self) -> int:
        return 0

    def back_to(self, mark: int) -> None:
        """Nothing is gathered."""

    def write(self) -> None:
        """Everything is written."""

    def written(self) -> None:
        """Nobody wants to know."""


def _vote(key: VoteKey) -> str:
    return digest(f"{key.trace_id:032x}-{key.span_id:016x}\n{key.signal}\n{key.submitter or ''}")


def _expiry(ballot: Ballot) -> int:
    return min(ballot.expires_at + GRACE_SECONDS, 2**62)
