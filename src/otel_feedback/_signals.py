"""The signal table: what each gesture of a user means, one row each. The only place that knows signals.

A row says which values a signal takes and what each says: sentiment, score in [0, 1], label and weight.
``docs/signals.md`` shows the table; ``SignalTable.replacing`` lets an application put in rows of its own.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from otel_feedback.exceptions import ConfigurationError, InvalidFeedbackError
from otel_feedback.semconv import (
    CODE,
    CORRECTION,
    EXPLICIT,
    HUMAN,
    IMPLICIT,
    KINDS,
    NEGATIVE,
    NEUTRAL,
    POSITIVE,
    RETRACTED,
    SENTIMENTS,
)

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")


@dataclass(frozen=True, slots=True)
class Correction:
    """What the system gave and what the user made of it: texts, labels or choices."""

    original: str
    corrected: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a value says.

    Attributes:
        sentiment: One of ``semconv.SENTIMENTS``.
        score: In [0, 1], higher is better; ``None`` only where the feedback is taken back.
        label: The value in words, of few different ones per signal.
    """

    sentiment: str
    score: float | None
    label: str

    def __post_init__(self) -> None:
        if self.sentiment not in SENTIMENTS:
            raise ConfigurationError(f"A judgement's sentiment is one of {', '.join(SENTIMENTS)}.")
        if (self.score is None) != (self.sentiment == RETRACTED):
            raise ConfigurationError("A judgement has a score, unless it is a retraction.")
        if self.score is not None and not 0.0 <= self.score <= 1.0:
            raise ConfigurationError("A judgement's score lies in [0, 1].")


RETRACTION: Final = Judgement(RETRACTED, None, RETRACTED)
"""What ``null`` says, whatever the signal: forget what I said."""


class Rule(Protocol):
    """How a row reads its values. A pure function; an application may write its own."""

    @property
    def accepts(self) -> str:
        """The values that the rule takes, for error messages and the documentation."""

    def judge(self, value: object, correction: Correction | None) -> Judgement:
        """Judge a value.

        Raises:
            InvalidFeedbackError: It is none of the values that the rule accepts.
        """


@dataclass(frozen=True, slots=True)
class OneOf:
    """A choice among a few words."""

    answers: Mapping[str, Judgement]

    @property
    def accepts(self) -> str:
        """The words, quoted."""
        return " or ".join(f'"{word}"' for word in self.answers)

    def judge(self, value: object, correction: Correction | None) -> Judgement:
        """Look the word up; its case matters."""
        _refuse_correction(correction)
        if not isinstance(value, str) or value not in self.answers:
            raise InvalidFeedbackError("value", f"The value must be {self.accepts}.")
        return self.answers[value]


@dataclass(frozen=True, slots=True)
class Scale:
    """Whole numbers from ``low`` to ``high``; the score is (value - low) / (high - low)."""

    low: int
    high: int
    negative_to: int
    positive_from: int

    @property
    def accepts(self) -> str:
        """The range."""
        return f"a whole number from {self.low} to {self.high}"

    def judge(self, value: object, correction: Correction | None) -> Judgement:
        """Compare with the two thresholds. Neither ``True`` nor 4.0 is a whole number here."""
        _refuse_correction(correction)
        if not isinstance(value, int) or isinstance(value, bool) or not self.low <= value <= self.high:
            raise InvalidFeedbackError("value", f"The value must be {self.accepts}.")
        sentiment = NEUTRAL
        if value <= self.negative_to:
            sentiment = NEGATIVE
        elif value >= self.positive_from:
            sentiment = POSITIVE
        return Judgement(sentiment, (value - self.low) / (self.high - self.low), str(int(value)))


@dataclass(frozen=True, slots=True)
class Band:
    """One stretch of a share: up to and including ``up_to``, from where the band before it ends."""

    up_to: float
    sentiment: str
    label: str


@dataclass(frozen=True, slots=True)
class Share:
    """A number from 0 to 1, judged by the band that it falls into.

    Attributes:
        bands: In ascending order; the last goes up to 1.
        falling: The score is 1 - value, not the value.
        above_zero: 0 is refused, since it would say that nothing happened.
        true_is_all: ``True`` is taken for 1, for senders that only know that it happened.
    """

    bands: tuple[Band, ...]
    falling: bool = False
    above_zero: bool = False
    true_is_all: bool = False

    @property
    def accepts(self) -> str:
        """The range, and ``true`` where it is taken."""
        number = "a number above 0, up to 1" if self.above_zero else "a number from 0 to 1"
        return f"{number}, or true" if self.true_is_all else number

    def judge(self, value: object, correction: Correction | None) -> Judgement:
        """Find the band."""
        _refuse_correction(correction)
        share = self._read(value)
        band = next(band for band in self.bands if share <= band.up_to)
        return Judgement(band.sentiment, 1.0 - share if self.falling else share, band.label)

    def _read(self, value: object) -> float:
        if value is True and self.true_is_all:
            return 1.0
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            # Compared before it is converted: a huge int has no float. NaN fails both comparisons.
            above = value > 0 if self.above_zero else value >= 0
            if above and value <= 1:
                return abs(float(value))  # -0.0 is 0
        raise InvalidFeedbackError("value", f"The value must be {self.accepts}.")


@dataclass(frozen=True, slots=True)
class Happened:
    """Something that happened or didn't: the only value is ``True``."""

    judgement: Judgement

    @property
    def accepts(self) -> str:
        """Just ``true``."""
        return "true"

    def judge(self, value: object, correction: Correction | None) -> Judgement:
        """Say what it means that it happened."""
        _refuse_correction(correction)
        if value is not True:
            raise InvalidFeedbackError("value", f"The value must be {self.accepts}.")
        return self.judgement


@dataclass(frozen=True, slots=True)
class Compared:
    """A correction: what the user made of the system's proposal, compared with it."""

    same: Judgement
    different: Judgement

    @property
    def accepts(self) -> str:
        """A correction, and no value."""
        return "a correction (original, corrected) and no value"

    def judge(self, value: object, correction: Correction | None) -> Judgement:
        """Compare the two texts, character by character."""
        if value is not None:
            raise InvalidFeedbackError("value", "This signal takes a correction and no value.")
        if correction is None:
            raise InvalidFeedbackError("correction", "This signal needs a correction: original, corrected.")
        return self.same if correction.original == correction.corrected else self.different


@dataclass(frozen=True, slots=True)
class Signal:
    """One row of the table.

    Attributes:
        name: Lower case, a value of ``feedback.signal`` and so of a metric's label.
        kind: One of ``semconv.KINDS``.
        rule: What its values say.
        weight: In [0, 1]: how much it says beside a person's explicit word, for analyses that mix signals.
            It never enters satisfaction.
        confidence: In [0, 1], of an implicit signal: how sure it is that the user did what it says, where the sender
            doesn't tell. None where nothing is said.
    """

    name: str
    kind: str
    rule: Rule
    weight: float = 1.0
    confidence: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise ConfigurationError("A signal's name has up to 64 of a-z, 0-9 and _, and starts with a letter.")
        if self.kind not in KINDS:
            raise ConfigurationError(f"Signal {self.name}: the kind is one of {', '.join(KINDS)}.")
        if not (math.isfinite(self.weight) and 0.0 <= self.weight <= 1.0):
            raise ConfigurationError(f"Signal {self.name}: the weight lies in [0, 1].")
        if self.confidence is not None:
            if self.kind != IMPLICIT:
                raise ConfigurationError(f"Signal {self.name}: only an implicit signal has a confidence.")
            if not (math.isfinite(self.confidence) and 0.0 <= self.confidence <= 1.0):
                raise ConfigurationError(f"Signal {self.name}: the confidence lies in [0, 1].")

    @property
    def explicit(self) -> bool:
        """Whether it is a person's explicit word, which satisfaction counts."""
        return self.kind == EXPLICIT

    @property
    def annotator_kind(self) -> str:
        """``CODE`` where software derived the judgement from what the user did, else ``HUMAN``."""
        return CODE if self.kind == IMPLICIT else HUMAN


class SignalTable(Mapping[str, Signal]):
    """Signals by name. Immutable."""

    def __init__(self, rows: Iterable[Signal]) -> None:
        """Build a table.

        Raises:
            ConfigurationError: Two rows have one name.
        """
        self._rows: dict[str, Signal] = {}
        for row in rows:
            if row.name in self._rows:
                raise ConfigurationError(f"Two signals are named {row.name}.")
            self._rows[row.name] = row

    def __getitem__(self, name: str) -> Signal:
        return self._rows[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def replacing(self, *rows: Signal) -> "SignalTable":
        """Return a table with these rows in place of those of the same name, or added."""
        return SignalTable({**self._rows, **{row.name: row for row in rows}}.values())

    def find(self, name: object) -> Signal:
        """Return the row of a name that somebody sent.

        Raises:
            InvalidFeedbackError: No row has this name.
        """
        if isinstance(name, str) and name in self._rows:
            return self._rows[name]
        raise InvalidFeedbackError("signal", f"The signal must be one of {', '.join(self._rows)}.")

    def judge(self, name: object, value: object, correction: Correction | None = None) -> Judgement:
        """Say what a value of a signal means.

        Args:
            name: Name of the signal.
            value: As the signal's rule takes it; ``None``, without a correction, takes the feedback back.
            correction: For signals that compare.

        Raises:
            InvalidFeedbackError: The signal is unknown, or the value is none of its values.
        """
        signal = self.find(name)
        if value is None and correction is None:
            return RETRACTION
        return signal.rule.judge(value, correction)


def _refuse_correction(correction: Correction | None) -> None:
    if correction is not None:
        raise InvalidFeedbackError("correction", "This signal takes a value and no correction.")


def _good(label: str) -> Judgement:
    return Judgement(POSITIVE, 1.0, label)


def _bad(label: str) -> Judgement:
    return Judgement(NEGATIVE, 0.0, label)


_COPY: Final = Share((Band(1.0, POSITIVE, "copied"),), above_zero=True, true_is_all=True)
_EDIT: Final = Share(
    (Band(0.2, POSITIVE, "kept"), Band(0.5, NEUTRAL, "edited"), Band(1.0, NEGATIVE, "rewritten")),
    falling=True,
)
# Two questions in a row are always a little alike: only from the middle on is it the same one again.
_REPHRASE: Final = Share((Band(0.5, NEUTRAL, "moved on"), Band(1.0, NEGATIVE, "asked again")), falling=True)

DEFAULT_SIGNALS: Final = SignalTable(
    (
        Signal("thumbs", EXPLICIT, OneOf({"up": _good("up"), "down": _bad("down")})),
        Signal("stars", EXPLICIT, Scale(1, 5, negative_to=2, positive_from=4)),
        Signal("helpful", EXPLICIT, OneOf({"yes": _good("yes"), "no": _bad("no")})),
        Signal("copy", IMPLICIT, _COPY, weight=0.3, confidence=0.9),
        Signal("edit", IMPLICIT, _EDIT, weight=0.5, confidence=0.8),
        Signal("rephrase", IMPLICIT, _REPHRASE, weight=0.4, confidence=0.5),
        Signal("regenerate", IMPLICIT, Happened(_bad("regenerated")), weight=0.4, confidence=0.9),
        Signal("abandon", IMPLICIT, Happened(_bad("abandoned")), weight=0.2, confidence=0.3),
        Signal("accept", IMPLICIT, Happened(_good("accepted")), weight=0.5, confidence=0.9),
        Signal("text", CORRECTION, Compared(same=_good("kept"), different=_bad("corrected"))),
        Signal("label", CORRECTION, Compared(same=_good("right"), different=_bad("wrong"))),
        Signal("choice", CORRECTION, Compared(same=_good("taken"), different=_bad("overruled"))),
    )
)
"""The signals of every installation that replaces none."""
