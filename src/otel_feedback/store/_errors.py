"""DuckDB's errors as errors of the store, whose messages say what to do."""

import shlex
from typing import TYPE_CHECKING, Final

import duckdb

from otel_feedback._requirement import requirement
from otel_feedback.exceptions import StoreDamagedError, StoreError, StoreFullError, StoreHeldError, StoreNewerError

if TYPE_CHECKING:
    from pathlib import Path

_FULL: Final = ("no space left", "file too large", "disk quota")
_NEWER: Final = ("newer version of duckdb", "database file with version number", "storage version")
_DAMAGED: Final = (
    "not a valid duckdb",
    "corrupt",
    "could not read enough bytes",
    "replaying wal",
    "checksum",
    "deserialize",
)
_HELD: Final = ("could not set lock", "already attached", "handle conflict")


def translate(error: duckdb.Error, path: "Path") -> StoreError:
    """What a DuckDB error means for whoever uses the store.

    Args:
        error: As DuckDB raised it; its text stays as the cause, since it may quote data.
        path: The file or folder that it happened in.
    """
    text = str(error).lower()
    if any(words in text for words in _FULL):
        return StoreFullError(f"The disk of {path} is full. Nothing of this was stored. Make room, then send it again.")
    if any(words in text for words in _NEWER):
        return StoreNewerError(
            f"{path} was written by a newer DuckDB than {duckdb.__version__}. Nothing was changed. "
            f"Upgrade: pip install --upgrade {shlex.quote(requirement('server'))} "
            "(Python 3.11 or later has the newest DuckDB)."
        )
    if any(words in text for words in _HELD):
        return StoreHeldError(f"{path} is open in another process. End it, or give another folder with --data.")
    if any(words in text for words in _DAMAGED) or isinstance(error, duckdb.InternalException):
        return damaged(path, "is damaged and cannot be read")
    if isinstance(error, duckdb.OutOfMemoryException):
        return StoreError(f"The store of {path} needs more memory than it may use. Ask for less, or give it more.")
    return StoreError(f"The store of {path} could not do this: {type(error).__name__}.")


def damaged(path: "Path", what: str) -> StoreDamagedError:
    """A file that cannot be used, and what to do about it."""
    return StoreDamagedError(
        f"{path} {what}. Nothing was changed. Move it away and put the same file of a backup in its place, or start "
        "with an empty folder; then see otel-feedback db check."
    )


def is_broken(error: duckdb.Error) -> bool:
    """Whether the files must be opened anew, since DuckDB may not go on from this."""
    broken = (duckdb.FatalException, duckdb.InternalException, duckdb.IOException)
    return isinstance(error, broken) or "invalidated" in str(error).lower()


def is_of_data(error: duckdb.Error) -> bool:
    """Whether an error is about what was to be written, and not about where."""
    return isinstance(
        error, (duckdb.DataError, duckdb.IntegrityError, duckdb.NotSupportedError, duckdb.ProgrammingError)
    )
