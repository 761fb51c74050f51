"""Requests that can be read but are of no reasonable size or time: the rest of the batch is kept, memory is bounded."""

import base64
import contextlib
import gzip
import itertools
import json
import time
import zlib
from datetime import datetime

import grpc
import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from tests.embedded.wire import JSON, Channel, post, post_signal

MIB = 2**20
MOST_GROWTH = 150
"""MiB by which the server's memory may grow: a request has 20 at most."""

SOON = 60
"""Seconds within which a request is received."""


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


def in_json(body):
    """A request in OTLP's JSON: protobuf's own mapping, but for ids, which are hex."""
    document = json_format.MessageToDict(ExportTraceServiceRequest.FromString(body))
    for span in document["resourceSpans"][0]["scopeSpans"][0]["spans"]:
        for name in ("traceId", "spanId"):
            span[name] = base64.b64decode(span[name]).hex() if name in span else ""
    return json.dumps(document).encode()


def by_grpc(server, body):
    """Send over gRPC, and return what was said of parts of it."""
    with Channel(server.grpc) as channel:
        outcome = channel.export(body)
    assert outcome.code is grpc.StatusCode.OK
    return ExportTraceServiceResponse.FromString(outcome.body).partial_success


def by_http(server, body):
    """The same over HTTP."""
    answer = post_signal(server, body)
    assert answer.status == 200
    return ExportTraceServiceResponse.FromString(answer.body).partial_success


def by_json(server, body):
    """The same in JSON."""
    answer = post_signal(server, in_json(body), content_type=JSON)
    assert answer.status == 200
    return json_format.Parse(answer.body, ExportTraceServiceResponse()).partial_success


TRANSPORTS = pytest.mark.parametrize("send", [by_grpc, by_http, by_json], ids=["gRPC", "HTTP", "JSON over HTTP"])


def spoilt(how):
    """A request of three spans, of which the second is of no use."""
    if how == "no id":
        return request({}, {"trace_id": b""}, {}).SerializeToString()
    if how == "an id that is too short":
        return request({}, {"span_id": b"123"}, {}).SerializeToString()
    if how == "100,000 links":
        links = [{"trace_id": b"1" * 16, "span_id": b"2" * 8}] * 100_000
        return request({}, {"links": links}, {}).SerializeToString()
    return with_attributes(*{"100,000 attributes": (100_000, 1), "an attribute of 9 MiB": (1, 9 * MIB)}[how])


@TRANSPORTS
@pytest.mark.parametrize(
    "how", ["no id", "an id that is too short", "an attribute of 9 MiB", "100,000 attributes", "100,000 links"]
)
def test_a_span_of_no_use_is_left_out_and_the_rest_is_kept(server, send, how):
    """Over each transport: partial success counts it and says why, and the other two are there, whole."""
    partial = send(server, spoilt(how))
    assert partial.rejected_spans == 1
    assert "left out" in partial.error_message
    assert interactions(server) == 2
    for number in (1, 3):
        (span,) = server.get(f"/api/answers/{number:032x}-{number:016x}")["spans"]
        assert (span["name"], span["attributes"]["feedback.model"]) == (f"span {number}", "model-1")


def test_ten_megabytes_are_left_out_alone_in_protobuf_and_too_large_in_json(server):
    """JSON takes many times as much memory, so it may have less: 413 for all of it, and nothing is counted."""
    body = with_attributes(1, 10 * MIB)
    assert post_signal(server, in_json(body), content_type=JSON).status == 413
    assert interactions(server) == 0
    for send in (by_grpc, by_http):
        assert send(server, body).rejected_spans == 1
    assert interactions(server) == 2


def test_a_large_but_reasonable_attribute_is_kept(server):
    """A megabyte in one attribute is somebody's prompt."""
    with Channel(server.grpc) as channel:
        outcome = channel.export(with_attributes(1, MIB))
    assert outcome.code is grpc.StatusCode.OK
    assert not ExportTraceServiceResponse.FromString(outcome.body).partial_success.rejected_spans
    assert interactions(server) == 3


def test_times_that_no_clock_shows_count_as_now(server):
    """Spans of 1970, 2262 and without time are answers of this minute, and none has a duration that no clock shows."""
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
        (span,) = detail["spans"]
        assert detail["duration_ms"] == span["duration_ms"] == 0
        assert abs(datetime.fromisoformat(span["started_at"]).timestamp() - now / 1e9) < SOON


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

    assert grows(server, send) < MOST_GROWTH
    assert answers == [413] * 4
    inner = gzip.compress(bomb(64 * MIB))
    assert post(server.http, "/v1/traces", inner, headers={"content-encoding": "gzip"}).status == 400
    assert post(server.http, "/v1/traces", body, headers={"content-encoding": "gzip, gzip"}).status in (400, 415)
    assert post_signal(server, with_attributes(), compress=True).status == 200


@pytest.mark.parametrize("told", [True, False], ids=["with its length", "in chunks"])
def test_a_body_too_large_is_refused_over_http_while_it_comes(server, told):
    """413 for what is too large uncompressed, without having it all, whether its length was told or not."""
    assert grows(server, lambda: _too_large(server, bytes(200 * MIB) if told else _chunks(200))) < MOST_GROWTH
    assert post_signal(server, with_attributes()).status == 200


def _too_large(server, body):
    # It may close the door in the middle: that is a refusal, too.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        assert post(server.http, "/v1/traces", body).status == 413


def _chunks(count):
    return itertools.repeat(bytes(MIB), count)


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
        assert before < MOST_GROWTH
        assert channel.export(with_attributes(), compression=grpc.Compression.Gzip).code is grpc.StatusCode.OK
