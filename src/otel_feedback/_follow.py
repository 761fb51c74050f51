"""Signals that a service finds by itself: it follows which question of a conversation comes after which answer.

On the host's path there are only a few look-ups and an entry in a queue. One daemon thread, started by the first answer
of a conversation, does the rest; at the end of the process nobody waits for it. Nothing here is locked, so a fork
leaves nothing locked: a child has a queue, a thread and tables of its own.
"""

import contextlib
import hashlib
import os
import queue
import secrets
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Final

from otel_feedback import _guard, _ledger, _likeness, _runtime, semconv
from otel_feedback._conversations import ABANDON, Conversations, Found, Key, Turn
from otel_feedback._facts import FactSheet, Question
from otel_feedback._handle import Handle
from otel_feedback._likeness import Features

MAX_EVENTS: Final = 1_000
"""Events that wait for the thread; what comes while it can't keep up is not followed."""

MAX_QUESTION: Final = 2_000
"""Characters of a question that is compared, which takes 4 ms; of a longer one it is only seen that it is the same."""

MAX_TEXT: Final = 200_000
"""Characters of a text that is looked at."""

BARE_QUESTION: Final = 500
"""Characters of one line that a user's message may have to be taken for the question and nothing else."""

_KEY: Final = secrets.token_hex(16)
"""Keeps digests of texts from being looked up elsewhere."""

Event = Callable[[], Found | None]

_recorders: Final[list[Callable[[Found], None]]] = []
"""Takes what was found: the module that records is above this one."""


class Follower:
    """Follows the conversations of one process, in a thread of its own.

    Args:
        clock: Seconds, from any start on.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.conversations = Conversations()
        self._clock = clock
        self._events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._threads: dict[str, threading.Thread] = {}

    def put(self, event: Event) -> None:
        """Leave an event for the thread; start it with the first one."""
        if self._events.qsize() >= MAX_EVENTS:
            return
        self._events.put(event)
        if not self._threads:
            thread = threading.Thread(target=self._run, name="otel-feedback-follow", daemon=True)
            # Of threads that come here at once, one is first by an atomic operation.
            if self._threads.setdefault("the one", thread) is thread:
                with contextlib.suppress(RuntimeError):  # the process is ending, or may have no more threads
                    thread.start()

    def settle(self, seconds: float) -> bool:
        """Wait until all events so far are through; say whether they were within this time."""
        thread = self._threads.get("the one")
        if thread is None or not thread.is_alive():
            return True
        done = threading.Event()
        self._events.put(done.set)
        return done.wait(seconds)

    def stop(self, seconds: float) -> None:
        """Let the thread end when all events so far are through: for tests."""
        thread = self._threads.get("the one")
        if thread is not None and thread.is_alive():
            self._events.put(None)
            thread.join(seconds)

    def _run(self) -> None:
        while True:
            due = self.conversations.next_time()
            try:
                event = self._events.get(timeout=None if due is None else max(0.0, due - self._clock()))
            except queue.Empty:
                event = _nothing
            if event is None:
                return
            with _guard.guard("follow"):
                self.handle(event)
            del event  # its answer is not kept while nothing comes

    def handle(self, event: Event) -> None:
        """Take one event in, and hand over what it and the time that has passed tell."""
        for each in self.conversations.pass_time(self._clock()):
            _report(each)
        found = event()
        if found is not None:
            _report(found)

    # --- Events ----------------------------------------------------------------------------------------------------

    def asked(self, sheet: FactSheet, conversation: tuple[str, str | None], question: Question | None) -> Found | None:
        """Take a conversation's next question."""
        text, framed = _text_of(question)
        turn = Turn(
            sheet.key,
            _stands_for(conversation),
            _question_of(text) if text else None,
            framed,
            sheet.stamp().name,
            sheet.request_key,
            partial(_handle_once_given, sheet),
        )
        found = self.conversations.ask(turn, self._clock())
        return found if found is not None and found.signal in _runtime.settings().derive else None

    def ended(self, sheet: FactSheet, *, answered: bool) -> None:
        """Note that an answer is complete, or that it failed."""
        settings = _runtime.settings()
        codec = _runtime.codec()
        handle = None
        if answered and sheet.is_interaction and codec is not None:
            handle = partial(_ledger.reference_to, sheet, codec.now())
        window = settings.abandon_seconds if ABANDON in settings.derive else 0.0
        self.conversations.end(sheet.key, handle, self._clock(), window)

    def left(self, sheet: FactSheet) -> Found | None:
        """Note that who read an answer has gone before its end."""
        handle = _ledger.reference_to(sheet) if sheet.is_interaction else None
        return self.conversations.leave(sheet.key, handle) if handle is not None else None

    def judged(self, key: Key, signal: str) -> None:
        """Note a feedback on an answer."""
        self.conversations.judge(key, signal)


_followers: Final[dict[int, Follower]] = {}
"""The one of this process, by its id: a forked child doesn't find its parent's."""


def _follower() -> Follower:
    mine = _followers.get(os.getpid())
    if mine is None:
        for other in list(_followers):
            _followers.pop(other, None)
        mine = _followers.setdefault(os.getpid(), Follower())
    return mine


def deliver_to(recorder: Callable[[Found], None]) -> None:
    """Have what is found recorded by this function from now on."""
    _recorders[:] = [recorder]


def _report(found: Found) -> None:
    for recorder in _recorders:
        recorder(found)


def _nothing() -> None:
    """Stand for an event where only time has passed."""


# --- What the host's path calls ------------------------------------------------------------------------------------


@_guard.guarded()
def asked(sheet: FactSheet, question: Question) -> None:
    """Say what the user asked; the first word on it holds.

    Args:
        sheet: Of the answer.
        question: The text, or how to find it: whoever knows it from elsewhere than ``interaction()`` marks it so.
    """
    if sheet.question is None and not sheet.followed and _runtime.settings().derive:
        sheet.question = question
        _consider(sheet)


@_guard.guarded()
def closed(sheet: FactSheet, *, answered: bool = True) -> None:
    """Say that an answer's span has ended.

    Args:
        sheet: Of the answer.
        answered: Whether the span tells of no error.
    """
    if not sheet.followed and sheet.began:
        _consider(sheet)
    sheet.question = None
    if sheet.followed:
        follower = _follower()
        # Of what a handle was given away for, people have seen the beginning.
        follower.put(partial(follower.ended, sheet, answered=answered or sheet.handed))


@_guard.guarded()
def left(sheet: FactSheet) -> None:
    """Say that who read an answer has gone before its end."""
    wanted = ABANDON in _runtime.settings().derive and not _is_unwatched(sheet)
    if wanted and sheet.is_interaction and _runtime.codec_at_hand() is not None:
        follower = _follower()
        follower.put(partial(follower.left, sheet))


@_guard.guarded()
def judged(key: Key, signal: str) -> None:
    """Say that a feedback on an answer was recorded."""
    follower = _followers.get(os.getpid())
    if follower is not None:
        follower.put(partial(follower.judged, key, signal))


def settle(seconds: float) -> bool:
    """Wait until what has happened so far is thought through; at once where no conversation was followed.

    Returns:
        Whether it was within this time.
    """
    follower = _followers.get(os.getpid())
    return follower is None or follower.settle(seconds)


def forget() -> None:
    """Think what has happened through, and forget every conversation: for tests."""
    follower = _followers.pop(os.getpid(), None)
    if follower is not None:
        follower.stop(5.0)


def _consider(sheet: FactSheet) -> None:
    """Follow an answer once it is known which conversation it belongs to."""
    conversation = sheet.by_caller.get(semconv.GEN_AI_CONVERSATION_ID) or sheet.general.get(
        semconv.GEN_AI_CONVERSATION_ID
    )
    if conversation is None or not sheet.is_interaction or not _runtime.settings().derive or not sheet.context.is_valid:
        return
    if _is_unwatched(sheet):
        return
    if sheet.question is None and sheet.open:
        return  # it may come to be known
    codec = _runtime.codec_at_hand()
    if codec is None or not codec.can_issue:
        return
    question, sheet.question, sheet.followed = sheet.question, None, True
    follower = _follower()
    follower.put(partial(follower.asked, sheet, (conversation, sheet.by_caller.get(semconv.USER_HASH)), question))


def _is_unwatched(sheet: FactSheet) -> bool:
    return (sheet.request or sheet).unwatched


# --- In the thread -------------------------------------------------------------------------------------------------


def _handle_once_given(sheet: FactSheet) -> Handle | None:
    """Refer to an answer that still runs: of one that nobody has seen the next question says nothing."""
    return _ledger.reference_to(sheet) if sheet.handed and sheet.is_interaction else None


def _stands_for(conversation: tuple[str, str | None]) -> bytes:
    """Return what tells conversations apart and shows neither: two people in one conversation follow nobody's."""
    name, user = conversation
    return _digest(f"{user or ''}\n{name}")


def _question_of(text: str) -> Features | bytes:
    if len(text) <= MAX_QUESTION:
        return _likeness.features(text)
    return _digest(" ".join(text.casefold().split()))


def _digest(text: str) -> bytes:
    return hashlib.blake2b((_KEY + text).encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _text_of(question: Question | None) -> tuple[str | None, bool]:
    """Return the text of a question, and whether a prompt's own words may be around it."""
    said = isinstance(question, str)
    text = question() if callable(question) else question
    if not isinstance(text, str) or len(text) > MAX_TEXT:
        return None, False
    text = text.strip()
    return text, not said and (len(text) > BARE_QUESTION or "\n" in text)
