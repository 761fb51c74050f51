"""``otel-feedback capture`` while its disk is full, its outbox broken, its receiver away or its clock wrong."""

import contextlib
import http.client
import http.server
import json
import os
import resource
import sqlite3
import subprocess
import threading
import time

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
        self._variables = {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}
        self._ending = ending
        self.codec = HandleCodec(Keyring.from_text(KEYS), clock=lambda: time.time() - DAY)
        self.acknowledged = []
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
        return answer.status

    def waiting(self):
        """Return how many feedbacks wait."""
        with contextlib.closing(sqlite3.connect(self.outbox, timeout=30)) as outbox:
            return outbox.execute("SELECT count(*) FROM queue").fetchone()[0]

    def compare(self):
        """See that what was acknowledged has arrived, once, in its order, and nothing else."""
        wait_until(lambda: set(names(self.receiver)) >= set(self.acknowledged), "all of it", timeout=60)
        assert names(self.receiver) == self.acknowledged
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


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 160 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=160m", "tmpfs", folder], check=False, capture_output=True
    )
    if mounted.returncode:
        if os.environ.get("CI"):
            pytest.fail(f"CI needs the right to mount a small disk: {mounted.stderr.decode().strip()}", pytrace=False)
        pytest.skip("only root can mount a small disk; another test limits the file instead")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def fill(path, *, leave):
    """Write a file until only so many bytes of its disk are free."""
    with path.open("wb") as file, contextlib.suppress(OSError):
        while (room := os.statvfs(path.parent)).f_bavail * room.f_frsize > leave:
            file.write(bytes(MIB // 4))
            file.flush()


@pytest.mark.parametrize(
    "leave", [pytest.param(32 * MIB, id="nearly full"), pytest.param(0, id="full to the last byte")]
)
def test_a_full_disk_takes_nothing_in_and_lets_everything_out(made, small_disk, leave):
    """503 while it is full, and what waits is sent; when there is room feedback is taken again, without a restart."""
    door = made(small_disk / "outbox.db")
    door.start()
    for number in range(50):
        door.vote(f"f{number}", interaction=number + 1)
    fill(small_disk / "ballast", leave=leave)
    assert door.vote("refused") == 503
    door.open_receiver()
    door.compare()
    if leave:
        wait_until(lambda: door.waiting() == 0, "an empty outbox")
    assert door.vote("refused") == 503
    (small_disk / "ballast").unlink()
    wait_until(lambda: door.vote("taken", "down") == 202, "room", timeout=30)
    door.compare()
    wait_until(lambda: door.waiting() == 0, "an empty outbox", timeout=60)
    assert "disk" in door.process.log()


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


def test_a_disk_that_becomes_read_only_takes_nothing_in(made, small_disk):
    """503, and what waits is sent; when it can be written again, feedback is taken and nothing is sent twice."""
    door = made(small_disk / "outbox.db")
    door.start()
    door.vote("a")
    # Only what has no open file can be made read-only: the file itself is, by its attribute of the same effect.
    limited = resource.prlimit(door.process._process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    assert door.vote("refused") == 503
    door.open_receiver()
    door.compare()
    resource.prlimit(door.process._process.pid, resource.RLIMIT_FSIZE, limited)
    wait_until(lambda: door.vote("b", "down") == 202, "a file that can be written")
    wait_until(lambda: door.waiting() == 0, "an empty outbox", timeout=60)
    door.compare()
