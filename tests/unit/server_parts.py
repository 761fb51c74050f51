"""An embedded server on free ports, and bytes to and from it: what the tests of the server share."""

import asyncio
import contextlib
import http.client
import json
import socket
import threading
import time
from pathlib import Path

import grpc
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_feedback import semconv
from otel_feedback._handle import HandleCodec, Keyring
from otel_feedback.server.options import Address, ServerOptions
from otel_feedback.server.up import Embedded

FREE = Address("127.0.0.1", 0)
PROTOBUF = "application/x-protobuf"
JSON = "application/json"
TRACE, SPAN = "a1" * 16, "b2" * 8
METHODS = {
    "traces": "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    "logs": "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    "metrics": "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
}


def free_options(data: Path, **more):
    """Options with free ports."""
    return ServerOptions(**{"data": data, "listen": FREE, "otlp_grpc": FREE, "otlp_http": FREE, **more})


@contextlib.contextmanager
def serving(data, **more):
    """Run a server as long as the block lasts."""
    with Embedded(free_options(data, **more)) as server:
        yield server


def until(condition, what="it"):
    """Wait until something is so, for half a minute at most."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, f"{what} does not come"
        time.sleep(0.005)


def span(trace_id=TRACE, span_id=SPAN, *, name="answer", at_ns=None, **attributes):
    """A span; one with ``interaction=True`` is an answer."""
    at_ns = at_ns or time.time_ns()
    if attributes.pop("interaction", False):
        attributes |= {semconv.FEEDBACK_INTERACTION: True, semconv.FEEDBACK_MODEL: "m-1"}
        attributes |= {semconv.FEEDBACK_PROMPT_NAME: "qa", semconv.FEEDBACK_PROMPT_VERSION: "1"}
    values = [
        KeyValue(key=key, value=AnyValue(bool_value=value) if value is True else AnyValue(string_value=str(value)))
        for key, value in attributes.items()
    ]
    return Span(
        trace_id=bytes.fromhex(trace_id),
        span_id=bytes.fromhex(span_id),
        name=name,
        start_time_unix_nano=at_ns,
        end_time_unix_nano=at_ns + 1000,
        attributes=values,
    )


def request(*spans):
    """A request with spans, as bytes."""
    message = ExportTraceServiceRequest()
    scope = message.resource_spans.add().scope_spans.add()
    scope.scope.name = "test"
    scope.spans.extend(spans or [span(interaction=True)])
    return message.SerializeToString()


class Answer:
    """An answer over HTTP."""

    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    def json(self):
        """Its body as JSON."""
        return json.loads(self.body)


def connect(url):
    """Open a connection on which nothing is said yet."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    return socket.create_connection((host, int(port)), timeout=30)


def ask(url, method, path, body=None, **headers):
    """Send one request; names of headers with ``_`` for ``-``, and ``host`` as it is given."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
    with contextlib.closing(connection):
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        return Answer(connection.getresponse())


def post(url, body, *, signal="traces", content_type=PROTOBUF, **headers):
    """Send one OTLP request over HTTP."""
    return ask(url, "POST", f"/v1/{signal}", body, content_type=content_type, **headers)


def get(server, path, **headers):
    """Get JSON."""
    answer = ask(server.url, "GET", path, **headers)
    assert answer.status == 200, answer.body
    return answer.json()


def vote(server, value, *, signal="thumbs", trace_id=TRACE, span_id=SPAN, **more):
    """Send one feedback with a handle of the key in the data folder."""
    codec = HandleCodec(Keyring.from_state_dir(server.running.options.data))
    handle = codec.issue(trace_id=int(trace_id, 16), span_id=int(span_id, 16), sampled=True, facts={})
    body = json.dumps({"handle": handle, "signal": signal, "value": value, **more})
    return ask(server.url, "POST", "/v1/feedback", body, content_type=JSON)


class RefusedError(Exception):
    """What a gRPC call ended with."""

    def __init__(self, error):
        super().__init__(error.details())
        self.code = error.code()
        trailing = dict(error.trailing_metadata() or ())
        self.retry_after = None
        if details := trailing.get("grpc-status-details-bin"):
            status = Status.FromString(details)
            assert (status.code, status.message) == (self.code.value[0], error.details())
            info = RetryInfo()
            assert status.details[0].Unpack(info)
            self.retry_after = info.retry_delay.seconds


def export(address, body, *, signal="traces", compression=None, token=None):
    """Send one OTLP request over gRPC and return the answer's bytes."""
    metadata = [("authorization", token)] if token else None
    with grpc.insecure_channel(address, options=[("grpc.max_send_message_length", -1)]) as channel:
        try:
            call = channel.unary_unary(METHODS[signal])
            return call(body, timeout=30, compression=compression, metadata=metadata)
        except grpc.RpcError as error:
            raise RefusedError(error) from None


@contextlib.contextmanager
def held(store):
    """Keep the store's writer from writing as long as the block lasts."""
    reached, go_on = threading.Event(), threading.Event()

    def wait():
        reached.set()
        go_on.wait()

    thread = threading.Thread(target=store._writer.run, args=(wait,))
    thread.start()
    reached.wait()
    try:
        yield
    finally:
        go_on.set()
        thread.join()


def call(app, *, method="POST", path="/v1/traces", headers=(), messages=({"type": "http.request", "body": b""},)):
    """Call an ASGI application with the messages of a body; returns status, headers and body."""
    sent = []
    waiting = list(messages)

    async def receive():
        if waiting:
            return waiting.pop(0)
        await asyncio.Event().wait()  # nothing comes any more
        raise AssertionError

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "http_version": "1.1",
        "scheme": "http",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers],
        "client": ("127.0.0.1", 5),
        "server": ("127.0.0.1", 80),
    }
    asyncio.run(app(scope, receive, send))
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], {name.decode(): value.decode() for name, value in sent[0]["headers"]}, body
