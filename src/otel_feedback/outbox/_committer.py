"""Many small pieces of work, one transaction, one wait for the disk: group commit in a thread of its own."""

import asyncio
import contextlib
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Generic, Protocol, TypeVar

from otel_feedback._fork import renew_in_child, rest_while_forking
from otel_feedback._guard import warn_once
from otel_feedback.exceptions import DeliveryError, OtelFeedbackError

T = TypeVar("T")

MOST_WAITING: Final = 4_000
"""Pieces of work that may wait; more is refused, so that nobody waits for long and memory is bounded."""

MOST_AT_ONCE: Final = 500
"""Pieces of work in one transaction."""

IDLE_SECONDS: Final = 60.0
"""After which a thread without work ends; the next piece of work starts another."""

CROWD_SECONDS: Final = 0.2
"""For which a transaction tells how many come at once."""

FORK_SECONDS: Final = 2.0
"""For which a fork waits at most until a transaction has ended."""


class Session(Protocol):
    """What pieces of work find in a transaction. What they do is gathered there, and written at the end."""

    def prepare(self, hints: Sequence[Any]) -> None:
        """Read at once what pieces of work are going to need, by what they were given with."""

    def mark(self) -> int:
        """Return where it stands."""

    def back_to(self, mark: int) -> None:
        """Forget what came after a mark: a piece of work failed."""

    def write(self) -> None:
        """Write what was gathered."""

    def written(self) -> None:
        """Hear that it is on the disk."""


S = TypeVar("S", bound=Session)


class _Job(Generic[S]):
    """A piece of work, and who waits for it: a thread by an event, or a coroutine by a future of its loop."""

    __slots__ = ("done", "error", "future", "hint", "result", "work")

    def __init__(self, work: Callable[[S], Any], hint: object, future: "asyncio.Future[Any] | None" = None) -> None:
        self.work = work
        self.hint = hint
        self.future = future
        self.done = threading.Event() if future is None else None
        self.result: Any = None
        self.error: BaseException | None = None


class Committer(Generic[S]):
    """Runs pieces of work in transactions, several in each, and says so when it is on the disk."""

    def __init__(self, connect: Callable[[], sqlite3.Connection], begin: Callable[[sqlite3.Connection], S]) -> None:
        """Prepare one; nothing is opened, and no thread runs, before the first piece of work.

        Args:
            connect: Opens the file.
            begin: Makes the session of a transaction that has begun; may refuse it with a ``DeliveryError``.
        """
        self._connect = connect
        self._begin = begin
        self._connection: sqlite3.Connection | None = None
        self._closed = False
        self._refusal = ""
        self._thread: threading.Thread | None = None
        self._jobs: deque[_Job[S]] = deque()
        self._crowd = (0, 0.0)
        self._changed = threading.Condition()
        self._at_work = threading.Lock()
        self._rests = False
        rest_while_forking(self, _rest, _go_on)
        renew_in_child(self, _start_anew)

    @property
    def connected(self) -> bool:
        """Whether the file is open."""
        return self._connection is not None

    def run(self, work: Callable[[S], T], hint: object = None) -> T:
        """Run a piece of work and return its result when it is on the disk.

        What it gathers in its session must come last in it: then nothing is half-written when it raises.

        Raises:
            DeliveryError: It is not on the disk; nothing of it was written.
            Exception: What ``work`` raised; nothing of it was written.
        """
        job = _Job(work, hint)
        self._put(job)
        job.done.wait()  # type: ignore[union-attr]
        if job.error is not None:
            raise job.error
        result: T = job.result
        return result

    def soon(self, work: Callable[[S], T], hint: object = None) -> "asyncio.Future[T]":
        """The same for a coroutine to wait for; to be called where an event loop of asyncio runs."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._put(_Job(work, hint, future))
        return future

    def crowd(self) -> int:
        """Return how many pieces of work with a hint the latest transaction had; 0 where that was some time ago."""
        waited, at = self._crowd
        return waited if time.monotonic() - at < CROWD_SECONDS else 0

    def close(self) -> None:
        """End what is under way and close the file. Can be repeated; later work is refused."""
        with self._changed:
            self._closed, self._refusal = True, "The outbox has been closed."
            thread = self._thread
            self._changed.notify_all()
        if thread is not None:
            thread.join()

    def _put(self, job: _Job[S]) -> None:
        with self._changed:
            if self._refusal:
                raise DeliveryError(self._refusal)
            if len(self._jobs) >= MOST_WAITING:
                raise DeliveryError("Too much feedback waits to be written to the outbox.")
            if self._thread is None:
                self._thread = _started(self._work)
            self._jobs.append(job)
            if len(self._jobs) == 1:
                self._changed.notify()

    def _work(self) -> None:
        while jobs := self._take():
            self._commit(jobs)
            self._note_crowd(sum(job.hint is not None for job in jobs))
            _tell(jobs)

    def _note_crowd(self, size: int) -> None:
        if size:
            self._crowd = (size, time.monotonic())

    def _take(self) -> list[_Job[S]]:
        """Wait for work and return it; nothing where this thread is to end."""
        with self._changed:
            # Work may come just when the wait has ended, and before this thread has the lock again.
            while not self._jobs and not self._closed:
                if not self._changed.wait(IDLE_SECONDS) and not self._jobs:
                    break
            if self._jobs:
                return [self._jobs.popleft() for _ in range(min(len(self._jobs), MOST_AT_ONCE))]
            if not self._closed:  # else close() waits for this thread
                self._thread = None
        # Without the lock that callers take, since this waits for the disk.
        with self._at_work:
            self._clear_log()
            self._disconnect()
        return []

    def _commit(self, jobs: list[_Job[S]]) -> None:
        try:
            with self._at_work:
                session = self._transact(jobs)
        except Exception as error:
            for job in jobs:
                job.error = job.error or _refusal(error)
            return
        try:
            session.written()
        except Exception as error:
            # It is on the disk, whoever could not be told.
            warn_once("outbox-unheard", "otel-feedback: nobody hears of new feedback (%s).", type(error).__name__)

    def _transact(self, jobs: list[_Job[S]]) -> S:
        try:
            if self._connection is None:
                self._connection = self._connect()
            self._connection.execute("BEGIN IMMEDIATE")
            session = self._begin(self._connection)
            session.prepare([job.hint for job in jobs if job.hint is not None])
            for job in jobs:
                _do(job, session)
            session.write()
            self._connection.execute("COMMIT")
        except BaseException:
            # Whatever it was: a new connection finds out whether the file can be used again.
            self._disconnect()
            raise
        return session

    def _clear_log(self) -> None:
        """Let what was deleted leave the file's log, too, which others may have open."""
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()  # rolls back what was not committed


def _started(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, name="otel-feedback-outbox", daemon=True)
    try:
        thread.start()
    except RuntimeError as error:  # no more threads, or the interpreter ends
        raise DeliveryError("The outbox has no thread to write with.") from error
    return thread


def _do(job: _Job[S], session: S) -> None:
    mark = session.mark()
    try:
        job.result = job.work(session)
    except sqlite3.Error:
        raise
    except BaseException as error:
        job.error = error
        session.back_to(mark)


def _refusal(error: Exception) -> DeliveryError:
    if isinstance(error, OtelFeedbackError):
        return DeliveryError(str(error))
    refusal = DeliveryError(f"The outbox can't be written ({type(error).__name__}). Is its disk full, or gone?")
    refusal.__cause__ = error
    return refusal


def _tell(jobs: Iterable[_Job[S]]) -> None:
    by_loop: dict[asyncio.AbstractEventLoop, list[_Job[S]]] = {}
    for job in jobs:
        if job.done is not None:
            job.done.set()
        elif job.future is not None:
            by_loop.setdefault(job.future.get_loop(), []).append(job)
    for loop, ended in by_loop.items():
        with contextlib.suppress(RuntimeError):  # the loop has been closed: nobody waits any more
            loop.call_soon_threadsafe(_resolve, ended)


def _resolve(jobs: Iterable[_Job[S]]) -> None:
    for job in jobs:
        if job.future is None or job.future.done():  # it was cancelled
            continue
        if job.error is None:
            job.future.set_result(job.result)
        else:
            job.future.set_exception(job.error)


# SQLite keeps in the process's memory who has locked what. A child would inherit that of a transaction which never ends
# in it, so that no connection of its own could ever write; and it may not even close its parent's.
inherited: Final[list[sqlite3.Connection]] = []
"""Connections of a parent that did not come to rest in time: kept open, in a child that can't use the file."""


def _rest(committer: "Committer[Any]") -> None:
    """Before a fork the file is closed; it is opened again by the next piece of work."""
    committer._rests = committer._at_work.acquire(timeout=FORK_SECONDS)  # noqa: SLF001 - this module's own class
    if committer._rests:  # noqa: SLF001
        committer._disconnect()  # noqa: SLF001


def _go_on(committer: "Committer[Any]") -> None:
    if committer._rests:  # noqa: SLF001 - as above
        committer._at_work.release()  # noqa: SLF001


def _start_anew(committer: "Committer[Any]") -> None:
    """A forked child has neither the thread nor anybody who waits for it."""
    if committer._connection is not None:  # noqa: SLF001 - as above
        inherited.append(committer._connection)  # noqa: SLF001
    if not committer._rests:  # noqa: SLF001
        committer._refusal = "This process was forked while the outbox was being written. Start it by other means."  # noqa: SLF001
    committer._connection, committer._thread = None, None  # noqa: SLF001
    committer._jobs, committer._changed = deque(), threading.Condition()  # noqa: SLF001
    committer._at_work = threading.Lock()  # noqa: SLF001
