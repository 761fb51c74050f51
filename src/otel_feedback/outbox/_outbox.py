"""An outbox: the vote book and the queue of carriers in one file, written in one transaction."""

import contextlib
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from opentelemetry.sdk.resources import Resource

from otel_feedback._carrier import Carrier, host_resource
from otel_feedback._fork import renew_in_child, rest_while_forking
from otel_feedback._guard import warn_once
from otel_feedback._votes import Ballot, Transition, VoteKey
from otel_feedback.exceptions import DeliveryError, OtelFeedbackError
from otel_feedback.outbox import _queue
from otel_feedback.outbox._book import Book, prune
from otel_feedback.outbox._committer import FORK_SECONDS, Committer, inherited
from otel_feedback.outbox._database import check_database, open_database
from otel_feedback.outbox._place import Place
from otel_feedback.outbox._rows import Counts, Row, pack, pack_resource

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")

RESERVE_BYTES: Final = 64 * 2**20
"""Room on the disk that is left alone: what waits must still be marked as delivered."""

CROWD: Final = 8
"""Feedback in one transaction from which on this process has more to take in than it can."""

POLL_SECONDS: Final = 0.25
"""How often a sender looks whether another process has put something in."""

REPLACED: Final = (
    "the outbox's file was removed or replaced while it was in use. What was still to be sent from it is lost, and "
    "what votes were before is forgotten."
)

_SECOND: Final = 1_000_000_000


class Outbox:
    """Keeps feedback until it is delivered, and remembers votes: both a ``VoteBook`` and a ``Delivery``.

    Several processes may share one file. What ``cast`` or ``submit`` accepted is on the disk. Nothing is opened
    before the first use, and a forked child opens its own.
    """

    def __init__(
        self,
        path: Path,
        *,
        most_bytes: int = 2**30,
        resource: Resource | None = None,
        clock: Callable[[], int] = time.time_ns,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """Prepare an outbox.

        Args:
            path: Its file; made where it is missing.
            most_bytes: Bytes of feedback that may wait; more is refused.
            resource: Who sends it; by default the global tracer provider's, else the environment's.
            clock: Nanoseconds since 1970.
            on_change: Called, by whichever thread, when something was put in.
        """
        self.path = path
        self._most_bytes = most_bytes
        self._resource = resource
        self._clock = clock
        self._on_change = on_change
        self._pruned_at = 0
        self._resource_text: str | None = None
        self._committer = Committer(self._connect, self._begin)
        self._session: tuple[_Session, int] | None = None
        self._reader: sqlite3.Connection | None = None
        self._place: Place | None = None
        self._era = self._writes_in = self._reads_in = 0
        self._damaged = False
        self._reading = threading.Lock()
        self._news = threading.Event()
        self._version = -1
        self._rests = False
        rest_while_forking(self, _rest, _go_on)
        renew_in_child(self, _start_anew)

    @property
    def lock_path(self) -> Path:
        """The file whose lock says which process sends."""
        return self.path.with_name(f"{self.path.name}.sender")

    def open(self, *, whole: bool = False) -> None:
        """Open the file now, and not with the first feedback.

        Args:
            whole: Read all of it, to find damage that would show much later.

        Raises:
            ConfigurationError: It can't be opened, it is something else, or it is damaged.
        """
        with contextlib.closing(open_database(self.path)) as connection:
            if whole:
                check_database(connection, self.path)

    def cast(self, ballot: Ballot, deliver: Callable[[Transition], None]) -> Transition:
        """See ``VoteBook.cast``; it returns when vote and carrier are on the disk.

        ``deliver`` runs in the outbox's own thread, and is to submit to this outbox.
        """
        return self._committer.run(lambda session: session.cast(ballot, deliver), ballot.key)

    def cast_soon(self, ballot: Ballot, deliver: Callable[[Transition], None]) -> "asyncio.Future[Transition]":
        """The same for a coroutine to wait for, where an event loop of asyncio runs."""
        return self._committer.soon(lambda session: session.cast(ballot, deliver), ballot.key)

    def submit(self, carrier: Carrier) -> None:
        """See ``Delivery.submit``: within ``cast`` it is written with the vote, else before this returns."""
        session, thread = self._session or (None, None)
        if session is not None and thread == threading.get_ident():
            session.put(carrier)
        else:
            self._committer.run(lambda own: own.put(carrier))

    def oldest(self, *, most: int, most_bytes: int) -> list[Row]:
        """Return the oldest rows: at least one where any waits, else at most so many, and so many bytes.

        Raises:
            DeliveryError: The file can't be read.
        """
        return self._read(lambda reader: _queue.oldest(reader, most=most, most_bytes=most_bytes))

    def counts(self) -> Counts:
        """Say how the queue stands.

        Raises:
            DeliveryError: The file can't be read.
        """
        return self._read(_queue.counts)

    def delivered(self, numbers: Sequence[int]) -> None:
        """Take out what was delivered.

        Raises:
            DeliveryError: The file can't be written.
        """
        self._committer.run(lambda session: _queue.remove(session.connection, numbers))

    def rejected(self, number: int) -> int:
        """Note that a receiver rejected just this one, and return how often that has happened.

        Raises:
            DeliveryError: The file can't be written.
        """
        return self._committer.run(lambda session: _queue.count_rejection(session.connection, number))

    def set_aside(self, number: int, why: str) -> None:
        """Take one out of the way, and keep it.

        Raises:
            DeliveryError: The file can't be written.
        """
        self._committer.run(lambda session: _queue.set_aside(session.connection, number, why))

    def put_back(self) -> int:
        """Let what was set aside wait again, and return how many that were.

        Raises:
            DeliveryError: The file can't be written.
        """
        return self._committer.run(lambda session: _queue.put_back(session.connection))

    def courtesy(self) -> float:
        """Return how many times as long as a batch took its sender should pause, for feedback that comes in now.

        Python runs one thread at a time, and what is on the disk can wait: 0 while nothing comes in.
        """
        crowd = self._committer.crowd()
        return 4.0 if crowd >= CROWD else 2.0 * (crowd > 0)

    def wait(self, seconds: float) -> None:
        """Return when something may be new, or the time has passed."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if self._news.wait(min(left, POLL_SECONDS)) or self._changed_elsewhere():
                break
        self._news.clear()

    def close(self) -> None:
        """End what is under way and close the file. Can be repeated; later feedback is refused."""
        self._committer.close()
        self._news.set()
        with self._reading:
            self._forget_reader()

    def _connect(self) -> sqlite3.Connection:
        connection = self._open(beside=self._reader is not None)
        self._writes_in = self._era
        return connection

    def _open(self, *, beside: bool) -> sqlite3.Connection:
        """Open the file; where it isn't the one that another connection has open, that one is to follow."""
        connection = open_database(self.path)
        try:
            depth, _ = _queue.size(connection)  # from now on there is the log, too
            place = Place(self.path)
        except BaseException:
            connection.close()
            raise
        if self._place is None or not self._place.is_same(place):
            if self._place is not None and beside:
                self._era += 1
                warn_once("outbox-replaced", "otel-feedback: %s", REPLACED)
            self._place = place
        elif not depth:
            self._place = place  # it may have been made smaller, as VACUUM does; nothing in it can have been lost
        return connection

    def _begin(self, connection: sqlite3.Connection) -> "_Session":
        if self._writes_in != self._era:
            raise sqlite3.OperationalError(REPLACED)  # so that it is opened anew
        now = self._clock() // _SECOND
        if now != self._pruned_at:
            self._pruned_at = now
            prune(connection, now)
        return _Session(self, connection)

    @contextlib.contextmanager
    def _within(self, session: "_Session") -> Iterator[None]:
        """Let what this thread submits be part of a transaction."""
        self._session = session, threading.get_ident()
        try:
            yield
        finally:
            self._session = None

    def _why_not(self, depth: int, waiting: int) -> str:
        """Say why nothing may be put in where so many wait, of so many bytes; nothing where it may."""
        trouble = self._place.trouble() if self._place else ""
        if trouble and not depth:
            raise sqlite3.OperationalError(trouble)  # so that a new file begins: this one has nothing that must be sent
        if trouble or self._damaged:
            return trouble or "The outbox's file is damaged."
        if waiting >= self._most_bytes:
            return "The outbox is full of feedback that could not be sent. Is the Collector there?"
        try:
            free = shutil.disk_usage(self.path.parent).free
        except OSError:
            return "The folder of the outbox has gone."
        return "The disk of the outbox is full." if free < RESERVE_BYTES else ""

    def _resource_attributes(self) -> str:
        if self._resource_text is None:
            self._resource_text = pack_resource((self._resource or host_resource()).attributes)
        return self._resource_text

    def _tell(self) -> None:
        self._news.set()
        self._on_change()

    def _read(self, question: Callable[[sqlite3.Connection], T]) -> T:
        with self._reading:
            try:
                if self._reads_in != self._era:
                    self._forget_reader()
                if self._reader is None:
                    self._reader = self._open(beside=self._committer.connected)
                    self._reads_in = self._era
                answer = question(self._reader)
            except (sqlite3.Error, OtelFeedbackError, ValueError, OSError) as error:
                self._forget_reader()
                # Neither busy nor full: what is there can't be understood.
                self._damaged = sqlite3.DatabaseError in (type(error), type(error.__cause__))
                raise DeliveryError(f"The outbox can't be read ({type(error).__name__}).") from error
            self._damaged = False
            return answer

    def _forget_reader(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()

    def _changed_elsewhere(self) -> bool:
        try:
            version = self._read(_queue.version)
        except DeliveryError:
            return False
        changed, self._version = version != self._version, version
        return changed


class _Session:
    """One transaction's work: votes and rows are gathered, and written at its end."""

    def __init__(self, outbox: Outbox, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self._outbox = outbox
        self._book = Book(connection)
        self._rows: list[str] = []
        self._refusal: str | None = None

    def prepare(self, hints: Sequence[VoteKey]) -> None:
        self._book.fetch(hints)

    def cast(self, ballot: Ballot, deliver: Callable[[Transition], None]) -> Transition:
        state, transition = self._book.look_up(ballot)
        if not transition.repeated:
            with self._outbox._within(self):  # noqa: SLF001 - this module's own class
                deliver(transition)
            self._book.note(ballot, state)
        return transition

    def put(self, carrier: Carrier) -> None:
        if self._refusal is None:
            self._refusal = self._outbox._why_not(*_queue.size(self.connection))  # noqa: SLF001 - as above
        if self._refusal:
            raise DeliveryError(self._refusal)
        self._rows.append(pack(carrier))

    def mark(self) -> int:
        return len(self._rows)

    def back_to(self, mark: int) -> None:
        del self._rows[mark:]

    def write(self) -> None:
        if self._rows:
            resource = _queue.resource_number(self.connection, self._outbox._resource_attributes())  # noqa: SLF001
            now = self._outbox._clock()  # noqa: SLF001 - as above
            _queue.append(self.connection, self._rows, accepted_ns=now, resource=resource)
        self._book.write()

    def written(self) -> None:
        if self._rows:
            self._outbox._tell()  # noqa: SLF001 - as above


def _rest(outbox: Outbox) -> None:
    """Before a fork the file is closed, as the committer closes it: a child can't use what its parent has open."""
    outbox._rests = outbox._reading.acquire(timeout=FORK_SECONDS)  # noqa: SLF001 - this module's own class
    if outbox._rests:  # noqa: SLF001
        outbox._forget_reader()  # noqa: SLF001


def _go_on(outbox: Outbox) -> None:
    if outbox._rests:  # noqa: SLF001 - as above
        outbox._reading.release()  # noqa: SLF001


def _start_anew(outbox: Outbox) -> None:
    """A forked child has no part in its parent's connection, and a lock that nobody may let go of."""
    if outbox._reader is not None:  # noqa: SLF001 - as above
        inherited.append(outbox._reader)  # noqa: SLF001
    outbox._reader, outbox._session = None, None  # noqa: SLF001
    outbox._reading, outbox._news = threading.Lock(), threading.Event()  # noqa: SLF001
