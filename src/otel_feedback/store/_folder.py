"""The folder of a store: its names, its lock, its permissions and the room on its disk. No database here."""

import contextlib
import datetime as dt
import errno
import fcntl
import json
import os
import re
import shutil
from pathlib import Path
from typing import Final

from otel_feedback._files import MAIN_FILE, SERVER_FILE
from otel_feedback.exceptions import StoreError, StoreFullError, StoreHeldError

CONTENT_FOLDER: Final = "content"
LOCK_FILE: Final = "lock"
RESERVE_BYTES: Final = 64 * 2**20
"""Free space that is left alone: a database file that cannot end what it began is worse than a refusal."""

_WEEK: Final = re.compile(r"\d{4}-W\d{2}")
_SECOND: Final = 1_000_000_000


def week_of(received_ns: int) -> str:
    """The ISO week of a time, such as ``2026-W48``, in UTC."""
    day = dt.datetime.fromtimestamp(received_ns // _SECOND, dt.timezone.utc)
    year, week, _ = day.isocalendar()
    return f"{year:04}-W{week:02}"


class Folder:
    """A folder that this process holds, from its construction to :meth:`release`."""

    def __init__(self, path: Path) -> None:
        """Make the folder where it is missing, and hold it.

        Raises:
            StoreHeldError: Another process, or another store of this one, has it.
            StoreError: It cannot be made or written.
        """
        self.path = path
        self.main = path / MAIN_FILE
        self.content = path / CONTENT_FOLDER
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.content.mkdir(mode=0o700, exist_ok=True)
            self._lock = os.open(path / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _unusable(path, error) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(self._lock)
            os.close(self._lock)
            raise StoreHeldError(_held_words(path, holder)) from None
        try:
            os.ftruncate(self._lock, 0)
            os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            os.close(self._lock)
            raise _unusable(path, error) from error

    def release(self) -> None:
        """Let the folder go. Harmless when repeated."""
        if self._lock >= 0:
            with contextlib.suppress(OSError):
                os.ftruncate(self._lock, 0)
            os.close(self._lock)
            self._lock = -1

    def weeks(self) -> list[str]:
        """The weeks that have a content file, oldest first."""
        return sorted(file.stem for file in self.content.glob("*.duckdb") if _WEEK.fullmatch(file.stem))

    def content_file(self, week: str) -> Path:
        """Where the content of a week is."""
        return self.content / f"{week}.duckdb"

    def room(self) -> int:
        """Free bytes on the folder's disk."""
        return shutil.disk_usage(self.path).free

    def demand_room(self, size: int) -> None:
        """Refuse what would fill the disk.

        Raises:
            StoreFullError: ``size`` bytes more would leave less than the reserve.
        """
        room = self.room()
        if room < size + RESERVE_BYTES:
            raise StoreFullError(
                f"The disk of {self.path} has {room // 2**20} MiB free, and {RESERVE_BYTES // 2**20} MiB of it are "
                "kept in reserve. Nothing of this was stored. Make room, then send it again."
            )


def close_to_others(file: Path) -> None:
    """Take a file's permissions from everybody but its owner."""
    with contextlib.suppress(FileNotFoundError):
        file.chmod(0o600)


def sync(path: Path) -> None:
    """Put a file, or the names in a folder, onto the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unusable(path: Path, error: OSError) -> StoreError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreFullError(f"The disk of {path} is full. Make room, then try again.")
    return StoreError(
        f"The data folder {path} cannot be used: {error.strerror or 'the system refuses it'}. "
        "Give a folder that you may write to: --data DIR or OTEL_FEEDBACK_DATA."
    )


def _holder(lock: int) -> int | None:
    with contextlib.suppress(OSError, ValueError):
        return int(os.pread(lock, 32, 0))
    return None


def _held_words(path: Path, holder: int | None) -> str:
    url = _server_url(path)
    if holder == os.getpid():
        return f"The data folder {path} is open in this process already. Close that store first."
    who = f"process {holder}" if holder else "another process"
    at = f", which answers at {url}. Talk to it with --url {url}, or end it" if url else ". End it"
    return f"The data folder {path} is held by {who}{at}, or give another folder with --data."


def _server_url(path: Path) -> str | None:
    try:
        told = json.loads((path / SERVER_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    url = told.get("url") if isinstance(told, dict) else None
    return url if isinstance(url, str) else None
