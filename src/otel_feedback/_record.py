"""``record()``: take a user's feedback in, from the service itself or from the capture endpoint.

A ``Recorder`` joins what the layers below know: the handle says about what, the signal table what it means, the vote
book what it changes, and the delivery takes the carrier that comes of it.
"""

import contextlib
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from otel_feedback import _follow, _ledger, _runtime, semconv
from otel_feedback._carrier import Delivery, SpanDelivery, build_carrier
from otel_feedback._conversations import Found
from otel_feedback._feedback import read_feedback
from otel_feedback._guard import failed, is_strict, warn_once
from otel_feedback._handle import Handle, HandleCodec
from otel_feedback._settings import Settings
from otel_feedback._signals import DEFAULT_SIGNALS, Correction, Signal, SignalTable
from otel_feedback._votes import Ballot, MemoryVoteBook, Transition, VoteBook, VoteKey
from otel_feedback.exceptions import ConfigurationError, InvalidFeedbackError, OtelFeedbackError, VoteConflictError

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
        kind: Of the signal.
        deliver: Makes the carrier and has it delivered; for the vote book to call.
    """

    ballot: Ballot
    kind: str
    deliver: Callable[[Transition], None]

    def receipt(self, transition: Transition) -> Receipt:
        """Say what became of it."""
        key = self.ballot.key
        _follow.judged((key.trace_id, key.span_id), key.signal)
        return Receipt(self.ballot.id, "repeated" if transition.repeated else "recorded")


_table: Final[list[SignalTable]] = [DEFAULT_SIGNALS]
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
            self._own_signals or _table[0],
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
        return Prepared(ballot, feedback.signal.kind, deliver)


def _read_nonce(value: object) -> str | None:
    if value is None or (isinstance(value, str) and _NONCE.fullmatch(value)):
        return value
    raise InvalidFeedbackError("nonce", "The nonce must have 16 to 128 printable ASCII characters and no space.")


_chosen: Final[list[Recorder]] = []
_made: Final[dict[HandleCodec, Recorder]] = {}
"""The recorder of this process's codec: made by one atomic operation, so that no lock can outlive a fork."""


def default_recorder() -> Recorder:
    """Return the recorder that this process shares, made on first use.

    Raises:
        ConfigurationError: No handle key can be used.
    """
    if _chosen:
        return _chosen[-1]
    codec = _runtime.codec()
    if codec is None:
        raise ConfigurationError(
            "Handles can't be checked, since no key can be used: set OTEL_FEEDBACK_HANDLE_KEYS. "
            "`otel-feedback key new` makes a key."
        )
    recorder = _made.get(codec)
    if recorder is None:
        for older in list(_made):
            _made.pop(older, None)
        recorder = _made.setdefault(codec, _make_recorder(codec, _runtime.settings()))
    return recorder


def _make_recorder(codec: HandleCodec, settings: Settings) -> Recorder:
    if settings.outbox is None:
        return Recorder(codec=codec, settings=settings)
    # Here, since few services need SQLite and the exporters.
    from otel_feedback.outbox._metrics import register_outbox_metrics
    from otel_feedback.outbox._posting import Posting

    outbox = Posting(settings.outbox, most_mib=settings.outbox_mib).outbox
    register_outbox_metrics(outbox)
    return Recorder(codec=codec, settings=settings, votes=outbox, delivery=outbox)


def replace_signals(*rows: Signal) -> SignalTable:
    """Put rows of your own into the signal table of this process, for ``record()`` and every capture endpoint.

    Args:
        rows: Each replaces the row of its name, or is new.

    Returns:
        The table that holds from now on.

    Raises:
        ConfigurationError: Two rows have one name.
    """
    _table[0] = _table[0].replacing(*rows)
    return _table[0]


def send_what_waits() -> None:
    """Export what the shared recorder has taken and not sent yet; for as long as the exporter tries."""
    _follow.settle(1.0)
    for recorder in list(_made.values()):
        if isinstance(recorder.delivery, SpanDelivery):
            recorder.delivery.flush()


@contextlib.contextmanager
def recorder_in_use(recorder: Recorder) -> Iterator[Recorder]:
    """Let ``record()`` and every capture endpoint without a recorder of its own use this one: for tests."""
    _chosen.append(recorder)
    try:
        yield recorder
    finally:
        _chosen.remove(recorder)


def record(
    handle: str | None,
    signal: str,
    value: Any,
    *,
    id: str | None = None,  # noqa: A002 - what it is called on every way in
    reasons: Sequence[str] = (),
    comment: str | None = None,
    correction: Correction | tuple[str, str] | None = None,
    confidence: float | None = None,
    user: str | None = None,
) -> Receipt:
    """Record what a user thinks of an answer, or change or take back what they said before.

    Never raises in a service: a rejected receipt says what is wrong, and the first of each kind is logged.

    Args:
        handle: The handle that the answer came with.
        signal: ``thumbs``, ``stars``, ``helpful``, ``copy``, ...: docs/signals.md has them all.
        value: What the signal takes, such as ``"up"`` or ``4``; ``None`` takes the feedback back, or leaves the word to
            the correction.
        id: Up to 128 printable ASCII characters: the same id is recorded once for one vote. A new one by default.
        reasons: Up to 10 codes of ``a-z 0-9 _ -``, such as ``outdated``; they become attributes of few values.
        comment: What the user wrote, up to 4,000 characters; recorded only where feedback text is captured.
        correction: What the system gave and what the user made of it, for ``text``, ``label`` and ``choice``; up to
            8,000 characters each, recorded only where feedback text is captured.
        confidence: In [0, 1]: how sure a derived signal is.
        user: Who judges; recorded as keyed pseudonym only, and not at all without a pseudonym key.

    Returns:
        The receipt, with the feedback's id.
    """
    if not _runtime.enabled():
        return Receipt(
            "", "rejected", "otel-feedback is off: OTEL_SDK_DISABLED says so, or a setting that its log names."
        )
    try:
        return default_recorder().submit(
            handle,
            signal,
            value,
            id=id,
            reasons=reasons,
            comment=comment,
            correction=correction,
            confidence=confidence,
            user=_pseudonym(user),
        )
    except OtelFeedbackError as error:
        return _rejected(id, error)
    except Exception as error:
        failed("record", error)
        return Receipt(_text(id), "rejected", "otel-feedback failed; its log says more.")


def _pseudonym(user: str | None) -> str | None:
    if user is None:
        return None
    if not isinstance(user, str) or not user:
        raise InvalidFeedbackError("user", "The user must be a text that is not empty.")
    return _runtime.pseudonym(user)


def _rejected(id: str | None, error: OtelFeedbackError) -> Receipt:  # noqa: A002 - as above
    if is_strict():
        raise error
    kind = f"{type(error).__name__}:{getattr(error, 'field', '')}"
    warn_once(f"rejected:{kind}", "otel-feedback: a feedback was rejected: %s", error)
    return Receipt(_text(id), "rejected", str(error))


def _text(id: object) -> str:  # noqa: A002 - as above
    return id if isinstance(id, str) else ""


def _record_found(found: Found) -> None:
    """Record a signal that this process found by itself; never as a person's word, whatever the table has become."""
    signal = _table[0].get(found.signal)
    if signal is None or signal.kind != semconv.IMPLICIT:
        return
    try:
        default_recorder().submit(
            found.handle,
            found.signal,
            found.value,
            id=f"derived-{found.signal}",
            confidence=found.confidence,
            source=semconv.SOURCE_DERIVED,
        )
    except VoteConflictError:
        return  # the page's widget has told the same, with its nonce
    except OtelFeedbackError as error:
        _rejected(None, error)


_follow.deliver_to(_record_found)
