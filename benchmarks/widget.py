"""From a click on the widget to its acknowledgement: Chromium, and a real ``otel-feedback capture`` with its outbox.

``python -m benchmarks.widget`` alone.
"""

import contextlib
import functools
import http.server
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from statistics import median, quantiles
from typing import Final

from stack.ports import choose_free

from benchmarks.capture import KEYS, server_process
from benchmarks.measure import Figure
from benchmarks.visible import open_chromium
from otel_feedback._handle import HandleCodec, Keyring

CLICKS: Final = 90
"""On one answer: fewer than a vote may be changed."""

_PAGE: Final = """<!doctype html><meta charset="utf-8"><title>Chat</title>
<script type="module" src="{capture}/v1/widget.js"></script><p>Answer.</p>
<feedback-buttons handle="{handle}"></feedback-buttons>"""

_CLICK: Final = """
const done = arguments[1], w = document.querySelector('feedback-buttons'), took = [];
let began;
const click = () => {
  began = performance.now();
  w.shadowRoot.querySelector(took.length % 2 ? '[part~=vdown]' : '[part~=vup]').click();
};
w.addEventListener('feedback', (event) => {
  took.push(performance.now() - began);
  if (took.length < arguments[0]) setTimeout(click, 50); else done(took);
});
click();
"""


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Keep the output clean."""


@contextlib.contextmanager
def _site(folder: Path, port: int) -> Iterator[None]:
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()


def clicks() -> list[float]:
    """Return the milliseconds of each click, until capture's 202 was in the page.

    Raises:
        FileNotFoundError: There is no Chromium, or no driver of it.
    """
    port, site_port = choose_free(2)
    codec = HandleCodec(Keyring.from_text(KEYS))
    handle = codec.issue(trace_id=1, span_id=1, sampled=True, facts={"feedback.prompt.name": "qa"})
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "index.html").write_text(_PAGE.format(capture=f"http://127.0.0.1:{port}", handle=handle))
        command = [str(Path(sys.executable).with_name("otel-feedback")), "capture", "--listen", f"127.0.0.1:{port}"]
        command += ["--outbox", str(folder / "outbox.db"), "--rate-handle", "none"]
        command += ["--allow-origin", f"http://127.0.0.1:{site_port}"]
        environ = {"OTEL_FEEDBACK_HANDLE_KEYS": KEYS, "OTEL_METRICS_EXPORTER": "none"}
        with server_process(command, port, environ), _site(folder, site_port):
            browser = open_chromium()
            try:
                browser.set_script_timeout(60)
                browser.get(f"http://127.0.0.1:{site_port}/index.html")
                took = browser.execute_async_script(_CLICK, CLICKS)
            finally:
                browser.quit()
    return [float(each) for each in took]


def figures() -> list[Figure]:
    """Measure, and say it in a row."""
    took = clicks()
    slowest = quantiles(took, n=100)[98]
    measured = f"{slowest:.0f} ms (median {median(took):.0f} ms)"
    return [Figure("click on the widget to its 202, p99", measured, slowest, 100)]


if __name__ == "__main__":
    for figure in figures():
        print(figure.what, figure.measured)
