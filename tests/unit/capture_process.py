"""A capture endpoint as a real process, and a receiver of OTLP for what it exports."""

import contextlib
import http.client
import http.server
import json
import os
import re
import subprocess
import sys
import tempfile
import threading

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

COMMAND = [sys.executable, "-c", "from otel_feedback.cli import main; main()"]


def environment(**variables):
    """This process's environment without what concerns us, and with what is given."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    return kept | {"COLUMNS": "120", "PYTHONUNBUFFERED": "1"} | variables


@contextlib.contextmanager
def capturing(*arguments, **variables):
    """Run ``otel-feedback capture`` on a free port, with a state folder of its own; gives the process and the port."""
    with (
        tempfile.TemporaryDirectory() as state,
        subprocess.Popen(
            [*COMMAND, "capture", "--listen", "127.0.0.1:0", *arguments],
            env=environment(**{"OTEL_FEEDBACK_STATE_DIR": state, **variables}),
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        try:
            yield process, _port(process)
        finally:
            process.kill()


def _port(process):
    for line in process.stderr:
        if found := re.search(r"running on http://127\.0\.0\.1:(\d+)", line):
            return int(found[1])
    raise AssertionError("it ended before it listened")


def post(port, body):
    """Send one feedback and return status and answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with contextlib.closing(connection):
        connection.request("POST", "/v1/feedback", json.dumps(body), {"content-type": "application/json"})
        response = connection.getresponse()
        return response.status, json.loads(response.read())


class _Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.received.append((self.path, self.headers, ExportTraceServiceRequest.FromString(body)))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args):
        """Keep the output clean."""


@contextlib.contextmanager
def receiving():
    """A receiver of OTLP over HTTP on a free port; ``received`` has path, headers and request of each export."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Receiver) as server:
        server.received = []
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def to(receiver):
    """The variables that make exporters send to a receiver."""
    return {
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{receiver.server_port}",
    }
