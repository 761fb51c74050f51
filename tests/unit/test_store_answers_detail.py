"""Everything about one answer: found by its id or how that begins, with its trace, its prompt and its history."""

import json
import math

import pytest
from tests.unit.intake_parts import RECEIVED, SECOND, STARTED, messages, request
from tests.unit.store_parts import batch, feedback, interaction, opened, span, trace

from otel_feedback import semconv
from otel_feedback.exceptions import NotFoundError
from otel_feedback.intake import read_traces
from otel_feedback.intake.rows import EvaluationRow, TextRow, WordsRow
from otel_feedback.store import _trace
from otel_feedback.store._answers import answer, answers
from otel_feedback.store._views import Correction

TRACE, ROOT, CALL, CARRIER = "4bf92f3577b34da6a3ce929d0e0e4736", span(1), span(2), span(3)
ID = f"{TRACE}-{ROOT}"
MS = 10**6


@pytest.fixture
def store(tmp_path):
    with opened(tmp_path / "data") as made:
        yield made


def spans(**more):
    """An answer, the call that made it, and a vote in the same trace."""
    root = {
        "name": "POST /ask",
        "trace_id": TRACE,
        "span_id": ROOT,
        "attributes": {
            semconv.FEEDBACK_INTERACTION: True,
            semconv.FEEDBACK_MODEL: "m-1",
            semconv.FEEDBACK_DOCUMENTS: json.dumps([{"id": "d-1", "score": 0.5, "content": "Of d-1."}, {"id": "d-2"}]),
            **more,
        },
    }
    call = {
        "name": "chat m-1",
        "trace_id": TRACE,
        "span_id": CALL,
        "parent_id": ROOT,
        "start": STARTED + 10 * MS,
        "end": STARTED + 30 * MS,
        "attributes": {
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": "m-1",
            "gen_ai.input.messages": messages(("system", "Be brief."), ("user", "Why?")),
            "gen_ai.output.messages": messages(("assistant", "Because.")),
            "gen_ai.prompt.variable.topic": "why",
        },
        "events": [("retry", {"count": 2})],
    }
    carrier = {
        "name": "feedback thumbs",
        "trace_id": TRACE,
        "span_id": CARRIER,
        "parent_id": ROOT,
        "start": STARTED + 2 * SECOND,
        "end": STARTED + 2 * SECOND,
        "attributes": {
            "feedback.target.trace_id": TRACE,
            "feedback.target.span_id": ROOT,
            "feedback.target.sampled": True,
            "feedback.id": "f",
            "feedback.kind": "explicit",
            "feedback.signal": "thumbs",
            "feedback.sentiment": "negative",
            "feedback.previous_sentiment": "unset",
        },
        "links": [(TRACE, ROOT)],
    }
    return root, call, carrier


def send(store, *sent, received_ns=RECEIVED):
    store.write(read_traces(request(*sent), received_ns=received_ns))


def test_an_answer_is_told_with_its_trace_its_prompt_and_its_documents(store):
    send(store, *spans())
    found = answer(store, ID)
    assert (found.id, found.name, found.model, found.service) == (ID, "POST /ask", "m-1", "rag")
    assert (found.duration_ms, found.flagged, found.recorded) == (1000.0, True, True)
    assert (found.question, found.answer, found.system) == ("Why?", "Because.", "Be brief.")
    assert [(message.role, message.text) for message in found.prompt] == [("system", "Be brief."), ("user", "Why?")]
    assert found.variables == {"topic": "why"}
    assert [(it.rank, it.id, it.score, it.text) for it in found.documents] == [
        (1, "d-1", 0.5, "Of d-1."),
        (2, "d-2", None, None),
    ]
    assert [(vote.feedback_id, vote.sentiment, vote.standing) for vote in found.feedback] == [("f", "negative", True)]
    assert json.loads(json.dumps(found.to_json()))["spans"][1]["attributes"]["gen_ai.request.model"] == "m-1"


def test_the_question_is_told_apart_from_the_prompt_that_was_made_of_it(store):
    root, call, _ = spans()
    prompt = f"Answer from: {'p' * 40_000}\n\nWhy?"
    asked = {"gen_ai.prompt.variable.question": "Why?", "gen_ai.input.messages": messages(("user", prompt))}
    send(store, root, call | {"attributes": call["attributes"] | asked})
    found = answer(store, ID)
    assert (found.question, [message.text for message in found.prompt]) == ("Why?", [prompt])
    (row,) = answers(store, feedback="all").rows
    assert row.question == "Why?"


def test_what_the_answer_s_own_span_was_given_is_the_question(store):
    root, call, _ = spans(**{"openinference.span.kind": "CHAIN", "input.value": json.dumps({"input": "Own?"})})
    asked = {"gen_ai.prompt.variable.question": "Rewritten?"}
    send(store, root, call | {"attributes": call["attributes"] | asked})
    assert answer(store, ID).question == "Own?"
    (row,) = answers(store, feedback="all").rows
    assert row.question == "Own?"


def test_its_spans_are_in_the_order_of_the_tree_with_their_times(store):
    send(store, *reversed(spans()))
    root, call, carrier = answer(store, ID).spans
    assert [one.span_id for one in (root, call, carrier)] == [ROOT, CALL, CARRIER]
    assert [one.depth for one in (root, call, carrier)] == [0, 1, 1]
    assert [one.parent_id for one in (root, call, carrier)] == ["", ROOT, ROOT]
    assert [one.offset_ms for one in (root, call, carrier)] == [0.0, 10.0, 2000.0]
    assert [one.duration_ms for one in (root, call, carrier)] == [1000.0, 20.0, 0.0]
    assert [one.is_answer for one in (root, call, carrier)] == [True, False, False]
    assert [one.is_feedback for one in (root, call, carrier)] == [False, False, True]
    assert (call.kind, call.status, call.status_message, call.scope, call.service) == (
        *("unspecified", "unset", "", "scope", "rag"),
    )
    assert [(event.name, event.offset_ms, event.attributes) for event in call.events] == [
        ("retry", 1000.0, {"count": 2})
    ]
    assert [(link.trace_id, link.span_id) for link in carrier.links] == [(TRACE, ROOT)]


def test_what_json_lacks_is_told_in_words(store):
    odd = {"nan": math.nan, "bytes": b"\x00\xff", "nested": {"inf": [math.inf, "a\0b"]}, "fine": [1, 1.5, True, "ü"]}
    made = request(*spans(**odd))
    first = made.resource_spans[0].scope_spans[0].spans[0]
    first.kind, first.status.code, first.status.message = 99, 2, "It\0broke."
    store.write(read_traces(made, received_ns=RECEIVED))
    root = json.loads(json.dumps(answer(store, ID).to_json(), allow_nan=False))["spans"][0]
    assert {name: root["attributes"][name] for name in odd} == {
        "nan": "nan",
        "bytes": "AP8=",
        "nested": {"inf": ["inf", "a\ufffdb"]},
        "fine": [1, 1.5, True, "ü"],
    }
    assert (root["kind"], root["status"], root["status_message"]) == ("unspecified", "error", "It\ufffdbroke.")


def test_a_trace_that_came_in_several_requests_and_twice_is_one(store):
    first, *rest = spans()
    for sent in ([first], rest, [first]):
        send(store, *sent)
    assert [one.span_id for one in answer(store, ID).spans] == [ROOT, CALL, CARRIER]


def test_spans_of_other_traces_that_came_with_it_are_left_out(store):
    other = {"name": "other", "trace_id": trace(7), "span_id": span(7)}
    send(store, *spans(), other)
    assert [one.span_id for one in answer(store, ID).spans] == [ROOT, CALL, CARRIER]


def test_a_trace_without_end_is_told_as_far_as_it_can_be_read_and_how_much_there_is(store, monkeypatch):
    root, call, carrier = spans()
    send(store, call, carrier)
    send(store, call, root)  # its own span comes last, and counts all the same
    assert answer(store, ID).span_count == 3
    monkeypatch.setattr(_trace, "MOST", 1)
    found = answer(store, ID)
    assert [one.span_id for one in found.spans] == [ROOT, CALL]
    assert (found.span_count, found.to_json()["span_count"], found.question) == (3, 3, "Why?")


def test_all_feedback_is_told_with_its_history_and_evaluations_beside(store):
    send(store, *spans()[:1])
    at = {"trace_id": TRACE, "span_id": ROOT}
    first = feedback(1, "a", 1, "negative", **at)
    changed = feedback(1, "b", 5, "positive", previous_sentiment="negative", revises="a", **at)
    corrected = feedback(1, "c", 3, "negative", kind="correction", signal="text", **at)
    judged = EvaluationRow(TRACE, ROOT, "relevance", "e", STARTED + SECOND, 0.5, "fair", "evaluation")
    said = WordsRow(*first[:6], "No.", None, None), WordsRow(*corrected[:6], None, None, "the")
    store.write(batch(changed, first, corrected, judged, *said))
    found = answer(store, ID)
    assert [(vote.feedback_id, vote.standing, vote.comment) for vote in found.feedback] == [
        ("a", False, "No."),
        ("c", True, None),
        ("b", True, None),
    ]
    assert found.feedback[1].correction == Correction(None, "the")
    assert [(it.name, it.score, it.label, it.source) for it in found.evaluations] == [
        ("relevance", 0.5, "fair", "evaluation")
    ]


def test_texts_of_log_records_are_told_where_spans_have_none(store):
    root, call, _ = spans()
    call["attributes"] = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m-1"}
    logged = TextRow(TRACE, CALL, "", STARTED + 10 * MS, "Why?", "Because.", "Be brief.", "log")
    send(store, root, call)
    store.write(batch(logged))
    found = answer(store, ID)
    assert (found.question, found.answer, found.system, found.prompt) == ("Why?", "Because.", "Be brief.", ())


def test_an_answer_that_was_sampled_out_is_told_by_its_feedback(store):
    vote = feedback(1, "f", 5, "negative", model="m-9", target_sampled=False, conversation_id="c-1")
    store.write(batch(vote, WordsRow(*vote[:6], "No.", None, None)))
    found = answer(store, trace(1))
    assert (found.recorded, found.flagged, found.model, found.conversation_id) == (False, False, "m-9", "c-1")
    assert (found.name, found.duration_ms, found.question, found.spans) == (None, None, None, ())
    assert found.started_at == found.feedback[0].at
    assert found.feedback[0].comment == "No."


@pytest.mark.parametrize("name", [ID, ID.upper(), f" {ID}\n", TRACE, TRACE[:8], f"{TRACE}-0"])
def test_an_answer_is_found_by_how_its_id_begins(store, name):
    store.write(batch(interaction(1)._replace(trace_id=TRACE), interaction(2)))
    assert answer(store, name).id == ID


@pytest.mark.parametrize(
    "name", ["", TRACE[:7], "x" * 32, f"{TRACE[:8]}-{ROOT}", f"{TRACE}-", f"{ID}0", "%" * 8, "_" * 32]
)
def test_what_is_no_id_is_said_to_be_none(store, name):
    store.write(batch(interaction(1)._replace(trace_id=TRACE)))
    with pytest.raises(NotFoundError, match="That is no id of an answer"):
        answer(store, name)


def test_an_answer_that_is_not_there_is_not_found(store):
    store.write(batch(interaction(1)._replace(trace_id=TRACE)))
    for name in (trace(5), TRACE[1:12], f"{TRACE}-{span(5)}"):
        with pytest.raises(NotFoundError, match="There is no such answer"):
            answer(store, name)


def test_of_several_answers_more_of_the_id_is_asked_for(store):
    store.write(batch(*(interaction(number) for number in range(1, 13))))
    with pytest.raises(NotFoundError, match="Several answers begin so") as caught:
        answer(store, "00000000")
    assert f"\n  {trace(1)}-{span(1)}\n" in str(caught.value)
    assert str(caught.value).count("\n") == 10


def test_of_one_trace_the_answer_that_counts_is_meant(store):
    target = interaction(2, flagged=False)._replace(trace_id=trace(1))
    store.write(batch(interaction(1), target, feedback(3, "f", trace_id=trace(1), target_sampled=False)))
    assert answer(store, trace(1)).span_id == span(1)
    assert answer(store, f"{trace(1)}-{span(2)}").flagged is False
    store.write(batch(interaction(4)._replace(trace_id=trace(1))))
    with pytest.raises(NotFoundError, match="Several"):
        answer(store, trace(1))
