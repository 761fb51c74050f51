"""What a request with spans becomes: the index of raw spans, answers, documents; and which spans are left out."""

import pytest
from tests.unit.intake_parts import (
    PARENT,
    RAG,
    RECEIVED,
    SECOND,
    SPAN,
    STARTED,
    TRACE,
    kept_names,
    members,
    put,
    read,
    read_sdk,
    request,
    stored,
)

from otel_feedback import interaction
from otel_feedback.intake import InteractionRow, StoredSpan, read_traces, spans, unpack

FLAGGED = {"feedback.interaction": True, "feedback.model": "m-1"}


def answer(attributes, **options):
    """The one answer among the rows of one span."""
    [row] = read({"attributes": attributes}, **options).interactions
    return row


def test_an_answer_that_our_processor_marked_is_read_as_it_was_written(seen, host):
    """A request with retrieval and a model call, through the SDK and its exporter."""
    with host.request():
        host.retrieve("d1", "d2")
        host.chat(model="m-1", **{"gen_ai.response.id": "r-1", "gen_ai.conversation.id": "c-1"})
    batch = read_sdk(seen.exporter.get_finished_spans())
    [row] = batch.interactions
    assert row == InteractionRow(
        trace_id=f"{1:032x}",
        span_id=f"{1:016x}",
        started_ns=STARTED,
        duration_ns=row.duration_ns,
        name="POST /ask",
        service="test",
        namespace="unknown",
        environment="unknown",
        prompt_name="/ask",
        prompt_version="unknown",
        model="m-1",
        query_type="unknown",
        prompt_fingerprint=None,
        provider="openai",
        response_id="r-1",
        conversation_id="c-1",
        user_hash=None,
        error=None,
        flagged=True,
        complete=True,
    )
    assert [(d.rank, d.document_id, d.span_id) for d in batch.documents] == [
        (1, "d1", row.span_id),
        (2, "d2", row.span_id),
    ]
    assert batch.spans == 3
    assert batch.telling == {row.trace_id}
    assert batch.scopes == {"host"}


def test_an_answer_that_interaction_opened_is_read_as_it_was_written(seen):
    """Query type, user, documents with scores."""
    with interaction("answer", query_type="how-to", user="u-1", tracer_provider=seen.provider) as answer:
        answer.documents([("d1", 0.5)])
    batch = read_sdk(seen.exporter.get_finished_spans())
    [row] = batch.interactions
    assert (row.name, row.query_type, row.prompt_name, row.complete) == (
        "invoke_workflow answer",
        "how-to",
        "answer",
        False,
    )
    assert batch.documents[0][2:] == (row.started_ns, 1, "d1", 0.5)


def test_what_an_answer_does_not_say_reads_unknown():
    """Labels are never NULL; who answers comes from the resource then."""
    row = answer({"feedback.interaction": True})
    assert row == InteractionRow(
        *(TRACE, SPAN, STARTED, SECOND, "work", "rag", "shop", "prod", "unknown", "unknown", "unknown", "unknown"),
        *(None,) * 6,
        True,
        False,
    )


def test_who_answers_is_what_the_span_says_before_its_resource():
    """A gateway may send another service's spans."""
    own = {"feedback.service.name": "a", "feedback.service.namespace": "b", "feedback.environment": "c"}
    assert answer({**FLAGGED, **own})[5:8] == ("a", "b", "c")


def test_an_older_resource_names_its_environment_otherwise():
    """The attribute was renamed."""
    old = {"deployment.environment": "test"}
    assert answer(FLAGGED, resource=old).environment == "test"
    assert answer(FLAGGED, resource={}).service == "unknown"
    assert answer(FLAGGED, resource={**old, "deployment.environment.name": "new"}).environment == "new"


def test_an_inference_that_is_itself_the_answer_knows_the_model_that_answered():
    """At its start only the model that was asked for was known."""
    row = answer({**FLAGGED, "gen_ai.operation.name": "chat", "gen_ai.response.model": "m-1-2026"})
    assert (row.model, row.complete) == ("m-1-2026", True)
    row = answer({"feedback.interaction": True, "gen_ai.operation.name": "chat", "gen_ai.request.model": "asked"})
    assert (row.model, row.complete) == ("asked", False)


@pytest.mark.parametrize("flag", [False, "true", 1, None, [True]])
def test_only_true_makes_an_answer(flag):
    """Our processor takes a flag back by False."""
    assert not read({"attributes": {"feedback.interaction": flag, "feedback.model": "m"}}).interactions


def test_facts_that_are_too_long_are_left_out():
    """As on carriers; names are cut."""
    batch = read({"attributes": {**FLAGGED, "feedback.model": "m" * 1025, "user.hash": "u" * 1025}, "name": "n" * 5000})
    [row] = batch.interactions
    assert (row.model, row.user_hash, len(row.name)) == ("unknown", None, 1024)
    long = [{"id": "d" * 1025}, {"id": "d"}]
    batch = read({"attributes": {**FLAGGED, "gen_ai.retrieval.documents": long}})
    assert [(row.rank, row.document_id) for row in batch.documents] == [(1, "d")]


def test_what_a_database_cannot_hold_is_replaced():
    """NUL in names, facts, ids of documents and the resource; half an emoji in JSON."""
    attributes = {**FLAGGED, "feedback.model": "m\0", "feedback.documents": '[{"id": "a\\u0000\\ud83d"}]'}
    batch = read({"attributes": attributes, "name": "n\0"}, resource={"service.name": "s\0"}, scope="c\0")
    assert batch.interactions[0][4:6] == ("n\ufffd", "s\ufffd")
    assert batch.interactions[0].model == "m\ufffd"
    assert batch.services == {"s\ufffd"}
    assert batch.documents[0].document_id == "a\ufffd\ufffd"
    assert batch.scopes == {"c\ufffd"}


def test_a_span_that_tells_nothing_is_in_the_index_alone():
    """Most spans of a service."""
    batch = read({"attributes": {"http.request.method": "GET", "feedback": "x"}, "parent_id": PARENT})
    assert members(batch) == [(TRACE, SPAN, PARENT, STARTED // 1000)]
    assert batch.services == {"rag"}
    assert not any((batch.interactions, batch.feedback, batch.texts, batch.evaluations, batch.telling))


def test_a_parent_id_that_is_none_makes_a_root():
    """Zero, or of another length."""
    for parent in ("0" * 16, "abcd"):
        batch = read({"parent_id": parent, "attributes": FLAGGED})
        assert members(batch) == [(TRACE, SPAN, "", STARTED // 1000)]
        assert [kept.parent_id for kept in unpack(batch.chunk)] == [""]


def test_the_spans_of_one_trace_are_one_row_of_the_index():
    """With how many they are, and when the first and the last of them started."""
    other = {"trace_id": "ee" * 16, "start": STARTED - SECOND}
    batch = read({"start": STARTED + SECOND}, other, {"span_id": PARENT}, {"span_id": "ab" * 8, "start": STARTED + 999})
    assert [row[:4] for row in batch.traces] == [
        (TRACE, STARTED // 1000, (STARTED + SECOND) // 1000, 3),
        ("ee" * 16, (STARTED - SECOND) // 1000, (STARTED - SECOND) // 1000, 1),
    ]
    assert [member[1] for member in members(batch)] == [SPAN, PARENT, "ab" * 8, SPAN]


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (0, STARTED, (RECEIVED, 0)),
        (1, 2, (RECEIVED, 0)),
        (2**64 - 1, 2**64 - 1, (RECEIVED, 0)),
        (RECEIVED + 86_401 * SECOND, RECEIVED, (RECEIVED, 0)),
        (RECEIVED + 3600 * SECOND, RECEIVED + 3601 * SECOND, (RECEIVED + 3600 * SECOND, SECOND)),
        (STARTED, STARTED - 1, (STARTED, 0)),
        (STARTED, 0, (STARTED, 0)),
        (STARTED, 2**64 - 1, (STARTED, 0)),
    ],
)
def test_times_that_no_clock_can_have_shown_are_replaced(start, end, expected):
    """In rows; the raw span stays as it came."""
    sent = {"start": start, "end": end, "attributes": FLAGGED}
    batch = read(sent)
    assert batch.interactions[0][2:4] == expected
    assert members(batch)[0][3] == expected[0] // 1000
    [kept] = unpack(batch.chunk)
    assert (kept.span.start_time_unix_nano, kept.span.end_time_unix_nano) == (start, end)


def test_the_chunk_holds_the_spans_as_they_came():
    """The request's own bytes where there are any, unknown fields included."""
    sent = request({"attributes": {"http.route": "/"}, "parent_id": PARENT}, {"span_id": PARENT})
    raw = sent.SerializeToString() + b"\xfa\x3f\x03new"  # a field that no version of the protocol has yet
    batch = read_traces(sent, received_ns=RECEIVED, raw=raw)
    first, second = unpack(batch.chunk)
    span = sent.resource_spans[0].scope_spans[0].spans[0]
    assert first == StoredSpan(TRACE, SPAN, PARENT, span, RAG, "scope", "")
    assert second.span_id == PARENT
    assert batch.size == len(raw)
    assert stored({"parent_id": PARENT, "attributes": {"http.route": "/"}}) == [first]


BAD_IDS = [
    {"trace_id": ""},
    {"trace_id": "0" * 32},
    {"trace_id": "ab"},
    {"trace_id": "ab" * 17},
    {"span_id": ""},
    {"span_id": "0" * 16},
    {"span_id": "ab" * 9},
]


@pytest.mark.parametrize("bad", BAD_IDS)
@pytest.mark.parametrize("with_raw", [True, False])
def test_a_span_without_ids_is_left_out_alone(bad, with_raw):
    """The rest of the request is kept, in rows and in raw."""
    sent = request({"name": "a"}, {"name": "b", **bad}, {"name": "c", "span_id": PARENT})
    raw = sent.SerializeToString() if with_raw else None
    batch = read_traces(sent, received_ns=RECEIVED, raw=raw)
    assert kept_names(batch) == ["a", "c"]
    assert [member[1] for member in members(batch)] == [SPAN, PARENT]
    assert batch.rejected == 1
    assert batch.message == "A span was left out: its trace id or span id is no id, or a text of it is no UTF-8."


def test_a_span_that_is_too_large_is_left_out_alone(monkeypatch):
    """By bytes, and by numbers of attributes, events and links."""
    monkeypatch.setattr(spans, "MAX_SPAN", 2000)
    monkeypatch.setattr(spans, "MAX_ATTRIBUTES", 3)
    few = {str(number): number for number in range(3)}
    batch = read(
        {"name": "fits", "attributes": few},
        {"attributes": {"big": "x" * 2000}},
        {"attributes": {**few, "one more": 1}},
        {"events": [("e", {})] * 4},
        {"links": [(TRACE, SPAN)] * 4},
    )
    assert kept_names(batch) == ["fits"]
    assert batch.rejected == 4
    assert batch.message == "A span was left out: it has more than 2000 bytes; so were others."


def test_where_no_span_is_left_there_is_no_chunk():
    """Nothing is written then."""
    batch = read({"trace_id": ""})
    assert (batch.chunk, batch.traces, batch.services, batch.rejected) == (None, [], set(), 1)
    assert read().chunk is None


def test_a_span_that_comes_twice_is_two_rows():
    """The store keeps one."""
    assert len(read({"attributes": FLAGGED}, {"attributes": FLAGGED}).interactions) == 2


def test_a_huge_resource_says_nothing():
    """It is kept, and not read."""
    many = {str(number): "" for number in range(10_001)}
    assert read({}, resource={**many, "service.name": "s"}).services == {"unknown"}


def test_of_attributes_with_one_name_the_last_counts():
    """The protocol forbids them; senders do it."""
    sent = request({"attributes": FLAGGED})
    put(sent.resource_spans[0].scope_spans[0].spans[0].attributes, {"feedback.model": "m-2"})
    assert read_traces(sent, received_ns=RECEIVED).interactions[0].model == "m-2"


def test_the_preview_of_an_open_span_is_no_answer():
    """Logfire sends a copy of each span at its start, under another id."""
    batch = read({"attributes": {**FLAGGED, "logfire.span_type": "pending_span"}})
    assert batch.spans == 1
    assert not batch.interactions
    assert not batch.telling


def test_names_that_hold_ids_do_not_fill_the_memory(monkeypatch):
    """What is remembered of names is forgotten when there are too many, and long ones aren't remembered."""
    from otel_feedback.intake import _names

    monkeypatch.setattr(_names, "_REMEMBERED", 50)
    monkeypatch.setattr(_names, "_kinds", {})
    monkeypatch.setattr(_names, "_dull", set())
    for number in range(200):
        batch = read({"attributes": {f"user.{number}": 1, "long" * 100: 1, **FLAGGED}})
        assert batch.interactions
    assert len(_names._kinds) <= 50
    assert not any(len(name) > 256 for name in _names._kinds)
