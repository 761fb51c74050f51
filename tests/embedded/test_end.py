"""The end of the process under load: what was acknowledged is there afterwards, and nobody holds it up."""

import contextlib
import http.client
import json
import signal
import threading

import grpc
import pytest
from benchmarks.load import Load
from tests.embedded.wire import Channel, vote

PATIENCE = 20
"""Seconds that a slow machine may take; the goal of 5 s is the benchmarks'."""


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
        assert server.process.wait(PATIENCE) == 0
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


def test_it_ends_at_once_where_nothing_is_to_do(server):
    """No log is left to be replayed, and no note of a running server."""
    server.stop()
    assert server.process.returncode == 0
    assert not list(server.data.rglob("*.wal"))
    assert not (server.data / "server.json").exists() or json.loads((server.data / "server.json").read_text()) == {}
