"""Feedback that waits, and receivers that fail in every way: what the tests of an outbox's sender share."""

import contextlib
import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
from google.protobuf.any_pb2 import Any as Detail
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.sdk.resources import Resource

from otel_feedback import semconv
from otel_feedback._carrier import Carrier
from otel_feedback.outbox import Outbox
from otel_feedback.outbox._rows import Row
from otel_feedback.outbox._spans import spans_of
from otel_feedback.outbox._transport import DELIVERED, Fate, Outcome
from otel_feedback.testing import START

RESOURCE = Resource({"service.name": "capture"})
LATER = Outcome(Fate.LATER, "HTTP 503")
REJECTED = Outcome(Fate.REJECTED, "HTTP 400")


def carrier(name, *, interaction=None, same_trace=False, text="", sampled=True):
    """A feedback called so, on an interaction of its own if none is given."""
    trace_id = interaction or int.from_bytes(hashlib.sha256(name.encode()).digest()[:16], "big")
    return Carrier(
        name="feedback thumbs",
        time_ns=START * 10**9,
        trace_id=trace_id,
        span_id=7,
        sampled=sampled,
        same_trace=same_trace,
        attributes={semconv.FEEDBACK_ID: name, semconv.FEEDBACK_REASONS: ("a", "b")},
        events=((semconv.EVENT_EVALUATION_RESULT, {semconv.GEN_AI_EVALUATION_EXPLANATION: text}),),
    )


def row(name="f", number=1, **more):
    """A row as the queue gives it."""
    return Row(
        number, START * 10**9, 0, 100, carrier(name, **more), 0xC0 + number, 0xD0 + number, {"service.name": "a"}
    )


def spans(*names):
    """Spans of feedback called so."""
    return spans_of([row(name, number) for number, name in enumerate(names, start=1)])


def names_of(sent):
    """What the feedback in spans is called."""
    return [span.attributes[semconv.FEEDBACK_ID] for span in sent]


def filled(folder, *waiting, **more):
    """An outbox of a test's own in which this waits: carriers, or names for them."""
    outbox = Outbox(folder / "outbox.db", resource=RESOURCE, **more)
    for each in waiting:
        outbox.submit(each if isinstance(each, Carrier) else carrier(each))
    return outbox


class Receiver:
    """A transport that does what a test says.

    Attributes:
        batches: Names of what was sent, in the order of the calls.
        outcomes: What to say to the next calls; then it takes everything.
        bad: Names because of which it rejects whatever they are in.
        failing: Names because of which it fails with whatever they are in.
    """

    def __init__(self, *outcomes, bad=(), failing=()):
        self.batches, self.outcomes, self.bad, self.failing = [], list(outcomes), set(bad), set(failing)
        self.got, self.closed = [], 0

    def send(self, sent):
        names = names_of(sent)
        self.batches.append(names)
        outcome = self.outcomes.pop(0) if self.outcomes else DELIVERED
        if self.bad & set(names):
            outcome = REJECTED
        if self.failing & set(names):
            outcome = LATER
        if outcome is DELIVERED:
            self.got += names
        return outcome

    def close(self):
        self.closed += 1


class Clock:
    """Seconds that pass only by sleeping."""

    def __init__(self):
        self.now = 1000.0
        self.slept = []

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


def names_in(request):
    """What the feedback in a request of OTLP is called."""
    return [
        attribute.value.string_value
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
        for attribute in span.attributes
        if attribute.key == semconv.FEEDBACK_ID
    ]


def partial(rejected, words="no"):
    """An answer of OTLP that takes so many spans back."""
    answer = ExportTraceServiceResponse()
    answer.partial_success.rejected_spans = rejected
    answer.partial_success.error_message = words
    return answer


class HttpReceiver:
    """OTLP over HTTP: answers with the next of ``answers`` (status, headers, body), then with 200 and nothing."""

    def __init__(self, *answers):
        self.answers, self.got, self.connections = list(answers), [], set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.got.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                receiver.connections.add(self.client_address)
                status, headers, answer = receiver.answers.pop(0) if receiver.answers else (200, {}, b"")
                if status is None:  # hangs up
                    self.close_connection = True
                    return
                self.send_response(status)
                for name, value in {"content-type": "application/x-protobuf", **headers}.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *args):
                """Keep the output clean."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class GrpcReceiver(TraceServiceServicer):
    """OTLP over gRPC: answers with the next of ``answers``: a status code, or a message; then it takes everything."""

    def __init__(self, *answers, address="127.0.0.1:0", credentials=None):
        self.answers, self.got, self.metadata = list(answers), [], []
        self.server = grpc.server(ThreadPoolExecutor(2))
        add_TraceServiceServicer_to_server(self, self.server)
        port = self.server.add_insecure_port(address)
        self.address = f"127.0.0.1:{port}"
        self.url = f"http://{self.address}"
        self.server.start()

    def Export(self, request, context):  # noqa: N802 - the library calls it so
        self.got.append(names_in(request))
        self.metadata.append(dict(context.invocation_metadata()))
        answer = self.answers.pop(0) if self.answers else ExportTraceServiceResponse()
        if callable(answer):
            answer = answer(context)
        if isinstance(answer, grpc.StatusCode):
            context.abort(answer, "words of the receiver")
        return answer

    def close(self):
        self.server.stop(None).wait()


def asks_to_wait(seconds):
    """An answer over gRPC that is overloaded and says for how long, as the details of its status."""

    def answer(context):
        info = RetryInfo()
        info.retry_delay.FromMilliseconds(int(seconds * 1000))
        detail = Detail()
        detail.Pack(info)
        code = grpc.StatusCode.UNAVAILABLE
        status = Status(code=code.value[0], message="words of the receiver", details=[detail])
        context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
        return code

    return answer


@contextlib.contextmanager
def receiving(kind, *answers, **more):
    """Run a receiver for as long as the block lasts."""
    receiver = kind(*answers, **more)
    try:
        yield receiver
    finally:
        receiver.close()


def read(body):
    """What the feedback in the body of a request is called."""
    return names_in(ExportTraceServiceRequest.FromString(body))
