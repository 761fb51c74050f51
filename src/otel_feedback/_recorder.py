"""Take one feedback in: the handle says about what, the signal table what it means, the vote book what it changes.

A ``Recorder`` joins these, and the delivery that takes the carrier that comes of it.
"""

import re
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from otel_feedback import _follow, _ledger, semconv
from otel_feedback._carrier import Delivery, SpanDelivery, build_carrier
from otel_feedback._feedback import read_feedback
from otel_feedback._guard import warn_once
from otel_feedback._handle import Handle, HandleCodec
from otel_feedback._settings import Settings
from otel_feedback._signals import DEFAULT_SIGNALS, SignalTable
from otel_feedback._votes import Ballot, MemoryVoteBook, Transition, VoteBook, VoteKey
from otel_feedback.exceptions import InvalidFeedbackError

Facts = Callable[[int, int], Mapping[str, str] | None]

_NONCE: Final = re.compile(r"[!-~]{16,128}")


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a feedback.

    Attributes:
        id: Its id, for a later change of mind to be told from a repetition; empty where it was rejected without one.
        status: ``recorded``; ``repeated`` where this id was recorded before; ``rejected``.
        problem: What is wrong with a rejected one, in a sentence.
    """

    id: str
    status: Literal["recorded", "repeated", "rejected"]
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """A feedback that was understood, and has not been recorded yet.

    Attributes:
        ballot: What the vote book needs.
        deliver: Makes the carrier and has it delivered; for the vote book to call.
    """

    ballot: Ballot
    deliver: Callable[[Transition], None]

    def receipt(self, transition: Transition) -> Receipt:
        """Say what became of it."""
        key = self.ballot.key
        _follow.judged((key.trace_id, key.span_id), key.signal)
        return Receipt(self.ballot.id, "repeated" if transition.repeated else "recorded")


signals_in_use: Final[list[SignalTable]] = [DEFAULT_SIGNALS]
"""The one signal table of this process."""


class Recorder:
    """Makes carriers of feedback."""

    def __init__(
        self,
        *,
        codec: HandleCodec,
        settings: Settings,
        votes: VoteBook | None = None,
        delivery: Delivery | None = None,
        signals: SignalTable | None = None,
        known_facts: Facts = _ledger.finished_facts,
        new_id: Callable[[], str] = lambda: secrets.token_hex(16),
        clock: Callable[[], int] = time.time_ns,
        text_switch: str = "OTEL_FEEDBACK_CAPTURE_TEXT=true records such texts.",
    ) -> None:
        """Put a recorder together.

        Args:
            codec: Checks handles.
            settings: Whether text is captured, and for how long carriers join the interaction's trace.
            votes: Remembers votes; by default in memory.
            delivery: Takes carriers; by default they are sent as the environment says.
            signals: The signal table; by default the process's, see ``replace_signals``.
            known_facts: Finds what this process knows of an interaction by trace and span id.
            new_id: Makes ids of feedback.
            clock: Nanoseconds since 1970.
            text_switch: The sentence that says how texts are recorded, for the log where one is dropped.
        """
        self.delivery: Delivery = SpanDelivery() if delivery is None else delivery
        self._codec = codec
        self._settings = settings
        self.votes: VoteBook = MemoryVoteBook() if votes is None else votes
        self._own_signals = signals
        self._known_facts = known_facts
        self._new_id = new_id
        self._clock = clock
        self._text_switch = text_switch

    def submit(
        self,
        handle: object,
        signal: object,
        value: object,
        *,
        id: object = None,  # noqa: A002 - what it is called on every way in
        reasons: object = (),
        comment: object = None,
        correction: object = None,
        confidence: object = None,
        nonce: object = None,
        user: str | None = None,
        source: str = semconv.SOURCE_RECORD,
        time: int | None = None,
    ) -> Receipt:
        """Record one feedback, or change or take back an earlier one. Nothing is half-recorded.

        Raises:
            VoteConflictError: The vote was given with another nonce.
            TooManyChangesError: The vote was changed too often.
            DeliveryError: It could not be made safe, and can be sent again.
            OtelFeedbackError: As ``prepare``, whose arguments these are.
        """
        prepared = self.prepare(
            handle,
            signal,
            value,
            id=id,
            reasons=reasons,
            comment=comment,
            correction=correction,
            confidence=confidence,
            nonce=nonce,
            user=user,
            source=source,
            time=time,
        )
        return prepared.receipt(self.votes.cast(prepared.ballot, prepared.deliver))

    def prepare(
        self,
        handle: object,
        signal: object,
        value: object,
        *,
        id: object = None,  # noqa: A002 - as above
        reasons: object = (),
        comment: object = None,
        correction: object = None,
        confidence: object = None,
        nonce: object = None,
        user: str | None = None,
        source: str = semconv.SOURCE_RECORD,
        time: int | None = None,
    ) -> Prepared:
        """Check a feedback in every part, and find out all but what it does to its vote.

        Args:
            handle: Of the interaction; or what one says, where this process knows it by itself.
            signal: As ``record``.
            value: As ``record``.
            id: As ``record``.
            reasons: As ``record``.
            comment: As ``record``.
            correction: As ``record``.
            confidence: As ``record``.
            nonce: Secret of the browser that sends it, 16 to 128 printable ASCII characters without spaces: a vote
                that was first given with one is changed only with the same one.
            user: Pseudonym of who judges; by default whom a sealed handle names.
            source: One of the sources in ``semconv``.
            time: When it came, in nanoseconds since 1970; by default now.

        Raises:
            InvalidHandleError: The handle is not accepted.
            InvalidFeedbackError: Some part cannot be understood.
        """
        target = handle if isinstance(handle, Handle) else self._codec.read(handle)
        feedback = read_feedback(
            self._own_signals or signals_in_use[0],
            signal,
            value,
            id=id,
            reasons=reasons,
            comment=comment,
            correction=correction,
            confidence=confidence,
            new_id=self._new_id,
        )
        if not self._settings.capture_text and (feedback.comment is not None or feedback.correction is not None):
            warn_once(
                "text-dropped",
                f"otel-feedback: a user wrote a comment or a correction, which is not recorded. {self._text_switch}",
            )
        submitter = target.user if user is None else user
        # What was learned after the handle left is what the interaction span says in the end.
        facts = {**target.facts, **(self._known_facts(target.trace_id, target.span_id) or {})}
        time_ns = self._clock() if time is None else time

        def deliver(transition: Transition) -> None:
            self.delivery.submit(
                build_carrier(
                    feedback,
                    transition,
                    target,
                    facts=facts,
                    submitter=submitter,
                    source=source,
                    time_ns=time_ns,
                    settings=self._settings,
                )
            )

        ballot = Ballot(
            VoteKey(target.trace_id, target.span_id, feedback.signal.name, submitter),
            id=feedback.id,
            sentiment=feedback.judgement.sentiment,
            explicit=feedback.signal.explicit,
            nonce=_read_nonce(nonce),
            expires_at=target.expires_at,
        )
        return Prepared(ballot, deliver)


def _read_nonce(value: object) -> str | None:
    if value is None or (isinstance(value, str) and _NONCE.fullmatch(value)):
        return value
    raise InvalidFeedbackError("nonce", "The nonce must have 16 to 128 printable ASCII characters and no space.")
