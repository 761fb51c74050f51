"""Requests that can be read but are of no reasonable size or time: the rest of the batch is kept, memory is bounded."""

import contextlib
import gzip
import time
import zlib

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from tests.embedded.wire import JSON, Channel, post, post_signal

MIB = 2**20


def request(*spans):
    """A request of spans, each a dictionary of its fields."""
    made = ExportTraceServiceRequest()
    group = made.resource_spans.add()
    group.resource.attributes.add(key="service.name").value.string_value = "shop"
    scope = group.scope_spans.add()
    for number, fields in enumerate(spans, start=1):
        now = time.time_ns()
        scope.spans.add(
            **{
                "trace_id": number.to_bytes(16, "big"),
                "span_id": number.to_bytes(8, "big"),
                "name": f"span {number}",
                "start_time_unix_nano": now - 10**9,
                "end_time_unix_nano": now,
            }
            | fields
        )
        scope.spans[-1].attributes.add(key="feedback.interaction").value.bool_value = True
        scope.spans[-1].attributes.add(key="feedback.model").value.string_value = "model-1"
    return made


def with_attributes(count=1, size=1):
    """A request of three spans, of which the second has so many attributes of so many bytes."""
    made = request({}, {}, {})
    attributes = made.resource_spans[0].scope_spans[0].spans[1].attributes
    for number in range(count):
        attributes.add(key=f"a{number}").value.string_value = "x" * size
    return made.SerializeToString()


def interactions(server):
    """How many are counted."""
    return server.get("/api/status")["counts"]["interactions"]


@pytest.mark.parametrize(
    ("count", "size"), [(1, 10 * MIB), (100_000, 1)], ids=["an attribute of 10 MB", "100,000 attributes"]
)
def test_a_span_out_of_all_measure_is_left_out_and_the_rest_is_kept(server, count, size):
    """Partial success says so, over both transports, with the reason."""
    body = with_attributes(count, size)
    with Channel(server.grpc) as channel:
        outcome = channel.export(body)
    assert outcome.code is grpc.StatusCode.OK
    answer = post_signal(server, body)
    assert answer.status == 200
    for said in (outcome.body, answer.body):
        partial = ExportTraceServiceResponse.FromString(said).partial_success
        assert partial.rejected_spans == 1
        assert partial.error_message
    assert interactions(server) == 2


def test_a_large_but_reasonable_attribute_is_kept(server):
    """A megabyte in one attribute is somebody's prompt."""
    with Channel(server.grpc) as channel:
        outcome = channel.export(with_attributes(1, MIB))
    assert outcome.code is grpc.StatusCode.OK
    assert not ExportTraceServiceResponse.FromString(outcome.body).partial_success.rejected_spans
    assert interactions(server) == 3


def test_times_that_no_clock_shows_count_as_now(server):
    """Spans of 1970, 2262 and without time are answers of today, and none has a negative duration."""
    now = time.time_ns()
    strange = [(0, 0), (1, 2), (2**63 - 1, 2**63 - 1), (2**64 - 1, 0), (now, 1), (now, now - 10**9), (now, 2**64 - 1)]
    spans = [{"start_time_unix_nano": start, "end_time_unix_nano": end} for start, end in strange]
    body = request(*spans).SerializeToString()
    assert post_signal(server, body).status == 200
    assert interactions(server) == len(strange)
    rows = server.get("/api/satisfaction?since=1h")["rows"]
    assert sum(row["interactions"] for row in rows) == len(strange)
    for number in range(1, len(strange) + 1):
        detail = server.get(f"/api/answers/{number:032x}-{number:016x}")
        assert detail["spans"]


def test_a_repeated_span_with_a_strange_clock_counts_once(server):
    """Its time is that of its receipt, which is another each time."""
    body = request({"start_time_unix_nano": 0, "end_time_unix_nano": 0}).SerializeToString()
    for _ in range(3):
        assert post_signal(server, body).status == 200
    assert interactions(server) == 1


def bomb(size):
    """So many zero bytes in gzip, made without having them all."""
    squeeze = zlib.compressobj(9, zlib.DEFLATED, 31)
    step = bytes(16 * MIB)
    parts = [squeeze.compress(step) for _ in range(size // len(step))]
    return b"".join([*parts, squeeze.flush()])


def grows(server, do):
    """MiB that the server's memory grew at most while something was done."""
    server.forget_memory()
    before = server.memory()
    do()
    return server.most_memory() - before


def test_a_bomb_over_http_is_refused_before_it_is_inflated(server):
    """Two gigabytes in two megabytes: 413, a few bytes of memory, whichever door and form."""
    body = bomb(2048 * MIB)
    answers = []

    def send():
        for address, path, content_type in (
            (server.http, "/v1/traces", "application/x-protobuf"),
            (server.http, "/v1/traces", JSON),
            (server.main, "/v1/logs", "application/x-protobuf"),
            (server.http, "/v1/metrics", "application/x-protobuf"),
        ):
            headers = {"content-encoding": "gzip"}
            answers.append(post(address, path, body, headers=headers, content_type=content_type).status)

    assert grows(server, send) < 400
    assert answers == [413] * 4
    inner = gzip.compress(bomb(64 * MIB))
    assert post(server.http, "/v1/traces", inner, headers={"content-encoding": "gzip"}).status == 400
    assert post(server.http, "/v1/traces", body, headers={"content-encoding": "gzip, gzip"}).status in (400, 415)
    assert post_signal(server, with_attributes(), compress=True).status == 200


def test_a_body_too_large_is_refused_over_http_while_it_comes(server):
    """413 for what is too large uncompressed, without having it all."""
    assert grows(server, lambda: _too_large(server)) < 400
    assert post_signal(server, with_attributes()).status == 200


def _too_large(server):
    # It may close the door in the middle: that is a refusal, too.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        assert post(server.http, "/v1/traces", bytes(200 * MIB)).status == 413


def test_a_bomb_over_grpc_is_refused_with_bounded_memory(server):
    """A quarter of a gigabyte in 250 kilobytes: refused as too large."""
    outcomes = []
    with Channel(server.grpc) as channel:
        before = grows(
            server,
            lambda: outcomes.append(channel.export(bytes(256 * MIB), compression=grpc.Compression.Gzip)),
        )
        assert outcomes[0].code in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INVALID_ARGUMENT)
        assert not outcomes[0].retry_info
        assert before < 400
        assert channel.export(with_attributes(), compression=grpc.Compression.Gzip).code is grpc.StatusCode.OK
