"""``record()``: take a user's feedback in from the service itself, by the recorder that the process shares."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, Final

from otel_feedback import _follow, _recorder, _runtime, semconv
from otel_feedback._carrier import SpanDelivery
from otel_feedback._conversations import Found
from otel_feedback._guard import failed, is_strict, warn_once
from otel_feedback._handle import HandleCodec
from otel_feedback._recorder import Receipt, Recorder
from otel_feedback._settings import Settings
from otel_feedback._signals import Correction, Signal, SignalTable
from otel_feedback.exceptions import ConfigurationError, InvalidFeedbackError, OtelFeedbackError, VoteConflictError

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
    _recorder.signals_in_use[0] = _recorder.signals_in_use[0].replacing(*rows)
    return _recorder.signals_in_use[0]


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
    signal = _recorder.signals_in_use[0].get(found.signal)
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
