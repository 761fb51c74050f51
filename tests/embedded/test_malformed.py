"""Requests that can't be read: the right answer to each, bounded memory, and the next good one is taken."""

import itertools
import json
import time

import grpc
import pytest
from benchmarks.load import Load
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from tests.embedded.fuzz import json_corpus, protobuf_corpus
from tests.embedded.wire import JSON, SERVICES, Channel, post, post_signal

GROWTH = 100
"""MiB by which the server's memory may grow over the whole corpus: what a request becomes is bounded."""


def document(trace_id="4bf92f3577b34da6a3ce929d0e0e4736", span_id="00f067aa0ba902b7"):
    """A good request in JSON."""
    now = time.time_ns()
    span = {
        "traceId": trace_id,
        "spanId": span_id,
        "name": "POST /ask",
        "kind": 2,
        "startTimeUnixNano": str(now - 10**9),
        "endTimeUnixNano": str(now),
        "attributes": [
            {"key": "feedback.interaction", "value": {"boolValue": True}},
            {"key": "feedback.model", "value": {"stringValue": "model-1"}},
            {"key": "list", "value": {"arrayValue": {"values": [{"intValue": "1"}, {"doubleValue": 0.5}]}}},
        ],
        "events": [{"name": "x", "timeUnixNano": str(now), "attributes": []}],
        "links": [{"traceId": trace_id, "spanId": span_id, "attributes": []}],
        "status": {"code": 1},
    }
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": {"name": "x"}, "spans": [span]}]}]}


KINDS = {"traces": ExportTraceServiceRequest, "logs": ExportLogsServiceRequest, "metrics": ExportMetricsServiceRequest}


def is_protobuf(body, signal="traces"):
    """Whether protobuf itself can read it as a request."""
    try:
        KINDS[signal].FromString(body)
    except (DecodeError, UnicodeDecodeError):
        return False
    return True


def is_partial(answer):
    """Whether the sender hears that spans were left out."""
    return ExportTraceServiceResponse.FromString(answer).partial_success.rejected_spans > 0


@pytest.fixture
def corpus():
    """Bad requests in protobuf."""
    return list(protobuf_corpus(next(iter(Load(batch=8, templates=1))).body))


def accepts_a_good_one(server):
    """Send a good request by each way, and see it counted."""
    before = server.get("/api/status")["counts"]["interactions"]
    load = iter(Load(seed=time.time_ns(), batch=8, templates=1))
    assert post_signal(server, next(load).body).status == 200
    with Channel(server.grpc) as channel:
        assert channel.export(next(load).body).code is grpc.StatusCode.OK
    good = document(next(load).answers[0].trace_id)
    assert post_signal(server, json.dumps(good).encode(), content_type=JSON).status == 200
    assert server.get("/api/status")["counts"]["interactions"] == before + 3


def test_protobuf_over_http_is_refused_exactly_where_it_cannot_be_read(server, corpus):
    """400 for what protobuf can't read, unless it is some spans; 200 for what it can, and the server lives on."""
    server.forget_memory()
    before = server.memory()
    for signal in SERVICES:
        for body in corpus:
            answer = post_signal(server, body, signal=signal)
            if not is_protobuf(body, signal) and signal == "traces" and answer.status == 200:
                assert is_partial(answer.body), body[:100]
            else:
                assert answer.status == (200 if is_protobuf(body, signal) else 400), body[:100]
    assert server.most_memory() - before < GROWTH
    accepts_a_good_one(server)


def test_protobuf_over_grpc_is_refused_exactly_where_it_cannot_be_read(server, corpus):
    """INVALID_ARGUMENT for what protobuf can't read, unless it is some spans; OK for what it can."""
    wanted = {True: grpc.StatusCode.OK, False: grpc.StatusCode.INVALID_ARGUMENT}
    server.forget_memory()
    before = server.memory()
    with Channel(server.grpc) as channel:
        for signal in SERVICES:
            for body in corpus:
                answer = channel.export(body, signal=signal)
                if not is_protobuf(body, signal) and signal == "traces" and answer.code is grpc.StatusCode.OK:
                    assert is_partial(answer.body), body[:100]
                else:
                    assert answer.code is wanted[is_protobuf(body, signal)], body[:100]
    assert server.most_memory() - before < GROWTH
    accepts_a_good_one(server)


def test_json_is_refused_where_it_cannot_be_read(server):
    """Never an error of the server's own; what is no JSON at all is always refused."""
    server.forget_memory()
    before = server.memory()
    for body in json_corpus(document()):
        try:
            is_object = isinstance(json.loads(body), dict)
        except (ValueError, RecursionError):
            is_object = False
        status = post_signal(server, body, content_type=JSON).status
        assert status in ((200, 400) if is_object else (400,)), body[:100]
    assert server.most_memory() - before < GROWTH
    accepts_a_good_one(server)


def test_nothing_of_what_is_refused_is_kept(server):
    """Four hundred megabytes over three ways: the memory grows by no quarter of them."""
    bad = b"\xff" * 2**20
    server.forget_memory()
    before = server.memory()
    with Channel(server.grpc) as channel:
        for _ in range(134):
            assert channel.export(bad).code is grpc.StatusCode.INVALID_ARGUMENT
            assert post_signal(server, bad).status == 400
            assert post_signal(server, bad, content_type=JSON).status == 400
    assert server.most_memory() - before < GROWTH


def test_what_is_wrong_is_said_and_what_was_sent_is_not_repeated(server):
    """Answers and log name the trouble, and nothing of a body that may hold what people wrote."""
    secret = b"my secret is 4711"
    answers = [
        post_signal(server, b"\xff" + secret).body,
        post_signal(server, b'{"x": ' + secret, content_type=JSON).body,
        post_signal(server, b'{"resourceSpans": "' + secret + b'"}', content_type=JSON).body,
        post_signal(server, secret, compress=False, content_type="text/plain").body,
        post(server.http, "/v1/traces", secret, headers={"content-encoding": "gzip"}).body,
        post(server.http, "/v1/traces", secret, headers={"content-encoding": "br"}).body,
        post(server.main, "/v1/feedback", b'{"handle": "' + secret + b'"', content_type=JSON).body,
    ]
    with Channel(server.grpc) as channel:
        answers.append(channel.export(b"\xff" + secret).details.encode())
    assert all(answers)
    assert not any(b"4711" in one for one in answers)
    server.stop()
    assert "4711" not in server.said()
    assert "Traceback" not in server.said()


def test_other_content_types_encodings_and_paths_have_their_status(server):
    """415 for a form that isn't taken, 404 for another path."""
    good = next(iter(Load(batch=8, templates=1))).body
    assert post_signal(server, good, content_type="text/plain").status == 415
    assert post(server.http, "/v1/traces", good, headers={"content-encoding": "br"}).status == 415
    assert post(server.http, "/v1/profiles", good).status == 404
    accepts_a_good_one(server)


def test_signals_are_told_apart_by_their_service(server):
    """A request of another signal isn't taken for spans: nothing of it is counted."""
    body = next(iter(Load(batch=8, templates=1))).body
    with Channel(server.grpc) as channel:
        for signal in itertools.filterfalse("traces".__eq__, SERVICES):
            channel.export(body, signal=signal)
    assert server.get("/api/status")["counts"]["interactions"] == 0
