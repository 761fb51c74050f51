"""What happens in the store, to whoever listens: server-sent events, bounded for each listener."""

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime, timezone
from typing import Any, Final

from otel_feedback.intake import FeedbackRow
from otel_feedback.store import Change, Store

HEARTBEAT_SECONDS: Final = 15.0
"""After which a listener hears something, whatever happens."""

MOST_LISTENERS: Final = 200
MOST_VOTES: Final = 1_000
"""Votes that wait for one listener: one that is slower loses its connection, and comes again."""

_BILLION: Final = 1_000_000_000


class TooManyError(Exception):
    """There are as many listeners as there may be."""


class Listener:
    """One who listens; of the event loop's thread only."""

    def __init__(self, *, votes: bool) -> None:
        self.wants_votes = votes
        self.votes: deque[str] = deque()
        self.feedback = 0
        self.interactions = 0
        self.awake = asyncio.Event()
        self.ended = False

    def take(self, change: Change, votes: list[str]) -> None:
        """Take a change in; changes that weren't told yet become one."""
        if self.ended:
            return
        self.feedback += len(change.feedback)
        self.interactions += change.interactions
        if self.wants_votes:
            self.votes.extend(votes)
            if len(self.votes) > MOST_VOTES:
                self.votes.clear()
                self.ended = True
        self.awake.set()

    def tell(self) -> str:
        """Return the events that wait, and forget them."""
        votes = "".join(f"event: vote\ndata: {vote}\n\n" for vote in self.votes)
        counts = {"feedback": self.feedback, "interactions": self.interactions}
        change = f"event: change\ndata: {json.dumps(counts)}\n\n" if any(counts.values()) else ""
        self.votes.clear()
        self.feedback = self.interactions = 0
        self.awake.clear()
        return votes + change


class Live:
    """All who listen to a store, from its construction to :meth:`close`; of one event loop."""

    def __init__(self, store: Store, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._listeners: set[Listener] = set()
        self._closed = False
        self._unsubscribe: Callable[[], None] = store.subscribe(self._on_change)

    def close(self) -> None:
        """End every stream."""
        self._closed = True
        self._unsubscribe()
        for listener in self._listeners:
            listener.ended = True
            listener.awake.set()

    @contextlib.contextmanager
    def listening(self, *, votes: bool) -> Iterator[AsyncIterator[str]]:
        """Have a place among the listeners as long as the block lasts; gives the events, beginning with a comment.

        The place is taken before anything is sent: hundreds who come at once are counted before the first hears.

        Args:
            votes: Whether each vote is told too.

        Raises:
            TooManyError: There are too many listeners.
        """
        if self._closed or len(self._listeners) >= MOST_LISTENERS:
            raise TooManyError
        listener = Listener(votes=votes)
        self._listeners.add(listener)
        try:
            yield _events(listener)
        finally:
            self._listeners.discard(listener)

    def _on_change(self, change: Change) -> None:
        """Called in the store's thread."""
        if self._listeners and (change.feedback or change.interactions):
            self._loop.call_soon_threadsafe(self._publish, change)

    def _publish(self, change: Change) -> None:
        wanted = any(listener.wants_votes for listener in self._listeners)
        votes = [json.dumps(vote_of(row)) for row in change.feedback] if wanted else []
        for listener in self._listeners:
            listener.take(change, votes)


async def _events(listener: Listener) -> AsyncIterator[str]:
    yield ": listening\n\n"
    while not listener.ended:
        try:
            await asyncio.wait_for(listener.awake.wait(), HEARTBEAT_SECONDS)
        except asyncio.TimeoutError:
            yield ": still here\n\n"
            continue
        yield listener.tell()


def vote_of(row: FeedbackRow) -> dict[str, Any]:
    """Return what is told of a vote."""
    at = datetime.fromtimestamp(row.at_ns // _BILLION, timezone.utc).replace(microsecond=row.at_ns % _BILLION // 1000)
    return {
        "id": f"{row.trace_id}-{row.span_id}",
        "at": at.isoformat().replace("+00:00", "Z"),
        "signal": row.signal,
        "sentiment": row.sentiment,
        "previous_sentiment": row.previous_sentiment,
        "label": row.label,
        "template": row.prompt_name,
        "version": row.prompt_version,
        "model": row.model,
        "service": row.service,
    }
