"""The signal table: every rule as ``docs/signals.md`` states it, and nothing else is accepted."""

import json
import math
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_feedback import _recorder, interaction, record, semconv, signals
from otel_feedback._signals import (
    DEFAULT_SIGNALS,
    RETRACTION,
    Band,
    Correction,
    Happened,
    Judgement,
    Scale,
    Share,
    Signal,
    SignalTable,
)
from otel_feedback.exceptions import ConfigurationError, InvalidFeedbackError
from otel_feedback.testing import telemetry

DOCUMENT = Path(__file__).parents[2] / "docs" / "signals.md"


def rows(columns: int, heading: str) -> list[list[str]]:
    """The rows of the one table of the document that starts with this heading."""
    text = DOCUMENT.read_text(encoding="utf-8").split(heading, 1)[1]
    found = []
    for line in text.splitlines()[2:]:
        if not line.startswith("|"):
            break
        found.append([cell.strip().strip("`") for cell in line.strip("|").split("|")])
    assert all(len(row) == columns for row in found)
    return found


RULES = rows(6, "| signal | kind | value | weight | confidence | annotator |")
EXAMPLES = rows(5, "| signal | value | sentiment | score | label |")


def test_the_documented_table_is_the_table():
    """Names, kinds, accepted values, weights, confidences and annotators stand in the document as they are."""
    table = [
        [s.name, s.kind, s.rule.accepts, str(s.weight), str(s.confidence or "-"), s.annotator_kind]
        for s in DEFAULT_SIGNALS.values()
    ]
    assert table == RULES


def test_every_implicit_signal_and_no_other_has_a_confidence_of_its_own():
    """What software derived is never quite sure; a person's word is not measured by how sure it is."""
    assert {s.name for s in DEFAULT_SIGNALS.values() if s.confidence is not None} == {
        s.name for s in DEFAULT_SIGNALS.values() if s.kind == "implicit"
    }


@pytest.mark.parametrize("row", EXAMPLES, ids=lambda row: f"{row[0]}={row[1]}")
def test_each_documented_value_is_judged_as_documented(row):
    """A value's sentiment, score and label are those of its row."""
    signal, text, sentiment, score, label = row
    value = json.loads(text)
    correction = Correction(*value) if isinstance(value, list) else None
    judgement = DEFAULT_SIGNALS.judge(signal, None if correction else value, correction)
    assert (judgement.sentiment, judgement.score, judgement.label) == (sentiment, pytest.approx(float(score)), label)


def test_every_signal_has_an_example():
    """No row of the table goes without documented values."""
    assert {row[0] for row in EXAMPLES} == set(DEFAULT_SIGNALS)


@pytest.mark.parametrize("name", DEFAULT_SIGNALS)
def test_null_takes_any_signal_back(name):
    """Without value and correction a feedback is a retraction: no score."""
    assert DEFAULT_SIGNALS.judge(name, None) == RETRACTION
    assert RETRACTION.score is None


class Index:
    """Like numpy's integers: a number for whoever asks, and no ``int``."""

    def __index__(self):
        return 4

    def __float__(self):
        return 0.5

    def __bool__(self):
        return True


ODD = [
    *(math.nan, math.inf, -math.inf, 10**400, -(10**400), -1, -0.1, 1.1, 4.0, 6, 0.5j),
    *(True, False, "Up", "UP", " up", "", "true", "4", b"up", "\ud800", "x" * 1_000_000),
    *([], ["up"], {}, {"value": "up"}, object(), Index()),
]
TAKES_TRUE = {"copy", "regenerate", "abandon", "accept"}
REFUSED = [(name, value) for name in DEFAULT_SIGNALS for value in ODD if value is not True or name not in TAKES_TRUE]


@pytest.mark.parametrize(("name", "value"), REFUSED, ids=range(len(REFUSED)))
def test_odd_values_are_refused_with_what_would_be_accepted(name, value):
    """Wrong types, ranges and cases raise one clear error that names the field and repeats nothing."""
    with pytest.raises(InvalidFeedbackError) as caught:
        DEFAULT_SIGNALS.judge(name, value)
    assert caught.value.field == "value"
    assert len(str(caught.value)) < 100


@pytest.mark.parametrize("name", ["thumb", "Thumbs", "", "thumbs ", None, 1, ["thumbs"], {"a": 1}, "x" * 1_000_000])
def test_an_unknown_signal_is_refused_with_the_known_ones(name):
    """The error lists the table's names, so that a sender finds its typo."""
    with pytest.raises(InvalidFeedbackError, match="thumbs, stars, helpful") as caught:
        DEFAULT_SIGNALS.judge(name, "up")
    assert caught.value.field == "signal"
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("name", [n for n, s in DEFAULT_SIGNALS.items() if s.kind != "correction"])
def test_a_correction_goes_with_correcting_signals_only(name):
    """A correction beside a thumb is refused, with or without a value: nobody would read it."""
    for value in (None, "up", 4, True):
        with pytest.raises(InvalidFeedbackError) as caught:
            DEFAULT_SIGNALS.judge(name, value, Correction("a", "b"))
        assert caught.value.field == "correction"


def test_a_correcting_signal_takes_no_value():
    """A value beside a correction, or instead of it, has no meaning."""
    for correction in (None, Correction("a", "b")):
        with pytest.raises(InvalidFeedbackError) as caught:
            DEFAULT_SIGNALS.judge("label", "ham", correction)
        assert caught.value.field == "value"


def test_negative_zero_is_zero():
    """No score is -0.0: some backends would show it so."""
    assert math.copysign(1, DEFAULT_SIGNALS.judge("edit", 1).score) == 1
    rising = Signal("depth", "implicit", Share((Band(1.0, "neutral", "read"),)))
    assert math.copysign(1, SignalTable([rising]).judge("depth", -0.0).score) == 1


anything = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.lists(st.integers(), max_size=2)
)


@given(name=st.sampled_from(sorted(DEFAULT_SIGNALS)), value=anything)
def test_any_value_is_judged_or_refused(name, value):
    """There is no third outcome: a judgement with its score in [0, 1], or the one error."""
    try:
        judgement = DEFAULT_SIGNALS.judge(name, value)
    except InvalidFeedbackError:
        return
    assert judgement == RETRACTION or 0 <= judgement.score <= 1
    assert (value is None) == (judgement == RETRACTION)


@given(st.floats(0, 1))
def test_more_edited_is_never_better(share):
    """Sentiment and score of an edit fall together as the changed share grows."""
    order = ["negative", "neutral", "positive"]
    little, much = DEFAULT_SIGNALS.judge("edit", share / 2), DEFAULT_SIGNALS.judge("edit", share)
    assert little.score >= much.score
    assert order.index(little.sentiment) >= order.index(much.sentiment)


def test_rows_can_be_replaced_and_added():
    """``replacing`` returns another table; the one it came from stays as it was."""
    ten = Signal("stars", "explicit", Scale(1, 10, negative_to=4, positive_from=7))
    own = Signal("print", "implicit", Happened(Judgement("positive", 1.0, "printed")), weight=0.1)
    table = DEFAULT_SIGNALS.replacing(ten, own)
    assert table.judge("stars", 10) == Judgement("positive", 1.0, "10")
    assert table.judge("print", True).label == "printed"
    assert list(table) == [*DEFAULT_SIGNALS, "print"]
    with pytest.raises(InvalidFeedbackError):
        DEFAULT_SIGNALS.judge("stars", 10)


@pytest.mark.parametrize(
    ("name", "kind", "weight"),
    [
        ("Thumbs", "explicit", 1.0),
        ("", "explicit", 1.0),
        ("a b", "explicit", 1.0),
        ("x" * 65, "explicit", 1.0),
        ("x", "loud", 1.0),
        ("x", "explicit", 1.1),
        ("x", "explicit", math.nan),
    ],
)
def test_a_row_that_would_spoil_metrics_is_refused(name, kind, weight):
    """Names become labels, kinds decide what satisfaction counts: both are checked when the row is made."""
    with pytest.raises(ConfigurationError):
        Signal(name, kind, DEFAULT_SIGNALS["thumbs"].rule, weight)


@pytest.mark.parametrize(
    ("kind", "confidence"), [("implicit", 1.1), ("implicit", -0.1), ("implicit", math.nan), ("explicit", 0.5)]
)
def test_a_confidence_that_would_mislead_is_refused(kind, confidence):
    """It lies in [0, 1], and only an implicit signal has one."""
    with pytest.raises(ConfigurationError):
        Signal("x", kind, DEFAULT_SIGNALS["regenerate"].rule, 1.0, confidence)


def test_two_rows_of_one_name_are_refused():
    """A table that hides one of its rows is a mistake."""
    with pytest.raises(ConfigurationError, match="thumbs"):
        SignalTable([DEFAULT_SIGNALS["thumbs"], DEFAULT_SIGNALS["thumbs"]])


@pytest.mark.parametrize(
    ("sentiment", "score"),
    [("good", 1.0), ("positive", None), ("retracted", 0.0), ("positive", 1.5), ("positive", math.nan)],
)
def test_a_judgement_out_of_range_cannot_be_made(sentiment, score):
    """A rule of an application's own cannot bring in another sentiment or a score outside [0, 1]."""
    with pytest.raises(ConfigurationError):
        Judgement(sentiment, score, "x")


def test_the_documented_example_of_replacing_works(monkeypatch):
    """The code in the document runs, and a vote on the new scale is recorded by it."""
    monkeypatch.setattr(_recorder, "signals_in_use", [DEFAULT_SIGNALS])
    code = re.search(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    exec(code[1], {})  # noqa: S102 - our own documentation
    with telemetry() as seen:
        with interaction("answer", tracer_provider=seen.provider) as answer:
            handle = answer.handle
        assert record(handle, "stars", 7).status == "recorded"
        _, carrier = seen.spans()
    assert carrier["attributes"][semconv.FEEDBACK_SENTIMENT] == semconv.POSITIVE
    assert signals.DEFAULT_SIGNALS is DEFAULT_SIGNALS
