"""The sender's life: back-off, what it logs, one per file, its end, a fork, and an end by drain."""

import asyncio
import logging
import math
import multiprocessing
import os
import threading
import time

import pytest
from tests.unit.drain_parts import LATER, Clock, GrpcReceiver, HttpReceiver, Receiver, carrier, filled, read, receiving
from tests.unit.outbox_parts import ballot, carrying, vote
from tests.unit.server_parts import until

from otel_feedback import _guard
from otel_feedback.exceptions import DeliveryError
from otel_feedback.outbox import _committer
from otel_feedback.outbox._lock import SenderLock, is_held
from otel_feedback.outbox._otlp import transport_from_env
from otel_feedback.outbox._sender import IDLE, LONGEST_ASKED, LONGEST_BACKOFF, QUIET, Sender
from otel_feedback.outbox._transport import Fate, Outcome

FORK = multiprocessing.get_context("fork")


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def outbox(tmp_path, own_process):
    made = filled(tmp_path, "a", "b")
    yield made
    made.close()


@pytest.fixture
def make(tmp_path, outbox):
    """Make a sender for the outbox; it is stopped after the test."""
    made = []

    def sender(transport, queue=outbox, **more):
        made.append(Sender(queue, transport, lock_path=tmp_path / "outbox.db.sender", **more))
        return made[-1]

    yield sender
    for each in made:
        each.stop(0)


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_it_sends_what_waits_and_what_comes(make, outbox):
    """From its start on, until it is stopped; starting it again does nothing."""
    receiver = Receiver()
    sender = make(receiver)
    sender.start()
    until(lambda: outbox.counts().depth == 0)
    thread = sender._thread
    sender.start()
    assert sender._thread is thread
    outbox.submit(carrier("c"))
    until(lambda: receiver.got == ["a", "b", "c"])
    sender.stop(5)
    assert not sender.running
    assert receiver.closed == 1
    sender.start()
    assert not sender.running


def test_nothing_is_opened_before_the_start(make, tmp_path):
    """Neither the lock's file nor a thread."""
    before = threading.active_count()
    make(Receiver())
    assert threading.active_count() == before
    assert not (tmp_path / "outbox.db.sender").exists()


def test_back_off(make, clock):
    """A random part of half a second, doubled each time up to 30; after a success it starts anew."""
    receiver = Receiver(*[LATER] * 12)
    sender = make(receiver, clock=clock, sleep=clock.sleep, chance=lambda: 0.5)
    assert sender.drain(timeout=math.inf)
    assert clock.slept[:12] == [0.25 * 2**power for power in range(6)] + [LONGEST_BACKOFF / 2] * 6
    receiver.outcomes = [LATER]
    sender._queue.submit(carrier("c"))
    clock.slept.clear()
    assert sender.drain(timeout=math.inf)
    assert clock.slept == [0.25]


@pytest.mark.parametrize(("asked", "slept"), [(7.0, 7.0), (86_400.0, LONGEST_ASKED)])
def test_a_receiver_is_left_alone_for_as_long_as_it_asks(make, clock, asked, slept):
    """But not for ever."""
    sender = make(Receiver(Outcome(Fate.LATER, "HTTP 429", asked)), clock=clock, sleep=clock.sleep, chance=lambda: 0.0)
    assert sender.drain()
    assert clock.slept == [slept]


def test_trouble_is_told_once_and_its_end(make, clock, caplog):
    """One warning when it lasts, one line when it is over; with why, and nothing of the feedback."""
    sender = make(Receiver(*[LATER] * 40), clock=clock, sleep=clock.sleep)
    assert sender.drain()
    begin, end = warnings(caplog)
    assert "HTTP 503" in begin
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in begin
    assert "again" in end


def test_a_single_failure_is_not_told(make, clock, caplog):
    """A connection that went while it was idle is no trouble."""
    assert make(Receiver(LATER), clock=clock, sleep=clock.sleep).drain()
    assert warnings(caplog) == []


def test_another_trouble_is_told_after_a_while(make, clock, caplog):
    """When it lasts for a minute and has another reason: who mended the network learns of the wrong key."""
    refused = Outcome(Fate.LATER, "HTTP 401")
    make(Receiver(LATER, LATER, *[refused] * 30), clock=clock, sleep=clock.sleep, chance=lambda: 1.0).drain()
    begin, other, end = warnings(caplog)
    assert "HTTP 503" in begin
    assert "HTTP 401" in other
    assert "again" in end
    assert clock.now - 1000 > QUIET


def test_trouble_that_changes_all_the_time_fills_no_log(make, clock, caplog):
    """Another reason within a minute is not told."""
    refused = Outcome(Fate.LATER, "HTTP 401")
    make(Receiver(*[LATER, refused] * 9), clock=clock, sleep=clock.sleep, chance=lambda: 0.01).drain()
    assert clock.now - 1000 < QUIET
    assert len(warnings(caplog)) == 2


class Broken:
    """A queue whose file can't be read for a while."""

    def __init__(self, outbox, failures, error):
        self._outbox, self.failures, self._error = outbox, failures, error

    def __getattr__(self, name):
        return getattr(self._outbox, name)

    def oldest(self, **bounds):
        self.failures -= 1
        if self.failures >= 0:
            raise self._error
        return self._outbox.oldest(**bounds)


def test_a_broken_file_does_not_end_it(make, outbox, caplog):
    """It waits, says so once, and goes on."""
    receiver = Receiver()
    sender = make(receiver, Broken(outbox, 3, DeliveryError("secret")), chance=lambda: 0.01)
    sender.start()
    until(lambda: receiver.got == ["a", "b"])
    until(lambda: ["file" in line for line in warnings(caplog)] == [True, False])
    assert "secret" not in caplog.text


def test_a_fault_of_ours_does_not_end_it(make, outbox, caplog, own_process, guarded):
    """It is reported by its type, and tried again."""
    receiver = Receiver()
    make(receiver, Broken(outbox, 2, ZeroDivisionError("secret")), chance=lambda: 0.01).start()
    until(lambda: receiver.got == ["a", "b"])
    assert "ZeroDivisionError" in caplog.text
    assert "secret" not in caplog.text


def test_a_lock_that_cant_be_made(tmp_path, outbox):
    """It is the outbox's trouble, and waited for."""
    receiver = Receiver()
    lock = tmp_path / "later" / "outbox.db.sender"
    sender = Sender(outbox, receiver, lock_path=lock, chance=lambda: 0.01)
    sender.start()
    time.sleep(0.05)
    assert receiver.batches == []
    lock.parent.mkdir()
    until(lambda: receiver.got == ["a", "b"])
    sender.stop(5)


def test_one_sender_per_file(make, tmp_path, outbox):
    """While one is at work the others watch; when it goes, one of them takes over within a second or so."""
    first, second = Receiver(), Receiver()
    one, two = make(first), make(second)
    one.start()
    until(lambda: first.got == ["a", "b"])
    two.start()
    outbox.submit(carrier("c"))
    until(lambda: first.got == ["a", "b", "c"])
    assert second.batches == []
    assert is_held(tmp_path / "outbox.db.sender")
    one.stop(5)
    outbox.submit(carrier("d"))
    until(lambda: second.got == ["d"])


def test_the_lock(tmp_path):
    """It is exclusive, can be taken twice by who has it, is private, and is nobody's once it is let go."""
    path = tmp_path / "lock"
    assert not is_held(path)
    assert not path.exists()
    one, two = SenderLock(path), SenderLock(path)
    assert one.acquire()
    assert one.acquire()
    assert not two.acquire()
    assert is_held(path)
    assert path.stat().st_mode & 0o777 == 0o600
    one.release()
    one.release()
    assert not is_held(path)
    assert two.acquire()
    two.release()


def test_the_end_is_prompt(make):
    """An idle sender, and one that waits for an outage to end, end at once; nothing is lost by it."""
    idle = make(Receiver())
    idle.start()
    until(lambda: idle._queue.counts().depth == 0)
    began = time.monotonic()
    idle.stop(10)
    assert time.monotonic() - began < 5 * IDLE
    idle._queue.submit(carrier("c"))
    waiting = make(Receiver(*[Outcome(Fate.LATER, "HTTP 503", 300)] * 9))
    waiting.start()
    until(lambda: waiting._failures == 1)
    began = time.monotonic()
    waiting.stop(10)
    assert not waiting.running
    assert time.monotonic() - began < 5 * IDLE
    assert idle._queue.counts().depth == 1


def test_the_end_sends_what_it_can(make, outbox):
    """What waits is sent within the time that there is."""
    receiver = Receiver()
    sender = make(receiver)
    sender.start()
    sender.stop(5)
    assert receiver.got == ["a", "b"]


def test_the_end_does_not_wait_for_a_receiver_that_hangs(make):
    """Its time is bounded, whatever the receiver does."""
    receiver, hanging = Receiver(), threading.Event()
    receiver.send = lambda _: hanging.wait(20) and LATER
    sender = make(receiver)
    sender.start()
    began = time.monotonic()
    sender.stop(0.2)
    assert time.monotonic() - began < 2
    hanging.set()


def test_drain(make, outbox, tmp_path):
    """It sends in the caller's thread, tells how many wait, and lets go of everything."""
    receiver, told = Receiver(), []
    assert make(receiver).drain(5, told.append)
    assert receiver.got == ["a", "b"]
    assert told == [2, 0]
    assert receiver.closed == 1
    assert not is_held(tmp_path / "outbox.db.sender")


def test_drain_gives_up_in_time(make, clock, outbox):
    """It says that something still waits."""
    sender = make(Receiver(*[LATER] * 999), clock=clock, sleep=clock.sleep)
    assert not sender.drain(60)
    assert clock.now - 1000 == pytest.approx(60)
    assert outbox.counts().depth == 2


def test_drain_watches_another(make, outbox):
    """Where another sender is at work it sends nothing itself, and sees when all is gone."""
    working, watching = Receiver(*[LATER] * 3), Receiver()
    one = make(working, chance=lambda: 0.1)
    one.start()
    until(lambda: working.batches)
    assert make(watching).drain(30)
    assert watching.batches == []
    assert one.drain(1)
    assert one.running


def test_drain_tells_of_a_broken_file(make, outbox):
    """Whoever asked for it is told."""
    broken = Broken(outbox, 1, DeliveryError("The outbox can't be read."))
    with pytest.raises(DeliveryError):
        make(Receiver(), broken).drain(1)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("kind", [HttpReceiver, GrpcReceiver])
def test_a_forked_child_has_a_sender_of_its_own(tmp_path, outbox, kind):
    """It watches while its parent sends, does not hold its parent's lock, and takes over when the parent stops."""
    with receiving(kind) as receiver:
        protocol = "http/protobuf" if kind is HttpReceiver else "grpc"
        transport = transport_from_env(
            {"OTEL_EXPORTER_OTLP_PROTOCOL": protocol, "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url}
        )
        sender = Sender(outbox, transport, lock_path=tmp_path / "lock")
        sender.start()
        until(lambda: outbox.counts().depth == 0)
        ready, go_on = FORK.Event(), FORK.Event()

        def work():
            assert not sender.running
            assert not sender._lock.acquire()
            ready.set()
            go_on.wait(10)
            outbox.submit(carrier("child"))
            os._exit(0 if sender.drain(10) else 3)

        child = FORK.Process(target=work)
        child.start()
        assert ready.wait(10)
        sender.stop(5)
        assert not is_held(tmp_path / "lock")
        go_on.set()
        child.join(30)
        assert child.exitcode == 0
        last = receiver.got[-1]
        assert (read(last[2]) if kind is HttpReceiver else last) == ["child"]


def test_its_requests_are_not_traced(tmp_path, outbox, seen):
    """A host that traces its own HTTP and gRPC calls sees none of ours."""
    from opentelemetry.instrumentation.utils import is_instrumentation_enabled

    enabled = []

    class Traced(Receiver):
        def send(self, sent):
            enabled.append(is_instrumentation_enabled())
            return super().send(sent)

    assert Sender(outbox, Traced(), lock_path=tmp_path / "lock").drain(5)
    assert enabled == [False]
    assert is_instrumentation_enabled()


def test_a_log_handler_that_raises(make, clock, monkeypatch):
    """It is the host's, and no reason for feedback to wait."""
    monkeypatch.setattr(_guard.logger, "warning", lambda *_: 1 / 0)
    receiver = Receiver(LATER, LATER, LATER)
    assert make(receiver, clock=clock, sleep=clock.sleep).drain()


def test_sending_pauses_for_what_comes_in(make, clock, outbox):
    """After a batch the next one waits as many times as long as this one took as it is told, while it is told so."""
    times, pauses = [4.0, 1.0, 0.0], []

    class Slow(Receiver):
        def send(self, sent):
            clock.now += 0.5
            return super().send(sent)

    def sleep(seconds):
        if seconds > 0.3:
            pauses.append(seconds)
            outbox.submit(carrier(f"more{len(pauses)}"))
        clock.now += seconds

    receiver = Slow()
    make(receiver, clock=clock, sleep=sleep, courtesy=lambda: times.pop(0) if times else 0.0).start()
    until(lambda: len(receiver.got) == 4)
    assert pauses == pytest.approx([2.0, 0.5])


async def test_courtesy_is_for_votes_that_come_in(outbox, monkeypatch):
    """A sender pauses twice as long as a batch took beside single votes, four times as long beside many, else never."""
    monkeypatch.setattr(_committer, "CROWD_SECONDS", 60)
    outbox.delivered([row.number for row in outbox.oldest(most=9, most_bytes=10**6)])
    assert outbox.courtesy() == 0.0
    vote(outbox, "one")
    assert outbox.courtesy() == 2.0
    casts = [ballot(str(number), interaction=number) for number in range(100, 400)]
    await asyncio.gather(*(outbox.cast_soon(cast, carrying(outbox, cast)) for cast in casts))
    assert outbox.courtesy() == 4.0
    monkeypatch.setattr(_committer, "CROWD_SECONDS", 0)
    assert outbox.courtesy() == 0.0
