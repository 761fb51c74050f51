"""Group commit: many pieces of work in one transaction, whoever waits for them, and a thread that comes and goes."""

import contextlib
import sqlite3
import threading
import time

import pytest
from tests.unit.committer_parts import File, Session, held, in_thread, raising
from tests.unit.server_parts import until

from otel_feedback.exceptions import ConfigurationError, DeliveryError
from otel_feedback.outbox import _committer
from otel_feedback.outbox._committer import Committer


@pytest.fixture
def file(tmp_path, own_process):
    made = File(tmp_path / "file.db")
    yield made
    made.committer.close()


def test_nothing_is_opened_before_there_is_work(file):
    """Nor does a thread run; the first piece of work brings both, and its result."""
    assert (file.opened, file.committer._thread) == (0, None)
    assert file.put(5) == -5
    assert (file.opened, file.numbers()) == (1, [5])
    assert file.put(6) == -6
    assert file.opened == 1


def test_what_waits_meanwhile_is_one_transaction(file):
    """In its order; all hear of it when it is on the disk, and not before."""
    with held(file):
        threads = []
        for number in range(20):
            threads.append(in_thread(file.put, number))
            until(lambda number=number: len(file.committer._jobs) == number + 1)
        assert all(thread.is_alive() for thread in threads)
    for thread in threads:
        thread.join()
    assert file.numbers() == list(range(20))
    assert file.commits() == 2


def test_a_transaction_has_a_bound(file, monkeypatch):
    """What is beyond it is the next one."""
    monkeypatch.setattr(_committer, "MOST_AT_ONCE", 3)
    with held(file):
        threads = [in_thread(file.put, number) for number in range(7)]
        until(lambda: len(file.committer._jobs) == 7)
    for thread in threads:
        thread.join()
    assert file.commits() == 1 + 3


def test_no_more_may_wait_than_is_bearable(file, monkeypatch):
    """The next is refused at once; those who wait are served."""
    monkeypatch.setattr(_committer, "MOST_WAITING", 2)
    with held(file):
        threads = [in_thread(file.put, number) for number in range(2)]
        until(lambda: len(file.committer._jobs) == 2)
        with pytest.raises(DeliveryError, match="Too much feedback waits"):
            file.put(9)
    for thread in threads:
        thread.join()
    assert sorted(file.numbers()) == [0, 1]


def test_work_that_raises_leaves_nothing_and_harms_nobody(file):
    """Its own error comes back; what else is in the transaction is written."""
    results = {}

    def run(name, work):
        try:
            results[name] = file.committer.run(work)
        except Exception as error:
            results[name] = error

    trouble = KeyError("secret")
    with held(file):
        works = {"a": lambda s: s.put(1), "b": raising(trouble), "c": lambda s: s.put(2)}
        threads = []
        for count, (name, work) in enumerate(works.items(), start=1):
            threads.append(in_thread(run, name, work))
            until(lambda count=count: len(file.committer._jobs) == count)
    for thread in threads:
        thread.join()
    assert results == {"a": -1, "b": trouble, "c": -2}
    assert file.numbers() == [1, 2]


def test_a_fault_of_the_file_refuses_all_of_the_transaction(file):
    """Nothing of it is written, the sentence repeats nothing of SQLite's, and the next one opens the file anew."""
    errors = []

    def run(work):
        with pytest.raises(DeliveryError) as caught:
            file.committer.run(work)
        errors.append(str(caught.value))

    with held(file):
        first = in_thread(run, lambda s: s.put(1))
        until(lambda: len(file.committer._jobs) == 1)
        second = in_thread(run, raising(sqlite3.OperationalError("secret")))
        until(lambda: len(file.committer._jobs) == 2)
    first.join()
    second.join()
    sentence = "The outbox can't be written (OperationalError). Is its disk full, or gone?"
    assert errors == [sentence] * 2
    assert file.put(2) == -2
    assert (file.numbers(), file.opened) == ([2], 2)


def test_why_a_file_cant_be_opened_is_told(tmp_path):
    """Ours as they are, as refusals; the next piece of work tries again."""
    errors = [ConfigurationError("Name another file."), MemoryError()]
    file = File(tmp_path / "file.db")
    connect = file.connect
    committer = Committer(lambda: (_ for _ in ()).throw(errors.pop(0)) if errors else connect(), Session)
    with pytest.raises(DeliveryError, match=r"^Name another file\.$"):
        committer.run(lambda s: s.put(1))
    with pytest.raises(DeliveryError, match="MemoryError"):
        committer.run(lambda s: s.put(2))
    assert committer.run(lambda s: s.put(3)) == -3
    committer.close()
    assert file.numbers() == [3]


def test_work_that_came_before_a_failure_keeps_its_own_error(file):
    """Who was refused for a reason of their own hears that, though the transaction failed as well."""
    with held(file):
        caught = []

        def run(error):
            try:
                file.committer.run(raising(error))
            except Exception as raised:
                caught.append(type(raised))

        thread = in_thread(run, KeyError("own"))
        until(lambda: len(file.committer._jobs) == 1)
        other = in_thread(run, sqlite3.Error("x"))
        until(lambda: len(file.committer._jobs) == 2)
    thread.join()
    other.join()
    assert caught in ([KeyError, DeliveryError], [DeliveryError, KeyError])


def test_what_is_on_the_disk_is_acknowledged_whoever_cant_hear_of_it(tmp_path, caplog, own_process):
    """A sender that can't be woken doesn't make a refusal of it."""

    class Unheard(Session):
        def written(self):
            raise RuntimeError("secret")

    file = File(tmp_path / "file.db", Unheard)
    assert file.put(1) == -1
    assert file.put(2) == -2
    file.committer.close()
    assert (file.numbers(), file.opened) == ([1, 2], 1)
    assert [record.getMessage() for record in caplog.records] == [
        "otel-feedback: nobody hears of new feedback (RuntimeError)."
    ]


def test_a_thread_without_work_ends_and_another_begins(file, monkeypatch):
    """The file is closed meanwhile, and what was deleted is not in its log any more, whoever else has it open."""
    monkeypatch.setattr(_committer, "IDLE_SECONDS", 0.05)
    with contextlib.closing(sqlite3.connect(file.path)) as reader:
        file.put(1)
        assert reader.execute("SELECT count(*) FROM numbers").fetchone() == (1,)
        log = file.path.with_name("file.db-wal")
        until(lambda: log.stat().st_size == 0)
        until(lambda: file.committer._thread is None and file.committer._connection is None)
        assert file.put(2) == -2
        assert file.opened == 2


def test_work_that_comes_as_a_thread_gives_up_is_done(file):
    """The wait has timed out, and before the thread has the lock again somebody puts something in."""
    late = []

    class Late(threading.Condition):
        def wait(self, timeout=None):
            if not timeout or late:
                return super().wait(timeout)
            late.append(in_thread(file.put, 7))
            while not file.committer._jobs:
                super().wait(0.01)
            return False

    file.committer._changed = Late()
    assert file.put(1) == -1
    until(lambda: late)
    late[0].join(10)
    assert file.numbers() == [1, 7]


def test_no_work_is_lost_or_stuck_between_threads(file, monkeypatch):
    """Threads that end at once, and work that comes at every moment of it."""
    monkeypatch.setattr(_committer, "IDLE_SECONDS", 0.0005)
    deadline = time.monotonic() + 1.5
    written = [[], [], [], []]

    def put(number):
        while time.monotonic() < deadline:
            value = number * 10**6 + len(written[number])
            assert file.put(value) == -value
            written[number].append(value)
            time.sleep(0.0004 * (len(written[number]) % 4))

    threads = [in_thread(put, number) for number in range(4)]
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    assert sorted(file.numbers()) == sorted(value for values in written for value in values)
    assert file.opened > 3


def test_where_no_thread_can_start_work_is_refused(file, monkeypatch):
    """As at the end of the interpreter; nothing waits for a thread that never was, and the next may try."""

    def start(_):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        with pytest.raises(DeliveryError, match="no thread"):
            file.put(1)
    assert file.put(2) == -2
    assert file.numbers() == [2]


def test_close_ends_what_is_under_way(file):
    """What was put in is written, later work is refused, and it can be repeated."""
    with held(file):
        waiting = in_thread(file.put, 1)
        until(lambda: len(file.committer._jobs) == 1)
        closing = in_thread(file.committer.close)
        until(lambda: file.committer._closed)
        with pytest.raises(DeliveryError, match="closed"):
            file.put(2)
    waiting.join()
    closing.join()
    assert file.numbers() == [1]
    assert file.committer._connection is None
    file.committer.close()


def test_close_without_any_work_makes_nothing(file):
    """Neither a file nor a thread."""
    file.committer.close()
    assert not file.path.exists()
