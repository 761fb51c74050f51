"""The one DuckDB instance of a store: its files attached by name, cursors for readers, and opening it all anew."""

import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

import duckdb

from otel_feedback.exceptions import StoreError
from otel_feedback.store._errors import translate
from otel_feedback.store._folder import close_to_others, sync
from otel_feedback.store._migrations import CONTENT, MAIN, migrate

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from otel_feedback.store._folder import Folder
    from otel_feedback.store._migrations import Migration

STORE: Final = "store"
"""The name that the main tables are attached by."""

_STORAGE: Final = "v1.5.0"
"""Both DuckDB that Python 3.10 gets and later ones read it."""

ROWS_OF_MAIN: Final = 122_880
ROWS_OF_CONTENT: Final = 2_048
"""Rows in a group: DuckDB's own number where much is read, its least where rows are large, since a checkpoint writes
the last group of a table again (measured: with the other number it took longer and longer, at 500 chunks a second)."""

_LOG_BYTES: Final = "32MB"
"""A log's size after which it is put into its file: a pause of 0.2 s, and what a start after a kill reads again."""

_PATIENCE_SECONDS: Final = 10.0
_AGAIN_SECONDS: Final = 0.05
_INTERRUPTIONS: Final = 60


def content_name(week: str) -> str:
    """The name that the content of a week is attached by: ``c_2026_W48``."""
    return "c_" + week.replace("-", "_")


def week_in(name: str) -> str:
    """The week whose content is attached by a name."""
    return name[2:].replace("_", "-")


class Databases:
    """All files of a folder, open. Whoever writes uses :attr:`writer` from one thread; readers take cursors."""

    def __init__(self, folder: "Folder", *, memory_mb: int, threads: int) -> None:
        self._folder = folder
        self._config: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": f"{memory_mb}MB",
            "threads": threads,
            "checkpoint_threshold": _LOG_BYTES,
            "temp_directory": str(folder.path / "tmp"),
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "python_enable_replacements": False,  # else a name that is no table may be a variable of ours
        }
        self._gate = threading.Condition()
        self._readers: set[duckdb.DuckDBPyConnection] = set()
        self._closed = False
        self._logs: dict[Path, os.stat_result] = {}
        self.next_chunk: dict[str, int] = {}
        """The number of the next chunk by content database."""
        self._root: duckdb.DuckDBPyConnection
        self.writer: duckdb.DuckDBPyConnection
        self._connect()

    def _connect(self) -> None:
        self._root = duckdb.connect(":memory:", config=self._config)
        try:
            self._root.execute("SET preserve_insertion_order = true")
            self.writer = self._root.cursor()
            self.attach(STORE, self._folder.main, MAIN)
            for week in self._folder.weeks():
                self.open_content(week)
        except BaseException:
            self._root.close()
            raise

    def attach(self, name: str, file: "Path", steps: "Sequence[Migration]") -> None:
        """Open a file, made where it is missing, and bring it up to date.

        Raises:
            StoreError: One of its kinds: held, newer, damaged, full.
        """
        try:
            self._root.execute(attach_text(name, file, rows=ROWS_OF_CONTENT if steps is CONTENT else ROWS_OF_MAIN))
            migrate(self._root, name, steps, file=str(file))
        except duckdb.Error as error:
            raise translate(error, file) from error
        close_to_others(file)

    def open_content(self, week: str) -> str:
        """The name of a week's content database, attached now if it wasn't."""
        name = content_name(week)
        if name not in self.next_chunk:
            self.attach(name, self._folder.content_file(week), CONTENT)
            last = self._root.execute(
                f'SELECT coalesce(max(chunk), 0) FROM "{name}".chunks'  # noqa: S608
            ).fetchall()[0][0]
            self.next_chunk[name] = last + 1
        return name

    def content(self) -> list[str]:
        """Names of all content databases, oldest first."""
        return sorted(self.next_chunk)

    @contextmanager
    def cursor(self) -> "Iterator[duckdb.DuckDBPyConnection]":
        """A connection for reading, for one thread, with the main tables as its own.

        Raises:
            StoreError: The store is closed.
        """
        with self._gate:
            if self._closed:
                raise StoreError("The store is closed.")
            cursor = self._root.cursor()
            self._readers.add(cursor)
        try:
            cursor.execute(f"USE {STORE}")
            yield cursor
        finally:
            with self._gate:
                self._readers.discard(cursor)
                self._gate.notify_all()
            cursor.close()

    @contextmanager
    def alone(self, *, patience: float = _PATIENCE_SECONDS) -> "Iterator[None]":
        """Wait until nobody reads, and let nobody begin meanwhile; who reads for longer is interrupted."""
        with self._gate:
            self._gate.wait_for(lambda: not self._readers, timeout=patience)
            for _ in range(_INTERRUPTIONS):
                if not self._readers:
                    break
                for reader in self._readers:
                    reader.interrupt()
                self._gate.wait(timeout=_AGAIN_SECONDS)  # who was between two queries begins another
            yield

    def reopen(self) -> None:
        """Close all files and open them again, after an error that DuckDB doesn't go on from.

        Raises:
            StoreError: They cannot be opened; the next call tries again.
        """
        with self.closed():
            pass

    @contextmanager
    def closed(self) -> "Iterator[None]":
        """Close all files, so that something may be done to them, and open them again; readers wait meanwhile.

        Raises:
            StoreError: They cannot be opened; the next call tries again.
        """
        with self.alone():
            self._shut()
            try:
                yield
            finally:
                self._connect()

    def keep_logs(self) -> None:
        """Take the permissions of others from the logs, and put the names of new ones onto the disk.

        DuckDB makes a log anew after every checkpoint, syncs it with each commit, and never syncs the folder.
        """
        for file in (self._folder.main, *(self._folder.content_file(week_in(name)) for name in self.next_chunk)):
            log = file.with_name(file.name + ".wal")
            close_to_others(log)
            before = self._logs.pop(log, None)
            with suppress(FileNotFoundError):
                now = log.stat()
                if before is None or now.st_ino != before.st_ino or now.st_size < before.st_size:
                    sync(log.parent)
                self._logs[log] = now

    def roll_back(self) -> None:
        """Undo the writer's transaction, where DuckDB hasn't done it by itself."""
        with suppress(duckdb.Error):
            self.writer.execute("ROLLBACK")

    def close(self) -> None:
        """Close all files; whoever still reads is interrupted."""
        with self._gate:
            self._closed = True
        with self.alone(patience=0):
            self._shut()

    def _shut(self) -> None:
        self.next_chunk.clear()
        self._logs.clear()
        self.writer.close()
        self._root.close()


def attach_text(name: str, file: "Path", *, rows: int) -> str:
    """SQL that attaches a file, with so many rows in a group."""
    return f"ATTACH '{quote(file)}' AS \"{name}\" (STORAGE_VERSION '{_STORAGE}', ROW_GROUP_SIZE {rows})"


def quote(path: "Path") -> str:
    """A path for the inside of an SQL string."""
    return str(path).replace("'", "''")
