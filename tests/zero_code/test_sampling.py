"""Requests that the service's sampler drops: their answers have handles, and votes on them count."""

import pytest
from stack.client import wait_until
from tests.zero_code.conftest import MODEL, uvicorn

from otel_feedback import semconv

PARENT = f"00-{0xABCDEF:032x}-{0x123456:016x}"


@pytest.fixture(scope="module")
def dropping(start):
    return start(*uvicorn("voting_app:app"), OTEL_TRACES_SAMPLER="parentbased_always_off")


def test_a_dropped_request_has_a_handle_and_its_vote_is_a_carrier(dropping, sink):
    """Nothing of the request is exported; the carrier is, with the facts of the handle and target.sampled=false."""
    response = dropping.get("/ask")
    handle = dropping.handle_of(response)
    assert handle.sampled is False
    assert handle.facts[semconv.FEEDBACK_MODEL] == MODEL
    token = response.headers["feedback-handle"]
    assert dropping.client.post("/vote", params={"handle": token}).json()["status"] == "recorded"
    target = f"{handle.span_id:016x}"

    def carrier():
        return [span for span in list(sink.spans) if span.attributes.get(semconv.FEEDBACK_TARGET_SPAN_ID) == target]

    [span] = wait_until(carrier, "the carrier", timeout=10)
    assert span.attributes[semconv.FEEDBACK_TARGET_SAMPLED] is False
    assert span.attributes[semconv.FEEDBACK_MODEL] == MODEL
    assert sink.trace(handle.trace_id) == []


def test_a_vote_just_before_the_end_of_a_server_is_sent(start, sink):
    """SIGTERM in the half second in which feedback waits for its batch: it leaves with the server's last request."""
    service = start(*uvicorn("voting_app:app"))
    response = service.get("/ask")
    assert service.client.post("/vote", params={"handle": response.headers["feedback-handle"]}).is_success
    service.process.stop()
    target = f"{service.handle_of(response).span_id:016x}"
    sent = [span for span in list(sink.spans) if span.attributes.get(semconv.FEEDBACK_TARGET_SPAN_ID) == target]
    assert len(sent) == 1


def test_the_parents_decision_is_kept(dropping, sink):
    """A sampled parent's request is exported, an unsampled parent's isn't; both have handles in its trace."""
    kept = dropping.handle("/ask", traceparent=f"{PARENT}-01")
    dropped = dropping.handle("/ask", traceparent=f"{PARENT}-00")
    assert (kept.trace_id, kept.sampled) == (0xABCDEF, True)
    assert (dropped.trace_id, dropped.sampled) == (0xABCDEF, False)
    assert dropping.target(kept).attributes[semconv.FEEDBACK_MODEL] == MODEL
    assert dropped.span_id not in {span.span_id for span in sink.trace(0xABCDEF)}


def test_a_ratio_is_kept(start):
    """With half of the traces sampled, every answer has a handle, and each says rightly whether it was sampled."""
    service = start(
        *uvicorn("fastapi_app:app"),
        OTEL_TRACES_SAMPLER="traceidratio",
        OTEL_TRACES_SAMPLER_ARG="0.5",
        OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="fastapi",
    )
    handles = [service.handle(path) for path in ("/ask", "/stream") for _ in range(16)]
    assert {handle.sampled for handle in handles} == {True, False}
    for handle in handles:
        if handle.sampled:
            service.target(handle)
    exported = {span.span_id for span in service.sink.spans}
    assert {handle.span_id for handle in handles if not handle.sampled}.isdisjoint(exported)
