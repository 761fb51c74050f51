"""A receiver that is away for half an hour, and clocks that are set: nothing is given up, and order stays."""

import pytest
from tests.unit.drain_parts import LATER, Clock, Receiver, carrier, filled
from tests.unit.outbox_parts import chain, outbox_at, vote

from otel_feedback.cli import outbox as command
from otel_feedback.outbox._sender import LONGEST_BACKOFF, Sender
from otel_feedback.outbox._transport import DELIVERED
from otel_feedback.testing import START

pytestmark = pytest.mark.usefixtures("own_process")

AWAY = 1_800.0


class Away(Receiver):
    """A receiver that nobody reaches until its clock says so."""

    def __init__(self, clock):
        super().__init__()
        self.clock, self.back_at, self.asked = clock, clock.now + AWAY, []

    def send(self, sent):
        self.asked.append(self.clock.now)
        self.outcomes = [LATER if self.clock.now < self.back_at else DELIVERED]
        return super().send(sent)


def test_half_an_hour_without_a_receiver_costs_nothing(tmp_path):
    """What was there and what comes meanwhile arrives, once, each interaction's in order, soon after it is back."""
    clock = Clock()
    receiver = Away(clock)
    given = []
    outbox = filled(tmp_path)

    def give():
        name = f"{len(given) % 7}-{len(given):04}"
        given.append(name)
        outbox.submit(carrier(name, interaction=1 + len(given) % 7))

    def sleep(seconds):
        if clock.now < receiver.back_at:
            give()
        clock.sleep(seconds)

    for _ in range(20):
        give()
    sender = Sender(outbox, receiver, lock_path=outbox.lock_path, clock=clock, sleep=sleep, chance=lambda: 1.0)
    try:
        assert sender.drain()
    finally:
        outbox.close()
    assert sorted(receiver.got) == sorted(given)
    for interaction in range(7):
        own = [name for name in receiver.got if name.startswith(f"{interaction}-")]
        assert own == sorted(own)
    assert clock.now - receiver.back_at <= LONGEST_BACKOFF + 1
    # It is asked again and again, and not in a rush: about once in half a minute.
    before = [moment for moment in receiver.asked if moment < receiver.back_at]
    assert AWAY / LONGEST_BACKOFF <= len(before) <= AWAY / LONGEST_BACKOFF + 10


@pytest.mark.parametrize("shift", [-86_400, -1, 1, 86_400])
def test_a_clock_that_is_set_breaks_no_chain(tmp_path, shift):
    """A vote before and one after: the second revises the first, and comes after it in the queue."""
    now = [START * 10**9]
    with outbox_at(tmp_path, clock=lambda: now[0]) as outbox:
        vote(outbox, "a")
        now[0] += shift * 10**9
        vote(outbox, "b", "negative")
        now[0] -= shift * 10**9
        vote(outbox, "c", "retracted")
        assert chain(outbox) == [("a", ""), ("b", "a"), ("c", "b")]


def test_no_age_is_negative(tmp_path):
    """A queue from the future, as a clock that was set back finds it, is no time old."""
    with outbox_at(tmp_path, clock=lambda: 2**62) as outbox:
        vote(outbox, "a")
        assert command._look(outbox)["oldest_seconds"] == 0
