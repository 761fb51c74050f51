"""What somebody sends as feedback, checked and in one form, whichever way it came in. Pure.

Error messages say what is expected and never repeat what was sent.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from otel_feedback._limits import clean_text
from otel_feedback._signals import RETRACTION, Correction, Judgement, Signal, SignalTable
from otel_feedback.exceptions import InvalidFeedbackError
from otel_feedback.semconv import IMPLICIT

MAX_ID: Final = 128
"""Characters of an id."""

MAX_REASONS: Final = 10
"""Reason codes of one feedback."""

MAX_COMMENT: Final = 4_000
"""Characters of a comment."""

MAX_CORRECTION: Final = 8_000
"""Characters of either text of a correction. It bounds a carrier's size: see ``_export.MAX_BATCH``."""

_ID: Final = re.compile(rf"[!-~]{{1,{MAX_ID}}}")
_REASON: Final = re.compile(r"[a-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Feedback:
    """One feedback that can be understood.

    Attributes:
        id: Its id, unique within its vote.
        signal: Row of the signal table.
        judgement: What its value says.
        reasons: Codes, each once, in the order given.
        comment: Free text, not empty.
        correction: Of the signals that compare.
        confidence: In [0, 1]; the signal's own where the sender gave none. A retraction has only what was given.
    """

    id: str
    signal: Signal
    judgement: Judgement
    reasons: tuple[str, ...]
    comment: str | None
    correction: Correction | None
    confidence: float | None


def read_feedback(
    signals: SignalTable,
    signal: object,
    value: object,
    *,
    id: object,  # noqa: A002 - what it is called on every way in
    reasons: object,
    comment: object,
    correction: object,
    confidence: object,
    new_id: Callable[[], str],
) -> Feedback:
    """Check every part of a feedback.

    Args:
        signals: The table that knows the signals.
        signal: Name of the signal.
        value: As the signal takes it; ``None`` takes the feedback back.
        id: Up to 128 printable ASCII characters without spaces; ``None`` for a new one.
        reasons: Up to 10 codes of ``a-z 0-9 _ -``, 64 characters each.
        comment: Up to 4,000 characters; what is blank is no comment.
        correction: A ``Correction``, or original and corrected in a pair: up to 8,000 characters each.
        confidence: In [0, 1], of an implicit signal.
        new_id: Makes an id.

    Raises:
        InvalidFeedbackError: A part cannot be used; ``field`` names it.
    """
    row = signals.find(signal)
    pair = _read_correction(correction)
    judgement = signals.judge(row.name, value, pair)
    given = _read_confidence(row, confidence)
    return Feedback(
        id=new_id() if id is None else _read_id(id),
        signal=row,
        judgement=judgement,
        reasons=_read_reasons(reasons),
        comment=_read_comment(comment),
        correction=pair,
        confidence=row.confidence if given is None and judgement is not RETRACTION else given,
    )


def _read_id(value: object) -> str:
    if isinstance(value, str) and _ID.fullmatch(value):
        return value
    raise InvalidFeedbackError("id", f"The id must have 1 to {MAX_ID} printable ASCII characters and no space.")


def _read_reasons(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple | set | frozenset):
        raise InvalidFeedbackError("reasons", "The reasons must be a list of codes.")
    if len(value) > MAX_REASONS:
        raise InvalidFeedbackError("reasons", f"There may be at most {MAX_REASONS} reasons.")
    if not all(isinstance(each, str) and _REASON.fullmatch(each) for each in value):
        raise InvalidFeedbackError("reasons", "A reason is a code of up to 64 of a-z, 0-9, _ and -.")
    return tuple(dict.fromkeys(value))


def _read_text(field: str, name: str, value: object, most: int) -> str:
    if not isinstance(value, str):
        raise InvalidFeedbackError(field, f"{name} must be a text.")
    if len(value) > most:
        raise InvalidFeedbackError(field, f"{name} may have at most {most:,} characters.")
    return clean_text(value)


def _read_comment(value: object) -> str | None:
    if value is None:
        return None
    text = _read_text("comment", "The comment", value, MAX_COMMENT)
    return text if text.strip() else None


def _read_correction(value: object) -> Correction | None:
    if value is None:
        return None
    parts: tuple[Any, ...] = ()
    if isinstance(value, Correction):
        parts = (value.original, value.corrected)
    elif isinstance(value, tuple | list):
        parts = tuple(value)
    if len(parts) != 2:  # noqa: PLR2004 - a pair
        raise InvalidFeedbackError("correction", "The correction must be a pair: original and corrected.")
    original, corrected = parts
    return Correction(
        _read_text("correction", "The original", original, MAX_CORRECTION),
        _read_text("correction", "The corrected text", corrected, MAX_CORRECTION),
    )


def _read_confidence(row: Signal, value: object) -> float | None:
    if value is None:
        return None
    if row.kind != IMPLICIT:
        raise InvalidFeedbackError("confidence", "Only an implicit signal has a confidence.")
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1:
        return float(value)
    raise InvalidFeedbackError("confidence", "The confidence must be a number from 0 to 1.")
