"""What waits in an outbox: order, bounds, numbers, what becomes of it, and what is left of it in the file."""

import contextlib
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.resources import Resource
from tests.unit.drain_parts import RESOURCE, carrier
from tests.unit.outbox_parts import MEMORY, ask, names, outbox_at, vote, waiting
from tests.unit.server_parts import until

from otel_feedback._carrier import Carrier
from otel_feedback.exceptions import DeliveryError
from otel_feedback.outbox import Counts, Outbox, _committer
from otel_feedback.outbox._outbox import RESERVE_BYTES
from otel_feedback.outbox._rows import pack, unpack
from otel_feedback.testing import START

WORDS = "xyzzy-a-comment-that-nobody-else-writes"


@pytest.fixture
def outbox(tmp_path, own_process):
    with outbox_at(tmp_path) as outbox:
        yield outbox


def put(outbox, *named):
    for name in named:
        outbox.submit(carrier(name))


def numbers(outbox):
    return [row.number for row in waiting(outbox)]


def test_rows_wait_in_the_order_in_which_they_were_accepted(outbox):
    """With all that a sender needs."""
    given = carrier("a", same_trace=True, text="Ünïcode")
    outbox.submit(given)
    put(outbox, "b")
    first, second = waiting(outbox)
    assert (first.carrier, first.trace_id, first.resource) == (given, given.trace_id, {"service.name": "capture"})
    ((size,),) = ask(outbox.path.parent, f"SELECT length(carrier) FROM queue WHERE number = {first.number}")  # noqa: S608
    assert (first.accepted_ns, first.tries, first.size) == (START * 10**9, 0, size)
    assert first.span_id not in (0, given.span_id, second.span_id)
    assert second.trace_id not in (0, second.carrier.trace_id, first.trace_id)
    assert first.number < second.number
    assert waiting(outbox) == [first, second]


ATTRIBUTES = st.dictionaries(
    st.text(max_size=5),
    st.text(max_size=9)
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.lists(st.text(max_size=3)).map(tuple),
    max_size=4,
)


@given(
    made=st.builds(
        Carrier,
        name=st.text(max_size=20),
        time_ns=st.integers(0, 2**63 - 1),
        trace_id=st.integers(1, 2**128 - 1),
        span_id=st.integers(1, 2**64 - 1),
        sampled=st.booleans(),
        same_trace=st.booleans(),
        attributes=ATTRIBUTES,
        events=st.lists(st.tuples(st.text(max_size=5), ATTRIBUTES), max_size=2).map(tuple),
    )
)
def test_any_carrier_is_read_as_it_was_written(made):
    """Its own ids as well; a carrier of the interaction's trace is in that."""
    text = pack(made)
    carrier, trace_id, span_id = unpack(text)
    assert carrier == made
    assert unpack(text) == (carrier, trace_id, span_id)
    assert 0 < trace_id < 2**128
    assert 0 < span_id < 2**64
    assert (trace_id == made.trace_id) or not made.same_trace
    assert text.isascii()


def test_so_many_and_so_much_are_read_at_once(outbox):
    """At least one, whatever its size."""
    put(outbox, "a", "b", "c", "d")
    both = sum(row.size for row in waiting(outbox)[:2])
    assert len(outbox.oldest(most=3, most_bytes=10**9)) == 3
    assert len(outbox.oldest(most=9, most_bytes=both)) == 2
    assert len(outbox.oldest(most=9, most_bytes=both - 1)) == 1
    assert len(outbox.oldest(most=9, most_bytes=0)) == 1


def test_what_arrived_is_taken_out(outbox):
    """In any number; twice and unknown ones do no harm, and no number comes again."""
    outbox._committer.run(lambda session: [session.put(carrier(str(number))) for number in range(1200)])
    given = numbers(outbox)
    assert len(given) == 1200
    outbox.delivered([*given[:1100], given[0], 10**9])
    outbox.delivered([])
    assert names(outbox) == [str(number) for number in range(1100, 1200)]
    outbox.delivered(numbers(outbox))
    assert outbox.counts() == Counts(0, 0, None, 0, {})
    put(outbox, "last")
    assert numbers(outbox)[0] > given[-1]


def test_rejections_are_counted_and_kept_for_later(outbox):
    """What was set aside waits no more, and can be put back in its old place."""
    put(outbox, "a", "b", "c")
    first, second, _ = numbers(outbox)
    assert [outbox.rejected(first), outbox.rejected(first), outbox.rejected(second)] == [1, 2, 1]
    assert outbox.rejected(10**9) == 0
    assert [row.tries for row in waiting(outbox)] == [2, 1, 0]
    outbox.set_aside(first, "HTTP 400")
    outbox.set_aside(second, "HTTP 413")
    outbox.set_aside(10**9, "HTTP 400")
    assert names(outbox) == ["c"]
    counts = outbox.counts()
    assert (counts.depth, counts.set_aside, counts.why) == (1, 2, {"HTTP 400": 1, "HTTP 413": 1})
    assert outbox.put_back() == 2
    assert outbox.put_back() == 0
    assert [(row.number, row.tries) for row in waiting(outbox)][:2] == [(first, 0), (second, 0)]
    assert names(outbox) == ["a", "b", "c"]


ACTIONS = st.lists(st.tuples(st.sampled_from(["put", "delivered", "set_aside", "put_back"]), st.integers(0, 5)))


@settings(deadline=None, max_examples=40)
@given(actions=ACTIONS)
def test_the_counts_are_right_whatever_happened(actions):
    """They are kept, since counting takes long: so many rows, so many bytes, the oldest of them."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder, outbox_at(Path(folder)) as outbox:
        for what, number in actions:
            there = numbers(outbox)
            chosen = there[number : number + 2]
            if what == "put":
                outbox.submit(carrier("x" * (number + 1)))
            elif what == "delivered":
                outbox.delivered(chosen)
            elif what == "set_aside" and chosen:
                outbox.set_aside(chosen[0], "no")
            elif what == "put_back":
                outbox.put_back()
        rows, counts = waiting(outbox), outbox.counts()
        assert (counts.depth, counts.bytes) == (len(rows), sum(row.size for row in rows))
        assert counts.oldest_ns == (START * 10**9 if rows else None)


def test_a_full_outbox_refuses_until_something_has_arrived(tmp_path, own_process):
    """Nothing is dropped to make room; what is noted of what was sent still goes."""
    with outbox_at(tmp_path, most_bytes=300) as outbox:
        put(outbox, "a", "b")  # the first alone takes less
        with pytest.raises(DeliveryError, match=r"full of feedback .* Is the Collector there\?"):
            put(outbox, "c")
        with pytest.raises(DeliveryError, match="full of feedback"):
            vote(outbox, "c")
        assert names(outbox) == ["a", "b"]
        outbox.delivered(numbers(outbox)[:1])
        assert vote(outbox, "c").first


def test_some_room_on_the_disk_is_left_alone(outbox, monkeypatch):
    """A full disk refuses feedback, and still lets what was sent be marked; so does a folder that is gone."""
    put(outbox, "a", "b")
    usage = shutil.disk_usage(outbox.path.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=RESERVE_BYTES - 1))
    with pytest.raises(DeliveryError, match="disk of the outbox is full"):
        put(outbox, "c")
    outbox.delivered(numbers(outbox)[:1])
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=RESERVE_BYTES))
    put(outbox, "d")

    def gone(_):
        raise FileNotFoundError

    monkeypatch.setattr(shutil, "disk_usage", gone)
    with pytest.raises(DeliveryError, match="folder of the outbox has gone"):
        put(outbox, "e")
    assert names(outbox) == ["b", "d"]


def test_a_transaction_is_refused_or_taken_as_a_whole(outbox, monkeypatch):
    """Room is looked at once for all that are written together."""
    looks = []
    usage = shutil.disk_usage(outbox.path.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: looks.append(1) or usage)
    outbox._committer.run(lambda session: [session.put(carrier(name)) for name in "abc"])
    assert (names(outbox), len(looks)) == (["a", "b", "c"], 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: looks.append(1) or usage._replace(free=0))

    def work(session):
        for name in "def":
            with contextlib.suppress(DeliveryError):
                session.put(carrier(name))

    outbox._committer.run(work)
    assert (names(outbox), len(looks)) == (["a", "b", "c"], 2)


def test_resources_are_kept_once(tmp_path, own_process):
    """Of each process that writes; by default it is the provider's."""
    for resource in (RESOURCE, RESOURCE, Resource({"b": 1, "a": ("x", "y")}), None):
        with outbox_at(tmp_path, resource=resource) as outbox:
            put(outbox, "a", "b")
    with outbox_at(tmp_path) as outbox:
        rows = waiting(outbox)
    assert [dict(row.resource) for row in rows[:6:2]] == [dict(RESOURCE.attributes)] * 2 + [{"a": ("x", "y"), "b": 1}]
    assert rows[6].resource["telemetry.sdk.language"] == "python"
    assert len(ask(tmp_path, "SELECT * FROM resources")) == 3


def test_waiting_ends_with_news(outbox):
    """Of this process, at once; without any it ends in time."""
    put(outbox, "a")
    outbox.wait(0)
    outbox.wait(0.01)  # takes what is new so far
    began = time.monotonic()
    outbox.wait(0.05)
    assert 0.04 < time.monotonic() - began < 5
    timer = threading.Timer(0.1, put, args=(outbox, "b"))
    timer.start()
    began = time.monotonic()
    outbox.wait(60)
    assert time.monotonic() - began < 30
    timer.join()


def test_waiting_ends_with_news_of_another_process(outbox, tmp_path):
    """Within the time in which a sender looks."""
    put(outbox, "a")
    outbox.wait(1)
    outbox.wait(0.3)
    script = f"""
from pathlib import Path
from tests.unit.outbox_parts import outbox_at, vote
with outbox_at(Path({str(tmp_path)!r})) as outbox:
    vote(outbox, "b")
"""
    process = subprocess.Popen([sys.executable, "-c", script])
    began = time.monotonic()
    outbox.wait(60)
    assert time.monotonic() - began < 50
    assert process.wait(60) == 0
    assert names(outbox) == ["a", "b"]


def test_waiting_bears_a_file_that_cant_be_read(tmp_path, own_process):
    """It takes its time."""
    path = tmp_path / "outbox.db"
    path.write_bytes(b"nonsense" * 100)
    outbox = Outbox(path)
    outbox.wait(0.01)
    with pytest.raises(DeliveryError, match=r"can't be read \(ConfigurationError\)"):
        outbox.counts()
    path.unlink()
    assert outbox.counts().depth == 0
    outbox.close()


def test_a_row_that_cant_be_read_is_told(outbox, tmp_path):
    """As a fault of the file, and without what is in it."""
    put(outbox, "a")
    with contextlib.closing(sqlite3.connect(tmp_path / "outbox.db")) as connection, connection:
        connection.execute("UPDATE queue SET carrier = 'secret'")
    with pytest.raises(DeliveryError, match=r"can't be read \(JSONDecodeError\)"):
        waiting(outbox)


def test_who_is_told_of_news(tmp_path, own_process):
    """Once a transaction, when it is on the disk; not where nothing was put in."""
    told = []
    with outbox_at(tmp_path, on_change=lambda: told.append(len(ask(tmp_path, "SELECT * FROM queue")))) as outbox:
        put(outbox, "a")
        outbox._committer.run(lambda session: [session.put(carrier(name)) for name in "bc"])
        outbox.delivered([1])
        outbox.counts()
        until(lambda: told)
    assert told == [1, 3]


def test_a_closed_outbox_refuses(tmp_path, own_process):
    """Later feedback, without opening its file."""
    with outbox_at(tmp_path) as outbox:
        put(outbox, "a")
    assert [each.name for each in tmp_path.iterdir()] == ["outbox.db"]
    with pytest.raises(DeliveryError, match="has been closed"):
        put(outbox, "b")


def contents(folder):
    return b"".join(each.read_bytes() for each in folder.iterdir())


def test_what_arrived_leaves_no_word_in_the_file(tmp_path, own_process, monkeypatch):
    """The bytes are overwritten, in the log as well once nothing was written for a while, while others read it."""
    with outbox_at(tmp_path) as reader, outbox_at(tmp_path) as outbox:
        for number in range(30):
            outbox.submit(carrier(str(number), text=WORDS * 50))
        assert reader.counts().depth == 30
        assert WORDS.encode() in contents(tmp_path)
        monkeypatch.setattr(_committer, "IDLE_SECONDS", 0.05)
        outbox.delivered(numbers(outbox))
        until(lambda: outbox._committer._thread is None and outbox._committer._connection is None)
        assert WORDS.encode() not in contents(tmp_path)
        assert reader.counts().depth == 0


def test_the_log_is_used_again_from_its_start(tmp_path, own_process):
    """Under load, too: what was written before so many pages is overwritten, and the log doesn't grow."""
    with outbox_at(tmp_path) as reader, outbox_at(tmp_path) as outbox:
        outbox.submit(carrier("said", text=WORDS))
        assert reader.counts().depth == 1
        outbox.delivered(numbers(outbox))
        assert WORDS.encode() in contents(tmp_path)
        for _ in range(40):
            outbox._committer.run(lambda session: [session.put(carrier(str(n), text="y" * 4000)) for n in range(50)])
            outbox.delivered(numbers(outbox))
        assert WORDS.encode() not in contents(tmp_path)
        assert (tmp_path / "outbox.db-wal").stat().st_size < 16 * 2**20
