"""The durable vote book: vote and carrier together or not at all, known after a restart, one chain for everybody."""

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.drain_parts import RESOURCE, carrier
from tests.unit.outbox_parts import MEMORY, Watched, ask, ballot, carrying, chain, fail, names, outbox_at, vote

from otel_feedback._votes import MAX_CHANGES, MAX_VOTES, MemoryVoteBook, Transition
from otel_feedback.exceptions import DeliveryError, TooManyChangesError, VoteConflictError
from otel_feedback.outbox import Outbox, _outbox
from otel_feedback.outbox._book import GRACE_SECONDS, PRUNED_AT_ONCE
from otel_feedback.testing import START

NONCE, OTHER = "n" * 16, "o" * 16


@pytest.fixture
def outbox(tmp_path, own_process):
    with outbox_at(tmp_path) as outbox:
        yield outbox


def test_a_vote_and_what_is_sent_of_it_follow_one_another(outbox):
    """Changes name what they replace, repetitions are told and not delivered."""
    assert vote(outbox, "a") == Transition("unset", None, first=True, repeated=False)
    assert vote(outbox, "b", "negative") == Transition("positive", "a", first=False, repeated=False)
    assert vote(outbox, "a") == Transition("negative", "b", first=False, repeated=True)
    assert vote(outbox, "c", "retracted") == Transition("negative", "b", first=False, repeated=False)
    assert chain(outbox) == [("a", ""), ("b", "a"), ("c", "b")]


def test_votes_are_known_after_a_restart(tmp_path, own_process):
    """What they were, whose they are, which ids they had, and that somebody has voted."""
    with outbox_at(tmp_path) as outbox:
        vote(outbox, "a", nonce=NONCE)
        vote(outbox, "b", "negative", nonce=NONCE)
        vote(outbox, "x", signal="stars", submitter="k1:ab")
    with outbox_at(tmp_path) as outbox:
        assert vote(outbox, "a", nonce=NONCE) == Transition("negative", "b", first=False, repeated=True)
        with pytest.raises(VoteConflictError):
            vote(outbox, "c", nonce=OTHER)
        with pytest.raises(VoteConflictError):
            vote(outbox, "c")
        assert vote(outbox, "c", nonce=NONCE).revises == "b"
        assert vote(outbox, "y", signal="stars", submitter="k1:ab").revises == "x"
        assert vote(outbox, "z", signal="stars") == Transition("unset", None, first=False, repeated=False)
        assert names(outbox) == ["a", "b", "x", "c", "y", "z"]


def test_no_secret_is_in_the_file(tmp_path, own_process):
    """Of a nonce it holds a digest."""
    with outbox_at(tmp_path) as outbox:
        vote(outbox, "a", nonce=NONCE)
        assert all(NONCE.encode() not in each.read_bytes() for each in tmp_path.iterdir())


def test_what_was_refused_never_happened(outbox):
    """A conflict, a change too many, and a delivery that fails leave neither vote nor carrier."""
    vote(outbox, "a", nonce=NONCE)
    with pytest.raises(VoteConflictError):
        vote(outbox, "b", "negative")

    def refuse(_):
        outbox.submit(carrier("half"))
        raise KeyError("no")

    with pytest.raises(KeyError):
        outbox.cast(ballot("c", "negative", nonce=NONCE), refuse)
    for number in range(MAX_CHANGES):
        vote(outbox, str(number), "positive", nonce=NONCE)
    with pytest.raises(TooManyChangesError):
        vote(outbox, "d", nonce=NONCE)
    assert vote(outbox, "e", "retracted", nonce=NONCE).previous_sentiment == "positive"
    assert names(outbox) == ["a", *map(str, range(MAX_CHANGES)), "e"]


def statements_of_a_vote(folder, monkeypatch):
    """What one vote runs in the file."""
    with outbox_at(folder) as outbox:
        watched = Watched(outbox.path)
        with monkeypatch.context() as patch:
            patch.setattr(_outbox, "open_database", lambda _: watched)
            vote(outbox, "count")
    return watched.statements[: watched.statements.index("COMMIT") + 1]


def test_a_vote_is_there_with_its_carrier_or_not_at_all(tmp_path, own_process, monkeypatch):
    """Wherever in the transaction the disk fails: neither is there, it is said, and the next one works."""
    statements = statements_of_a_vote(tmp_path / "count", monkeypatch)
    assert "BEGIN IMMEDIATE" in statements
    for at in range(len(statements)):
        with outbox_at(tmp_path / str(at)) as outbox:
            vote(outbox, "before")
        with outbox_at(tmp_path / str(at)) as outbox:
            with monkeypatch.context() as patch:
                patch.setattr(_outbox, "open_database", lambda path, at=at: Watched(path, at=at, instead=fail))
                with pytest.raises(DeliveryError, match="OperationalError") as caught:
                    vote(outbox, "failed", "negative")
            assert "secret" not in str(caught.value)
            assert names(outbox) == ["before"]
            assert vote(outbox, "after", "negative") == Transition("positive", "before", first=False, repeated=False)
            assert outbox.counts().depth == 2


DIE = """
import os, sys
from pathlib import Path
from tests.unit.outbox_parts import Watched, outbox_at, vote
from otel_feedback.outbox import _outbox
folder = Path(sys.argv[1])
for at in range(100):
    child = os.fork()
    if child == 0:
        _outbox.open_database = lambda path: Watched(path, at=at, instead=lambda: os._exit(1))
        with outbox_at(folder / str(at)) as outbox:
            vote(outbox, "a")
        os._exit(0)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0:
        break
print(at)
"""


def test_a_process_that_dies_leaves_both_or_none(tmp_path, own_process):
    """Before whichever statement it is killed."""
    done = subprocess.run([sys.executable, "-c", DIE, str(tmp_path)], capture_output=True, check=True, timeout=60)
    deaths = int(done.stdout)
    assert deaths > 5
    for at in range(deaths + 1):
        committed = at >= deaths - 1  # what comes after the commit empties the log
        with outbox_at(tmp_path / str(at)) as outbox:
            assert names(outbox) == (["a"] if committed else [])
            assert len(ask(tmp_path / str(at), "SELECT * FROM interactions")) == committed
            assert vote(outbox, "a").repeated is committed


def test_several_threads_make_one_chain(outbox):
    """Each feedback revises another, in the order in which they wait; one is the first."""
    start = threading.Barrier(8)

    def work(name):
        start.wait()
        for number in range(10):
            vote(outbox, f"{name}{number}")

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcdefgh"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert_one_chain(outbox, 80)


def assert_one_chain(outbox, length):
    given = chain(outbox)
    assert [revised for _, revised in given] == ["", *[name for name, _ in given][:-1]]
    assert len(given) == length


WORK = """
import sys
from pathlib import Path
from tests.unit.outbox_parts import outbox_at, vote
with outbox_at(Path(sys.argv[1])) as outbox:
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(20):
        vote(outbox, f"{sys.argv[2]}{number}")
"""


def test_several_processes_make_one_chain(tmp_path, own_process):
    """They share one file, and nothing else."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WORK, str(tmp_path), name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for name in "abc"
    ]
    for process in processes:
        process.stdout.readline()
    for process in processes:
        process.communicate("\n", timeout=60)
    assert [process.returncode for process in processes] == [0] * 3
    with outbox_at(tmp_path) as outbox:
        assert_one_chain(outbox, 60)


FORK = """
import os, signal, sys, threading, warnings
from pathlib import Path
from tests.unit.outbox_parts import names, outbox_at, vote
warnings.simplefilter("ignore")  # forking beside a thread is what this is about
with outbox_at(Path(sys.argv[1])) as outbox:
    vote(outbox, "before")
    assert names(outbox) == ["before"]  # a reader is open, too
    work = threading.Thread(target=lambda: [vote(outbox, f"p{number}") for number in range(50)])
    work.start()
    children = []
    for child in range(3):
        children.append(os.fork())
        if children[-1] == 0:
            signal.alarm(30)  # a deadlock ends the child
            for number in range(10):
                vote(outbox, f"{child}c{number}")
            assert outbox.counts().depth
            os._exit(0)
    work.join()
    status = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    vote(outbox, "after")
raise SystemExit(max(status))
"""


def test_a_forked_child_adds_to_the_same_chain(tmp_path, own_process):
    """Forked while its parent votes: each has a connection of its own, and none sees what the other has not written."""
    done = subprocess.run([sys.executable, "-c", FORK, str(tmp_path)], check=False, timeout=90)
    assert done.returncode == 0
    with outbox_at(tmp_path) as outbox:
        assert_one_chain(outbox, 1 + 50 + 30 + 1)
        assert names(outbox)[-1] == "after"


class Clock:
    def __init__(self, second):
        self.second = second

    def __call__(self):
        return self.second * 10**9


def test_a_vote_is_known_until_no_handle_can_change_it(tmp_path, own_process):
    """It is forgotten a day after the last handle has expired, and not before; what waits stays."""
    clock = Clock(START)
    with outbox_at(tmp_path, clock=clock) as outbox:
        vote(outbox, "a", expires_at=START + 500)
        vote(outbox, "b", expires_at=START + 100)  # an older handle of the same answer shortens nothing
        vote(outbox, "x", interaction=2, expires_at=START + 100)
        clock.second = START + 100 + GRACE_SECONDS
        assert vote(outbox, "y", interaction=2, expires_at=START + 100).revises == "x"
        clock.second = START + 101 + GRACE_SECONDS
        vote(outbox, "z", interaction=3)
        assert len(ask(tmp_path, "SELECT * FROM interactions")) == 2
        assert vote(outbox, "y2", interaction=2, expires_at=START + 100).revises is None
        clock.second = START + 500 + GRACE_SECONDS
        assert vote(outbox, "c", expires_at=START + 500).revises == "b"
        clock.second = START + 501 + GRACE_SECONDS
        assert vote(outbox, "d").revises is None
        assert names(outbox) == ["a", "b", "x", "y", "z", "y2", "c", "d"]


def test_little_is_forgotten_at_once(tmp_path, own_process):
    """Nobody waits for it for long: so many in a transaction, and one such transaction in a second."""
    clock = Clock(START)
    many = PRUNED_AT_ONCE + 10
    with outbox_at(tmp_path, clock=clock) as outbox:
        vote(outbox, "a")
    with contextlib.closing(sqlite3.connect(tmp_path / "outbox.db")) as connection, connection:
        rows = [(number.to_bytes(24, "big"), "[false,{}]", 5) for number in range(many)]
        connection.executemany("INSERT INTO interactions VALUES (?, ?, ?)", rows)
    with outbox_at(tmp_path, clock=clock) as outbox:
        for expected in (11, 11):
            vote(outbox, "b")
            assert len(ask(tmp_path, "SELECT * FROM interactions")) == expected
        clock.second += 1
        vote(outbox, "c")
        assert len(ask(tmp_path, "SELECT * FROM interactions")) == 1


def test_a_far_expiry_is_none(outbox):
    """A number beyond what the file can hold."""
    vote(outbox, "a", expires_at=2**70)
    assert vote(outbox, "b").revises == "a"


def test_one_answer_has_a_bounded_number_of_votes(tmp_path, own_process):
    """The one cast least lately is forgotten."""
    with outbox_at(tmp_path) as outbox:
        for number in range(MAX_VOTES):
            vote(outbox, f"a{number}", submitter=f"k:{number}")
        vote(outbox, "again", submitter="k:0")
        vote(outbox, "more", submitter="k:more")
        ((state,),) = ask(tmp_path, "SELECT state FROM interactions")
        assert len(json.loads(state)[1]) == MAX_VOTES
        assert vote(outbox, "b", submitter="k:1").revises is None
        assert vote(outbox, "c", submitter="k:0").revises == "again"


def test_what_another_thread_submits_is_its_own(outbox):
    """A carrier that comes in while a vote is cast, and not from it, stays where that vote fails."""

    def deliver(_):
        other = threading.Thread(target=outbox.submit, args=(carrier("other"),))
        other.start()
        raise KeyError("no")

    with pytest.raises(KeyError):
        outbox.cast(ballot("a"), deliver)
    outbox.submit(carrier("last"))
    assert names(outbox) == ["other", "last"]
    assert vote(outbox, "a").first


async def test_a_coroutine_votes_without_a_thread(outbox):
    """The same transition, and the same errors."""
    cast = ballot("a", nonce=NONCE)
    assert (await outbox.cast_soon(cast, carrying(outbox, cast))).first
    conflict = ballot("b")
    with pytest.raises(VoteConflictError):
        await outbox.cast_soon(conflict, carrying(outbox, conflict))
    assert names(outbox) == ["a"]


CASTS = st.lists(
    st.builds(
        lambda name, **more: ballot(str(name), **more),
        st.integers(0, 12),
        sentiment=st.sampled_from(["positive", "negative", "neutral", "retracted"]),
        interaction=st.integers(1, 3),
        signal=st.sampled_from(["thumbs", "stars", "copy"]),
        submitter=st.sampled_from([None, "k:1", "k:2"]),
        explicit=st.booleans(),
        nonce=st.sampled_from([None, NONCE, OTHER]),
    ),
    max_size=40,
)


class Refusing:
    """A delivery that refuses every third carrier."""

    def __init__(self):
        self.calls = 0

    def submit(self, _):
        self.calls += 1
        if self.calls % 3 == 0:
            raise DeliveryError("full")


def outcome(book, cast, delivery):
    try:
        return book.cast(cast, carrying(delivery, cast))
    except (DeliveryError, VoteConflictError) as error:
        return type(error)


@settings(max_examples=40, deadline=None)
@given(casts=CASTS, reopened=st.sets(st.integers(0, 39), max_size=3))
def test_the_book_in_the_file_is_the_book_in_memory(casts, reopened):
    """For any sequence, with failures, and with a restart wherever it comes."""
    memory, plain, durable = MemoryVoteBook(), Refusing(), Refusing()
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        path = Path(folder) / "outbox.db"
        outbox = Outbox(path, resource=RESOURCE)
        for number, cast in enumerate(casts):
            if number in reopened:
                outbox.close()
                outbox = Outbox(path, resource=RESOURCE)
            assert outcome(outbox, cast, durable) == outcome(memory, cast, plain)
        outbox.close()


def test_an_outbox_without_use_makes_nothing(tmp_path):
    """Neither a file nor a thread, until it is opened by name."""
    outbox = Outbox(tmp_path / "outbox.db")
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - names are all that counts
    outbox.open()
    assert "outbox.db" in os.listdir(tmp_path)  # noqa: PTH208 - as above
    assert outbox._committer._thread is None
