"""What is in a store depends on what arrived, and on nothing else: not on order, repetition or who shared a request."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.intake_parts import RECEIVED, SECOND, STARTED, request

from otel_feedback.intake import members_of, read_traces
from otel_feedback.store import Store

MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - hundreds of stores, each for a moment
MAIN = ("interactions", "documents", "feedback", "evaluations")
OF_CONTENT = ("texts", "words")


def ids(number, parent=None, *, trace=None):
    """A span's place: its trace is that of the interaction it serves."""
    place = {"trace_id": f"{trace or number:032x}", "span_id": f"{number:016x}", "start": STARTED + number * SECOND}
    return place | ({"parent_id": f"{parent:016x}"} if parent else {})


def answer(number, **attributes):
    return {"name": "GET /ask", **ids(number), "attributes": {"feedback.interaction": True, **attributes}}


def carrier(number, target, feedback_id, seconds, sentiment, *, revises=None, at=None, **attributes):
    known = {
        "feedback.target.trace_id": f"{target:032x}",
        "feedback.target.span_id": f"{target:016x}",
        "feedback.target.sampled": True,
        "feedback.id": feedback_id,
        "feedback.kind": "explicit",
        "feedback.signal": "thumbs",
        "feedback.sentiment": sentiment,
        "feedback.previous_sentiment": "unset",
        "feedback.source": "capture",
        "feedback.model": "m-carrier",
    }
    if revises:
        known["feedback.revises"] = revises
    return {
        "name": "feedback thumbs",
        **ids(number),
        "start": STARTED + (at or seconds) * SECOND,
        "end": STARTED + (at or seconds) * SECOND,
        "attributes": known | attributes,
        "links": [(f"{target:032x}", f"{target:016x}")],
    }


WHOLE, BARE, PLAIN, UNSENT = 1, 10, 20, 30
DOCUMENTS = '[{"id": "a", "score": 0.5}, {"id": "b", "score": 0.25}]'
SPANS = (
    answer(WHOLE, **{"feedback.model": "m-1", "feedback.prompt.name": "qa", "feedback.documents": DOCUMENTS}),
    # An answer whose own span tells nothing: what is below it does, and one span of the way may come last.
    answer(BARE),
    {"name": "work", **ids(11, BARE, trace=BARE)},
    {
        "name": "chat m-2",
        **ids(12, 11, trace=BARE),
        "attributes": {
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": "m-2",
            "gen_ai.response.model": "m-2-large",
            "gen_ai.input.messages": '[{"role": "user", "parts": [{"type": "text", "content": "Why?"}]}]',
        },
    },
    {
        "name": "retrieval",
        **ids(13, 11, trace=BARE),
        "attributes": {"gen_ai.operation.name": "retrieval", "gen_ai.retrieval.documents": DOCUMENTS},
    },
    # A span that says nothing of answers, until somebody judges it.
    {"name": "run", **ids(PLAIN)},
    {
        "name": "chat m-3",
        **ids(21, PLAIN, trace=PLAIN),
        "attributes": {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m-3"},
    },
    # Votes: changed, retracted, sent again with a later time, with a comment after the click.
    carrier(101, WHOLE, "f1", 100, "positive"),
    carrier(102, WHOLE, "f2", 101, "negative", revises="f1"),
    carrier(103, WHOLE, "f3", 102, "retracted", revises="f2"),
    carrier(104, WHOLE, "f1", 100, "positive", at=160),
    carrier(105, WHOLE, "g1", 90, "positive", **{"user.hash": "k:0123"}),
    carrier(106, WHOLE, "c1", 91, "positive", revises="c2"),
    carrier(107, WHOLE, "c2", 92, "negative", revises="c1"),
    carrier(
        *(108, BARE, "h1", 93, "negative"),
        **{"annotations.0.annotation.explanation": "No.", "feedback.reasons": ["wrong"]},
    ),
    carrier(109, PLAIN, "i1", 94, "negative"),
    carrier(110, UNSENT, "j1", 95, "negative", **{"feedback.target.sampled": False}),
    carrier(111, UNSENT + 1, "k1", 96, "positive"),
    carrier(112, WHOLE, "l1", 97, "positive", **{"feedback.target.sampled": False, "feedback.signal": "stars"}),
    {
        "name": "judge",
        **ids(120),
        "attributes": {
            "openinference.span.kind": "EVALUATOR",
            "annotations.0.annotation.name": "helpful",
            "annotations.0.annotation.label": "no",
            "annotations.0.annotation.score": 0.0,
            "annotations.0.annotation.annotator_kind": "HUMAN",
            "annotations.1.annotation.name": "correctness",
            "annotations.1.annotation.score": 0.25,
            "annotations.1.annotation.annotator_kind": "LLM",
        },
        "links": [(f"{BARE:032x}", f"{12:016x}")],
    },
)


@st.composite
def deliveries(draw):
    """Which spans there are, and the requests that bring them: shuffled, some twice."""
    there = draw(st.lists(st.sampled_from(range(len(SPANS))), min_size=2, unique=True))
    again = draw(st.lists(st.sampled_from(there), max_size=6))
    order = draw(st.permutations(there + again))
    cuts = sorted(draw(st.sets(st.integers(1, len(order) - 1), max_size=6)))
    return sorted(there), [order[low:high] for low, high in zip([0, *cuts], [*cuts, len(order)], strict=True)]


def state_after(requests, *, look_at_once, reopened):
    """All tables after some requests, content with repeats removed."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        store = Store.open(Path(folder))
        try:
            for number, spans in enumerate(requests):
                if number == reopened:
                    store.close()
                    store = Store.open(Path(folder))
                store._writer._committer._look_at_once = look_at_once
                store.write(read_traces(request(*(SPANS[index] for index in spans)), received_ns=RECEIVED))
            store.settle()
            problems = store.check()
            with store.cursor() as cursor:
                state = {table: sorted(cursor.execute(f"FROM {table}").fetchall(), key=repr) for table in MAIN}
                content = store.content_databases()[0]
                for table in OF_CONTENT:
                    rows = cursor.execute(f"SELECT DISTINCT * FROM {content}.{table}").fetchall()  # noqa: S608
                    state[table] = sorted(rows, key=repr)
                rows = cursor.execute(f"SELECT trace_id, members FROM {content}.traces").fetchall()  # noqa: S608
                state["members"] = sorted({(trace, *one) for trace, members in rows for one in members_of(members)})
        finally:
            store.close()
    return state, problems


@settings(max_examples=30, deadline=None)
@given(delivered=deliveries(), look_at_once=st.sampled_from([0, 10**9]), reopened=st.integers(0, 7))
def test_state_does_not_depend_on_order_repetition_or_batches(delivered, look_at_once, reopened):
    there, requests = delivered
    in_order, _ = state_after([there], look_at_once=10**9, reopened=None)
    state, problems = state_after(requests, look_at_once=look_at_once, reopened=reopened)
    assert state == in_order
    assert problems == []


def test_the_state_in_order_is_what_was_said():
    state, problems = state_after([[index] for index in range(len(SPANS))], look_at_once=10**9, reopened=None)
    answers = {row[1]: (row[10], row[18], row[19]) for row in state["interactions"]}
    assert answers == {
        f"{WHOLE:016x}": ("m-1", True, True),
        f"{BARE:016x}": ("m-2-large", True, False),
        f"{PLAIN:016x}": ("m-3", False, False),
        f"{12:016x}": ("m-2-large", False, False),
    }
    assert [row[4] for row in state["documents"] if row[1] == f"{BARE:016x}"] == ["a", "b"]
    votes = {(row[1], row[4]): (row[-2], row[-1]) for row in state["feedback"] if row[2] in ("thumbs", "stars")}
    assert votes == {
        (f"{WHOLE:016x}", "f1"): (False, True),
        (f"{WHOLE:016x}", "f2"): (False, True),
        (f"{WHOLE:016x}", "f3"): (True, True),
        (f"{WHOLE:016x}", "g1"): (True, True),
        (f"{WHOLE:016x}", "c1"): (False, True),
        (f"{WHOLE:016x}", "c2"): (False, True),
        (f"{WHOLE:016x}", "l1"): (True, False),
        (f"{BARE:016x}", "h1"): (True, True),
        (f"{PLAIN:016x}", "i1"): (True, True),
        (f"{UNSENT:016x}", "j1"): (True, False),
        (f"{UNSENT + 1:016x}", "k1"): (True, False),
    }
    assert len(state["evaluations"]) == 1
    assert problems == []
