"""An outbox into the embedded server: each feedback is in its store once, however often it was sent."""

import pytest
from tests.unit.drain_parts import RESOURCE
from tests.unit.feedback_parts import Parts
from tests.unit.server_parts import TRACE, export, request, serving, span, until

from otel_feedback.outbox import Outbox
from otel_feedback.outbox._otlp import transport_from_env
from otel_feedback.outbox._sender import Sender


def to(server, protocol):
    endpoint = f"http://{server.otlp_grpc}" if protocol == "grpc" else server.url
    return transport_from_env({"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol})


def feedback_in(server):
    """Ids of feedback in the store, in their order."""
    with server.store.cursor() as cursor:
        return [row[0] for row in cursor.execute("SELECT feedback_id FROM feedback ORDER BY feedback_id").fetchall()]


class Unaware:
    """A queue that forgets what was delivered, as a kill between the two does."""

    def __init__(self, outbox):
        self._outbox = outbox

    def __getattr__(self, name):
        return getattr(self._outbox, name)

    def delivered(self, numbers):
        """Is killed before."""


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_sent_twice_and_counted_once(tmp_path, protocol, own_process):
    """By either protocol: the ids of feedback and span are the same on every try."""
    outbox = Outbox(tmp_path / "outbox.db", resource=RESOURCE)
    parts = Parts(delivery=outbox)
    for number in range(5):
        parts.submit(handle=parts.handle(trace_id=int(TRACE, 16), span_id=number + 1))
    with serving(tmp_path / "data") as server:
        export(server.otlp_grpc, request(span(interaction=True)))
        for _ in range(2):
            assert not Sender(Unaware(outbox), to(server, protocol), lock_path=outbox.lock_path).drain(0.5)
        assert outbox.counts().depth == 5
        assert Sender(outbox, to(server, protocol), lock_path=outbox.lock_path).drain(20)
        until(lambda: len(feedback_in(server)) >= 5)
        assert feedback_in(server) == ["f1", "f2", "f3", "f4", "f5"]
    outbox.close()
