"""Where the demo says to look: links where there is a page, commands that work where there is none."""

import contextlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler

import pytest
from examples.look import GRAFANA, Sights, has_page
from examples.servers import Addresses
from examples.trace_tree import Span, Trace
from tests.examples.http_double import serving

from otel_feedback import semconv

HTML = "text/html; charset=utf-8"
PAGE = (200, HTML, "<title>Jaeger UI</title>")
PLACEHOLDER = (200, HTML, "<h1>This is not the Jaeger UI you are looking for!</h1>")
BROKEN = (500, "text/plain", "Error opening React index.html")
ANSWERS = {"page": PAGE, "placeholder": PLACEHOLDER, "broken": BROKEN, "json": (200, "application/json", "{}")}


@contextlib.contextmanager
def server(status: int, kind: str, text: str) -> Iterator[str]:
    """One that gives the same answer to everybody."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("content-type", kind)
            self.end_headers()
            self.wfile.write(text.encode())

    with serving(Handler) as address:
        yield address


BAD_ANSWER = Trace("4bf9", [Span("00f0", None, "POST /ask", 0, 1, {semconv.FEEDBACK_INTERACTION: True})])


@pytest.mark.parametrize("name", sorted(ANSWERS))
def test_a_page_is_neither_an_error_nor_a_placeholder(name: str) -> None:
    """Only what has something to see is a page."""
    with server(*ANSWERS[name]) as url:
        assert has_page(url) is (name == "page")


def test_nobody_there_is_no_page() -> None:
    """A closed port is no page, and no error."""
    assert has_page("http://127.0.0.1:9") is False


def test_pages_that_are_there_are_linked() -> None:
    """The trace opens at the answer's span, the query in Prometheus' own page, and no root is named."""
    with server(*PAGE) as url:
        told = list(Sights(url, url, Addresses()).show(BAD_ANSWER))
        pages = Sights(url, url, Addresses()).explain_pages()
    assert f"  {url}/trace/4bf9?uiFind=00f0" in told
    assert any(line.startswith(f"  {url}/query?g0.expr=sum%20by%20") for line in told)
    assert pages.startswith("Jaeger and Prometheus have web pages here.")
    assert GRAFANA in pages


def test_without_pages_there_are_commands_that_fit_the_terminal() -> None:
    """What Go modules build has no pages: every line can be copied, and the text says where pages come from."""
    with server(*PLACEHOLDER) as jaeger, server(*BROKEN) as prometheus:
        told = list(Sights(jaeger, prometheus, Addresses()).show(BAD_ANSWER))
        pages = Sights(jaeger, prometheus, Addresses()).explain_pages()
    assert f"  curl -s {jaeger}/api/traces/4bf9" in told
    assert f"  {Addresses().service_url}/" in told
    assert not {f"  {jaeger}", f"  {prometheus}"} & {line.rstrip("/") for line in told}
    assert max(len(line) for line in "\n".join(told).splitlines()) <= 80
    assert pages.startswith("Without web pages: Jaeger and Prometheus, since")
    assert "on PATH" in pages
    assert GRAFANA in pages


def test_only_the_one_without_pages_is_named() -> None:
    """Jaeger's own program beside a Prometheus that was built here."""
    with server(*PAGE) as jaeger, server(*BROKEN) as prometheus:
        assert (
            Sights(jaeger, prometheus, Addresses()).explain_pages().startswith("Without web pages: Prometheus, since")
        )
