"""A stand-in for the server's JSON API: it answers with what a test gives it, hostile things included."""

import contextlib
import io
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from unittest import mock

from otel_feedback.cli import app

NO_PAGE = (404, {"title": "Not Found", "status": 404, "detail": "No such page."})


class Api:
    """Answers by path: a value, or a function of query and headers that gives status and value."""

    def __init__(self, answers):
        self.answers = answers
        self.asked = []
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                path, _, query = self.path.partition("?")
                length = int(self.headers.get("content-length", 0))
                body = self.rfile.read(length).decode()
                api.asked.append((self.command, path, query or body, dict(self.headers)))
                answer = api.answers.get(path, NO_PAGE)
                status, value, kind = (*(answer if isinstance(answer, tuple) else (200, answer)), "application/json")[
                    :3
                ]
                if callable(value):
                    value(self)
                    return
                data = value if isinstance(value, bytes) else json.dumps(value).encode()
                self.send_response(status)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_POST = do_GET  # noqa: N815 - the library calls it so

            def log_message(self, *args):
                """Keep the output clean."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@contextlib.contextmanager
def serving(answers):
    """Run a stand-in for as long as the block lasts."""
    api = Api(answers)
    try:
        yield api
    finally:
        api.close()


def call(*words, **variables):
    """Run a command in this process; gives exit code, stdout and stderr.

    The environment has nothing of ours but what is given.
    """
    environ = {"COLUMNS": "80", "PATH": "/usr/bin:/bin", "HOME": "/nowhere", "TERM": "dumb"} | variables
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    code = 0
    with (
        mock.patch.dict("os.environ", environ, clear=True),
        mock.patch.object(sys, "argv", ["otel-feedback", *map(str, words)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            app.run()
        except SystemExit as end:
            code = end.code or 0
    return code, out.buffer.getvalue().decode(), err.buffer.getvalue().decode()
