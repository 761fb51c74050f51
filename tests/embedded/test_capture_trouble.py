"""``otel-feedback capture`` while its disk is full, its outbox broken, its receiver away or its clock wrong."""

import contextlib
import http.client
import http.server
import itertools
import json
import os
import resource
import sqlite3
import subprocess
import threading
import time
from pathlib import Path

import pytest
from benchmarks.process import COMMAND, KEYS, environment
from soak.line import endpoint
from stack.client import wait_until
from stack.ports import choose_free
from tests.embedded.test_capture_kill import names
from tests.unit.capture_process import _Receiver

from otel_feedback._handle import HandleCodec, Keyring

MIB = 2**20
DAY = 86_400


class Door:
    """An endpoint, users of its own, and a receiver that comes and goes."""

    def __init__(self, folder, outbox, ending):
        self.port, self._receiver_port = choose_free(2)
        self.outbox = outbox
        self.process = endpoint(folder, self.port, outbox, f"http://127.0.0.1:{self._receiver_port}")
        self._variables = {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf", "OTEL_METRICS_EXPORTER": "none"}
        self._ending = ending
        self.codec = HandleCodec(Keyring.from_text(KEYS), clock=lambda: time.time() - DAY)
        self.acknowledged, self.first = [], []
        ending.callback(self.process.kill)

    def start(self, **variables):
        """Start the endpoint."""
        self.process.start(**self._variables, **variables)

    def open_receiver(self):
        """Let what is sent be received from now on."""
        self.receiver = http.server.ThreadingHTTPServer(("127.0.0.1", self._receiver_port), _Receiver)
        self.receiver.received = []
        threading.Thread(target=self.receiver.serve_forever, daemon=True).start()
        self._ending.callback(self.receiver.server_close)
        self._ending.callback(self.receiver.shutdown)

    def vote(self, name, value="up", *, interaction=1, reasons=()):
        """Send one feedback and return the answer's status, after a look at what a refusal says."""
        handle = self.codec.issue(trace_id=interaction, span_id=7, sampled=True, facts={})
        body = {"handle": handle, "signal": "thumbs", "value": value, "id": name, "reasons": list(reasons)}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            connection.request("POST", "/v1/feedback", json.dumps(body), {"content-type": "application/json"})
            answer = connection.getresponse()
            said = json.loads(answer.read())
        if answer.status == 503:
            assert int(answer.headers["retry-after"]) > 0
            assert "Nothing of it was recorded" in said["detail"]
        else:
            assert answer.status == 202, said
            self.acknowledged.append(name)
            if interaction == 1:
                self.first.append(name)
        return answer.status

    def waiting(self):
        """Return how many feedbacks wait."""
        with contextlib.closing(sqlite3.connect(self.outbox, timeout=30)) as outbox:
            return outbox.execute("SELECT count(*) FROM queue").fetchone()[0]

    def compare(self):
        """See that what was acknowledged has arrived, once, in the order of its vote, and nothing else."""
        wait_until(lambda: set(names(self.receiver)) >= set(self.acknowledged), "all of it", timeout=60)
        got = names(self.receiver)
        assert sorted(got) == sorted(self.acknowledged)
        assert [one for one in got if one in self.first] == self.first
        assert "Traceback" not in self.process.log()

    def outbox_command(self, **variables):
        """Return what ``otel-feedback outbox`` says."""
        ran = subprocess.run(
            [*COMMAND, "outbox", "--json", "--outbox", self.outbox],
            env=environment(**variables),
            capture_output=True,
            check=True,
        )
        return json.loads(ran.stdout)


@pytest.fixture
def made(tmp_path):
    """Makes an endpoint, not started; it ends with the test."""
    with contextlib.ExitStack() as ending:
        yield lambda outbox=None: Door(tmp_path, outbox or tmp_path / "outbox.db", ending)


@pytest.fixture
def door(made):
    """An endpoint that runs, with nobody to send to yet."""
    one = made()
    one.start()
    return one


def fill(path, *, leave):
    """Write a file until only so many bytes of its disk are free."""
    with path.open("wb") as file, contextlib.suppress(OSError):
        while (room := os.statvfs(path.parent)).f_bavail * room.f_frsize > leave:
            file.write(bytes(MIB // 4))
            file.flush()


def test_a_full_disk_takes_nothing_in_and_lets_everything_out(made, small_disk):
    """503 while it is full, and what waits is sent; when there is room feedback is taken again, without a restart."""
    door = made(small_disk / "outbox.db")
    door.start()
    for number in range(50):
        door.vote(f"f{number}", interaction=number + 1)
    fill(small_disk / "ballast", leave=32 * MIB)
    assert door.vote("refused") == 503
    door.open_receiver()
    door.compare()
    wait_until(lambda: door.waiting() == 0, "an empty outbox")
    assert door.vote("refused") == 503
    (small_disk / "ballast").unlink()
    assert door.vote("taken", "down") == 202
    door.compare()
    assert "disk" in door.process.log()


def test_a_disk_that_is_full_to_the_last_byte_delays_and_loses_nothing(made, small_disk):
    """Not even that something arrived can be noted: it is sent once all the same, and the rest when there is room."""
    door = made(small_disk / "outbox.db")
    door.start()
    for number in range(50):
        door.vote(f"f{number}", interaction=number + 1)
    fill(small_disk / "ballast", leave=0)
    assert door.vote("refused") == 503
    door.open_receiver()
    wait_until(lambda: names(door.receiver), "what is sent first", timeout=60)
    (small_disk / "ballast").unlink()
    wait_until(lambda: door.vote("taken", "down") == 202, "room", timeout=30)
    door.compare()
    wait_until(lambda: door.waiting() == 0, "an empty outbox", timeout=60)


def test_a_disk_that_fills_in_the_middle_of_a_write_is_survived(door):
    """No file may grow: what the look at free space can't foresee is refused, too, and nothing of it is half there."""
    door.vote("a")
    pid = door.process._process.pid
    unlimited = resource.prlimit(pid, resource.RLIMIT_FSIZE, (64 * 1024, resource.RLIM_INFINITY))
    answers = [door.vote(f"f{number}", interaction=number + 2) for number in range(60)]
    assert answers[-1] == 503
    resource.prlimit(pid, resource.RLIMIT_FSIZE, unlimited)
    assert door.vote("b", "down") == 202
    door.open_receiver()
    door.compare()


def test_a_file_that_another_process_holds_is_waited_for_and_then_refused(door):
    """Longer than ten seconds: 503, while the endpoint goes on to answer; afterwards feedback is taken as before."""
    door.vote("a")
    with contextlib.closing(sqlite3.connect(door.outbox, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        answers = []
        sender = threading.Thread(target=lambda: answers.append(door.vote("refused")))
        sender.start()
        while sender.is_alive():
            connection = http.client.HTTPConnection("127.0.0.1", door.port, timeout=1)
            with contextlib.closing(connection):
                connection.request("GET", "/healthz")
                assert connection.getresponse().status == 200
            sender.join(0.5)
        assert answers == [503]
        holder.execute("ROLLBACK")
    assert door.vote("b", "down") == 202
    door.open_receiver()
    door.compare()


def test_an_outbox_that_is_removed_takes_nothing_more_until_all_is_sent(door):
    """What was acknowledged is sent from the file that has no name any more; then a new one begins."""
    for number in range(20):
        door.vote(f"f{number}", interaction=number + 1)
    for path in door.outbox.parent.glob("outbox.db*"):
        path.unlink()
    assert [door.vote("refused") for _ in range(3)] == [503] * 3
    door.open_receiver()
    wait_until(lambda: door.vote("b", "down") == 202, "a new file", timeout=60)
    door.compare()
    assert "removed" in door.process.log()


def test_a_file_that_no_byte_can_be_written_to_takes_nothing_in(door):
    """503, and nothing is sent twice because it can't be noted; when it can be written again, feedback is taken."""
    door.vote("a")
    pid = door.process._process.pid
    unlimited = resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    assert door.vote("refused") == 503
    door.open_receiver()
    door.compare()
    resource.prlimit(pid, resource.RLIMIT_FSIZE, unlimited)
    wait_until(lambda: door.vote("b", "down") == 202, "a file that can be written")
    wait_until(lambda: door.waiting() == 0, "an empty outbox", timeout=60)
    door.compare()


def test_garbage_over_the_file_stops_it_with_a_word_and_never_with_a_crash(made, door):
    """Whatever is asked is answered by 202 or 503 until somebody looks, and a new start is refused in one sentence."""
    door.open_receiver()
    door.vote("a")
    wait_until(lambda: door.waiting() == 0, "an empty outbox")
    for path in door.outbox.parent.glob("outbox.db*"):
        if path.suffix in (".db", ".db-wal"):
            path.write_bytes(os.urandom(path.stat().st_size))
    assert {door.vote(f"f{number}", interaction=number + 2) for number in range(20)} <= {202, 503}
    wait_until(lambda: door.vote("refused") == 503, "a refusal")
    assert "Traceback" not in door.process.log()
    door.process.kill()
    refused_at_start(door)


def _garbage(path):
    path.write_bytes(os.urandom(40_000))


def _cut(path):
    os.truncate(path, path.stat().st_size // 2)


def _spoilt(path):
    with path.open("r+b") as file:  # all but its first page
        file.seek(4096)
        file.write(os.urandom(path.stat().st_size - 4096))


@pytest.mark.parametrize("harm", [_garbage, _cut, _spoilt])
def test_a_damaged_file_is_found_at_the_start(made, harm):
    """Exit code 2 and one sentence that says which file and what to do; nothing of it is changed."""
    door = made()
    door.start()
    for number in range(100):
        door.vote(f"f{number}", interaction=number + 1)
    door.process.stop()
    harm(door.outbox)
    before = door.outbox.read_bytes()
    refused_at_start(door)
    assert door.outbox.read_bytes() == before


def refused_at_start(door):
    """Start it and see that it ends at once and says why."""
    ran = subprocess.run(
        [*COMMAND, "capture", "--listen", f"127.0.0.1:{door.port}", "--outbox", door.outbox],
        env=environment(OTEL_FEEDBACK_STATE_DIR=str(door.outbox.parent), COLUMNS="1000"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 2
    assert ran.stdout == ""
    [line] = ran.stderr.splitlines()
    assert line.startswith(f"otel-feedback: The outbox {door.outbox} can't be used (")


def test_a_receiver_that_was_away_for_twenty_seconds_gets_all_in_order(door):
    """Votes are given and changed meanwhile, each is acknowledged at once, and each of one answer arrives in order."""
    until = time.monotonic() + 20
    number = 0
    while time.monotonic() < until:
        begun = time.monotonic()
        assert door.vote(f"f{number}", "down" if number % 2 else "up", interaction=1 + number % 3) == 202
        assert time.monotonic() - begun < 5
        number += 1
        time.sleep(0.3)
    door.open_receiver()
    door.compare()


def test_a_clock_that_is_set_back_and_forward_changes_no_vote(made):
    """Each feedback revises the one before it, whatever time it says, and no age of the queue is negative."""
    [library] = [*Path("/usr/lib").glob("*/faketime/libfaketime.so.1")] or [None]
    if library is None:
        if os.environ.get("CI"):
            pytest.fail("CI needs the package faketime", pytrace=False)
        pytest.skip("the package faketime is not installed; a unit test sets the clock of an outbox instead")
    door = made()
    offset = door.outbox.with_name("offset")
    faked = {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    offset.write_text("+0\n")
    door.start(**faked)
    for number, shift in enumerate(["+0", "-7200", "+43200", "-36000", "+0"]):
        offset.write_text(f"{shift}\n")
        assert door.vote(f"f{number}", "up" if number % 2 else "down") == 202
    offset.write_text("-80000\n")
    assert door.outbox_command(**faked)["oldest_seconds"] == 0
    offset.write_text("+0\n")
    door.open_receiver()
    door.compare()
    spans = [
        span
        for _, _, request in door.receiver.received
        for its in request.resource_spans
        for scope in its.scope_spans
        for span in scope.spans
    ]
    said = [{attribute.key: attribute.value.string_value for attribute in span.attributes} for span in spans]
    assert [one.get("feedback.revises") for one in said] == [None, "f0", "f1", "f2", "f3"]
    moments = [span.start_time_unix_nano for span in spans]
    assert [later > earlier for earlier, later in itertools.pairwise(moments)] == [False, True, False, True]
