"""Transports say what became of a batch: real requests to small receivers that answer in every way."""

import gzip
import socket
import time
import zlib
from email.utils import formatdate

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from tests.unit.drain_parts import (
    GrpcReceiver,
    HttpReceiver,
    asks_to_wait,
    partial,
    read,
    receiving,
    spans,
)

from otel_feedback.outbox._otlp import transport_from_env
from otel_feedback.outbox._transport import DELIVERED, Fate, Outcome

CODE = grpc.StatusCode


def http_to(url, **variables):
    environ = {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf", "OTEL_EXPORTER_OTLP_ENDPOINT": url}
    return transport_from_env(environ | variables)


def grpc_to(url, **variables):
    return transport_from_env({"OTEL_EXPORTER_OTLP_ENDPOINT": url} | variables)


def nobody():
    """An address at which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize(
    ("answer", "fate", "why"),
    [
        ((200, {}, b""), Fate.DELIVERED, ""),
        ((200, {}, ExportTraceServiceResponse().SerializeToString()), Fate.DELIVERED, ""),
        ((200, {}, partial(0, "mind the gap").SerializeToString()), Fate.DELIVERED, ""),
        ((200, {"content-type": "application/json"}, b"{}"), Fate.DELIVERED, ""),
        ((200, {}, partial(1).SerializeToString()), Fate.REJECTED, "OTLP partial success"),
        (
            (200, {"content-type": "application/json"}, b'{"partialSuccess": {"rejectedSpans": "2"}}'),
            Fate.REJECTED,
            "OTLP partial success",
        ),
        (
            (200, {"content-type": "text/html"}, b"<html>Log in here</html>"),
            Fate.LATER,
            "HTTP 200 with an answer that isn't OTLP's",
        ),
        ((301, {"location": "http://127.0.0.1:1/"}, b""), Fate.LATER, "HTTP 301"),
        *(((status, {}, b"your comment: secret"), Fate.REJECTED, f"HTTP {status}") for status in (400, 413, 422)),
        *(
            ((status, {}, b"your comment: secret"), Fate.LATER, f"HTTP {status}")
            for status in (401, 403, 404, 408, 429, 418, 500, 502, 503, 504)
        ),
    ],
)
def test_http_answers(answer, fate, why):
    """Every answer over HTTP is understood, and its text never repeated."""
    with receiving(HttpReceiver, answer) as receiver:
        assert http_to(receiver.url).send(spans("f")) == Outcome(fate, why)


@pytest.mark.parametrize(
    ("retry_after", "wait"),
    [("7", 7), ("0.5", 0.5), ("-3", 0), ("soon", 0), ("inf", 0), ("nan", 0), ("Wed, 01 Jan 2020 00:00:00 GMT", 0)],
)
def test_http_retry_after(retry_after, wait):
    """What a receiver asks for in seconds is passed on; what can't be read asks for nothing."""
    with receiving(HttpReceiver, (503, {"retry-after": retry_after}, b"")) as receiver:
        assert http_to(receiver.url).send(spans("f")).wait == wait


def test_http_retry_after_a_date():
    """A receiver may ask for a time of day, too."""
    later = formatdate(time.time() + 60, usegmt=True)
    with receiving(HttpReceiver, (429, {"retry-after": later}, b"")) as receiver:
        assert 50 < http_to(receiver.url).send(spans("f")).wait <= 61


def test_http_sends_as_it_was_told():
    """Path, headers, protobuf, compression and our name; one connection for all batches."""
    with receiving(HttpReceiver) as receiver:
        variables = {"OTEL_EXPORTER_OTLP_HEADERS": "x-tenant=a%20b,authorization=Bearer t"}
        transport = http_to(f"{receiver.url}/otlp/", OTEL_EXPORTER_OTLP_COMPRESSION="gzip", **variables)
        assert transport.send(spans("f", "g")) is DELIVERED
        assert transport.send(spans("h")) is DELIVERED
        (path, headers, body), (_, _, second) = receiver.got
        assert len(receiver.connections) == 1
        transport.close()
        assert transport.send(spans("i")) is DELIVERED
        assert len(receiver.connections) == 2
        transport.close()
    assert path == "/otlp/v1/traces"
    assert read(gzip.decompress(body)) == ["f", "g"]
    assert read(gzip.decompress(second)) == ["h"]
    assert headers["content-type"] == "application/x-protobuf"
    assert headers["content-encoding"] == "gzip"
    assert headers["user-agent"].startswith("otel-feedback/")
    assert (headers["x-tenant"], headers["authorization"]) == ("a b", "Bearer t")


def test_http_deflate():
    """The other compression of the SDK's exporter."""
    with receiving(HttpReceiver) as receiver:
        http_to(receiver.url, OTEL_EXPORTER_OTLP_TRACES_COMPRESSION="deflate").send(spans("f"))
        assert read(zlib.decompress(receiver.got[0][2])) == ["f"]


@pytest.mark.parametrize("to", [http_to, grpc_to])
def test_nobody_there(to):
    """An endpoint that can't be reached is tried later."""
    outcome = to(nobody()).send(spans("f"))
    assert outcome.fate is Fate.LATER
    assert outcome.why in ("can't be reached", "gRPC UNAVAILABLE")


@pytest.mark.parametrize("to", [http_to, grpc_to])
def test_nobody_answers(to):
    """An endpoint that takes the connection and says nothing is tried later, after the time that is set for it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        transport = to(url, OTEL_EXPORTER_OTLP_TIMEOUT="0.3")
        began = time.monotonic()
        outcome = transport.send(spans("f"))
        assert time.monotonic() - began < 5
        transport.close()
    assert outcome.fate is Fate.LATER
    assert outcome.why in ("didn't answer in time", "gRPC DEADLINE_EXCEEDED", "gRPC UNAVAILABLE")


def test_http_hung_up():
    """An endpoint that hangs up is tried later."""
    with receiving(HttpReceiver, (None, {}, b"")) as receiver:
        assert http_to(receiver.url).send(spans("f")) == Outcome(Fate.LATER, "can't be reached")


@pytest.mark.parametrize("url", ["http://", "no-scheme", "ftp://127.0.0.1"])
@pytest.mark.parametrize("to", [http_to, grpc_to])
def test_an_endpoint_that_is_none(to, url):
    """Whatever the endpoint's URL is, sending doesn't raise."""
    outcome = to(url, OTEL_EXPORTER_OTLP_TIMEOUT="0.3").send(spans("f"))
    assert outcome.fate is Fate.LATER


@pytest.mark.parametrize("to", [http_to, grpc_to])
def test_what_cant_be_encoded(to, monkeypatch):
    """It is the span's fault, so that it is found among the others."""
    module = "_otlp_http" if to is http_to else "_otlp_grpc"
    with monkeypatch.context() as patched:
        patched.setattr(f"otel_feedback.outbox.{module}.encode", lambda _: 1 / 0)
        outcome = to("http://127.0.0.1:1").send(spans("f"))
    assert outcome == Outcome(Fate.REJECTED, "can't be encoded (ZeroDivisionError)")


@pytest.mark.parametrize("code", list(CODE))
def test_grpc_answers(code):
    """Only INVALID_ARGUMENT blames the batch; everything else is the endpoint's trouble."""
    with receiving(GrpcReceiver, *([] if code is CODE.OK else [code])) as receiver:
        outcome = grpc_to(receiver.url).send(spans("f"))
    if code is CODE.OK:
        assert outcome is DELIVERED
    else:
        fate = Fate.REJECTED if code is CODE.INVALID_ARGUMENT else Fate.LATER
        assert outcome == Outcome(fate, f"gRPC {code.name}")


def test_grpc_partial_success():
    """A receiver that takes spans back has rejected something; words alone are nothing."""
    with receiving(GrpcReceiver, partial(3), partial(0)) as receiver:
        transport = grpc_to(receiver.url)
        assert transport.send(spans("f")) == Outcome(Fate.REJECTED, "OTLP partial success")
        assert transport.send(spans("f")) is DELIVERED
        transport.close()


def test_grpc_asks_to_wait():
    """How long, stands in the details of the status."""
    with receiving(GrpcReceiver, asks_to_wait(2.5)) as receiver:
        assert grpc_to(receiver.url).send(spans("f")) == Outcome(Fate.LATER, "gRPC UNAVAILABLE", 2.5)


def test_grpc_waits_in_vain_for_what_cant_be_read():
    """Details that are none ask for nothing."""

    def broken(context):
        context.set_trailing_metadata((("google.rpc.retryinfo-bin", b"\xff\xff"),))
        return CODE.RESOURCE_EXHAUSTED

    with receiving(GrpcReceiver, broken) as receiver:
        assert grpc_to(receiver.url).send(spans("f")) == Outcome(Fate.LATER, "gRPC RESOURCE_EXHAUSTED")


def test_grpc_sends_as_it_was_told():
    """Headers, compression and our name; in the order in which the spans were given."""
    with receiving(GrpcReceiver) as receiver:
        variables = {"OTEL_EXPORTER_OTLP_TRACES_HEADERS": "x-tenant=a", "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip"}
        transport = grpc_to(receiver.url, **variables)
        assert transport.send(spans("f", "g", "h")) is DELIVERED
        transport.close()
    assert receiver.got == [["f", "g", "h"]]
    assert receiver.metadata[0]["x-tenant"] == "a"
    assert receiver.metadata[0]["user-agent"].startswith("otel-feedback/")


def test_grpc_comes_back():
    """After an outage the first try finds the receiver: the connection is made anew."""
    with receiving(GrpcReceiver) as receiver:
        transport = grpc_to(receiver.url)
        assert transport.send(spans("f")) is DELIVERED
    for _ in range(5):
        assert transport.send(spans("f")).fate is Fate.LATER
    with receiving(GrpcReceiver, address=receiver.address):
        assert transport.send(spans("f")) is DELIVERED
        transport.close()
