"""Sends bytes to a server as they are, by both transports, and says what came back."""

import contextlib
import gzip
import http.client
import json
from typing import NamedTuple

import grpc

SERVICES = {
    "traces": "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    "logs": "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    "metrics": "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
}
PROTOBUF = "application/x-protobuf"
JSON = "application/json"


class Answer(NamedTuple):
    """An answer over HTTP."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self):
        """Its body as JSON."""
        return json.loads(self.body)


class Outcome(NamedTuple):
    """An answer over gRPC."""

    code: grpc.StatusCode
    details: str
    body: bytes
    retry_info: bool


def post(address, path, body, *, headers=None, content_type=PROTOBUF):
    """Send one request over HTTP."""
    connection = http.client.HTTPConnection(address, timeout=60)
    with contextlib.closing(connection):
        connection.request("POST", path, body, {"content-type": content_type, **(headers or {})})
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())


def post_signal(server, body, *, signal="traces", content_type=PROTOBUF, compress=False):
    """Send one OTLP request over HTTP."""
    headers = {"content-encoding": "gzip"} if compress else {}
    body = gzip.compress(body, 1) if compress else body
    return post(server.http, f"/v1/{signal}", body, headers=headers, content_type=content_type)


def vote(server, handle, value, *, signal="thumbs", **more):
    """Send one feedback."""
    body = {"handle": handle, "signal": signal, "value": value, **more}
    return post(server.main, "/v1/feedback", json.dumps(body), content_type=JSON)


class Channel:
    """A connection over gRPC that sends what it is given."""

    def __init__(self, target):
        self._channel = grpc.insecure_channel(
            target, options=[("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 500)]
        )
        self._calls = {signal: self._channel.unary_unary(path) for signal, path in SERVICES.items()}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._channel.close()

    def export(self, body, *, signal="traces", compression=None, timeout=60):
        """Send one OTLP request."""
        call = self._calls[signal]
        try:
            answer = call(body, timeout=timeout, compression=compression)
        except grpc.RpcError as refusal:
            trailing = dict(refusal.trailing_metadata() or ())
            retry = b"google.rpc.RetryInfo" in trailing.get("grpc-status-details-bin", b"")
            return Outcome(refusal.code(), refusal.details() or "", b"", retry)
        return Outcome(grpc.StatusCode.OK, "", answer, retry_info=False)
