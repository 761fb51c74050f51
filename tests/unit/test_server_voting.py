"""Capture on the store: the same span as everywhere, durable when it is answered, and minds changed over restarts."""

import contextlib
import threading

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tests.unit.server_parts import SPAN, TRACE, export, get, held, request, serving, span, vote

from otel_feedback import semconv
from otel_feedback._carrier import Carrier, SpanDelivery
from otel_feedback._guard import forget_warnings
from otel_feedback._votes import Ballot, VoteKey
from otel_feedback.exceptions import ConfigurationError, DeliveryError
from otel_feedback.intake import unpack
from otel_feedback.server.seals import Seals
from otel_feedback.server.voting import StoreDelivery, StoreVoteBook, request_of
from otel_feedback.store import Store
from otel_feedback.testing import TEST_KEYS

ID = f"{TRACE}-{SPAN}"


@pytest.fixture
def server(tmp_path):
    """A server of the test's own."""
    with serving(tmp_path / "d") as server:
        yield server


def votes(server):
    """All feedback on the answer."""
    return server.store.votes_of(TRACE, SPAN)


def row(server):
    """The one row of satisfaction."""
    (row,) = get(server, "/api/satisfaction")["rows"]
    return row


def test_a_vote_is_durable_when_it_is_answered(server):
    """202, and it is in the store, joined to its answer, with its words."""
    export(server.otlp_grpc, request())
    answer = vote(server, "down", id="v1", comment="Outdated.", reasons=["outdated"])
    assert (answer.status, answer.json()) == (202, {"id": "v1"})
    (one,) = votes(server)
    assert (one.sentiment, one.previous_sentiment, one.first, one.source) == ("negative", "unset", True, "capture")
    assert (one.prompt_name, one.model) == ("qa", "m-1")
    detail = get(server, f"/api/answers/{ID}")
    assert [each["comment"] for each in detail["feedback"]] == ["Outdated."]


def test_a_vote_is_not_answered_before_it_is_durable(server):
    """While the writer is held there is no answer."""
    answers = []
    with held(server.store):
        sender = threading.Thread(target=lambda: answers.append(vote(server, "up")))
        sender.start()
        sender.join(0.2)
        assert not answers
    sender.join()
    assert answers[0].status == 202


def test_a_change_of_mind_survives_two_restarts(tmp_path):
    """What the vote was before is known, and the answer counts once."""
    for value, previous in (("down", "unset"), ("up", "negative"), (None, "positive")):
        with serving(tmp_path / "d") as server:
            if previous == "unset":
                export(server.otlp_grpc, request())
            assert vote(server, value).status == 202
            last = votes(server)[-1]
            assert (last.previous_sentiment, last.first) == (previous, previous == "unset")
            found = row(server)
    assert (found["interactions"], found["positive"], found["negative"], found["retracted"]) == (1, 0, 0, 1)


def test_the_same_id_is_recorded_once_over_a_restart(tmp_path):
    """A sender that has not heard the answer sends it again."""
    for _ in range(2):
        with serving(tmp_path / "d") as server:
            assert vote(server, "up", id="v1").status == 202
            assert len(votes(server)) == 1


def test_votes_that_come_as_spans_count_as_well(server):
    """What a service recorded itself is what the next click changes."""
    body = request_of(carrier(semconv.NEGATIVE, "s1")).SerializeToString()
    export(server.otlp_grpc, body)
    vote(server, "up")
    assert [one.previous_sentiment for one in votes(server)] == ["unset", "negative"]


def test_a_full_disk_refuses_votes_and_takes_them_when_there_is_room(server, monkeypatch):
    """503 with the time to wait, and nothing was recorded."""
    with monkeypatch.context() as full:
        full.setattr(server.store._folder, "room", lambda: 0)
        answer = vote(server, "up", id="v1")
        assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    assert not votes(server)
    assert vote(server, "up", id="v1").status == 202
    assert votes(server)[0].first


def test_a_handle_of_another_key_is_refused(server, monkeypatch):
    """401, as the capture endpoint has it everywhere."""
    other = server.running.options.data.parent / "other"
    monkeypatch.setattr("tests.unit.server_parts.Keyring.from_state_dir", lambda _: _other_keys(other))
    assert vote(server, "up").status == 401


def _other_keys(_):
    from otel_feedback._handle import Keyring

    return Keyring.from_text("o:HS256:" + "b" * 43)


def test_keys_of_the_environment_come_first(tmp_path, monkeypatch):
    """And none is made in the data folder."""
    monkeypatch.setenv("OTEL_FEEDBACK_HANDLE_KEYS", TEST_KEYS)
    with serving(tmp_path / "d"):
        assert not (tmp_path / "d" / "handle-keys").exists()
    monkeypatch.setenv("OTEL_FEEDBACK_HANDLE_KEYS", "nonsense")
    with pytest.raises(ConfigurationError), serving(tmp_path / "d"):
        pass


def test_words_are_dropped_where_content_is(tmp_path):
    """The vote counts, the comment and the correction are nowhere in the folder."""
    with serving(tmp_path / "d", keep_content=False) as server:
        vote(server, "down", comment="xyzzy-comment")
        vote(server, None, signal="text", correction={"original": "xyzzy-a", "corrected": "xyzzy-b"})
        assert len(votes(server)) == 2
        with server.store.cursor() as cursor:
            for name in server.store.content_databases():
                assert not cursor.table(f"{name}.words").fetchall()
                for *_, data in cursor.table(f"{name}.chunks").fetchall():
                    assert all("xyzzy" not in str(one.span) for one in unpack(data))


def test_dropped_words_are_told_with_the_switch_of_this_command(tmp_path, caplog):
    """A variable of the service's would change nothing here."""
    forget_warnings()
    with serving(tmp_path / "d", keep_content=False) as server:
        vote(server, "down", comment="xyzzy")
    (said,) = [one.getMessage() for one in caplog.records if "is not recorded" in one.getMessage()]
    assert said.endswith("--keep-content keeps it.")
    assert "CAPTURE_TEXT" not in said
    assert "xyzzy" not in said


def carrier(sentiment="positive", name="f1", *, same_trace=False, sampled=True):
    """A carrier with every kind of value."""
    attributes = {
        semconv.FEEDBACK_TARGET_TRACE_ID: TRACE,
        semconv.FEEDBACK_TARGET_SPAN_ID: SPAN,
        semconv.FEEDBACK_TARGET_SAMPLED: sampled,
        semconv.FEEDBACK_ID: name,
        semconv.FEEDBACK_KIND: semconv.EXPLICIT,
        semconv.FEEDBACK_SIGNAL: "thumbs",
        semconv.FEEDBACK_SENTIMENT: sentiment,
        semconv.FEEDBACK_PREVIOUS_SENTIMENT: semconv.UNSET,
        semconv.FEEDBACK_FIRST: True,
        semconv.FEEDBACK_REASONS: ("a", "b"),
        semconv.FEEDBACK_CONFIDENCE: 0.5,
        "n": 3,
    }
    events = (("feedback.correction", {"feedback.correction.original": "x"}),)
    ids = int(TRACE, 16), int(SPAN, 16)
    return Carrier("feedback thumbs", 1_790_000_000_000_000_000, *ids, sampled, same_trace, attributes, events)


@pytest.mark.parametrize("sampled", [True, False])
@pytest.mark.parametrize("same_trace", [True, False])
def test_the_span_is_the_one_that_every_delivery_sends(same_trace, sampled):
    """Name, place, times, values, events, link and scope are those of the exported span, but for new ids."""
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

    given = carrier(same_trace=same_trace and sampled, sampled=sampled)
    exporter = InMemorySpanExporter()
    delivery = SpanDelivery(exporter=exporter)
    delivery.submit(given)
    delivery.flush()
    sent = encode_spans(exporter.get_finished_spans())
    delivery.shutdown()
    ours = request_of(given)
    theirs, own = sent.resource_spans[0].scope_spans[0], ours.resource_spans[0].scope_spans[0]
    for one in (theirs.spans[0], own.spans[0]):
        assert len(one.span_id) == 8
        assert (one.trace_id.hex() == TRACE) is (same_trace and sampled)
        one.span_id = bytes(8)
        if not (same_trace and sampled):
            one.trace_id = bytes(16)
        one.ClearField("status")
    assert own.spans[0] == theirs.spans[0]
    assert (own.scope.name, own.scope.version, own.schema_url) == (
        theirs.scope.name,
        theirs.scope.version,
        theirs.schema_url,
    )


@pytest.fixture
def store(tmp_path):
    """A store alone."""
    with contextlib.closing(Store.open(tmp_path / "s")) as store:
        yield store


@pytest.fixture
def seals(tmp_path):
    """The seals of that store."""
    with contextlib.closing(Seals(tmp_path / "s")) as seals:
        yield seals


def cast(store, sentiment, name="x", *, submitter=None, deliver=lambda _: None, explicit=True):
    """Cast a vote that goes nowhere unless told."""
    key = VoteKey(int(TRACE, 16), int(SPAN, 16), "thumbs", submitter)
    with contextlib.closing(Seals(store.path)) as seals:
        return StoreVoteBook(store, seals).cast(Ballot(key, name, sentiment, explicit), deliver)


def test_votes_of_others_and_derived_ones_are_not_the_first_vote(store):
    """What somebody else said makes this vote none but the second opinion; a derived signal is no opinion."""
    assert cast(store, "positive").first
    assert not cast(store, "positive", explicit=False).first
    assert not cast(store, "retracted").first
    StoreDelivery(store, keep_content=True).submit(carrier())
    other = cast(store, "negative", submitter="k:somebody")
    assert (other.previous_sentiment, other.revises, other.first) == ("unset", None, False)
    repeated = cast(store, "negative", name="f1", deliver=lambda _: pytest.fail("it was delivered"))
    assert repeated.repeated


def test_what_a_delivery_raises_changes_nothing(store):
    """The next one follows the state before."""

    def fail(_):
        raise DeliveryError("no")

    with pytest.raises(DeliveryError):
        cast(store, "positive", deliver=fail)
    assert cast(store, "positive").first


def test_a_store_that_is_closed_takes_no_votes(store):
    """A DeliveryError, for the sender to come again."""
    store.close()
    with pytest.raises(DeliveryError):
        cast(store, "positive")
    with pytest.raises(DeliveryError):
        StoreDelivery(store, keep_content=True).submit(carrier())


def test_a_carrier_that_the_intake_refuses_is_not_taken(store):
    """It can only be one of a broken caller; it is told."""
    broken = carrier()
    with pytest.raises(DeliveryError):
        StoreDelivery(store, keep_content=True).submit(
            Carrier("x", 1, 0, 0, True, True, broken.attributes, broken.events)
        )


def test_votes_on_one_answer_wait_for_each_other_and_for_no_others(store, seals):
    """While one is delivered a second on the same answer waits, and one on another does not."""
    book = StoreVoteBook(store, seals)
    inside, go_on, done = threading.Event(), threading.Event(), []

    def slow(_):
        inside.set()
        go_on.wait(30)

    def cast_on(trace_id, deliver):
        key = VoteKey(trace_id, 1, "thumbs", None)
        book.cast(Ballot(key, str(trace_id), "positive", explicit=True), deliver)
        done.append(trace_id)

    first = threading.Thread(target=cast_on, args=(1, slow))
    first.start()
    assert inside.wait(30)
    cast_on(2, lambda _: None)
    second = threading.Thread(target=cast_on, args=(1, lambda _: None))
    second.start()
    second.join(0.1)
    assert done == [2]
    go_on.set()
    first.join()
    second.join()
    assert sorted(done) == [1, 1, 2]
    assert not book._locks


def test_many_at_once_on_one_answer_make_one_chain(server):
    """Each revises another: none is lost, one is first, one stands."""
    export(server.otlp_grpc, request(span(interaction=True)))
    values = ["up", "down"] * 8
    threads = [threading.Thread(target=vote, args=(server, value)) for value in values]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    given = votes(server)
    assert len(given) == len(values)
    assert [one.first for one in given].count(True) == 1
    assert len({one.revises for one in given}) == len(values)
    assert row(server)["voted"] == 1


def test_services_of_this_machine_share_no_limit(server):
    """On loopback all have one address: more than a minute's requests of one client are still looked at."""
    statuses = {vote(server, "up", handle="x").status for _ in range(620)}
    assert statuses == {401}
