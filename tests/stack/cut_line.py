"""A line to a Collector that can be cut at the worst moment: a request is delivered, and its answer never comes."""

import contextlib
import threading
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PASSED_ON = ("content-type", "content-encoding")


class CutLine(ThreadingHTTPServer):
    """Passes OTLP over HTTP on.

    Attributes:
        delivered: Requests that the Collector took.
        cut: Called after each of them; while there is one, no answer is passed back.
    """

    daemon_threads = True

    def __init__(self, collector: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.collector, self.delivered = collector, 0
        self.cut: Callable[[], Any] | None = None
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: CutLine

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name: self.headers[name] for name in PASSED_ON if name in self.headers}
        with urllib.request.urlopen(urllib.request.Request(self.server.collector + self.path, body, headers)) as answer:
            said = answer.read()
        self.server.delivered += 1
        if self.server.cut:
            self.server.cut()
            return
        self.send_response(200)
        self.send_header("content-type", answer.headers["content-type"])
        self.send_header("content-length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_: Any) -> None:
        """Keep the output clean."""


@contextlib.contextmanager
def line_to(collector: str) -> Iterator[CutLine]:
    """Lay a line to a Collector's HTTP receiver."""
    with CutLine(collector) as line:
        thread = threading.Thread(target=line.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield line
        finally:
            line.shutdown()
            thread.join()
