"""Whose vote it is, in the one process: the nonce of its first feedback decides, after a restart and a crash, too."""

import contextlib
import json
import sqlite3
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.outbox_parts import MEMORY
from tests.unit.server_parts import SPAN, TRACE, ask, export, request, serving, span, vote

from otel_feedback import semconv
from otel_feedback._carrier import Carrier
from otel_feedback._votes import Ballot, MemoryVoteBook, VoteKey, digest
from otel_feedback.exceptions import ConfigurationError, DeliveryError, VoteConflictError
from otel_feedback.outbox._book import GRACE_SECONDS
from otel_feedback.server.seals import VOTERS_FILE, Seals
from otel_feedback.server.voting import StoreDelivery, StoreVoteBook
from otel_feedback.store import Store
from otel_feedback.testing import START

MINE, THEIRS = "m" * 16, "t" * 16


class Book:
    """A vote book on a store, and the carriers that it is to have delivered."""

    def __init__(self, folder):
        self.store = Store.open(folder)
        self.seals = Seals(folder, clock=lambda: START)
        self.book = StoreVoteBook(self.store, self.seals)
        self.delivery = StoreDelivery(self.store, keep_content=True, clock=lambda: START * 10**9)

    def cast(self, name, sentiment="positive", *, nonce=None, signal="thumbs", submitter=None, deliver=None):
        key = VoteKey(int(TRACE, 16), int(SPAN, 16), signal, submitter)
        ballot = Ballot(key, name, sentiment, explicit=True, nonce=nonce)
        return self.book.cast(ballot, deliver or (lambda transition: self.deliver(ballot, transition)))

    def deliver(self, ballot, transition):
        self.delivery.submit(carrier_of(ballot, transition))

    def close(self):
        self.store.close()
        self.seals.close()


def carrier_of(ballot, transition):
    attributes = {
        semconv.FEEDBACK_TARGET_TRACE_ID: TRACE,
        semconv.FEEDBACK_TARGET_SPAN_ID: SPAN,
        semconv.FEEDBACK_TARGET_SAMPLED: True,
        semconv.FEEDBACK_ID: ballot.id,
        semconv.FEEDBACK_KIND: semconv.EXPLICIT,
        semconv.FEEDBACK_SIGNAL: ballot.key.signal,
        semconv.FEEDBACK_SENTIMENT: ballot.sentiment,
        semconv.FEEDBACK_PREVIOUS_SENTIMENT: transition.previous_sentiment,
        **({semconv.FEEDBACK_REVISES: transition.revises} if transition.revises else {}),
        **({semconv.USER_HASH: ballot.key.submitter} if ballot.key.submitter else {}),
    }
    ids = int(TRACE, 16), int(SPAN, 16)
    return Carrier(f"feedback {ballot.key.signal}", START * 10**9, *ids, True, False, attributes, ())


@pytest.fixture
def book(tmp_path, own_process):
    with contextlib.closing(Book(tmp_path / "s")) as book:
        yield book


def crash(_):
    """What a process that is killed before its carrier is written comes to."""
    raise DeliveryError("killed")


def test_a_vote_is_its_browsers_over_a_restart(tmp_path):
    """409 to another one, and to who has none; the one that gave it changes it."""
    with serving(tmp_path / "d") as server:
        export(server.otlp_grpc, request(span(interaction=True)))
        assert vote(server, "up", nonce=MINE).status == 202
        assert vote(server, "down", nonce=THEIRS).status == 409
    with serving(tmp_path / "d") as server:
        refused = vote(server, "down", nonce=THEIRS)
        assert (refused.status, refused.headers["content-type"]) == (409, "application/problem+json")
        assert vote(server, "down").status == 409
        assert vote(server, "down", nonce=MINE).status == 202
        assert vote(server, 1, signal="stars", nonce=THEIRS).status == 202
        given = server.store.votes_of(TRACE, SPAN)
        assert sorted((each.signal, each.sentiment) for each in given) == [
            ("stars", "negative"),
            ("thumbs", "negative"),
            ("thumbs", "positive"),
        ]


def test_a_repetition_is_one_whoever_sends_it(book):
    """A retry is answered as the first time; it changes nothing."""
    book.cast("a", nonce=MINE)
    assert book.cast("a", nonce=THEIRS).repeated


def test_a_vote_without_a_nonce_is_nobodys_alone(book):
    """The first feedback decides, as everywhere."""
    book.cast("a")
    assert book.cast("b", "negative", nonce=MINE).revises == "a"
    assert book.cast("c", nonce=THEIRS).revises == "b"


def test_a_crash_before_the_vote_was_written_binds_nobody(book):
    """The next to vote is the first, and it is theirs."""
    with pytest.raises(DeliveryError):
        book.cast("a", nonce=MINE, deliver=crash)
    assert book.cast("b", nonce=THEIRS).previous_sentiment == "unset"
    with pytest.raises(VoteConflictError):
        book.cast("a", "negative", nonce=MINE)
    assert book.cast("c", "negative", nonce=THEIRS).revises == "b"


def test_a_crash_before_the_vote_was_written_leaves_it_to_who_sends_no_nonce(book):
    """Nothing is left of the seal that was written for it, though what it came with is sent again."""
    with pytest.raises(DeliveryError):
        book.cast("a", nonce=MINE, deliver=crash)
    book.cast("b")
    assert book.cast("a", nonce=MINE).revises == "b"
    assert book.cast("c", nonce=THEIRS).revises == "a"


def test_what_is_sent_again_without_its_nonce_is_nobodys_alone(book):
    """The first time that it was written decides."""
    with pytest.raises(DeliveryError):
        book.cast("a", nonce=MINE, deliver=crash)
    book.cast("a")
    assert book.cast("b", nonce=THEIRS).revises == "a"


def test_a_crash_after_the_vote_was_written_leaves_it_to_its_author(book):
    """It was not acknowledged, but it is there: the retry is a repetition, and it is theirs."""

    def written_and_killed(transition):
        book.deliver(Ballot(VoteKey(int(TRACE, 16), int(SPAN, 16), "thumbs", None), "a", "positive", True), transition)
        raise DeliveryError("killed")

    with pytest.raises(DeliveryError):
        book.cast("a", nonce=MINE, deliver=written_and_killed)
    with pytest.raises(VoteConflictError):
        book.cast("b", "negative", nonce=THEIRS)
    assert book.cast("a", nonce=MINE).repeated
    assert book.cast("c", "negative", nonce=MINE).revises == "a"


DIE = """
import os, sys
from pathlib import Path
from tests.unit.test_server_seals import MINE, Book
book = Book(Path(sys.argv[1]))
book.cast("a", nonce=MINE, deliver=lambda _: os._exit(9))
"""


def test_a_process_that_is_killed_between_the_two(tmp_path, own_process):
    """The seal is on the disk before the carrier is; without it, it means nothing."""
    done = subprocess.run([sys.executable, "-c", DIE, str(tmp_path / "s")], check=False, timeout=60)
    assert done.returncode == 9
    with contextlib.closing(Book(tmp_path / "s")) as book:
        with contextlib.closing(sqlite3.connect(tmp_path / "s" / VOTERS_FILE)) as connection:
            assert connection.execute("SELECT count(*) FROM seals").fetchone() == (1,)
        assert book.cast("b", nonce=THEIRS).previous_sentiment == "unset"
        assert book.cast("c", nonce=THEIRS).revises == "b"


def test_a_vote_that_came_by_another_way_is_nobodys_alone(book):
    """Such as one that a capture elsewhere sent: who gave it isn't known here, though a seal was left before."""
    with pytest.raises(DeliveryError):
        book.cast("a", nonce=MINE, deliver=crash)
    ballot = Ballot(VoteKey(int(TRACE, 16), int(SPAN, 16), "thumbs", None), "elsewhere", "positive", explicit=True)
    MemoryVoteBook().cast(ballot, lambda transition: book.deliver(ballot, transition))
    assert book.cast("a", nonce=MINE).revises == "elsewhere"
    assert book.cast("b", "negative", nonce=THEIRS).revises == "a"


def test_the_file_is_its_owners_and_holds_no_secret(tmp_path, book):
    """Mode 0600; digests only."""
    book.cast("a", nonce=MINE, submitter="k1:0123")
    files = list((tmp_path / "s").glob(f"{VOTERS_FILE}*"))
    assert {stat.S_IMODE(each.stat().st_mode) for each in files} == {0o600}
    content = b"".join(each.read_bytes() for each in files)
    assert not [each for each in (MINE, "k1:0123", TRACE) if each.encode() in content]


def test_seals_are_forgotten_when_no_handle_can_change_the_vote(tmp_path):
    """A day after the last one that voted has expired."""
    now = [START]
    key = VoteKey(1, 2, "thumbs", None)
    with contextlib.closing(Seals(tmp_path, clock=lambda: now[0])) as seals:

        def of(expires_at):
            ballot = Ballot(key, "a", "positive", True, MINE, expires_at)
            return seals.seal_of(ballot, [digest("a")])

        seals.put(Ballot(key, "a", "positive", True, MINE, START + 10))
        assert of(START + 10) is not None
        now[0] = START + 10 + GRACE_SECONDS
        assert of(START + 20) is not None
        now[0] = START + 20 + GRACE_SECONDS
        assert of(START + 5) is not None
        now[0] += 1
        assert of(START + 5) is None


def test_a_file_that_cant_be_used_is_told_at_the_start(tmp_path):
    """With what it means to move it away."""
    folder = tmp_path / "d"
    folder.mkdir()
    (folder / VOTERS_FILE).write_bytes(b"nonsense" * 1000)
    with pytest.raises(ConfigurationError, match=r"Move it away: a new one is made"), serving(folder):
        pass


def test_a_file_that_fails_later_refuses_votes(book):
    """503 for the sender to come again; nothing of it was recorded."""
    book.cast("a", nonce=MINE)
    book.seals.close()
    with pytest.raises(DeliveryError, match=VOTERS_FILE):
        book.cast("b", "negative", nonce=MINE)
    with pytest.raises(DeliveryError, match=VOTERS_FILE):
        book.cast("x", signal="stars", nonce=MINE)
    assert len(book.store.votes_of(TRACE, SPAN)) == 1


CASTS = st.lists(
    st.tuples(
        st.integers(0, 9),
        st.sampled_from(["positive", "negative", "retracted"]),
        st.sampled_from([None, MINE, THEIRS]),
        st.sampled_from(["thumbs", "stars"]),
        st.sampled_from([None, None, "k1:ab"]),
        st.sampled_from(["", "", "crash", "restart"]),
    ),
    max_size=10,
)


@settings(max_examples=15, deadline=None)
@given(casts=CASTS)
def test_the_book_on_a_store_is_the_book_in_memory(casts):
    """For any sequence, with crashes before the carrier and with restarts."""
    memory = MemoryVoteBook()
    with tempfile.TemporaryDirectory(dir=MEMORY) as name:
        book = Book(Path(name))
        for number, sentiment, nonce, signal, submitter, event in casts:
            if event == "restart":
                book.close()
                book = Book(Path(name))
            key = VoteKey(int(TRACE, 16), int(SPAN, 16), signal, submitter)
            ballot = Ballot(key, str(number), sentiment, explicit=True, nonce=nonce)
            deliver = crash if event == "crash" else None
            real = outcome(
                lambda b=book, d=deliver, n=number, s=sentiment, e=nonce, g=signal, u=submitter: b.cast(
                    str(n), s, nonce=e, signal=g, submitter=u, deliver=d
                )
            )
            assert real == outcome(lambda b=ballot, d=deliver: memory.cast(b, d or (lambda _: None)))
        book.close()


def outcome(cast):
    try:
        return cast()
    except (DeliveryError, VoteConflictError) as error:
        return type(error)


def test_what_capture_serves_is_served_here(tmp_path):
    """The widget, by its name and its hash, and the description; and nothing of a folder's beside it."""
    with serving(tmp_path / "d") as server:
        assert "customElements" in ask(server.url, "GET", "/v1/widget.js").body.decode()
        assert ask(server.url, "GET", "/v1/openapi.json").json()["openapi"].startswith("3.")
        assert ask(server.url, "GET", "/v1/widget-0.js").status == 404
        assert ask(server.url, "GET", "/v1/other").status == 404


def test_rates_are_limited_here_too(tmp_path):
    """So much feedback on one answer in a minute, on a loopback address as well."""
    with serving(tmp_path / "d") as server:
        statuses = [vote(server, "up", id="same").status for _ in range(31)]
        assert statuses == [202] * 30 + [429]
        last = vote(server, "up", id="same")
        assert 0 < int(last.headers["retry-after"]) <= 60
        assert json.loads(last.body)["status"] == 429
