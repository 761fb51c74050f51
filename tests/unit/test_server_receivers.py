"""Both receivers over real connections: what is durable, what is refused, in which words, and whether to try again."""

import contextlib
import gzip
import json
import threading
import types

import grpc
import pytest
from google.rpc.status_pb2 import Status
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from starlette.applications import Starlette
from tests.unit.server_parts import (
    JSON,
    PROTOBUF,
    TRACE,
    RefusedError,
    ask,
    call,
    export,
    get,
    held,
    post,
    request,
    serving,
    span,
    until,
)

from otel_feedback.exceptions import StoreBusyError
from otel_feedback.intake import MalformedError, wire
from otel_feedback.server import http_receiver, receiving
from otel_feedback.server.http_receiver import otlp_routes
from otel_feedback.server.receiving import MAX_IN_FLIGHT, Budget, Receiver
from otel_feedback.store import _writer

BAD = b"\x0a\xff\xff"
UNUSED = types.SimpleNamespace(coming=contextlib.nullcontext)
"""In place of a store that nothing is given to."""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One server for all tests of this module that leave it as it was."""
    with serving(tmp_path_factory.mktemp("data") / "d") as server:
        yield server


@pytest.fixture
def own(tmp_path):
    """A server of the test's own."""
    with serving(tmp_path / "d") as server:
        yield server


def spans_of(server):
    return get(server, "/api/status")["counts"]["spans"]


@pytest.mark.parametrize("way", ["grpc", "http", "main"])
def test_the_exporters_of_the_sdk_send_spans(own, way):
    """What they were told is taken is in the store."""
    exporter = {
        "grpc": lambda: GrpcExporter(endpoint=own.otlp_grpc, insecure=True, compression=grpc.Compression.Gzip),
        "http": lambda: HttpExporter(endpoint=f"{own.otlp_http}/v1/traces"),
        "main": lambda: HttpExporter(endpoint=f"{own.url}/v1/traces"),
    }[way]()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    provider.get_tracer("shop").start_span("work").end()
    provider.shutdown()
    status = get(own, "/api/status")
    assert status["counts"]["spans"] == 1
    assert status["seen"]["instrumentations"] == ["shop"]


@pytest.mark.parametrize("compression", [None, grpc.Compression.Gzip])
def test_grpc_takes_spans_and_answers_when_they_are_durable(server, compression):
    """The answer is an empty message: everything was taken."""
    before = spans_of(server)
    assert export(server.otlp_grpc, request(), compression=compression) == b""
    assert spans_of(server) == before + 1


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("where", ["url", "otlp_http"])
def test_http_takes_protobuf(server, where, compressed):
    """On both ports, compressed or not, answered in protobuf."""
    before = spans_of(server)
    headers = {"content_encoding": "gzip"} if compressed else {}
    answer = post(getattr(server, where), gzip.compress(request()) if compressed else request(), **headers)
    assert (answer.status, answer.body, answer.headers["content-type"]) == (200, b"", PROTOBUF)
    assert spans_of(server) == before + 1


def test_http_takes_json(server):
    """With ids in hex, answered in JSON."""
    before = spans_of(server)
    one = {"traceId": "c3" * 16, "spanId": "d4" * 8, "name": "x", "startTimeUnixNano": "1", "endTimeUnixNano": "2"}
    body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [one]}]}]})
    answer = post(server.otlp_http, body, content_type="application/json; charset=utf-8")
    assert (answer.status, answer.json(), answer.headers["content-type"]) == (200, {}, JSON)
    assert spans_of(server) == before + 1


@pytest.mark.parametrize(
    ("signal", "body"),
    [
        ("logs", ExportLogsServiceRequest().SerializeToString()),
        ("metrics", ExportMetricsServiceRequest().SerializeToString()),
    ],
)
def test_signals_that_are_not_kept_are_taken_without_a_word(server, signal, body):
    """A warning in the answer would be logged by every sender for every request."""
    assert export(server.otlp_grpc, body, signal=signal) == b""
    answer = post(server.otlp_http, body, signal=signal)
    assert (answer.status, answer.body) == (200, b"")


def test_a_span_of_no_use_is_left_out_alone(server):
    """Partial success says how many and why, on both ways; the others are kept."""
    body = request(span("00" * 16), span("e5" * 16))
    before = spans_of(server)
    for answer in (export(server.otlp_grpc, body), post(server.otlp_http, body).body):
        told = ExportTraceServiceResponse.FromString(answer).partial_success
        assert told.rejected_spans == 1
        assert "trace id" in told.error_message
    assert spans_of(server) == before + 2


def test_a_span_with_a_text_that_is_no_utf8_is_left_out_alone(own):
    """The others are durable, and the sender hears of the one, by either way."""
    body = request(span(name="spoilt"), span(span_id="c3" * 8, interaction=True)).replace(b"spoilt", b"\xff" * 6)
    http = ExportTraceServiceResponse.FromString(post(own.otlp_http, body).body)
    for answer in (http, ExportTraceServiceResponse.FromString(export(own.otlp_grpc, body))):
        assert answer.partial_success.rejected_spans == 1
        assert answer.partial_success.error_message.endswith("or a text of it is no UTF-8.")
    assert spans_of(own) == 2, "it came twice"
    assert [span["span_id"] for span in get(own, f"/api/answers/{TRACE}-{'c3' * 8}")["spans"]] == ["c3" * 8]


def test_an_attribute_of_ten_megabytes_costs_only_its_span(server):
    """The message may be so large that the span can be judged by itself; the other one is kept."""
    body = request(span("e6" * 16), span("e7" * 16, text="x" * 10_000_000))
    before = spans_of(server)
    told = ExportTraceServiceResponse.FromString(export(server.otlp_grpc, body)).partial_success
    assert told.rejected_spans == 1
    assert spans_of(server) == before + 1


@pytest.mark.parametrize("signal", ["traces", "logs", "metrics"])
def test_what_cannot_be_read_is_the_senders_error(server, signal):
    """INVALID_ARGUMENT and 400, without a hint to send it again."""
    with pytest.raises(RefusedError) as refused:
        export(server.otlp_grpc, BAD, signal=signal)
    assert (refused.value.code, refused.value.retry_after) == (grpc.StatusCode.INVALID_ARGUMENT, None)
    answer = post(server.otlp_http, BAD, signal=signal)
    assert (answer.status, answer.headers["retry-after"]) == (400, None)
    assert Status.FromString(answer.body).code == 3
    answer = post(server.otlp_http, b"{", signal=signal, content_type=JSON)
    assert (answer.status, answer.json()["code"]) == (400, 3)
    assert answer.json()["message"]


def test_a_cut_off_gzip_is_the_senders_error(server):
    """400, as all that can't be read."""
    assert post(server.otlp_http, gzip.compress(request())[:-9], content_encoding="gzip").status == 400


@pytest.mark.parametrize("headers", [{"content_type": "text/plain"}, {"content_encoding": "br"}])
def test_other_types_and_encodings_are_named(server, headers):
    """415, with what is taken."""
    answer = post(server.otlp_http, request(), **headers)
    assert answer.status == 415
    assert answer.headers["accept-post" if "content_type" in headers else "accept-encoding"]
    assert Status.FromString(answer.body).message


def test_a_grpc_bomb_is_not_blown_up(server):
    """GRPC stops decompressing where the message may not be larger, and that is not to be sent again."""
    with pytest.raises(RefusedError) as refused:
        export(server.otlp_grpc, b"\n" * (wire.MAX_BODY + 1_000_000), compression=grpc.Compression.Gzip)
    assert "larger than max" in str(refused.value), "it was decompressed, and refused by us"
    assert (refused.value.code, refused.value.retry_after) == (grpc.StatusCode.RESOURCE_EXHAUSTED, None)
    assert export(server.otlp_grpc, request()) == b""


def test_a_http_bomb_is_not_blown_up(server):
    """413."""
    body = gzip.compress(bytes(wire.MAX_BODY + 1), 1)
    answer = post(server.otlp_http, body, content_encoding="gzip")
    assert (answer.status, answer.headers["retry-after"]) == (413, None)


def test_a_body_that_says_it_is_too_large_is_not_read(tmp_path):
    """413 before a byte of it is there."""
    app = Starlette(routes=otlp_routes(Receiver(UNUSED, keep_content=True)))
    headers = [("content-type", PROTOBUF), ("content-length", str(wire.MAX_BODY + 1))]
    assert call(app, headers=headers, messages=[])[0] == 413


def test_a_body_that_becomes_too_large_is_not_read_on(monkeypatch):
    """413 as soon as it is, and its bytes are given back."""
    monkeypatch.setattr(http_receiver, "MAX_BODY", 10)
    receiver = Receiver(UNUSED, keep_content=True)
    app = Starlette(routes=otlp_routes(receiver))
    parts = [{"type": "http.request", "body": b"123456", "more_body": True}] * 2
    assert call(app, headers=[("content-type", PROTOBUF)], messages=parts)[0] == 413
    receiver.budget.take(MAX_IN_FLIGHT)


def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch):
    """408, and the connection ends."""
    monkeypatch.setattr(http_receiver, "BODY_SECONDS", 0.01)
    app = Starlette(routes=otlp_routes(Receiver(UNUSED, keep_content=True)))
    status, headers, _ = call(app, headers=[("content-type", PROTOBUF)], messages=[])
    assert (status, headers["connection"]) == (408, "close")


def test_a_body_that_breaks_off_is_the_senders_error():
    """400, to nobody."""
    app = Starlette(routes=otlp_routes(Receiver(UNUSED, keep_content=True)))
    assert call(app, headers=[("content-type", PROTOBUF)], messages=[{"type": "http.disconnect"}])[0] == 400


def test_bytes_in_memory_are_bounded_over_all_requests():
    """429 with the time to wait; what is given back can be taken again."""
    receiver = Receiver(UNUSED, keep_content=True, budget=Budget(100))
    app = Starlette(routes=otlp_routes(receiver))
    body = [{"type": "http.request", "body": bytes(60)}]
    with receiver.budget.holding(50):
        status, headers, _ = call(app, headers=[("content-type", PROTOBUF)], messages=body)
        assert (status, headers["retry-after"]) == (429, "1")
    assert call(app, headers=[("content-type", PROTOBUF)], messages=body)[0] == 400
    with receiver.budget.holding(1_000), pytest.raises(StoreBusyError):
        receiver.budget.take(1)


def test_every_way_in_counts_its_bytes_and_gives_them_back(own, monkeypatch):
    """Of a compressed body what came and what it becomes; the next request finds nothing taken."""
    seen = []

    def accept(self, signal, body, *, json=False):
        seen.append(self.budget._taken)
        return accepted(self, signal, body, json=json)

    accepted = Receiver.accept
    monkeypatch.setattr(Receiver, "accept", accept)
    body, small = request(), gzip.compress(request())
    for _ in range(2):
        export(own.otlp_grpc, body)
        post(own.otlp_http, body)
        post(own.otlp_http, small, content_encoding="gzip")
    assert seen == [len(body), len(body), len(small) + len(body)] * 2


@pytest.mark.parametrize(("size", "together"), [(receiving.LARGE - 1, 2), (receiving.LARGE, 0)])
def test_large_requests_are_decoded_one_after_the_other(monkeypatch, size, together):
    """As objects they take many times their bytes; smaller ones needn't wait for each other."""
    meeting = threading.Barrier(2)
    met = []

    def decode(body, *, json):
        try:
            meeting.wait(1 if size < receiving.LARGE else 0.2)
        except threading.BrokenBarrierError:
            raise MalformedError("It was alone.") from None
        met.append(len(body))
        raise MalformedError("It was not.")

    def send():
        with pytest.raises(MalformedError):
            receiver.accept("traces", bytes(size))

    monkeypatch.setattr(receiving, "decode_traces", decode)
    receiver = Receiver(UNUSED, keep_content=True)
    senders = [threading.Thread(target=send) for _ in range(2)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    assert len(met) == together


def test_a_full_queue_asks_to_wait(own, monkeypatch):
    """RESOURCE_EXHAUSTED with retry information and 429 with Retry-After; what was taken before is kept."""
    monkeypatch.setattr(_writer, "QUEUE_BATCHES", 1)
    answers = []
    with held(own.store):
        first = threading.Thread(target=lambda: answers.append(export(own.otlp_grpc, request())))
        first.start()
        until(lambda: own.store.queued().batches)
        with pytest.raises(RefusedError) as refused:
            export(own.otlp_grpc, request())
        assert (refused.value.code, refused.value.retry_after) == (grpc.StatusCode.RESOURCE_EXHAUSTED, 1)
        answer = post(own.otlp_http, request())
        assert (answer.status, answer.headers["retry-after"]) == (429, "1")
        assert Status.FromString(answer.body).code == 8
        assert not answers, "acknowledged before it was written"
    first.join()
    assert answers == [b""]
    assert spans_of(own) == 1


def test_a_full_disk_asks_to_wait_and_goes_on_when_there_is_room(own, monkeypatch):
    """UNAVAILABLE with retry information and 503 with Retry-After."""
    with monkeypatch.context() as full:
        full.setattr(own.store._folder, "room", lambda: 0)
        with pytest.raises(RefusedError) as refused:
            export(own.otlp_grpc, request())
        assert (refused.value.code, refused.value.retry_after) == (grpc.StatusCode.UNAVAILABLE, 10)
        answer = post(own.otlp_http, request())
        assert (answer.status, answer.headers["retry-after"]) == (503, "10")
        assert "disk" in Status.FromString(answer.body).message
    assert export(own.otlp_grpc, request()) == b""


def test_what_the_store_refuses_for_another_reason_may_come_again(own, caplog):
    """UNAVAILABLE and 503; the log names the kind of error, and nothing that was sent."""
    own.store.close()
    with pytest.raises(RefusedError) as refused:
        export(own.otlp_grpc, request(span(name="secret")))
    assert (refused.value.code, refused.value.retry_after) == (grpc.StatusCode.UNAVAILABLE, 10)
    assert post(own.otlp_http, request()).status == 503
    assert "StoreError" in caplog.text
    assert "secret" not in caplog.text


def test_the_port_of_otlp_has_nothing_else(server):
    """Neither pages nor the API nor capture; it can be asked whether it is there."""
    assert ask(server.otlp_http, "GET", "/healthz").status == 200
    for path in ("/", "/api/status", "/v1/feedback", "/v1/profiles"):
        assert ask(server.otlp_http, "GET", path).status == 404
    answer = ask(server.otlp_http, "GET", "/v1/traces")
    assert (answer.status, answer.headers["allow"]) == (405, "POST")
