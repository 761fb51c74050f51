"""The SQLite file of an outbox, and others of its make: made, opened and told apart."""

import os
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from otel_feedback.exceptions import ConfigurationError


@dataclass(frozen=True, slots=True)
class Kind:
    """What a file is for.

    Attributes:
        name: What it is called in messages, such as ``outbox``.
        application_id: What SQLite's header says of it.
        version: Of the tables.
        schema: Statements that make them.
        advice: What to do where a file can't be used.
    """

    name: str
    application_id: int
    version: int
    schema: tuple[str, ...]
    advice: str


APPLICATION_ID: Final = 132_250_379
"""What SQLite's header says the file is."""

VERSION: Final = 1
"""Of the tables; a newer one was written by a newer otel-feedback."""

BUSY_SECONDS: Final = 10.0
"""How long one process waits for another to end its transaction."""

_SCHEMA: Final = (
    (
        "CREATE TABLE interactions (target TEXT PRIMARY KEY, state TEXT NOT NULL, expires_at INTEGER NOT NULL) "
        "WITHOUT ROWID"
    ),
    "CREATE INDEX interactions_by_expiry ON interactions (expires_at)",
    "CREATE TABLE resources (id INTEGER PRIMARY KEY, attributes TEXT NOT NULL UNIQUE)",
    (
        "CREATE TABLE queue (number INTEGER PRIMARY KEY AUTOINCREMENT, accepted_ns INTEGER NOT NULL, "
        "tries INTEGER NOT NULL DEFAULT 0, resource INTEGER NOT NULL, carrier TEXT NOT NULL)"
    ),
    (
        "CREATE TABLE set_aside (number INTEGER PRIMARY KEY, accepted_ns INTEGER NOT NULL, resource INTEGER NOT NULL, "
        "carrier TEXT NOT NULL, why TEXT NOT NULL)"
    ),
    # Numbers of no two files are alike: what is still known of a file that was replaced says nothing of the new one's.
    "INSERT INTO sqlite_sequence VALUES ('queue', abs(random() % 1000000000) * 1000000000)",
    "CREATE TABLE totals (depth INTEGER NOT NULL, bytes INTEGER NOT NULL)",
    "INSERT INTO totals VALUES (0, 0)",
)

OUTBOX: Final = Kind(
    "outbox", APPLICATION_ID, VERSION, _SCHEMA, "Name another file by OTEL_FEEDBACK_OUTBOX or --outbox, or mend this."
)


def open_database(path: Path, kind: Kind = OUTBOX) -> sqlite3.Connection:
    """Open a file, and make it where it is missing: mode 0600, its folder 0700.

    Raises:
        ConfigurationError: It can't be opened, or it is something else; the message says what to do.
    """
    try:
        is_new = _make(path)
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    except (OSError, sqlite3.Error) as error:
        raise _unusable(path, kind, type(error).__name__) from error
    try:
        _prepare(connection, path, kind)
        if is_new:
            _sync_folder(path)
    except BaseException as error:
        connection.close()
        if isinstance(error, sqlite3.Error | OSError):
            raise _unusable(path, kind, type(error).__name__) from error
        raise
    return connection


def check_database(connection: sqlite3.Connection, path: Path, kind: Kind = OUTBOX) -> None:
    """Read the whole file.

    Raises:
        ConfigurationError: It is damaged.
    """
    try:
        found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.OperationalError:
        return  # another process keeps us from it for now
    except sqlite3.Error as error:
        raise _unusable(path, kind, type(error).__name__) from error
    if found != "ok":
        raise _unusable(path, kind, "it is damaged")


def _make(path: Path) -> bool:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return False
    return True


def _prepare(connection: sqlite3.Connection, path: Path, kind: Kind) -> None:
    # What is deleted leaves no bytes in the file, and each commit is on the disk when it returns.
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute("PRAGMA synchronous = FULL")
    if _number(connection, "user_version") == 0:
        _make_tables(connection, path, kind)
    if _number(connection, "application_id") != kind.application_id:
        raise _unusable(path, kind, "it is something else")
    if _number(connection, "user_version") > kind.version:
        raise _unusable(path, kind, "a newer otel-feedback wrote it")
    # Last, since it changes the file, which may be somebody else's.
    _write_ahead(connection)
    connection.execute("PRAGMA journal_size_limit = 16777216")


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Let readers and a writer work at once. SQLite waits for no other process here: of several one is refused."""
    deadline = time.monotonic() + BUSY_SECONDS
    while not _writes_ahead(connection, in_time=time.monotonic() < deadline):
        time.sleep(0.01)


def _writes_ahead(connection: sqlite3.Connection, *, in_time: bool) -> bool:
    try:
        connection.execute("PRAGMA journal_mode = WAL")
    except sqlite3.OperationalError:
        if in_time:
            return False
        raise
    return True


def _make_tables(connection: sqlite3.Connection, path: Path, kind: Kind) -> None:
    connection.execute("BEGIN IMMEDIATE")
    if _number(connection, "user_version") == 0:  # else another process was faster
        if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            raise _unusable(path, kind, "it is something else")
        for statement in kind.schema:
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {kind.application_id}")
        connection.execute(f"PRAGMA user_version = {kind.version}")
    connection.execute("COMMIT")


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    number: int = connection.execute(f"PRAGMA {pragma}").fetchone()[0]
    return number


def _sync_folder(path: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _unusable(path: Path, kind: Kind, why: str) -> ConfigurationError:
    return ConfigurationError(f"The {kind.name} {path} can't be used ({why}). {kind.advice}")
