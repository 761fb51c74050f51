"""The arithmetic of votes: what was before, what counts once, and what stays when delivering fails."""

import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_feedback._votes import MAX_CHANGES, Ballot, MemoryVoteBook, Transition, VoteKey
from otel_feedback.exceptions import DeliveryError, TooManyChangesError, VoteConflictError

THUMB = VoteKey(1, 2, "thumbs", None)


@dataclass
class Poll:
    """A book and the carriers that came of it, as (key, id, sentiment, transition)."""

    book: MemoryVoteBook = field(default_factory=MemoryVoteBook)
    carriers: list = field(default_factory=list)

    def cast(self, vote_id, sentiment, key=THUMB, *, explicit=True, nonce=None):
        return self.book.cast(
            Ballot(key, vote_id, sentiment, explicit, nonce),
            lambda transition: self.carriers.append((key, vote_id, sentiment, transition)),
        )


def test_a_first_vote_follows_nothing():
    """Before any vote the sentiment is unset, nothing is revised, and the interaction was not voted on."""
    assert Poll().cast("a", "positive") == Transition("unset", None, first=True, repeated=False)


def test_a_change_names_what_it_replaces():
    """A flip knows the sentiment and the id before it; so do a retraction and a vote after that."""
    poll = Poll()
    poll.cast("a", "positive")
    assert poll.cast("b", "negative") == Transition("positive", "a", first=False, repeated=False)
    assert poll.cast("c", "retracted") == Transition("negative", "b", first=False, repeated=False)
    assert poll.cast("d", "positive") == Transition("retracted", "c", first=False, repeated=False)


def test_a_late_detail_repeats_the_sentiment():
    """The same opinion with another id is delivered: its previous sentiment is its own, so nobody counts it."""
    poll = Poll()
    poll.cast("a", "negative")
    assert poll.cast("b", "negative") == Transition("negative", "a", first=False, repeated=False)
    assert len(poll.carriers) == 2


def test_a_repeated_id_is_not_delivered_again():
    """A retry changes nothing and says that it was one."""
    poll = Poll()
    poll.cast("a", "positive")
    assert poll.cast("a", "positive").repeated
    assert len(poll.carriers) == 1


def test_a_late_retry_does_not_flip_a_newer_vote_back():
    """The id of an earlier state comes again after a change: the change stays."""
    poll = Poll()
    poll.cast("a", "positive")
    poll.cast("b", "negative")
    assert poll.cast("a", "positive") == Transition("negative", "b", first=False, repeated=True)
    assert poll.cast("c", "neutral").previous_sentiment == "negative"
    assert [carrier[1] for carrier in poll.carriers] == ["a", "b", "c"]


def test_an_id_counts_once_within_one_vote_only():
    """Another signal, submitter or interaction may have the same id: senders number as they like."""
    poll = Poll()
    poll.cast("1", "positive")
    for key in (
        VoteKey(1, 2, "stars", None),
        VoteKey(1, 2, "thumbs", "k1:ab"),
        VoteKey(1, 3, "thumbs", None),
        VoteKey(2, 2, "thumbs", None),
    ):
        transition = poll.cast("1", "positive", key)
        assert (transition.previous_sentiment, transition.repeated) == ("unset", False)


def test_first_is_the_first_explicit_opinion_of_all_votes():
    """Neither a copy nor a retraction is an opinion; after the first no other signal or submitter is first."""
    poll = Poll()
    assert not poll.cast("1", "positive", VoteKey(1, 2, "copy", None), explicit=False).first
    assert not poll.cast("2", "retracted").first
    assert poll.cast("3", "neutral").first
    assert not poll.cast("4", "retracted").first
    assert not poll.cast("5", "positive").first
    assert not poll.cast("6", "positive", VoteKey(1, 2, "stars", "k1:ab")).first
    assert poll.cast("7", "positive", VoteKey(1, 3, "thumbs", None)).first


def test_what_could_not_be_delivered_never_happened():
    """A failure passes through and leaves no trace: the same id can come again and is first again."""
    poll = Poll()

    def fail(transition):
        raise DeliveryError("full")

    with pytest.raises(DeliveryError):
        poll.book.cast(Ballot(THUMB, "a", "positive", explicit=True), fail)
    assert poll.cast("a", "negative") == Transition("unset", None, first=True, repeated=False)
    with pytest.raises(DeliveryError):
        poll.book.cast(Ballot(THUMB, "b", "positive", explicit=True), fail)
    assert poll.cast("c", "positive").revises == "a"


def test_the_book_is_bounded():
    """Beyond its bounds the vote cast least lately is forgotten, and nothing else."""
    poll = Poll(MemoryVoteBook(max_interactions=2, max_votes=2))
    one, two, three = (VoteKey(trace, 1, "thumbs", None) for trace in (1, 2, 3))
    poll.cast("a", "positive", one)
    poll.cast("a", "positive", two)
    poll.cast("b", "negative", one)
    poll.cast("a", "positive", three)  # two was cast least lately
    assert poll.cast("c", "neutral", one).previous_sentiment == "negative"
    assert poll.cast("b", "neutral", two).previous_sentiment == "unset"

    poll = Poll(MemoryVoteBook(max_interactions=2, max_votes=2))
    for user in "xyz":
        poll.cast("a", "positive", VoteKey(1, 1, "thumbs", user))
    assert poll.cast("b", "positive", VoteKey(1, 1, "thumbs", "z")).previous_sentiment == "positive"
    assert poll.cast("b", "positive", VoteKey(1, 1, "thumbs", "x")).previous_sentiment == "unset"


def test_a_vote_is_changed_so_often_and_no_more():
    """The hundredth change counts, the next is refused, whatever it says; only taking it back is possible, once."""
    poll = Poll()
    for number in range(MAX_CHANGES + 1):
        poll.cast(str(number), "positive" if number % 2 else "negative")
    with pytest.raises(TooManyChangesError):
        poll.cast("more", "positive")
    assert poll.cast("7", "positive").repeated
    assert poll.cast("back", "retracted").previous_sentiment == "negative"
    for sentiment in ("positive", "retracted"):
        with pytest.raises(TooManyChangesError):
            poll.cast("again", sentiment)
    assert len(poll.carriers) == MAX_CHANGES + 2


def test_who_gave_a_vote_with_a_nonce_alone_can_change_it():
    """Another nonce, or none, is a conflict that changes nothing; another signal of the same answer is free."""
    poll = Poll()
    poll.cast("a", "positive", nonce="m" * 16)
    for nonce in (None, "n" * 16):
        with pytest.raises(VoteConflictError):
            poll.cast("b", "negative", nonce=nonce)
    assert poll.cast("a", "positive").repeated
    assert poll.cast("c", "negative", nonce="m" * 16).revises == "a"
    with pytest.raises(VoteConflictError):
        poll.cast("d", "retracted")
    assert not poll.cast("e", "negative", VoteKey(1, 2, "stars", None), nonce="n" * 16).first
    assert [carrier[1] for carrier in poll.carriers] == ["a", "c", "e"]


def test_a_vote_that_came_without_a_nonce_is_nobodys_alone():
    """The first feedback decides: a nonce that comes later binds nothing."""
    poll = Poll()
    poll.cast("a", "positive")
    poll.cast("b", "negative", nonce="n" * 16)
    assert poll.cast("c", "positive").previous_sentiment == "negative"


KEYS = [VoteKey(i, i, signal, user) for i in (1, 2) for signal in ("thumbs", "copy") for user in (None, "k1:ab")]
SENTIMENTS = ["positive", "negative", "neutral", "retracted"]
casts = st.lists(
    st.tuples(st.sampled_from(KEYS), st.sampled_from("abcdef"), st.sampled_from(SENTIMENTS), st.booleans()), max_size=60
)


@settings(max_examples=300)
@given(casts)
def test_counting_carriers_gives_what_a_plain_model_says(sequence):
    """For any casts, repetitions and failures: expressed opinions, standing votes and distinct interactions are right.

    What is counted is what a reader of the carriers alone would count, as the dashboards do.
    """
    poll = Poll()
    history = {key: [] for key in KEYS}
    for key, vote_id, sentiment, fails in sequence:
        seen = [each[0] for each in history[key]]

        def deliver(transition, key=key, vote_id=vote_id, sentiment=sentiment, fails=fails):
            if fails:
                raise DeliveryError("full")
            poll.carriers.append((key, vote_id, sentiment, transition))

        try:
            transition = poll.book.cast(Ballot(key, vote_id, sentiment, explicit=key.signal == "thumbs"), deliver)
        except DeliveryError:
            assert vote_id not in seen
            continue
        assert transition.repeated == (vote_id in seen)
        assert not (transition.repeated and transition.first)
        if not transition.repeated:
            history[key].append((vote_id, sentiment))

    for key in KEYS:
        chain = [carrier for carrier in poll.carriers if carrier[0] == key]
        assert [(vote_id, sentiment) for _, vote_id, sentiment, _ in chain] == history[key]
        states = ["unset"] + [sentiment for _, sentiment in history[key]]
        assert [t.previous_sentiment for *_, t in chain] == states[:-1]
        assert [t.revises for *_, t in chain] == ([None] + [vote_id for vote_id, _ in history[key]])[: len(chain)]
        expressed = Counter(s for _, _, s, t in chain if t.previous_sentiment != s)
        assert expressed == Counter(new for old, new in pairwise(states) if old != new)
        left = Counter(t.previous_sentiment for _, _, s, t in chain if t.previous_sentiment != s)
        standing = {state: expressed[state] - left[state] for state in SENTIMENTS}
        assert standing == {state: int(states[-1] == state) for state in SENTIMENTS}

    for interaction in (1, 2):
        opinions = [c for c in poll.carriers if c[0].trace_id == interaction and c[0].signal == "thumbs"]
        voted_on = any(sentiment != "retracted" for _, _, sentiment, _ in opinions)
        firsts = [c for c in poll.carriers if c[0].trace_id == interaction and c[3].first]
        assert len(firsts) == int(voted_on)
        assert all(sentiment != "retracted" for _, _, sentiment, _ in firsts)


def test_concurrent_votes_form_one_chain():
    """While one vote is delivered, no other sees the state before it: each carrier revises another one."""
    poll = Poll()
    start = threading.Barrier(8)

    def vote(name):
        start.wait()
        for number in range(5):
            poll.book.cast(
                Ballot(THUMB, f"{name}{number}", "positive", explicit=True),
                lambda t, vote_id=f"{name}{number}": (time.sleep(0.001), poll.carriers.append((vote_id, t))),
            )

    threads = [threading.Thread(target=vote, args=(name,)) for name in "abcdefgh"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [t.revises for _, t in poll.carriers] == [None, *[vote_id for vote_id, _ in poll.carriers][:-1]]
    assert len(poll.carriers) == 40
    assert sum(t.first for _, t in poll.carriers) == 1


FORK_WHILE_HELD = """
import os, signal, threading, warnings
from otel_feedback._votes import Ballot, MemoryVoteBook, VoteKey
warnings.simplefilter("ignore")  # forking beside a thread is what this is about
book, held, go = MemoryVoteBook(), threading.Event(), threading.Event()

def hold(transition):
    held.set()
    go.wait()

def cast(id, deliver):
    return book.cast(Ballot(VoteKey(1, 2, "thumbs", None), id, "positive", True), deliver)

cast("before", lambda transition: None)
thread = threading.Thread(target=cast, args=("held", hold))
thread.start()
held.wait()
child = os.fork()
if child == 0:
    signal.alarm(20)  # a deadlock ends the child
    transition = cast("after", lambda transition: None)
    os._exit(0 if transition.revises == "before" else 1)
go.set()
thread.join()
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_child_can_vote_whatever_its_parent_held():
    """A fork in the middle of a delivery leaves the child a book that works, with the votes before it."""
    done = subprocess.run([sys.executable, "-c", FORK_WHILE_HELD], check=False, timeout=60)
    assert done.returncode == 0
