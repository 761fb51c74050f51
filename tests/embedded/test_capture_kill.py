"""``otel-feedback capture`` killed, alone and beside others: what it acknowledged is in the store, once, in order."""

import random
import subprocess
import sys
import time

from benchmarks.process import environment
from soak.compare import compare
from soak.line import running
from soak.voters import Voters
from stack.client import wait_until
from tests.unit.capture_process import post, receiving, to

TRACE, SPAN = "ab" * 16, "cd" * 8

SERVICE = """
import sys
from otel_feedback import record
receipt = record(sys.argv[1], "thumbs", sys.argv[2], id=sys.argv[3])
print(receipt.status, receipt.problem)
"""


def test_nothing_acknowledged_is_lost_when_capture_and_the_store_are_killed(tmp_path):
    """Two endpoints with one outbox, both and the store killed by turns, while votes are given, changed, taken back."""
    moment = random.Random(5)  # noqa: S311
    with running(tmp_path, captures=2, collector=False) as line:
        voters = Voters(line.store.handle, line.ports, senders=4)
        with voters.voting():
            for number in range(4):
                before = voters.acknowledged
                wait_until(lambda: voters.acknowledged > before + 20, "acknowledged feedback", every=0.01)  # noqa: B023
                time.sleep(moment.uniform(0, 0.3))
                if number == 2:
                    line.store.kill()
                    line.store.start()
                else:
                    line.captures[number % 2].kill()
                    line.captures[number % 2].start()
        line.drain(voters.acknowledged)
        said = line.said()
        found = compare(voters.votes, line.rows())
    assert found.held, found
    assert "Traceback" not in said


def test_one_vote_has_one_chain_whoever_takes_it_in(tmp_path):
    """A service, another of its processes and an endpoint share an outbox: each revises what the one before took in."""
    with running(tmp_path, collector=False) as line:
        handle = line.store.handle(TRACE, SPAN)

        def service(value, name):
            variables = {"OTEL_FEEDBACK_OUTBOX": str(line.outbox), "OTEL_EXPORTER_OTLP_ENDPOINT": line.target}
            ran = subprocess.run(
                [sys.executable, "-c", SERVICE, handle, value, name],
                env=environment(**variables),
                capture_output=True,
                text=True,
                timeout=60,
                check=True,
            )
            assert ran.stdout == "recorded None\n", ran

        service("down", "a")
        assert post(line.ports[0], {"handle": handle, "signal": "thumbs", "value": "up", "id": "b"})[0] == 202
        service("down", "c")
        assert post(line.ports[0], {"handle": handle, "signal": "thumbs", "value": None, "id": "d"})[0] == 202
        line.drain(4)
        rows = {row.feedback_id: row for row in line.rows()}
    assert [(name, rows[name].revises, rows[name].standing) for name in sorted(rows)] == [
        ("a", None, False),
        ("b", "a", False),
        ("c", "b", False),
        ("d", "c", True),
    ]


def test_when_the_sender_is_killed_another_process_sends(tmp_path):
    """Only one of them sends; when it is gone, what it left and what comes is sent by the other within two seconds."""
    with receiving() as receiver, running(tmp_path, captures=2, collector=False, **to(receiver)) as line:
        first, second = line.captures
        second.kill()
        vote(line, 0, "a")
        wait_until(lambda: names(receiver) == ["a"], "the first feedback")
        second.start()
        first.kill()
        killed = time.monotonic()
        vote(line, 1, "b")
        wait_until(lambda: names(receiver) == ["a", "b"], "the second feedback", every=0.01)
        assert time.monotonic() - killed < 2.0
        wait_until(lambda: line.waiting() == 0, "an empty outbox")


def vote(line, place, name):
    handle = line.store.handle(TRACE, SPAN)
    body = {"handle": handle, "signal": "thumbs", "value": "up", "id": name}
    assert post(line.ports[place], body) == (202, {"id": name})


def names(receiver):
    """Ids of the feedback that a receiver got, in the order in which it came."""
    return [
        attribute.value.string_value
        for _, _, request in receiver.received
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
        for attribute in span.attributes
        if attribute.key == "feedback.id"
    ]
