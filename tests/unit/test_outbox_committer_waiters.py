"""Who waits for a group commit: coroutines of any loop, and processes that fork."""

import asyncio
import sqlite3
import subprocess
import sys

import pytest
from tests.unit.committer_parts import File, held, in_thread, raising
from tests.unit.server_parts import until

from otel_feedback.exceptions import DeliveryError


@pytest.fixture
def file(tmp_path, own_process):
    made = File(tmp_path / "file.db")
    yield made
    made.committer.close()


async def test_a_coroutine_waits_without_a_thread(file):
    """Results and errors come to the loop that asked; others go on meanwhile."""
    results = await asyncio.gather(*(file.put_soon(number) for number in range(50)))
    assert results == [-number for number in range(50)]
    with pytest.raises(KeyError):
        await file.committer.soon(raising(KeyError("own")))
    with pytest.raises(DeliveryError):
        await file.committer.soon(raising(sqlite3.Error("x")))
    assert sorted(file.numbers()) == list(range(50))


async def test_a_coroutine_that_was_cancelled_leaves_its_work(file):
    """It is written, since it may have been; the others of its loop get theirs."""
    with held(file):
        gone, stays = file.put_soon(1), file.put_soon(2)
        gone.cancel()
    assert await stays == -2
    assert gone.cancelled()
    assert file.numbers() == [1, 2]


def test_a_loop_that_was_closed_stops_nobody(file):
    """Those of other loops, and threads, get their results."""

    async def leave(number):
        file.put_soon(number)

    async def stay():
        return await file.put_soon(3)

    with held(file):
        asyncio.run(leave(1))
        until(lambda: len(file.committer._jobs) == 1)
        results = []
        thread = in_thread(lambda: results.append(file.put(2)))
        until(lambda: len(file.committer._jobs) == 2)
        other = in_thread(lambda: results.append(asyncio.run(stay())))
        until(lambda: len(file.committer._jobs) == 3)
    thread.join()
    other.join()
    assert sorted(results) == [-3, -2]
    assert file.numbers() == [1, 2, 3]


FORK = """
import os, signal, sys, threading, warnings
from pathlib import Path
from otel_feedback.exceptions import DeliveryError
from otel_feedback.outbox import _committer
from tests.unit.committer_parts import File
warnings.simplefilter("ignore")  # forking beside a thread is what this is about
file, in_time = File(Path(sys.argv[1])), sys.argv[2] == "in time"
if not in_time:
    _committer.FORK_SECONDS = 0.1
file.put(1)
reached, go_on = threading.Event(), threading.Event()
thread = threading.Thread(target=lambda: file.committer.run(lambda s: (s.put(2), reached.set(), go_on.wait(30))))
thread.start()
reached.wait(30)
waits = threading.Thread(target=file.put, args=(3,))
waits.start()
while not file.committer._jobs:
    pass
if in_time:
    threading.Timer(0.2, go_on.set).start()
child = os.fork()
if child == 0:
    signal.alarm(20)  # a deadlock ends the child
    try:
        file.put(4)
        status = 4
    except DeliveryError as refusal:
        status = 3 if "was forked while" in str(refusal) else 5
    file.committer.close()
    os._exit(status)
go_on.set()
thread.join()
waits.join()
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
file.put(5)
file.committer.close()
raise SystemExit(status)
"""


@pytest.mark.parametrize(("when", "status"), [("in time", 4), ("too late", 3)])
def test_a_child_has_a_thread_and_a_connection_of_its_own(tmp_path, when, status):
    """A fork waits for the transaction under way; where that doesn't end, the child can't write, and says so."""
    path = tmp_path / "file.db"
    done = subprocess.run([sys.executable, "-c", FORK, str(path), when], check=False, timeout=60)
    assert done.returncode == status
    assert sorted(File(path).numbers()) == [1, 2, 3, *([4] if status == 4 else []), 5]
