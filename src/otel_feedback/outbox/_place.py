"""Whether a file that is open is still the one at its path: what is written to one that was removed is lost."""

from pathlib import Path


class Place:
    """A file of SQLite's and the log beside it, as they were when they were opened.

    Nothing is opened to look: to close such a file would take the process's locks on it away.

    Attributes:
        file: Device and inode of the file.
        log: The same of its log.
    """

    def __init__(self, path: Path) -> None:
        """Look at a file that was opened just now.

        Raises:
            OSError: It has gone already.
        """
        self._path = path
        self._log_path = path.with_name(f"{path.name}-wal")
        self.file, self._size = _identity(path)
        self.log, _ = _identity(self._log_path)

    def is_same(self, other: "Place") -> bool:
        """Whether both are of one file and one log."""
        return (self.file, self.log) == (other.file, other.log)

    def trouble(self) -> str:
        """Say what happened to it since; nothing where it is as it was."""
        try:
            found, size = _identity(self._path)
            log, _ = _identity(self._log_path)
        except OSError:
            return "The outbox's file was removed while it was in use."
        if (found, log) != (self.file, self.log):
            return "The outbox's file was replaced while it was in use."
        if size < self._size:
            return "The outbox's file was cut while it was in use."
        self._size = size
        return ""


def _identity(path: Path) -> tuple[tuple[int, int], int]:
    found = path.stat()
    return (found.st_dev, found.st_ino), found.st_size
