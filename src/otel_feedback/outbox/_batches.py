"""Which rows go next, and what becomes of those that a receiver doesn't want.

Rows of one interaction go in the order in which they were accepted, whatever happens: while one of them waits for
another try, the later ones wait behind it. Rows of other interactions go on.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from opentelemetry.instrumentation.utils import suppress_instrumentation

from otel_feedback._guard import warn_once
from otel_feedback.outbox._rows import Counts, Row
from otel_feedback.outbox._spans import spans_of
from otel_feedback.outbox._transport import Fate, Outcome, Transport

MOST_ROWS: Final = 512
MOST_BYTES: Final = 1 << 20
"""Rows, and bytes of them as stored, in one batch: a receiver of OTLP takes 4 MiB over gRPC."""

MOST_TRIES: Final = 5
"""Rejections of a single row after which it is set aside."""

FIRST_HOLD: Final = 1.0
HOLD_FACTOR: Final = 4.0
"""Seconds until a row that was rejected once is tried again, and how many times longer it is after each further
rejection: 1, 4, 16 and 64 s, so that a receiver that is being set up anew has its time."""

OWN_TROUBLE: Final = 30.0
"""Seconds for which a row waits that fails although others arrive."""

MOST_HELD: Final = 64
"""Rows that may wait for another try. When so many do, nothing new is sent: a receiver that rejects everything sees
few rows, and few are set aside."""

MOST_PASSED: Final = 2_048
MOST_PASSED_BYTES: Final = 8 << 20
"""Rows, and bytes of them, that are read again to look behind them, since they wait for another try."""


class Queue(Protocol):
    """What waits, on disk. Everything may raise ``DeliveryError``: the file is broken, the disk is full."""

    def oldest(self, *, most: int, most_bytes: int) -> list[Row]:
        """Return the oldest rows in their order, at least one where any waits."""

    def delivered(self, numbers: Sequence[int]) -> None:
        """Forget rows that have arrived."""

    def rejected(self, number: int) -> int:
        """Note that a receiver rejected just this row, and return how often that has happened; 0 if it is gone."""

    def set_aside(self, number: int, why: str) -> None:
        """Take a row out of the queue, and keep it."""

    def wait(self, seconds: float) -> None:
        """Return when something new may wait, or the time has passed."""

    def counts(self) -> Counts:
        """Say how the queue stands."""

    def put_back(self) -> int:
        """Let everything that was set aside wait again, and return how many that are."""


@dataclass(frozen=True, slots=True)
class Step:
    """What one step came to.

    Attributes:
        moved: Rows that left the queue.
        trouble: What keeps the receiver from taking more, if anything does.
        wait: Seconds until a row is due that waits for another try; ``None`` where none does.
    """

    moved: int
    trouble: Outcome | None = None
    wait: float | None = None


class _Held(NamedTuple):
    due: float
    interaction: tuple[int, int]


class Batches:
    """Takes rows from the queue to a receiver, one batch at a time. For one thread."""

    def __init__(
        self,
        queue: Queue,
        transport: Transport,
        *,
        clock: Callable[[], float] = time.monotonic,
        ended: Callable[[], bool] = lambda: False,
    ) -> None:
        self._queue, self._transport, self._clock, self._ended = queue, transport, clock, ended
        self._most = MOST_ROWS
        self._held: dict[int, _Held] = {}
        self._suspect: Row | None = None
        self._blamed: int | None = None
        self._passed = self._passed_bytes = 0
        self._arrived: list[int] = []
        self._moved = 0

    @property
    def unsaved(self) -> bool:
        """Whether rows have arrived that the queue could not be told of yet."""
        return bool(self._arrived)

    def step(self) -> Step:
        """Send the next batch, whole or in parts.

        Raises:
            DeliveryError: The queue can't be read or written. What has arrived is not sent again by this object.
        """
        self._moved = 0
        self._save()
        rows = self._queue.oldest(most=MOST_ROWS + self._passed, most_bytes=MOST_BYTES + self._passed_bytes)
        batch = self._choose(rows)
        trouble = None
        if batch:
            for row in batch:
                self._held.pop(row.number, None)
            with suppress_instrumentation():
                trouble = self._send(batch)
            self._learn(batch, trouble)
        due = min((held.due for held in self._held.values()), default=None)
        return Step(self._moved, trouble, None if due is None else max(0.0, due - self._clock()))

    def _choose(self, rows: Sequence[Row]) -> list[Row]:
        """Return the rows to send now, in their order, all of which may go."""
        self._forget_gone(rows)
        batch = self._first(rows, self._suspect)
        return batch or (self._first(rows, None) if self._suspect else [])

    def _first(self, rows: Sequence[Row], suspect: Row | None) -> list[Row]:
        now = self._clock()
        behind = {_interaction(suspect)} if suspect else set()
        full = len(self._held) >= MOST_HELD
        batch: list[Row] = []
        size = passed = passed_bytes = 0
        for row in rows:
            interaction, held = _interaction(row), self._held.get(row.number)
            if interaction in behind or (held.due > now if held else full and not row.tries):
                behind.add(interaction)
                passed, passed_bytes = passed + 1, passed_bytes + row.size
            elif batch and (row.tries or len(batch) >= self._most or size + row.size > MOST_BYTES):
                break
            else:
                batch.append(row)
                size += row.size
                if row.tries:  # alone: together with others it would be searched for among them once more
                    break
        self._passed, self._passed_bytes = min(passed, MOST_PASSED), min(passed_bytes, MOST_PASSED_BYTES)
        return batch

    def _forget_gone(self, rows: Sequence[Row]) -> None:
        """Forget rows that another process took care of."""
        last = rows[-1].number if rows else 0
        there = {row.number for row in rows}
        self._held = {number: held for number, held in self._held.items() if number in there or number > last > 0}

    def _send(self, rows: Sequence[Row]) -> Outcome | None:
        """Send rows, in halves where the receiver rejects some of them; return what keeps it from taking them."""
        behind = {held.interaction for held in self._held.values()}
        rows = [row for row in rows if _interaction(row) not in behind]
        if not rows or self._ended() or len(self._held) >= MOST_HELD:
            return None
        outcome = self._transport.send(spans_of(rows))
        if outcome.fate is Fate.LATER:
            return outcome
        if outcome.fate is Fate.DELIVERED:
            self._arrived += [row.number for row in rows]
            self._moved += len(rows)
            self._save()
            return None
        if len(rows) == 1:
            self._rejected(rows[0], outcome.why)
            return None
        middle = len(rows) // 2
        return self._send(rows[:middle]) or self._send(rows[middle:])

    def _save(self) -> None:
        if self._arrived:
            self._queue.delivered(self._arrived)
            self._arrived = []

    def _rejected(self, row: Row, why: str) -> None:
        tries = self._queue.rejected(row.number)
        if tries >= MOST_TRIES:
            self._queue.set_aside(row.number, why)
            self._moved += 1
            warn_once(
                f"set-aside:{why}",
                "otel-feedback: feedback was set aside, since its receiver rejected it %d times (%s). It is kept: "
                "'otel-feedback outbox' shows how much, 'otel-feedback outbox drain --retry' sends it again.",
                tries,
                why,
            )
        elif tries:
            self._held[row.number] = _Held(self._clock() + FIRST_HOLD * HOLD_FACTOR ** (tries - 1), _interaction(row))

    def _learn(self, batch: Sequence[Row], trouble: Outcome | None) -> None:
        """Send less where a batch did not get through: it may have been too much, or one row of it the reason."""
        if trouble is not None:
            self._most = max(1, len(batch) // 2)
            # A row alone that fails may be the reason, so that another goes next; if that fails, it was not.
            self._suspect = batch[0] if len(batch) == 1 and self._suspect is None else None
            return
        self._most = min(MOST_ROWS, 2 * self._most)
        suspect, self._suspect = self._suspect, None
        if suspect is not None and suspect.number != batch[0].number:
            # The first time it may be that an outage ended just between the two.
            if suspect.number == self._blamed:
                self._held[suspect.number] = _Held(self._clock() + OWN_TROUBLE, _interaction(suspect))
            self._blamed = suspect.number


def _interaction(row: Row) -> tuple[int, int]:
    return row.carrier.trace_id, row.carrier.span_id
