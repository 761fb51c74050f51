"""Feedback of other producers: what counts as a person's word, what is judged, and what it says."""

import pytest
from tests.unit.intake_parts import (
    PARENT,
    SECOND,
    SPAN,
    STARTED,
    TARGET_SPAN,
    TARGET_TRACE,
    TRACE,
    read,
    read_records,
)

from otel_feedback.intake._sentiment import sentiment_of

LLM_SPAN = {
    "openinference.span.kind": "LLM",
    "llm.model_name": "m-1",
    "llm.prompt_template.version": "v2",
    "session.id": "c-1",
}
EVALUATOR = {"openinference.span.kind": "EVALUATOR"}
EVENT = "gen_ai.evaluation.result"


def annotation(index=0, form="annotation", **fields):
    """An annotation in OpenInference's flat form."""
    fields = {"name": "quality", "annotator_kind": "HUMAN", **fields}
    return {f"{form}s.{index}.{form}.{name}": value for name, value in fields.items() if value is not None}


def evaluation(**fields):
    """The attributes of an evaluation event."""
    values = {"name": "quality", "score.value": 1.0, **fields}
    return {f"gen_ai.evaluation.{name}": value for name, value in values.items()}


def test_a_persons_annotation_of_a_span_is_feedback_on_it():
    """As Phoenix and others export it: on the span itself, with what that span knows."""
    batch = read(
        {"attributes": {**LLM_SPAN, **annotation(score=1, label="good", explanation="Right!", identifier="ann")}}
    )
    [row] = batch.feedback
    assert row[:4] == (TRACE, SPAN, "quality", "ann")
    assert (row.kind, row.sentiment, row.score, row.label, row.source) == (
        "explicit",
        "positive",
        1.0,
        "good",
        "annotation",
    )
    assert (row.at_ns, row.previous_sentiment, row.revises) == (STARTED + SECOND, None, None)
    assert row[19:26] == ("rag", "shop", "prod", "unknown", "v2", "m-1", "unknown")
    assert row.conversation_id == "c-1"
    assert (row.carrier_trace_id, row.carrier_span_id) == (TRACE, SPAN)
    assert batch.words[0][4:7] == (row.feedback_id, row.at_ns, "Right!")
    assert batch.telling == {TRACE}
    assert not batch.evaluations


def test_who_judges_decides_what_it_is():
    """A person's word, a signal that code derived, and what is an evaluation and never feedback."""
    kinds = ["HUMAN", "CODE", "LLM", None, "human", "Robot", 5]
    attributes = {}
    for index, kind in enumerate(kinds):
        attributes |= annotation(index, name=f"n{index}", score=1.0, label="good", annotator_kind=kind)
    batch = read({"attributes": {**LLM_SPAN, **attributes}})
    assert [(row.signal, row.kind) for row in batch.feedback] == [("n0", "explicit"), ("n1", "implicit")]
    assert [(row.name, row.score, row.label) for row in batch.evaluations] == [
        (f"n{index}", 1.0, "good") for index in range(2, 7)
    ]
    assert len({row.evaluation_id for row in batch.evaluations}) == 5
    assert batch.evaluations[0][:2] == (TRACE, SPAN)


def test_the_name_of_one_of_our_signals_has_its_kind():
    """A person's copy is still no explicit word."""
    told = {}
    for name in ("Thumbs", "copy", "text", "anything"):
        [row] = read({"attributes": annotation(name=name, score=1)}).feedback
        told[row.signal] = row.kind
    assert told == {"thumbs": "explicit", "copy": "implicit", "text": "correction", "anything": "explicit"}
    [row] = read({"attributes": annotation(name="thumbs", score=1, annotator_kind="CODE")}).feedback
    assert row.kind == "implicit"


def test_both_forms_of_one_annotation_count_once():
    """OpenInference has two names for the same; indexes needn't start at 0."""
    same = {"score": 1, "label": "good", "identifier": "a"}
    both = {**annotation(3, **same), **annotation(0, "evaluation", **same)}
    assert len(read({"attributes": both}).feedback) == 1
    other = {**annotation(0, **same), **annotation(0, "evaluation", **same | {"identifier": "b"})}
    assert [row.submitter for row in read({"attributes": other}).feedback] == ["a", "b"]


def test_an_event_that_repeats_an_annotation_counts_once():
    """Gateways write both."""
    batch = read(
        {"attributes": annotation(score=1), "events": [(EVENT, evaluation()), (EVENT, evaluation(name="other"))]}
    )
    assert [row.signal for row in batch.feedback] == ["quality"]
    assert [row.name for row in batch.evaluations] == ["other"]


LINK = [(TARGET_TRACE, TARGET_SPAN)]
OWN, LINKED, ABOVE = (TRACE, SPAN), (TARGET_TRACE, TARGET_SPAN), (TRACE, PARENT)


@pytest.mark.parametrize(
    ("attributes", "links", "parent", "judged"),
    [
        (LLM_SPAN, [], PARENT, OWN),
        (LLM_SPAN, LINK, PARENT, OWN),
        ({}, [], PARENT, OWN),
        ({}, LINK, PARENT, LINKED),
        (EVALUATOR, LINK, PARENT, LINKED),
        (EVALUATOR, [], PARENT, ABOVE),
        (EVALUATOR, [("00", "00")], PARENT, ABOVE),
        (EVALUATOR, [], "", OWN),
    ],
)
def test_what_is_judged(attributes, links, parent, judged):
    """A span that plays a part in an answer itself; else its link; an evaluator's parent; else itself."""
    span = {"attributes": {**attributes, **annotation(score=0)}, "links": links, "parent_id": parent}
    [row] = read(span).feedback
    assert row[:2] == judged
    assert (row.service == "rag") is (judged == OWN)
    span = {"attributes": attributes, "links": links, "parent_id": parent, "events": [(EVENT, evaluation())]}
    assert read(span).evaluations[0][:2] == judged


@pytest.mark.parametrize(
    ("who", "kind"),
    [
        ({"gen_ai.evaluation.evaluator.type": "human"}, "explicit"),
        ({"microsoft.gen_ai.evaluation.actor.type": "human"}, "explicit"),
        ({"gen_ai.evaluation.annotator_kind": "HUMAN"}, "explicit"),
        ({"gen_ai.evaluation.evaluator.type": "deterministic"}, "implicit"),
        ({"annotator_kind": "CODE"}, "implicit"),
        ({"gen_ai.evaluation.evaluator.type": "llm_judge"}, None),
        ({"gen_ai.evaluation.evaluator.type": 5}, None),
        ({}, None),
    ],
)
def test_an_evaluation_event_is_an_evaluation_unless_it_says_who_judged(who, kind):
    """As a span event and as a log record of the span that is judged."""
    values = evaluation(**{"score.label": "pass", "explanation": "Fine.", "identifier": "me"}) | who
    for batch in (read({"attributes": LLM_SPAN, "events": [(EVENT, values)]}), read_records((EVENT, values, None))):
        assert [row.kind for row in batch.feedback] == ([kind] if kind else [])
        assert len(batch.evaluations) == (kind is None)
        if kind:
            [row] = batch.feedback
            assert row[:4] == (TRACE, SPAN, "quality", "me")
            assert (row.sentiment, row.source) == ("positive", "evaluation")
            assert batch.words[0].comment == "Fine."


def test_logfires_feedback_is_a_users_word_on_its_parent():
    """``record_feedback(traceparent, name, value, comment)``: numbers are scores, words labels, truths assertions."""
    told = []
    for value in ({"feedback.score": 0.2}, {"feedback.label": "good"}, {"feedback.assertion": False}):
        attributes = {"logfire.span_type": "annotation", "feedback.name": "quality", "feedback.comment": "Hm.", **value}
        batch = read({"attributes": attributes, "parent_id": PARENT}, scope="logfire.feedback")
        [row] = batch.feedback
        assert row[:4] == (TRACE, PARENT, "quality", "")
        assert (row.kind, row.source, row.at_ns) == ("explicit", "logfire", STARTED)
        assert batch.words[0].comment == "Hm."
        told.append((row.sentiment, row.score, row.label))
    assert told == [("negative", 0.2, None), ("positive", None, "good"), ("negative", 0.0, None)]


@pytest.mark.parametrize(
    "attributes",
    [
        {"logfire.span_type": "annotation", "feedback.name": "n", "feedback.score": 1, "annotator_kind": "LLM"},
        {"logfire.span_type": "annotation", "feedback.name": "n"},
        {"logfire.span_type": "annotation", "feedback.score": 1},
        {"logfire.span_type": "span", "feedback.name": "n", "feedback.score": 1},
        {"feedback.name": "n", "feedback.score": 1},
    ],
)
def test_what_is_no_feedback_of_logfire(attributes):
    """Another span of Logfire's, one that says nothing, one that says a model judged."""
    assert not read({"attributes": attributes, "parent_id": PARENT}).feedback
    assert not read({"attributes": {**attributes, "annotator_kind": "HUMAN"}}).feedback


def test_an_annotation_needs_a_name_and_a_result():
    """As the specification has it."""
    for fields in ({}, {"name": None, "score": 1}, {"score": "high"}, {"score": float("nan")}, {"label": ""}):
        batch = read({"attributes": annotation(**fields)})
        assert not batch.feedback
        assert not batch.evaluations
    [row] = read({"attributes": annotation(explanation="Only words.")}).feedback
    assert (row.sentiment, row.score, row.label) == ("neutral", None, None)


def test_a_judgement_that_is_sent_again_is_the_same():
    """Its id comes from its span and place; the span's own id of a feedback wins."""
    attributes = {**annotation(0, score=1), **annotation(1, name="other", score=1)}
    first, again = (read({"attributes": attributes}).feedback for _ in range(2))
    assert first == again
    assert len({row.feedback_id for row in first}) == 2
    [row] = read({"attributes": {**annotation(score=1), "feedback.id": "mine", "user.hash": "me"}}).feedback
    assert (row.feedback_id, row.submitter) == ("mine", "me")


def test_a_span_holds_a_bounded_number_of_judgements():
    """A hundred, of each form."""
    attributes = {}
    for index in range(150):
        attributes |= annotation(index, name=f"n{index}", score=1)
    events = [(EVENT, evaluation(name=f"e{index}")) for index in range(150)]
    batch = read({"attributes": attributes, "events": events})
    assert (len(batch.feedback), len(batch.evaluations)) == (100, 100)


@pytest.mark.parametrize(
    ("name", "value", "label", "sentiment"),
    [
        # Our signals, by our table
        ("thumbs", None, "up", "positive"),
        ("thumbs", None, "Down", "negative"),
        ("thumbs", 0, None, "negative"),
        ("thumbs", True, None, "positive"),
        ("stars", 1, None, "negative"),
        ("stars", 3, None, "neutral"),
        ("stars", 4.0, None, "positive"),
        ("stars", 1.0, None, "positive"),
        ("stars", 0.25, "2", "negative"),
        ("stars", None, "12345", "neutral"),
        ("edit", 0.9, "kept", "positive"),
        ("edit", 0.1, "rewritten", "negative"),
        ("edit", 0.6, "edited", "neutral"),
        ("edit", 0.9, None, "positive"),
        ("regenerate", True, None, "negative"),
        ("regenerate", 0.0, "regenerated", "negative"),
        ("text", 0.0, "corrected", "negative"),
        # Words
        ("quality", None, " Thumbs Up ", "positive"),
        ("quality", 0.9, "bad", "negative"),
        ("quality", None, "👎", "negative"),
        ("quality", 1, "ok", "neutral"),
        ("quality", None, "retracted", "retracted"),
        # Scores
        ("quality", 0.51, None, "positive"),
        ("quality", 0.5, None, "neutral"),
        ("quality", 0.49, "fluent", "negative"),
        ("quality", -1, None, "negative"),
        ("quality", True, None, "positive"),
        ("quality", False, None, "negative"),
        ("quality", 4, None, "neutral"),
        ("quality", -1.1, None, "neutral"),
        ("quality", None, None, "neutral"),
        # Criteria of which much is bad
        ("Hallucination", 1, None, "negative"),
        ("hallucination", 0.0, None, "positive"),
        ("hallucination", 0.5, None, "neutral"),
        ("hallucination", None, "yes", "negative"),
        ("toxicity", None, "false", "positive"),
        ("hallucination", 1, "hallucinated", "negative"),
    ],
)
def test_what_a_judgement_says(name, value, label, sentiment):
    """Our table, plain words, a score, else neither."""
    assert sentiment_of(name, value, label) == sentiment
