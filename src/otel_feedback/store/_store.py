"""The store as whoever uses it sees it: open, write, read, look after, close."""

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from otel_feedback.store import _admin
from otel_feedback.store._check import check
from otel_feedback.store._databases import Databases
from otel_feedback.store._folder import Folder
from otel_feedback.store._votes import history
from otel_feedback.store._writer import Queued, Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future
    from pathlib import Path

    import duckdb
    from typing_extensions import Self

    from otel_feedback.intake.rows import Batch, FeedbackRow
    from otel_feedback.store._commit import Change

    Progress = Callable[[int, int], None]

_PATIENCE_SECONDS: Final = 1.5
"""How long a close goes on writing what waits, so that five seconds have room for the server's own grace before it, and
for the commit that has begun and a checkpoint after it."""


class Store:
    """A folder of interactions, feedback, documents and raw spans, held by this process until it is closed."""

    def __init__(self, folder: Folder, databases: Databases) -> None:
        """For :meth:`open`."""
        self._folder = folder
        self._databases = databases
        self._writer = Writer(folder, databases)
        self._copying = threading.Lock()
        self._closed = False

    @classmethod
    def open(cls, folder: "Path", *, memory_mb: int = 192, threads: int = 2) -> "Store":
        """Hold a folder, made where it is missing, and open its files.

        Args:
            folder: Where everything is.
            memory_mb: What DuckDB may use, in MB: more made no question over ten million answers faster.
            threads: How many threads a query may use.

        Raises:
            StoreHeldError: Another process, or another store of this one, has it.
            StoreNewerError: A newer version wrote it.
            StoreDamagedError: A file cannot be read.
            StoreError: The folder cannot be made or written.
        """
        held = Folder(folder)
        try:
            return cls(held, Databases(held, memory_mb=memory_mb, threads=threads))
        except BaseException:
            held.release()
            raise

    @property
    def path(self) -> "Path":
        """The folder."""
        return self._folder.path

    def submit(self, batch: "Batch") -> "Future[None]":
        """Queue a batch to be written.

        Returns:
            Ends when the batch is durable, or with a ``StoreError``: then nothing of it was taken.

        Raises:
            StoreBusyError: Too much waits already.
            StoreError: The store is closed.
        """
        return self._writer.submit(batch)

    @contextmanager
    def coming(self) -> "Iterator[None]":
        """Say that a batch will be submitted inside; whoever waits already is written with it, within a moment."""
        with self._writer.coming():
            yield

    def write(self, batch: "Batch") -> None:
        """Write a batch and wait until it is durable.

        Raises:
            StoreError: Nothing of it was taken.
        """
        self.submit(batch).result()

    def settle(self) -> None:
        """Wait until all that was submitted is written and every judged answer was looked for: for tests and exports.

        In a large store a feedback takes the facts of an old answer some moments after it was written.
        """
        self._writer.settle()

    def queued(self) -> Queued:
        """How much waits to be written."""
        return self._writer.queued()

    def subscribe(self, callback: "Callable[[Change], None]") -> "Callable[[], None]":
        """Call back after every commit, in the writer's thread: be quick.

        Returns:
            Ends it.
        """
        return self._writer.subscribe(callback)

    @contextmanager
    def cursor(self) -> "Iterator[duckdb.DuckDBPyConnection]":
        """A connection for reading, for one thread: the main tables by their names, content by its database's.

        Raises:
            StoreError: The store is closed.
        """
        with self._databases.cursor() as cursor:
            yield cursor

    def content_databases(self) -> list[str]:
        """Names of the databases that content is in, oldest first."""
        return self._databases.content()

    def votes_of(self, trace_id: str, span_id: str) -> "list[FeedbackRow]":
        """All feedback on one answer, oldest first."""
        with self.cursor() as cursor:
            return history(cursor, (trace_id, span_id))

    def info(self) -> dict[str, Any]:
        """What is in the store: files with their sizes, rows and versions; values that JSON has."""
        return _admin.info(self._folder, self._databases)

    def backup(self, target: "Path", progress: "Progress | None" = None) -> "Path":
        """Copy the store into a new folder while it goes on; keys and tokens stay where they are.

        Raises:
            StoreError: The target isn't empty, or the copy can't be made; then there is nothing of it.
        """
        with self._copying:
            return _admin.back_up(self._folder, self._databases, target, progress or _silent)

    def check(self, progress: "Progress | None" = None) -> list[str]:
        """Read everything and compare; gives what is wrong, a sentence each."""
        return check(self._folder, self._databases, progress or _silent)

    def vacuum(self, progress: "Progress | None" = None) -> dict[str, int]:
        """Write every file anew, without what was deleted; nothing is written meanwhile, and reading goes on.

        Returns:
            ``before`` and ``after``: bytes of all files.

        Raises:
            StoreError: A file can't be written anew; those before it were.
        """
        with self._copying:
            return self._writer.run(lambda: self._writer.vacuum(progress or _silent))

    def close(self) -> None:
        """Write what waits, put the logs into the files and let the folder go: within five seconds. Can be repeated."""
        if self._closed:
            return
        self._closed = True
        self._writer.close(_PATIENCE_SECONDS)
        self._databases.close()
        self._folder.release()

    def __enter__(self) -> "Self":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _silent(done: int, everything: int) -> None:
    """Nobody looks on."""
