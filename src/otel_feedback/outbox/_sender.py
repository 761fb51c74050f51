"""The thread that empties an outbox: one per file and machine, for ever, whatever the receiver does."""

import contextlib
import math
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from otel_feedback._fork import renew_in_child
from otel_feedback._guard import failed, logger
from otel_feedback.exceptions import DeliveryError
from otel_feedback.outbox._batches import Batches, Queue
from otel_feedback.outbox._lock import SenderLock
from otel_feedback.outbox._transport import Fate, Outcome, Transport

FIRST_BACKOFF: Final = 0.5
LONGEST_BACKOFF: Final = 30.0
"""Seconds of the first pause after a failure, at most, and of any: each may be twice as long as the one before, and is
a random part of that."""

LONGEST_ASKED: Final = 600.0
"""Seconds for which a receiver that asks for it is left alone; no receiver can stop the sender for good."""

LOOK: Final = 1.0
"""Seconds between two looks at whether the sender of another process has gone."""

IDLE: Final = 0.25
"""Seconds for which the queue is waited for at once; as long may the end of an idle sender take."""

QUIET: Final = 60.0
"""Seconds within which no second trouble is logged."""

_OUTBOX: Final = Outcome(Fate.LATER, "the outbox's own file can't be read or written")


class _Turn(NamedTuple):
    moved: bool
    pause: float = 0.0


class Sender:
    """Sends what waits in a queue until it has arrived.

    ``start`` and ``stop`` are for a service, ``drain`` is for a command. In a forked child nothing runs until it
    starts its own.
    """

    def __init__(
        self,
        queue: Queue,
        transport: Transport,
        *,
        lock_path: Path,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] | None = None,
        chance: Callable[[], float] = random.random,
        courtesy: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """Prepare a sender; nothing is opened or started.

        Args:
            queue: What waits.
            transport: Takes it to its receiver.
            lock_path: File whose lock decides between the senders of several processes.
            clock: Seconds that never go back.
            sleep: Waits so many seconds; by default until the end of the sender, too.
            chance: A random number in [0, 1).
            courtesy: How many times as long as a batch took the next one waits, for what else this process has to do.
        """
        self._queue, self._transport, self._clock, self._chance = queue, transport, clock, chance
        self._courtesy = courtesy
        self._lock = SenderLock(lock_path)
        self._sleep = sleep
        self._renew()
        renew_in_child(self, _start_anew)

    def _renew(self) -> None:
        self._batches = Batches(self._queue, self._transport, clock=self._clock, ended=self._has_ended)
        self._guard = threading.Lock()
        self._stopping = threading.Event()
        self._deadline = math.inf
        self._thread: threading.Thread | None = None
        self._failures = 0
        self._resume_at = -math.inf
        self._told: str | None = None
        self._quiet_until = -math.inf

    @property
    def running(self) -> bool:
        """Whether this process's thread runs; it may still wait for that of another."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Let a thread send from now on; cheap where it runs already, and nothing after ``stop``."""
        if self.running or self._stopping.is_set():
            return
        with self._guard:
            if not self.running and not self._stopping.is_set():
                self._thread = threading.Thread(target=self._run, name="otel-feedback-sender", daemon=True)
                self._thread.start()

    def stop(self, seconds: float) -> None:
        """End within so many seconds, and send until then what can be sent; the rest waits for the next start."""
        with self._guard:
            self._deadline = self._clock() + seconds
            self._stopping.set()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(seconds + IDLE)

    def drain(self, timeout: float = math.inf, tell: Callable[[int], object] = lambda _: None) -> bool:
        """Send, in this thread, until nothing waits; where another sender is at work, watch it.

        Args:
            timeout: Seconds after which it ends all the same.
            tell: Is told how many wait, again and again.

        Returns:
            Whether nothing waits any more.

        Raises:
            DeliveryError: The queue can't be read or written.
        """
        deadline = self._clock() + timeout
        try:
            while True:
                depth = self._queue.counts().depth
                tell(depth)
                if not depth:
                    return True
                left = deadline - self._clock()
                if left <= 0:
                    return False
                turn = _Turn(moved=False, pause=IDLE) if self.running else self._turn()
                if turn.pause:
                    self._pause(min(turn.pause, left))
        finally:
            if not self.running:
                self._close()

    def _run(self) -> None:
        try:
            while True:
                began = self._clock()
                turn = self._try_turn()
                if self._stopping.is_set() and (not turn.moved or self._has_ended()):
                    return
                if turn.pause:
                    self._pause(turn.pause)
                elif turn.moved and (times := self._courtesy()):
                    self._pause(min(times * (self._clock() - began), LONGEST_BACKOFF))
                elif not turn.moved:
                    with contextlib.suppress(DeliveryError):
                        self._queue.wait(IDLE)
        finally:
            self._close()

    def _try_turn(self) -> _Turn:
        try:
            return self._turn()
        except (DeliveryError, OSError):
            return _Turn(moved=False, pause=self._back_off(_OUTBOX))
        except Exception as error:
            if not self._stopping.is_set():  # else the queue may have been closed under us
                failed("the outbox's sender", error)
            return _Turn(moved=False, pause=self._back_off(Outcome(Fate.LATER, type(error).__name__)))

    def _turn(self) -> _Turn:
        """Take one step if it is our turn, and say whether anything moved and how long to leave it then."""
        if not self._lock.acquire():
            return _Turn(moved=False, pause=LOOK)
        early = self._resume_at - self._clock()
        if early > 0 and not self._stopping.is_set():
            return _Turn(moved=False, pause=early)
        step = self._batches.step()
        if step.moved:
            self._failures = 0
        if step.trouble is not None:
            return _Turn(moved=bool(step.moved), pause=self._back_off(step.trouble))
        if step.moved:
            self._recover()
            return _Turn(moved=True)
        # A row that is due later must not keep those that come meanwhile waiting.
        return _Turn(moved=False, pause=min(step.wait or 0.0, IDLE))

    def _back_off(self, trouble: Outcome) -> float:
        self._failures += 1
        longest = min(LONGEST_BACKOFF, math.ldexp(FIRST_BACKOFF, min(self._failures - 1, 16)))
        pause = max(self._chance() * longest, min(trouble.wait, LONGEST_ASKED))
        self._resume_at = self._clock() + pause
        # One failure is nothing to tell: a connection that was closed while it was idle is one.
        if self._failures > 1 and trouble.why != self._told and self._clock() >= self._quiet_until:
            self._told, self._quiet_until = trouble.why, self._clock() + QUIET
            _log(
                "otel-feedback: feedback waits in the outbox, since it can't be delivered (%s). It is tried until it "
                "arrives. Check OTEL_EXPORTER_OTLP_ENDPOINT, and whether the Collector runs.",
                trouble.why,
            )
        return pause

    def _recover(self) -> None:
        self._resume_at = -math.inf
        if self._told is not None:
            self._told = None
            _log("otel-feedback: feedback is delivered again.")

    def _pause(self, seconds: float) -> None:
        (self._sleep or self._stopping.wait)(seconds)

    def _has_ended(self) -> bool:
        return self._stopping.is_set() and self._clock() >= self._deadline

    def _close(self) -> None:
        with contextlib.suppress(Exception):
            self._transport.close()
        self._lock.release()


def _log(message: str, *args: object) -> None:
    with contextlib.suppress(Exception):  # a host's filter or handler may raise
        logger.warning(message, *args)


def _start_anew(sender: Sender) -> None:
    """A forked child has neither its parent's thread nor its lock, and knows nothing of what it had under way."""
    sender._lock.release()  # noqa: SLF001 - this module's own class
    sender._renew()  # noqa: SLF001
