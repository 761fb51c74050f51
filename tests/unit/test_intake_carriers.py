"""Carriers as our library writes them are what the intake reads: one carrier, one feedback."""

import pytest
from tests.unit.feedback_parts import Parts
from tests.unit.intake_parts import (
    PARENT,
    RECEIVED,
    SPAN,
    STARTED,
    TARGET_SPAN,
    TARGET_TRACE,
    TRACE,
    read,
    read_sdk,
)

from otel_feedback._settings import Settings
from otel_feedback._signals import DEFAULT_SIGNALS, Correction
from otel_feedback.intake import FeedbackRow, WordsRow
from otel_feedback.testing import TEST_KEYS

USER = "k1:" + "ab" * 16
JUDGED = f"{0xA1:032x}", f"{0xB2:016x}"
SIGNAL = {"feedback.signal": "thumbs"}
VALUES = {
    "thumbs": "up",
    "stars": 4,
    "helpful": "no",
    "copy": True,
    "edit": 0.1,
    "rephrase": 0.9,
    "regenerate": True,
    "abandon": True,
    "accept": True,
}


@pytest.fixture
def parts():
    """A recorder that captures text; its thread ends with the test."""
    parts = Parts(settings=Settings(handle_keys=TEST_KEYS, capture_text=True))
    yield parts
    parts.close()


def rows(parts, **options):
    """What the carriers so far become."""
    parts.delivery.flush()
    return read_sdk(parts.exporter.get_finished_spans(), **options)


def test_a_vote_with_all_its_details(parts):
    """Every column of feedback, and the words apart."""
    parts.submit("thumbs", "down", reasons=["outdated", "long"], comment="Too old.", user=USER)
    batch = rows(parts)
    [row] = batch.feedback
    assert row == FeedbackRow(
        *JUDGED,
        signal="thumbs",
        submitter=USER,
        feedback_id="f1",
        at_ns=STARTED,
        kind="explicit",
        sentiment="negative",
        previous_sentiment="unset",
        revises=None,
        score=0.0,
        label="down",
        confidence=None,
        reasons=("outdated", "long"),
        source="record",
        target_sampled=True,
        first=True,
        carrier_trace_id=JUDGED[0],
        carrier_span_id=f"{1:016x}",
        service="rag",
        namespace="unknown",
        environment="test",
        prompt_name="qa",
        prompt_version="v2",
        model="m-1",
        query_type="unknown",
        conversation_id=None,
    )
    assert batch.words == [WordsRow(*row[:6], "Too old.", None, None)]
    assert not batch.evaluations
    assert not batch.interactions
    assert not batch.texts
    assert not batch.telling


def test_a_vote_that_is_changed_and_taken_back(parts):
    """Each names what it replaces."""
    for value in ("down", "up", None):
        parts.submit("thumbs", value)
    told = [(row.sentiment, row.previous_sentiment, row.revises, row.score, row.label) for row in rows(parts).feedback]
    assert told == [
        ("negative", "unset", None, 0.0, "down"),
        ("positive", "negative", "f1", 1.0, "up"),
        ("retracted", "positive", "f2", None, "retracted"),
    ]
    assert [row.first for row in rows(parts).feedback] == [True, False, False]


@pytest.mark.parametrize("signal", VALUES)
def test_every_signal_is_read_as_it_was_judged(parts, signal):
    """Kind, sentiment and score by our table, also where a producer leaves out all but the annotation."""
    parts.submit(signal, VALUES[signal])
    judged = DEFAULT_SIGNALS.judge(signal, VALUES[signal])
    [row] = rows(parts).feedback
    assert (row.kind, row.sentiment, row.score, row.label) == (DEFAULT_SIGNALS[signal].kind, *_told(judged))
    bare = {
        "feedback.signal": signal,
        "annotations.0.annotation.score": judged.score,
        "annotations.0.annotation.label": judged.label,
    }
    [row] = read({"attributes": bare, "links": [(TARGET_TRACE, TARGET_SPAN)]}).feedback
    assert (row.kind, row.sentiment) == (DEFAULT_SIGNALS[signal].kind, judged.sentiment)


def _told(judged):
    return judged.sentiment, judged.score, judged.label


def test_a_correction_brings_its_texts(parts):
    """Apart from the feedback, in the words."""
    parts.submit("text", None, correction=Correction("old", "new"))
    batch = rows(parts)
    assert batch.feedback[0].kind == "correction"
    assert batch.words[0][6:] == (None, "old", "new")
    assert not rows(parts, keep_content=False).words


def test_the_link_says_what_is_judged_else_the_ids_do():
    """Some exporters lose links, some write ids in capitals."""
    ids = {"feedback.target.trace_id": TARGET_TRACE.upper(), "feedback.target.span_id": TARGET_SPAN.upper()}
    [row] = read({"attributes": {**SIGNAL, **ids}}).feedback
    assert row[:2] == (TARGET_TRACE, TARGET_SPAN)
    [row] = read({"attributes": {**SIGNAL, **ids}, "links": [("00", "00"), (TRACE, PARENT)]}).feedback
    assert row[:2] == (TRACE, PARENT)


@pytest.mark.parametrize(
    "attributes",
    [
        SIGNAL,
        {**SIGNAL, "feedback.target.trace_id": TARGET_TRACE},
        {**SIGNAL, "feedback.target.trace_id": "x" * 32, "feedback.target.span_id": TARGET_SPAN},
        {**SIGNAL, "feedback.target.trace_id": 5, "feedback.target.span_id": TARGET_SPAN},
    ],
)
def test_a_carrier_that_judges_nothing_is_a_span_and_no_feedback(attributes):
    """It is shown in its trace, as it came."""
    batch = read({"attributes": attributes})
    assert (batch.spans, batch.feedback, batch.rejected) == (1, [], 0)


@pytest.mark.parametrize("signal", ["", 5, None, ["thumbs"], "x" * 1025])
def test_a_signal_that_is_none_is_no_feedback(signal):
    """Nor an evaluation."""
    batch = read({"attributes": {"feedback.signal": signal}, "links": [(TARGET_TRACE, TARGET_SPAN)]})
    assert not batch.feedback


def test_what_a_carrier_of_another_language_leaves_out_has_a_default():
    """Only signal and target are there."""
    [row] = read({"attributes": SIGNAL, "links": [(TARGET_TRACE, TARGET_SPAN)]}).feedback
    assert row[:4] == (TARGET_TRACE, TARGET_SPAN, "thumbs", "")
    assert (row.kind, row.sentiment, row.previous_sentiment, row.source) == ("explicit", "neutral", None, "record")
    assert (row.target_sampled, row.first, row.score, row.label, row.reasons) == (None, None, None, None, ())
    assert row[19:26] == ("unknown",) * 7
    assert len(row.feedback_id) == 32
    [again] = read({"attributes": SIGNAL, "links": [(TARGET_TRACE, TARGET_SPAN)]}).feedback
    [other] = read({"attributes": SIGNAL, "links": [(TARGET_TRACE, TARGET_SPAN)], "span_id": PARENT}).feedback
    assert row.feedback_id == again.feedback_id != other.feedback_id


def test_values_of_wrong_kinds_say_nothing():
    """Sentiments and kinds that don't exist, texts for numbers, NaN, endless reasons."""
    wrong = {
        "feedback.sentiment": "furious",
        "feedback.previous_sentiment": 5,
        "feedback.kind": "loud",
        "feedback.first": "yes",
        "feedback.target.sampled": 1,
        "feedback.confidence": float("nan"),
        "feedback.reasons": [*map(str, range(20)), 5, "", "0", "x" * 65],
        "annotations.0.annotation.score": "high",
        "feedback.id": "x" * 1025,
        "feedback.model": ["m"],
    }
    [row] = read({"attributes": {**SIGNAL, **wrong}, "links": [(TARGET_TRACE, TARGET_SPAN)]}).feedback
    assert (row.sentiment, row.previous_sentiment, row.kind, row.first) == ("neutral", None, "explicit", None)
    assert (row.confidence, row.target_sampled, row.score, row.model) == (None, None, None, "unknown")
    assert row.reasons == tuple(map(str, range(10)))
    assert len(row.feedback_id) == 32


def test_only_the_event_may_say_score_label_and_comment():
    """A producer may leave the annotation out."""
    event = {
        "gen_ai.evaluation.score.value": 1,
        "gen_ai.evaluation.score.label": "up",
        "gen_ai.evaluation.explanation": "Good\0!",
    }
    carrier = {
        "attributes": SIGNAL,
        "links": [(TARGET_TRACE, TARGET_SPAN)],
        "events": [("gen_ai.evaluation.result", event)],
    }
    batch = read(carrier)
    [row] = batch.feedback
    assert (row.score, row.label, row.sentiment) == (1.0, "up", "positive")
    assert batch.words[0].comment == "Good\ufffd!"
    assert not batch.evaluations
    assert not read(carrier, keep_content=False).words


def test_a_carrier_from_the_future_counts_from_its_receipt():
    """A clock that is wrong must not win every vote for ever."""
    [row] = read({"attributes": SIGNAL, "links": [(TARGET_TRACE, TARGET_SPAN)], "start": 2**63}).feedback
    assert row.at_ns == RECEIVED
    assert row.carrier_span_id == SPAN
