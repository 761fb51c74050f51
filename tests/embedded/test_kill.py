"""Killed at random moments under load: nothing that was acknowledged is lost, nothing counts twice."""

import collections
import contextlib
import random
import threading
import time

import duckdb
import grpc
from benchmarks.answers import SPANS
from benchmarks.load import Load
from tests.embedded.wire import Channel, vote

KILLS = 30
WORD = {True: ("yes", "positive"), False: ("no", "negative")}


class Senders:
    """Services and users who send everything again until it is acknowledged, as SDKs and pages do."""

    def __init__(self, server):
        self.server = server
        self.sent = self.acknowledged = 0
        self.answers = []
        self.carriers = []
        self.votes = collections.defaultdict(list)
        """By answer: id and sentiment of each vote that was acknowledged, in order."""
        self._ended = threading.Event()
        self._trouble = []

    @contextlib.contextmanager
    def sending(self):
        """Send until the end of the block, and then until all is acknowledged."""
        work = [lambda: self._send(1), lambda: self._send(2), self._vote]
        threads = [threading.Thread(target=self._watched, args=(one,)) for one in work]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._ended.set()
            for thread in threads:
                thread.join()
        assert not self._trouble, self._trouble

    def _watched(self, work):
        try:
            work()
        except BaseException as error:
            self._trouble.append(error)

    def _send(self, seed):
        with Channel(self.server.grpc) as channel:
            for request in Load(seed=seed, batch=64, templates=4):
                if self._ended.is_set():
                    return
                self.sent += len(request.answers)
                self._insist(lambda body=request.body: channel.export(body).code is grpc.StatusCode.OK)
                self.answers += request.answers
                self.carriers += request.feedback
                self.acknowledged += len(request.answers)

    def _vote(self):
        chance = random.Random(3)  # noqa: S311
        for number in range(1_000_000):
            while not self.answers and not self._ended.is_set():
                time.sleep(0.01)
            if self._ended.is_set():
                return
            # Some of them change their mind: the second vote on one answer revises the first.
            answer = chance.choice([*self.votes, *self.answers[-20:]][-24:])
            value, sentiment = WORD[chance.random() < 0.7]
            handle = self.server.handle(*answer)
            name = f"vote-{number}"
            self._insist(
                lambda h=handle, v=value, n=name: vote(self.server, h, v, signal="helpful", id=n).status == 202
            )
            self.votes[answer].append((name, sentiment))

    def _insist(self, is_taken):
        # Long enough for every restart; a server that never comes back fails the test.
        deadline = time.monotonic() + 120
        while True:
            with contextlib.suppress(OSError, EOFError, ConnectionError):
                if is_taken():
                    return
            assert time.monotonic() < deadline, "it was never taken"
            time.sleep(0.02)


def _wait_for(condition, *, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_nothing_acknowledged_is_lost_and_nothing_counts_twice_over_thirty_kills(servers):
    """Each restart has what was acknowledged before; in the end the files hold everything exactly once."""
    server = servers()
    senders = Senders(server)
    moment = random.Random(7)  # noqa: S311
    server.start()
    with senders.sending():
        for number in range(KILLS):
            if number % 6 == 5:
                # Also in the middle of a start.
                server.kill()
                server.launch()
                time.sleep(moment.uniform(0.1, 1.5))
                server.kill()
            else:
                before = senders.acknowledged
                _wait_for(lambda: senders.acknowledged > before)  # noqa: B023 - called at once
                time.sleep(moment.uniform(0, 0.4))
                server.kill()
            acknowledged = senders.acknowledged
            server.start()
            counted = server.get("/api/status")["counts"]["interactions"]
            assert acknowledged <= counted <= senders.sent
    _compare(server, senders)


def _compare(server, senders):
    counts = server.get("/api/status")["counts"]
    votes = [one for row in senders.votes.values() for one in row]
    assert counts["interactions"] == len(set(senders.answers)) == len(senders.answers)
    assert counts["feedback"] == len(set(senders.carriers)) + len(votes)
    for answer in senders.answers[:: len(senders.answers) // 5]:
        spans = server.get(f"/api/answers/{answer.trace_id}-{answer.span_id}")["spans"]
        assert len({span["span_id"] for span in spans}) == len(spans) >= SPANS
    server.stop()
    with duckdb.connect(str(server.data / "store.duckdb"), read_only=True) as store:
        assert sorted(store.sql("SELECT trace_id, span_id FROM interactions").fetchall()) == sorted(senders.answers)
        carried = store.sql("SELECT feedback_id FROM feedback WHERE signal = 'thumbs'").fetchall()
        assert sorted(one for (one,) in carried) == sorted(senders.carriers)
        found = store.sql(
            "SELECT feedback_id, sentiment, previous_sentiment, revises, standing, joined"
            " FROM feedback WHERE signal = 'helpful'"
        ).fetchall()
    assert sorted(found) == sorted(_expected(senders.votes))
    for path in sorted((server.data / "content").glob("*.duckdb")):
        with duckdb.connect(str(path), read_only=True) as content:
            assert not content.sql("SELECT 1 FROM traces WHERE chunk NOT IN (SELECT chunk FROM chunks)").fetchall()


def _expected(votes):
    for row in votes.values():
        before, revised = "unset", None
        for place, (name, sentiment) in enumerate(row):
            yield name, sentiment, before, revised, place == len(row) - 1, True
            before, revised = sentiment, name
