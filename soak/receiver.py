"""A receiver of OTLP over HTTP that counts feedback by its id, and can be away for a while."""

import contextlib
import http.server
import threading
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_feedback import semconv

SENDING: Final = {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf", "OTEL_EXPORTER_OTLP_COMPRESSION": "none"}
"""Variables of a process that sends to it, beside the endpoint."""


class Receiver(http.server.ThreadingHTTPServer):
    """The server; ``spans`` has the ids of the spans that came for each feedback, one for each time that it came."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        """Listen on a free port."""
        super().__init__(("127.0.0.1", 0), _Handler)
        self.spans: defaultdict[str, list[bytes]] = defaultdict(list)
        self.away = threading.Event()
        self.endpoint = f"http://127.0.0.1:{self.server_address[1]}"

    def take(self, request: ExportTraceServiceRequest) -> None:
        """Keep what came."""
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    attributes = {one.key: one.value.string_value for one in span.attributes}
                    self.spans[attributes[semconv.FEEDBACK_ID]].append(span.span_id)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        away = self.server.away.is_set()
        if not away and self.path.endswith("/v1/traces"):  # it sends metrics of its own, too
            self.server.take(ExportTraceServiceRequest.FromString(body))
        self.send_response(503 if away else 200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Keep the output clean."""


@contextlib.contextmanager
def receiving() -> Iterator[Receiver]:
    """Run a receiver."""
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
