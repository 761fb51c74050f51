"""What only a whole trace tells: facts of answers that don't say them, the tree, the exchange of one answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.intake_parts import RECEIVED, SECOND, STARTED, TRACE, messages, stored

from otel_feedback.intake import Exchange, complete_trace, exchange_of, pack, tree, unpack

ROOT, CHAIN, SEARCH, CHAT, LATE, VOTE = (f"{number:016x}" for number in range(1, 7))
FLAG = {"feedback.interaction": True}


def span(span_id, parent_id="", at=0, **attributes):
    """One span of the trace, by the arguments of ``add_span``."""
    names = {name.replace("__", "."): value for name, value in attributes.items()}
    start = STARTED + at * SECOND
    return {
        "span_id": span_id,
        "parent_id": parent_id,
        "start": start,
        "end": start + SECOND,
        "attributes": names,
        "name": span_id[-1],
    }


def with_(base, **more):
    """A span with more attributes."""
    return {**base, "attributes": {**base["attributes"], **more.pop("attributes", {})}, **more}


SERVER = span(ROOT, http__route="/ask")
CHAINED = span(CHAIN, ROOT, 1, openinference__span__kind="CHAIN")
RETRIEVED = span(
    SEARCH,
    CHAIN,
    2,
    **{
        "openinference__span__kind": "RETRIEVER",
        "retrieval.documents.0.document.id": "d1",
        "retrieval.documents.0.document.score": 0.5,
        "retrieval.documents.1.document.id": "d2",
    },
)
ANSWERED = span(
    CHAT,
    CHAIN,
    3,
    gen_ai__operation__name="chat",
    gen_ai__response__model="m-1",
    gen_ai__provider__name="openai",
    gen_ai__response__id="r-1",
    gen_ai__prompt__name="qa",
    gen_ai__prompt__version="v2",
    gen_ai__conversation__id="c-1",
    feedback__prompt__fingerprint="f" * 12,
    feedback__query__type="how-to",
)
WHOLE = (SERVER, CHAINED, RETRIEVED, ANSWERED)


def completed(*spans, targets=()):
    """The rows of answers in a trace, by the last digit of their span."""
    rows = complete_trace(stored(*spans), targets={(TRACE, target) for target in targets}, received_ns=RECEIVED)
    return {row.span_id[-1]: (row, documents) for row, documents in rows}


def test_a_flagged_request_learns_what_happened_below_it():
    """From a service whose interaction span said too little."""
    row, documents = completed(with_(SERVER, attributes=FLAG), *WHOLE[1:])["1"]
    assert row[:5] == (TRACE, ROOT, STARTED, SECOND, "1")
    assert row[5:12] == ("rag", "shop", "prod", "qa", "v2", "m-1", "how-to")
    assert row[12:] == ("f" * 12, "openai", "r-1", "c-1", None, None, True, True)
    assert [(d.rank, d.document_id, d.score, d.started_ns) for d in documents] == [
        (1, "d1", 0.5, STARTED),
        (2, "d2", None, STARTED),
    ]


def test_what_an_answer_says_itself_stands():
    """Its own facts and documents win over those below."""
    own = {
        **FLAG,
        "feedback.model": "own",
        "feedback.prompt.name": "mine",
        "feedback.query.type": "other",
        "feedback.documents": '["d9"]',
        "feedback.provider": "p",
    }
    row, documents = completed(with_(SERVER, attributes=own), *WHOLE[1:])["1"]
    assert (row.model, row.prompt_name, row.query_type, row.provider) == ("own", "mine", "other", "p")
    assert (row.prompt_version, row.response_id) == ("v2", "r-1")
    assert [document.document_id for document in documents] == ["d9"]


def test_a_judged_span_without_a_flag_is_an_answer_that_is_not_counted():
    """An inference takes the documents from beside it."""
    row, documents = completed(*WHOLE, targets=[CHAT])["4"]
    assert (row.flagged, row.complete, row.model, row.prompt_name) == (False, True, "m-1", "qa")
    assert [document.document_id for document in documents] == ["d1", "d2"]
    row, documents = completed(*WHOLE, targets=[CHAIN])["2"]
    assert (row.flagged, row.model, len(documents)) == (False, "m-1", 2)


def test_the_last_inference_gave_the_answer():
    """Whatever came first on the wire; an inference tells before an agent does."""
    agent = span(LATE, CHAIN, 9, gen_ai__operation__name="invoke_agent", gen_ai__request__model="agents")
    first = with_(span(VOTE, CHAIN, 0), attributes={"gen_ai.operation.name": "chat", "gen_ai.response.model": "m-0"})
    row, _ = completed(ANSWERED, agent, first, CHAINED, with_(SERVER, attributes=FLAG))["1"]
    assert row.model == "m-1"


def test_the_model_that_was_asked_for_is_better_than_none():
    """An inference that failed names no other."""
    asked = span(CHAT, ROOT, 1, gen_ai__operation__name="chat", gen_ai__request__model="asked")
    row, _ = completed(with_(SERVER, attributes=FLAG), asked)["1"]
    assert (row.model, row.complete) == ("asked", True)


def test_where_no_prompt_is_declared_the_place_names_it():
    """The route of a request, the name of a workflow, the name of another span."""
    assert completed(with_(SERVER, attributes=FLAG))["1"][0].prompt_name == "/ask"
    flow = span(ROOT, gen_ai__operation__name="invoke_workflow", gen_ai__workflow__name="Triage")
    assert completed(flow, targets=[ROOT])["1"][0].prompt_name == "Triage"
    assert completed(CHAINED, targets=[CHAIN])["2"][0].prompt_name == "2"
    row, _ = completed(span(ROOT), targets=[ROOT])["1"]
    assert (row.prompt_name, row.model, row.complete) == ("unknown", "unknown", False)


def test_only_answers_come_back():
    """Neither spans that nobody judged, nor judgements, nor targets that aren't there."""
    carrier = span(VOTE, ROOT, 5, feedback__signal="thumbs", feedback__model="not this")
    evaluator = span(LATE, ROOT, 6, openinference__span__kind="EVALUATOR", llm__model_name="judge")
    assert completed(*WHOLE) == {}
    found = completed(with_(SERVER, attributes=FLAG), carrier, evaluator, targets=[VOTE, LATE, "f" * 16])
    assert set(found) == {"1"}
    assert found["1"][0].model == "unknown"


def test_times_that_no_clock_can_have_shown_are_replaced():
    """A database has no year 2554."""
    row, _ = completed({**with_(SERVER, attributes=FLAG), "start": 2**64 - 1})["1"]
    assert (row.started_ns, row.duration_ns) == (RECEIVED, 0)
    [(row, _)] = complete_trace(stored({**with_(SERVER, attributes=FLAG), "start": 0}), targets=())
    assert row.started_ns > STARTED // 2


def test_circles_and_doubles_have_an_end():
    """Spans that name each other as parents, or themselves, or come twice."""
    circle = (span(ROOT, CHAIN, **FLAG), span(CHAIN, ROOT), span(CHAT, CHAT), span(CHAT, CHAT))
    assert set(completed(*circle, targets=[CHAT])) == {"4"} | set(completed(*circle))
    assert sorted(node.span.span_id for node in tree(stored(*circle))) == [ROOT, CHAIN, CHAT]
    assert exchange_of(stored(*circle), TRACE, CHAIN) == Exchange(None, None, None, {}, ())


def test_a_tree_has_parents_before_children_and_orphans_as_roots():
    """Siblings by their start, however they arrived."""
    orphan = span(LATE, "f" * 16, 2)
    early = span(VOTE, ROOT, 0)
    nodes = tree(stored(ANSWERED, orphan, RETRIEVED, CHAINED, early, SERVER))
    assert [(node.span.span_id[-1], node.depth) for node in nodes] == [
        ("1", 0),
        ("6", 1),
        ("2", 1),
        ("3", 2),
        ("4", 2),
        ("5", 0),
    ]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 3)), max_size=8))
def test_a_tree_has_every_span_once(shape):
    """Any parents at all."""
    spans = stored(*(span(f"{own + 1:016x}", f"{parent:016x}", at) for own, parent, at in shape)) if shape else []
    nodes = tree(spans)
    assert sorted(node.span.span_id for node in nodes) == sorted({own.span_id for own in spans})
    complete_trace(spans, targets={(TRACE, each.span_id) for each in spans})


ASKED = {"gen_ai.input.messages": messages(("system", "Be brief."), ("user", "Reworded?"))}
SAID = {"gen_ai.output.messages": messages(("assistant", "This."))}


def test_the_exchange_of_an_answer_comes_from_its_own_span_and_from_below():
    """Question and answer of the request, prompt as sent and variables of the last inference."""
    chat = with_(
        ANSWERED, attributes={**ASKED, **SAID, "gen_ai.prompt.variable.topic": "x", "gen_ai.prompt.variable.n": 5}
    )
    spans = stored(with_(CHAINED, attributes={"input.value": "Original?"}), RETRIEVED, chat, SERVER)
    exchange = exchange_of(spans, TRACE, ROOT)
    assert exchange[:4] == ("Original?", "This.", "Be brief.", {"topic": "x", "n": "5"})
    assert [(message.role, message.text) for message in exchange.messages] == [
        ("system", "Be brief."),
        ("user", "Reworded?"),
    ]
    assert exchange_of(spans, TRACE, CHAT)[:3] == ("Reworded?", "This.", "Be brief.")
    assert exchange_of(spans, TRACE, "f" * 16) == Exchange(None, None, None, {}, ())


def test_an_exchange_is_there_without_an_inference():
    """A chain tells what it got and gave."""
    spans = stored(SERVER, with_(CHAINED, attributes={"input.value": "Q", "output.value": "A"}))
    assert exchange_of(spans, TRACE, ROOT) == Exchange("Q", "A", None, {}, ())


@pytest.mark.parametrize("chunk", [b"", b"no zstd", pack(b"\xff"), pack(b"\x0a\x00")[:-1]])
def test_a_damaged_chunk_is_said_to_be_damaged(chunk):
    """And nothing of it is read."""
    with pytest.raises(ValueError, match="damaged"):
        list(unpack(chunk))
