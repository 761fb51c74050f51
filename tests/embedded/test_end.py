"""The end of the process under load: what was acknowledged is there afterwards, and nobody holds it up."""

import contextlib
import http.client
import json
import signal
import threading
import time

import duckdb
import grpc
import pytest
from benchmarks.load import Load
from tests.embedded.wire import Channel, post_signal, vote

GOAL = 5
"""Seconds within which it ends, whatever is under way."""

AT_ONCE = 2
"""Seconds for an end with nothing to do, on a slow machine."""


class Senders:
    """Sends spans and votes until it is refused, and remembers what was acknowledged."""

    def __init__(self, server):
        self.server = server
        self.answers = []
        self.feedback = []
        self.begun = threading.Event()
        self.threads = [threading.Thread(target=self._send, args=(seed,), daemon=True) for seed in (1, 2, 3)]
        self.threads.append(threading.Thread(target=self._vote, daemon=True))

    def _send(self, seed):
        with Channel(self.server.grpc) as channel:
            for request in Load(seed=seed, templates=2):
                if channel.export(request.body).code is not grpc.StatusCode.OK:
                    return
                self.answers += request.answers
                self.feedback += request.feedback
                if len(self.answers) > 500:
                    self.begun.set()

    def _vote(self):
        self.begun.wait()
        with contextlib.suppress(OSError, http.client.HTTPException):
            for number, answer in enumerate(self.answers):
                name = f"vote-{number}"
                handle = self.server.handle(*answer)
                if vote(self.server, handle, "yes", signal="helpful", id=name).status != 202:
                    return
                self.feedback.append(name)


@contextlib.contextmanager
def watching(server, count):
    """Pages that are open and listen."""
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            connection = stack.enter_context(contextlib.closing(http.client.HTTPConnection(server.main, timeout=60)))
            connection.request("GET", "/api/live", headers={"accept": "text/event-stream"})
            response = connection.getresponse()
            assert response.status == 200
            assert response.headers["content-type"].startswith("text/event-stream")
        yield


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_it_ends_under_load_and_keeps_what_it_acknowledged(server, how):
    """Exit code 0, with senders in the middle of a request and pages that listen."""
    senders = Senders(server)
    for thread in senders.threads:
        thread.start()
    with watching(server, 5):
        assert senders.begun.wait(60)
        server.process.send_signal(how)
        assert server.process.wait(GOAL) == 0
    for thread in senders.threads:
        thread.join()
    assert "Traceback" not in server.said()
    server.start()
    counts = server.get("/api/status")["counts"]
    # What was written but not acknowledged in time is there, too.
    assert len(senders.answers) <= counts["interactions"] <= len(senders.answers) + 3 * 64
    assert len(set(senders.feedback)) <= counts["feedback"]
    for answer in senders.answers[:: len(senders.answers) // 10]:
        assert len(server.get(f"/api/answers/{answer.trace_id}-{answer.span_id}")["spans"]) >= 8


class Flood:
    """So many senders, each with a request under way all the time, that the store's queue is full."""

    def __init__(self, server):
        self.server = server
        self.full = threading.Event()
        """Set when a request was refused because too much waits."""
        self.answers = set()
        self.votes = set()
        self.wrong = []
        """Answers after which a sender would not come again, or not know when."""
        self._load = iter(Load(batch=1024, templates=1, votes=False))
        self._lock = threading.Lock()
        # 120 requests of 1.5 MB: more than the queue takes, less than the receivers hold at once.
        work = [*[self._send_http] * 104, *[self._send_grpc] * 16, self._vote]
        self.threads = [threading.Thread(target=one, daemon=True) for one in work]

    def _next(self):
        with self._lock:
            return next(self._load)

    def _taken(self, request):
        with self._lock:
            self.answers.update(request.answers)

    def _send_http(self):
        with contextlib.suppress(OSError, http.client.HTTPException):
            while True:
                request = self._next()
                answer = post_signal(self.server, request.body)
                if answer.status == 200:
                    self._taken(request)
                elif answer.status not in (429, 503) or not answer.headers["retry-after"]:
                    self.wrong.append(answer)
                elif answer.status == 429:
                    self.full.set()
                    time.sleep(0.05)

    def _send_grpc(self):
        with Channel(self.server.grpc) as channel:
            while True:
                request = self._next()
                outcome = channel.export(request.body)
                if outcome.code is grpc.StatusCode.OK:
                    self._taken(request)
                elif outcome.code is grpc.StatusCode.RESOURCE_EXHAUSTED and outcome.retry_info:
                    time.sleep(0.05)
                else:
                    if outcome.code not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
                        self.wrong.append(outcome)
                    return

    def _vote(self):
        number = 0
        with contextlib.suppress(OSError, http.client.HTTPException):
            while True:
                with self._lock:
                    answer = next(iter(self.answers), None)
                if answer is None:
                    time.sleep(0.01)
                    continue
                number += 1
                name = f"vote-{number}"
                answered = vote(self.server, self.server.handle(*answer), "yes", signal="helpful", id=name)
                if answered.status == 202:
                    self.votes.add(name)
                elif answered.status not in (429, 503) or not answered.headers["retry-after"]:
                    self.wrong.append(answered)


def test_it_ends_in_time_with_a_full_queue_and_requests_under_way(server):
    """Within five seconds; what was acknowledged is in the files, and every other sender is told to come again."""
    flood = Flood(server)
    for thread in flood.threads:
        thread.start()
    assert flood.full.wait(60), "the queue never was full"
    server.process.terminate()
    assert server.process.wait(GOAL) == 0
    for thread in flood.threads:
        thread.join(30)
    assert flood.wrong == []
    assert "Traceback" not in server.said()
    with duckdb.connect(str(server.data / "store.duckdb"), read_only=True) as store:
        answers = set(store.sql("SELECT trace_id, span_id FROM interactions").fetchall())
        votes = {name for (name,) in store.sql("SELECT feedback_id FROM feedback").fetchall()}
    assert flood.answers
    assert flood.answers <= answers
    assert flood.votes <= votes


def test_it_ends_at_once_where_nothing_is_to_do(server):
    """Soon; no log is left to be replayed, and no note of a running server."""
    assert server.stop() < AT_ONCE
    assert server.process.returncode == 0
    assert not list(server.data.rglob("*.wal"))
    assert not (server.data / "server.json").exists() or json.loads((server.data / "server.json").read_text()) == {}
