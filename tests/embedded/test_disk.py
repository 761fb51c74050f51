"""A full disk: refused with a clear word, nothing acknowledged is lost, and it goes on when there is room."""

import contextlib
import os
import resource
import time

import grpc
from benchmarks.load import Load
from tests.embedded.wire import Channel, post_signal, vote

RETRYABLE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)


class Filler:
    """Sends requests over both transports and remembers what was acknowledged."""

    def __init__(self, server):
        self.server = server
        self.answers = []
        self.feedback = []
        self.requests = iter(Load(templates=2))

    def send(self, *, most):
        """Send until one is refused, and return what was said by gRPC and by HTTP; nothing if all were taken."""
        with Channel(self.server.grpc) as channel:
            for _ in range(most):
                request = next(self.requests)
                outcome = channel.export(request.body)
                answer = None if outcome.code is grpc.StatusCode.OK else post_signal(self.server, request.body)
                if answer is None or answer.status == 200:
                    self.answers += request.answers
                    self.feedback += request.feedback
                if answer is not None:
                    return outcome, answer
        return None

    def vote(self):
        """Vote on the last answer."""
        name = f"vote-{len(self.feedback)}"
        answer = vote(self.server, self.server.handle(*self.answers[-1]), "yes", signal="helpful", id=name)
        if answer.status == 202:
            self.feedback.append(name)
        return answer

    def compare(self):
        """See that what was acknowledged is there, and nothing that was refused: now and after a restart."""
        assert self.feedback
        for _ in range(2):
            counts = self.server.get("/api/status")["counts"]
            assert counts["interactions"] == len(self.answers)
            assert counts["feedback"] == len(self.feedback)
            for answer in self.answers[:: len(self.answers) // 8]:
                spans = self.server.get(f"/api/answers/{answer.trace_id}-{answer.span_id}")["spans"]
                assert len(spans) >= 8
            self.server.stop()
            assert self.server.process.returncode == 0
            self.server.start()


def refusal_is_clear(refusal):
    """Senders are to come again, and people are told why."""
    outcome, answer = refusal
    assert outcome.code in RETRYABLE
    assert outcome.code is grpc.StatusCode.UNAVAILABLE or outcome.retry_info
    assert answer.status == 503
    assert answer.headers["retry-after"]
    for text in (outcome.details, answer.body.decode(errors="replace")):
        assert "disk" in text


def until_taken(filler, *, seconds=60):
    """Send until a request is taken again."""
    deadline = time.monotonic() + seconds
    while filler.send(most=3) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_full_disk_is_said_and_survived(servers, small_disk):
    """Another program fills the disk; when its file is gone, the server goes on without a restart."""
    server = servers(small_disk / "data")
    server.log = small_disk.parent / "log"
    server.start()
    filler = Filler(server)
    assert filler.send(most=10) is None
    room = os.statvfs(small_disk)
    ballast = small_disk / "ballast"
    with ballast.open("wb") as file, contextlib.suppress(OSError):
        for _ in range(room.f_bavail * room.f_frsize // 2**20 + 1):
            file.write(bytes(2**20))
            file.flush()
    refusal_is_clear(filler.send(most=10))
    assert filler.vote().status == 503
    assert server.get("/api/status")["counts"]["interactions"] >= len(filler.answers)
    ballast.unlink()
    until_taken(filler)
    assert filler.vote().status == 202
    filler.compare()
    assert "Traceback" not in server.said()


def test_a_disk_that_fills_in_the_middle_of_a_write_is_survived(server):
    """No file may grow beyond a bound, as where a quota ends: what the store's own look at free space can't foresee."""
    filler = Filler(server)
    assert filler.send(most=5) is None
    largest = max(path.stat().st_size for path in server.data.rglob("*") if path.is_file())
    unlimited = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (largest + 2**20, resource.RLIM_INFINITY))
    outcome = filler.send(most=200)
    assert outcome is not None
    refusal_is_clear(outcome)
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, unlimited)
    until_taken(filler)
    filler.compare()
    assert "Traceback" not in server.said()


def test_a_disk_that_fills_is_survived_by_a_restart(server):
    """Killed while it is full, and started where there is room: all that was acknowledged is there."""
    filler = Filler(server)
    assert filler.send(most=5) is None
    largest = max(path.stat().st_size for path in server.data.rglob("*") if path.is_file())
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (largest + 2**20, resource.RLIM_INFINITY))
    assert filler.send(most=200) is not None
    server.kill()
    server.start()
    assert filler.send(most=5) is None
    filler.compare()
