"""Which of the processes that share an outbox sends: the one that holds a lock, which the kernel lets go with it."""

import contextlib
import fcntl
import os
from pathlib import Path


class SenderLock:
    """An exclusive lock on a file of its own; a forked child doesn't have its parent's."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """Take the lock, or say at once that another has it.

        Raises:
            OSError: The file can't be made.
        """
        if self._descriptor is not None:
            return True
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException as error:
            os.close(descriptor)
            if isinstance(error, BlockingIOError):
                return False
            raise
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Let go of the lock; in a forked child, of its share in the parent's, which keeps it."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            # Not LOCK_UN, which would take it from a parent: the lock goes with the last descriptor.
            with contextlib.suppress(OSError):
                os.close(descriptor)


def is_held(path: Path) -> bool:
    """Whether a process holds the lock now. Nothing is made by looking."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
