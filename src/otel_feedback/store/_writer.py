"""The one thread that writes: takes all that waits, commits it as one, and tells who waited."""

import logging
import threading
import time
from collections import deque
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar, cast

import duckdb

from otel_feedback.exceptions import StoreBusyError, StoreError
from otel_feedback.store._admin import vacuum
from otel_feedback.store._commit import Change, Committer
from otel_feedback.store._errors import is_broken, is_of_data, translate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from otel_feedback.intake.rows import Batch
    from otel_feedback.store._databases import Databases
    from otel_feedback.store._folder import Folder

QUEUE_BYTES: Final = 128 * 2**20
"""Most bytes of requests, decompressed, that wait; one batch is always taken."""

QUEUE_BATCHES: Final = 4_096
"""Most batches that wait."""

GROUP_SPANS: Final = 8_192
"""Spans after which a commit takes no further batch: who waits behind must not wait long."""

GROUP_BYTES: Final = 12 * 2**20
"""Bytes of requests that wait for no more to come: as many spans, where they are of the usual size."""

COMPANY_SECONDS: Final = 0.1
"""How long what waits is held back for what is said to be coming: a commit costs as much as some 300 spans beside what
it costs a span, so that many small ones are dear."""

_LOOK_SHARE: Final = 10
"""Looking for judged answers takes at most this fraction of the time while others wait: one in ten."""

_ROW_BYTES: Final = 512
"""What a row takes of a disk at most, in the log and in the file; texts come on top and are bounded."""

Result = TypeVar("Result")

_log: Final = logging.getLogger(__name__)


class Queued(NamedTuple):
    """How much waits."""

    batches: int
    bytes: int


class _Waiting(NamedTuple):
    batch: "Batch"
    size: int
    done: "Future[None]"


class _Task(NamedTuple):
    run: "Callable[[], object]"
    done: "Future[object]"


class Writer:
    """Owns the writing connection from its construction to :meth:`close`."""

    def __init__(self, folder: "Folder", databases: "Databases") -> None:
        self._folder = folder
        self._databases = databases
        self._committer = Committer(databases)
        self._lock = threading.Condition()
        self._waiting: deque[_Waiting] = deque()
        self._tasks: deque[_Task] = deque()
        self._bytes = 0
        self._coming = 0
        self._closing = False
        self._broken = False
        self._stale = True
        self._look_after = 0.0
        self._subscribers: list[Callable[[Change], None]] = []
        self._thread = threading.Thread(target=self._run, name="otel-feedback-store", daemon=True)
        self._thread.start()

    @contextmanager
    def coming(self) -> "Iterator[None]":
        """Say that a batch will be submitted inside, so that others which wait are written together with it."""
        with self._lock:
            self._coming += 1
        try:
            yield
        finally:
            with self._lock:
                self._coming -= 1
                if not self._coming:
                    self._lock.notify_all()

    def submit(self, batch: "Batch") -> "Future[None]":
        """Queue a batch; what it gives ends when the batch is durable.

        Raises:
            StoreBusyError: Too much waits already.
            StoreError: The store is closed.
        """
        done: Future[None] = Future()
        done.set_running_or_notify_cancel()  # who waits for it may give up: what was taken is written all the same
        waiting = _Waiting(batch, max(batch.size, len(batch.chunk or b"")), done)
        with self._lock:
            if self._closing:
                raise StoreError("The store is closed.")
            if self._waiting and (self._bytes + waiting.size > QUEUE_BYTES or len(self._waiting) >= QUEUE_BATCHES):
                raise StoreBusyError("Too much waits to be written. Nothing of this was taken; send it again soon.")
            self._waiting.append(waiting)
            self._bytes += waiting.size
            self._lock.notify_all()
        return waiting.done

    def run(self, task: "Callable[[], Result]") -> "Result":
        """Do something in the writer's place, between two commits, and wait for it."""
        done: Future[object] = Future()
        with self._lock:
            if self._closing:
                raise StoreError("The store is closed.")
            self._tasks.append(_Task(task, done))
            self._lock.notify_all()
        return cast("Result", done.result())

    def queued(self) -> Queued:
        """How much waits to be written."""
        with self._lock:
            return Queued(len(self._waiting), self._bytes)

    def subscribe(self, callback: "Callable[[Change], None]") -> "Callable[[], None]":
        """Call back after every commit that brought something, in this thread: be quick.

        Returns:
            Ends it.
        """
        with self._lock:
            self._subscribers = [*self._subscribers, callback]

        def end() -> None:
            with self._lock:
                self._subscribers = [one for one in self._subscribers if one is not callback]

        return end

    def settle(self) -> None:
        """Wait until all that was submitted so far is written, and every judged answer has been looked for."""
        self.run(self._look_for_all)

    def vacuum(self, progress: "Callable[[int, int], None]") -> dict[str, int]:
        """Write all files anew; for :meth:`run`."""
        with self._mended():
            return vacuum(self._folder, self._databases, progress)

    def close(self, patience: float) -> None:
        """Write what waits, then end the thread.

        Args:
            patience: Seconds; what could not be written until then is refused.
        """
        with self._lock:
            self._closing = True
            self._lock.notify_all()
        self._thread.join(patience)
        with self._lock:
            for one in self._waiting:
                one.done.set_exception(StoreError("The store was closed before this could be written."))
            self._waiting.clear()
        self._thread.join()

    def _run(self) -> None:
        with suppress(Exception), self._mended():
            pass  # here and not in the constructor: a large store opens at once
        while True:
            with self._lock:
                while not (self._waiting or self._tasks or self._closing or self._committer.pending):
                    self._lock.wait()
                if self._waiting and self._coming:
                    self._lock.wait_for(self._has_company, timeout=COMPANY_SECONDS)
                group = self._take()
                task = self._tasks.popleft() if self._tasks and not group else None
                ending = self._closing and not group and not task
            if ending:
                return
            try:
                if group:
                    self._write(group)
                if task:
                    _perform(task)
                self._look_if_due(idle=not group)
            except BaseException as error:  # without this thread everybody would wait for ever
                _log.error("The store's writer failed: %s", type(error).__name__)
                for one in group:
                    if not one.done.done():
                        one.done.set_exception(StoreError("This could not be stored. Send it again."))

    def _has_company(self) -> bool:
        """Whether nothing more is coming that what waits could be written with, or enough waits."""
        return not self._coming or self._closing or bool(self._tasks) or self._bytes >= GROUP_BYTES

    def _take(self) -> list[_Waiting]:
        group: list[_Waiting] = []
        spans = 0
        while self._waiting and spans < GROUP_SPANS:
            group.append(self._waiting.popleft())
            self._bytes -= group[-1].size
            spans += group[-1].batch.spans
        return group

    def _write(self, group: "Sequence[_Waiting]") -> None:
        try:
            change = self._commit([one.batch for one in group])
        except StoreError as error:
            for one in group:
                one.done.set_exception(error)
        except Exception as error:
            if len(group) > 1:  # one of them can't be written: the others must not suffer
                for one in group:
                    self._write([one])
                return
            name = type(error).__name__  # and no more: its text may quote what people wrote
            _log.error("A batch could not be stored: %s", name)
            group[0].done.set_exception(StoreError(f"This could not be stored: {name}. Nothing of it was taken."))
        else:
            for one in group:
                one.done.set_result(None)
            self._tell(change)

    def _commit(self, batches: "Sequence[Batch]") -> Change:
        self._folder.demand_room(sum(len(batch.chunk or b"") + _ROW_BYTES * _rows(batch) for batch in batches))
        with self._mended():
            return self._committer.commit(batches)

    @contextmanager
    def _mended(self) -> "Iterator[None]":
        """Leave what was remembered and the files as they must be, whatever goes wrong inside."""
        try:
            self._refresh()
            yield
        except duckdb.Error as error:
            self._mend(broken=is_broken(error))
            if is_of_data(error):
                raise
            raise translate(error, self._folder.path) from error
        except BaseException:
            self._mend(broken=False)
            raise

    def _mend(self, *, broken: bool) -> None:
        self._broken, self._stale = self._broken or broken, True
        with suppress(duckdb.Error, StoreError):  # else the next commit tries again
            self._refresh()

    def _refresh(self) -> None:
        if self._broken:
            self._databases.reopen()
            self._broken = False
        if self._stale:
            self._committer.recall()
            self._stale = False

    def _tell(self, change: Change) -> None:
        for callback in self._subscribers:
            _call(callback, change)

    def _look_if_due(self, *, idle: bool) -> None:
        if not self._committer.pending or not (idle or time.monotonic() >= self._look_after):
            return
        began = time.monotonic()
        try:
            self._look()
        except Exception as error:
            self._committer.pending.clear()  # they are looked for again after the next start
            _log.error("Judged answers could not be looked for: %s", type(error).__name__)
        self._look_after = time.monotonic() + (time.monotonic() - began) * _LOOK_SHARE

    def _look(self) -> None:
        with self._mended():
            self._committer.look()

    def _look_for_all(self) -> None:
        while self._committer.pending:
            self._look()


def _call(callback: "Callable[[Change], None]", change: Change) -> None:
    try:
        callback(change)
    except Exception as error:
        _log.error("Who listens to the store failed: %s", type(error).__name__)


def _rows(batch: "Batch") -> int:
    return len(batch.traces) + len(batch.interactions) + len(batch.feedback) + len(batch.texts)


def _perform(task: _Task) -> None:
    try:
        task.done.set_result(task.run())
    except BaseException as error:
        task.done.set_exception(error)
