"""Which rows go next: order per interaction, halves where a receiver rejects, and what is set aside."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.drain_parts import LATER, REJECTED, Clock, Receiver, carrier, filled

from otel_feedback import _guard
from otel_feedback.exceptions import DeliveryError
from otel_feedback.outbox._batches import (
    HOLD_FACTOR,
    MOST_BYTES,
    MOST_HELD,
    MOST_ROWS,
    MOST_TRIES,
    OWN_TROUBLE,
    Batches,
)
from otel_feedback.outbox._rows import Counts
from otel_feedback.outbox._transport import Fate, Outcome


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def fill(tmp_path, own_process):
    """Make an outbox with what waits, closed after the test."""
    made = []

    def make(*waiting):
        made.append(filled(tmp_path, *waiting))
        return made[-1]

    yield make
    for outbox in made:
        outbox.close()


def run(batches, clock, *, steps=1000):
    """Take steps, and sleep until what is due, until nothing waits; gives how each step came out."""
    came = []
    for _ in range(steps):
        step = batches.step()
        came.append(step)
        if step.trouble is None and not step.moved:
            if step.wait is None:
                return came
            clock.sleep(step.wait)
    raise AssertionError("it does not come to an end")


def test_oldest_first_and_gone_when_delivered(fill, clock):
    """One batch, in the order in which it was accepted; then nothing waits."""
    outbox, receiver = fill("a", "b", "c"), Receiver()
    step = Batches(outbox, receiver, clock=clock).step()
    assert (step.moved, step.trouble, step.wait) == (3, None, None)
    assert receiver.batches == [["a", "b", "c"]]
    assert outbox.counts() == Counts(0, 0, None, 0, {})


def test_a_batch_is_bounded(fill, clock):
    """In rows, and in bytes; a row that alone is larger goes alone."""
    names = [f"r{number}" for number in range(MOST_ROWS + 1)]
    receiver = Receiver()
    outbox = fill(*names)
    batches = Batches(outbox, receiver, clock=clock)
    run(batches, clock)
    assert [len(batch) for batch in receiver.batches] == [MOST_ROWS, 1]
    for name, length in (("x", MOST_BYTES // 2), ("y", MOST_BYTES // 2), ("z", 1), ("huge", 2 * MOST_BYTES)):
        outbox.submit(carrier(name, text="t" * length))
    receiver.batches.clear()
    run(batches, clock)
    assert receiver.batches == [["x"], ["y", "z"], ["huge"]]


def test_trouble_keeps_everything(fill, clock):
    """What a receiver can't take now stays, and is tried in smaller batches until it gets through."""
    outbox, receiver = fill(*"abcdefgh"), Receiver(LATER, LATER, LATER)
    batches = Batches(outbox, receiver, clock=clock)
    steps = [batches.step() for _ in range(3)]
    assert [step.trouble for step in steps] == [LATER] * 3
    assert outbox.counts().depth == 8
    run(batches, clock)
    assert [len(batch) for batch in receiver.batches] == [8, 4, 2, 1, 2, 4, 1]
    assert receiver.got == list("abcdefgh")


def test_one_bad_row_is_found(fill, clock):
    """By halving: the others are delivered, it is tried again five times over a while, then set aside and said."""
    outbox, receiver = fill(*"abcdefgh"), Receiver(bad={"f"})
    with _guard.strict():
        run(Batches(outbox, receiver, clock=clock), clock)
    assert sorted(receiver.got) == sorted("abcdegh")
    assert receiver.batches[:7] == [list("abcdefgh"), list("abcd"), list("efgh"), list("ef"), ["e"], ["f"], list("gh")]
    assert receiver.batches[7:] == [["f"]] * (MOST_TRIES - 1)
    assert [round(slept) for slept in clock.slept] == [round(HOLD_FACTOR**power) for power in range(MOST_TRIES - 1)]
    assert outbox.counts().why == {"HTTP 400": 1}
    assert outbox.counts().depth == 0


def test_set_aside_is_logged_once_for_each_reason(fill, clock, caplog):
    """With what to do, and nothing of the feedback."""
    run(Batches(fill("a", "b"), Receiver(bad={"a", "b"}), clock=clock), clock)
    (record,) = caplog.records
    assert "outbox drain --retry" in record.message
    assert "HTTP 400" in record.message


def test_later_rows_of_the_same_interaction_wait(fill, clock):
    """While one is tried again; those of others go on, also those that come meanwhile."""
    first, second = carrier("first", interaction=5), carrier("second", interaction=5)
    outbox, receiver = fill(first, second, "other"), Receiver(REJECTED, REJECTED, REJECTED)
    batches = Batches(outbox, receiver, clock=clock)
    batches.step()
    assert receiver.batches == [["first", "second", "other"], ["first"], ["other"]]
    clock.sleep(1)
    outbox.submit(carrier("newer"))
    while "second" not in receiver.got:
        step = batches.step()
        clock.sleep(step.wait or 0)
    run(batches, clock)
    assert sorted(receiver.got) == ["first", "newer", "other", "second"]
    assert receiver.got.index("first") < receiver.got.index("second")


def test_rejections_are_counted_across_restarts(fill, clock):
    """A row that was rejected goes alone at once, and is set aside after as many tries altogether."""
    outbox = fill("bad", "good")
    receiver = Receiver(bad={"bad"})
    for _ in range(MOST_TRIES):
        Batches(outbox, receiver, clock=clock).step()
    assert receiver.batches == [["bad", "good"], ["bad"], ["good"], *([["bad"]] * (MOST_TRIES - 1))]
    assert outbox.counts().set_aside == 1


def test_a_row_that_was_rejected_goes_alone(fill, clock):
    """Also after a restart, so that the others aren't halved because of it once more."""
    outbox, receiver = fill("bad"), Receiver(bad={"bad"})
    Batches(outbox, receiver, clock=clock).step()
    outbox.submit(carrier("good"))
    batches = Batches(outbox, receiver, clock=clock)
    batches.step()
    batches.step()
    assert receiver.batches == [["bad"], ["bad"], ["good"]]


def test_a_batch_is_bounded_behind_a_row_that_waits(fill, clock):
    """Its bytes are read once more, and make no batch larger."""
    outbox, receiver = fill(carrier("bad", text="t" * MOST_BYTES)), Receiver(bad={"bad"})
    batches = Batches(outbox, receiver, clock=clock)
    batches.step()
    for name in ("x", "y"):
        outbox.submit(carrier(name, text="t" * (3 * MOST_BYTES // 4)))
    for _ in range(5):
        batches.step()
    assert receiver.batches == [["bad"], ["x"], ["y"]]


def test_what_was_set_aside_goes_again(fill, clock):
    """Once it was put back, with all its tries."""
    outbox, receiver = fill("bad"), Receiver(bad={"bad"})
    batches = Batches(outbox, receiver, clock=clock)
    run(batches, clock)
    assert outbox.put_back() == 1
    receiver.bad.clear()
    run(batches, clock)
    assert receiver.got == ["bad"]


def test_a_receiver_that_rejects_everything_sees_few_rows(fill, clock):
    """So many wait for another try at most, and nothing new is sent before they are through."""
    outbox = fill(*(f"r{number}" for number in range(3 * MOST_HELD)))
    batches = Batches(outbox, Receiver(*[REJECTED] * 100_000), clock=clock)
    step = batches.step()
    assert len(batches._held) == MOST_HELD
    assert outbox.counts().set_aside == 0
    step = batches.step()
    assert step.wait == pytest.approx(1)
    run(batches, clock)
    assert outbox.counts().set_aside == 3 * MOST_HELD


def test_one_row_that_fails_for_ever_keeps_nobody(fill, clock):
    """A receiver that is confused by one row alone gets the others; that one waits, uncounted, and is tried again."""
    outbox, receiver = fill("stuck", *"abc"), Receiver(failing={"stuck"})
    batches = Batches(outbox, receiver, clock=clock)
    for _ in range(20):
        batches.step()
    assert sorted(receiver.got) == list("abc")
    assert outbox.counts().depth == 1
    assert batches.step().wait == pytest.approx(OWN_TROUBLE)
    receiver.failing.clear()
    run(batches, clock)
    assert receiver.got[-1] == "stuck"
    assert outbox.counts().set_aside == 0


@pytest.mark.parametrize("failures", range(8))
def test_an_outage_blames_no_row(fill, clock, failures):
    """However often single rows fail: when the receiver is back all of them go at once."""
    outbox, receiver = fill(*"abcd"), Receiver(*[LATER] * failures)
    run(Batches(outbox, receiver, clock=clock), clock)
    assert sorted(receiver.got) == list("abcd")
    assert clock.slept == []


class Forgetful:
    """A queue that can't be told that rows have arrived."""

    def __init__(self, outbox, failures):
        self._outbox, self.failures = outbox, failures

    def __getattr__(self, name):
        return getattr(self._outbox, name)

    def delivered(self, numbers):
        if self.failures:
            self.failures -= 1
            raise DeliveryError("The disk is full.")
        self._outbox.delivered(numbers)


def test_what_arrived_is_not_sent_again_when_the_file_fails(fill, clock):
    """The queue is told as soon as it can be, before anything else is sent."""
    outbox, receiver = fill("a", "b"), Receiver()
    batches = Batches(Forgetful(outbox, 2), receiver, clock=clock)
    for _ in range(2):
        with pytest.raises(DeliveryError):
            batches.step()
        assert batches.unsaved
    assert batches.step().moved == 0
    assert receiver.batches == [["a", "b"]]
    assert outbox.counts().depth == 0


def test_an_end_ends_halving(fill, clock):
    """A sender that is told to end makes no further request."""
    receiver = Receiver(*[REJECTED] * 50)
    Batches(fill(*"abcdefgh"), receiver, clock=clock, ended=lambda: len(receiver.batches) >= 3).step()
    assert len(receiver.batches) == 3


@settings(max_examples=25, deadline=None)
@given(
    interactions=st.lists(st.integers(1, 4), min_size=1, max_size=30),
    seed=st.integers(0, 2**32),
    trouble=st.floats(0, 0.6),
)
def test_nothing_is_lost_and_order_holds(tmp_path_factory, interactions, seed, trouble):
    """Whatever a receiver says in whatever order: each row is delivered or set aside, in order per interaction."""
    chance, clock = random.Random(seed), Clock()  # noqa: S311 - a receiver's moods
    waiting = [carrier(f"{number:02}", interaction=one) for number, one in enumerate(interactions)]
    outbox = filled(tmp_path_factory.mktemp("o"), *waiting)

    class Moody(Receiver):
        def send(self, sent):
            word = chance.random()
            self.outcomes = [LATER] if word < trouble / 2 else [REJECTED] if word < trouble else []
            return super().send(sent)

    receiver = Moody()
    batches = Batches(outbox, receiver, clock=clock)
    for _ in range(5000):
        step = batches.step()
        clock.sleep(step.wait or 0)
        if not outbox.counts().depth:
            break
    counts = outbox.counts()
    outbox.close()
    assert counts.depth == 0
    assert len(receiver.got) == len(set(receiver.got))
    assert len(receiver.got) + counts.set_aside == len(interactions)
    for interaction in set(interactions):
        mine = [name for name in receiver.got if interactions[int(name)] == interaction]
        assert mine == sorted(mine)


def test_a_wait_is_passed_on(fill, clock):
    """What the receiver asks for reaches the sender."""
    asked = Outcome(Fate.LATER, "HTTP 429", 60)
    assert Batches(fill("a"), Receiver(asked), clock=clock).step().trouble == asked
