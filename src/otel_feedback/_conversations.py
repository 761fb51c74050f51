"""What is kept of conversations to tell what their next question, or the lack of one, says of an answer.

Only the last question of each, as hashes without a text, for an hour. Pure: one thread uses it, and gives it the time.
"""

import dataclasses
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple

from otel_feedback import _likeness
from otel_feedback._handle import Handle
from otel_feedback._likeness import Features

Key = tuple[int, int]
"""(trace id, span id) of an interaction."""

REPHRASE: Final = "rephrase"
REGENERATE: Final = "regenerate"
ABANDON: Final = "abandon"

MAX_CONVERSATIONS: Final = 5_000
"""Conversations whose last question is kept; the one that went on least lately is forgotten first."""

MAX_AGE: Final = 3_600.0
"""Seconds after an answer for which the next question may be about it."""

MAX_PLACES: Final = 200
"""Routes or templates whose last questions tell how much of a prompt is the same for everybody."""

ASKED_AGAIN: Final = _likeness.ASKED_AGAIN
"""Likeness above which a question asks the same again."""

LEFT: Final = 0.7
"""Confidence of an answer whose reader went before its end: a lost connection looks the same."""


class Found(NamedTuple):
    """One signal that was found.

    Attributes:
        handle: What the handle of the answer says that it judges.
        signal: Name in the signal table.
        value: As that takes it.
        confidence: In [0, 1]; None for the table's.
    """

    handle: Handle
    signal: str
    value: float | bool
    confidence: float | None = None


@dataclasses.dataclass(slots=True, eq=False)
class Turn:
    """One question of a conversation and its answer.

    Attributes:
        key: The interaction.
        conversation: Stands for the conversation, and for who asks where that is known.
        question: What was asked; only a digest where it is too long to compare, and None where nothing tells.
        framed: Whether the question may be in the midst of a prompt's own words: then those must not pass for likeness.
        place: Where such prompts are made.
        request: The request that several answers may have in common.
        handle: Gives it once the answer can be judged, and None before.
        signals: What was recorded of it.
        ended: Seconds of the clock.
    """

    key: Key
    conversation: bytes
    question: Features | bytes | None = None
    framed: bool = False
    place: str = ""
    request: Key | None = None
    handle: Callable[[], Handle | None] = lambda: None
    signals: set[str] = dataclasses.field(default_factory=set)
    ended: float = 0.0


class Conversations:
    """The last turn of each conversation."""

    def __init__(self) -> None:
        self._last: OrderedDict[bytes, Turn] = OrderedDict()
        self._turns: dict[Key, Turn] = {}
        self._waiting: OrderedDict[Key, float] = OrderedDict()
        """Answers without a later sign, and when each counts as abandoned."""
        self._asked_at: OrderedDict[str, tuple[tuple[bytes, Features], ...]] = OrderedDict()
        """The last questions of two conversations, by place."""

    def ask(self, turn: Turn, now: float) -> Found | None:
        """Take the next question of a conversation, and say what it tells of the answer before."""
        before = self._last.pop(turn.conversation, None)
        if before is not None:
            self._forget(before)
        self._last[turn.conversation] = self._turns[turn.key] = turn
        turn.ended = now
        while len(self._last) > MAX_CONVERSATIONS:
            self._forget(self._last.popitem(last=False)[1])
        foreign = self._foreign(turn)
        if before is None or before.question is None or turn.question is None or now - before.ended > MAX_AGE:
            return None
        if turn.request is not None and turn.request == before.request:
            return None  # two answers to one question, side by side
        found = _compared(before.question, turn.question)
        if found is None or found[0] in before.signals:
            return None
        if found[0] == REPHRASE and turn.framed and _alike(foreign, turn.question):
            return None
        handle = before.handle()
        return Found(handle, *found) if handle is not None else None

    def end(self, key: Key, handle: Callable[[], Handle | None] | None, now: float, window: float) -> None:
        """Note that an answer is complete; without a handle, that it came to nothing.

        Args:
            key: The interaction.
            handle: Gives its handle.
            now: Seconds of the clock.
            window: Seconds after which it counts as abandoned; 0 = never.
        """
        turn = self._turns.get(key)
        if turn is None:
            return
        if handle is None:
            self._forget(turn)
            self._last.pop(turn.conversation, None)
            return
        turn.handle = handle
        turn.ended = now
        self._last.move_to_end(turn.conversation)
        if window and not turn.signals:
            self._waiting[key] = now + window

    def judge(self, key: Key, signal: str) -> None:
        """Note a sign: somebody, or something, judged an answer."""
        self._waiting.pop(key, None)
        turn = self._turns.get(key)
        if turn is not None:
            turn.signals.add(signal)

    def leave(self, key: Key, handle: Handle) -> Found | None:
        """Say what it tells that who read an answer has gone before its end."""
        turn = self._turns.get(key)
        if turn is not None and ABANDON in turn.signals:
            return None
        self.judge(key, ABANDON)
        return Found(handle, ABANDON, value=True, confidence=LEFT)

    def pass_time(self, now: float) -> list[Found]:
        """Forget what is too old, and say which answers were abandoned."""
        found = []
        while self._waiting:
            key, due = next(iter(self._waiting.items()))
            if due > now:
                break
            del self._waiting[key]
            turn = self._turns[key]
            handle = turn.handle()
            if handle is not None:
                turn.signals.add(ABANDON)
                found.append(Found(handle, ABANDON, value=True))
        while self._last:
            turn = next(iter(self._last.values()))
            if turn.ended + MAX_AGE > now or turn.key in self._waiting:
                break
            del self._last[turn.conversation]
            self._forget(turn)
        if not self._last:
            self._asked_at.clear()
        return found

    def next_time(self) -> float | None:
        """Return when ``pass_time`` has something to do; None where nothing is kept."""
        times = []
        if self._waiting:
            times.append(next(iter(self._waiting.values())))
        if self._last:
            oldest = next(iter(self._last.values()))
            times.append(max(oldest.ended + MAX_AGE, self._waiting.get(oldest.key, 0.0)))
        return min(times, default=None)

    def sizes(self) -> tuple[int, int, int, int]:
        """Return how many conversations, turns, waiting answers and places there are."""
        return len(self._last), len(self._turns), len(self._waiting), len(self._asked_at)

    def _forget(self, turn: Turn) -> None:
        self._turns.pop(turn.key, None)
        self._waiting.pop(turn.key, None)

    def _foreign(self, turn: Turn) -> Features | None:
        """Return what another conversation asked last at the same place, and remember this one's question."""
        if not turn.framed or turn.question is None or isinstance(turn.question, bytes):
            return None
        others = [each for each in self._asked_at.pop(turn.place, ()) if each[0] != turn.conversation]
        self._asked_at[turn.place] = ((turn.conversation, turn.question), *others[:1])
        if len(self._asked_at) > MAX_PLACES:
            self._asked_at.popitem(last=False)
        return others[0][1] if others else None


def _alike(foreign: Features | None, question: Features | bytes) -> bool:
    """Say whether even a stranger's question is like this one, for all that is known."""
    return foreign is None or isinstance(question, bytes) or _likeness.likeness(foreign, question) > ASKED_AGAIN


def _compared(before: Features | bytes, now: Features | bytes) -> tuple[str, float | bool, float | None] | None:
    if isinstance(before, bytes) or isinstance(now, bytes):
        return (REGENERATE, True, None) if before == now else None
    if _likeness.same(before, now):
        return REGENERATE, True, None
    value = _likeness.likeness(before, now)
    return (REPHRASE, value, _likeness.confidence(value)) if value > ASKED_AGAIN else None
