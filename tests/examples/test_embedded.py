"""What the demo reads out of the embedded process' API: the same lines as out of Prometheus, the same tree."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from examples.embedded import find_bad_answer, read_lines, read_trace
from examples.satisfaction import COUNTS, STANDING
from tests.examples.http_double import serving

from otel_feedback import semconv

ROW = {
    "key": {"template": "/ask", "version": "e8cacefe5611"},
    "interactions": 120,
    "voted": 31,
    "positive": 19,
    "negative": 11,
    "expressed": {"positive": 20, "negative": 12},
    "changed": 3,
    "implicit": {"copy": 9},
}
SPAN = {
    "span_id": "00f0",
    "parent_id": "",
    "name": "POST /ask",
    "offset_ms": 1.5,
    "duration_ms": 20.25,
    "attributes": {semconv.FEEDBACK_INTERACTION: True},
}


def answer(name: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "comment": None, "reasons": [], **more}


@pytest.fixture
def asked() -> list[str]:
    return []


@pytest.fixture
def api(asked: list[str], answers: list[dict[str, Any]]) -> Iterator[str]:
    """An API that notes what it is asked."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            body: dict[str, Any] = {"rows": answers}
            if self.path.startswith("/api/satisfaction"):
                body = {"rows": [ROW]}
            elif "/answers/" in self.path:
                body = {"trace_id": self.path.rpartition("/")[2], "spans": [SPAN]}
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

    with serving(Handler) as address:
        yield address


@pytest.fixture
def answers() -> list[dict[str, Any]]:
    return [
        answer("bare"),
        answer("reasoned", reasons=["cut-off"]),
        answer("told", comment="It stops."),
        answer("late", comment="No."),
    ]


def test_a_line_has_opinions_as_metrics_have_them_and_how_votes_stand(api: str, asked: list[str]) -> None:
    """What was ever expressed makes the shares; what stands is a count beside."""
    (line,) = read_lines(api, "rag-service").values()
    assert (line.template, line.version) == ("/ask", "e8cacefe5611")
    assert [line.counts[name] for name in (*COUNTS, *STANDING)] == [120, 31, 20, 12, 3, 9, 19, 11]
    assert line.shares["low"] < line.shares["satisfaction"] == 20 / 32 < line.shares["high"]
    assert asked == ["/api/satisfaction?by=template%2Cversion&service=rag-service"]


def test_the_bad_answer_is_the_one_whose_user_said_most(api: str, asked: list[str]) -> None:
    """A comment before reasons, reasons before a bare vote; the newest of equals."""
    trace = find_bad_answer(api, "rag-service")
    assert trace is not None
    assert trace.id == "told"
    assert trace.answer is not None
    assert asked[-1] == "/api/answers/told"


@pytest.mark.parametrize("answers", [[]])
def test_without_bad_answers_there_is_none(api: str) -> None:
    """Nothing is made up."""
    assert find_bad_answer(api, "rag-service") is None


def test_times_and_parents_are_the_api_s() -> None:
    """Milliseconds from the start of the trace; a root has no parent."""
    (span,) = read_trace({"trace_id": "t", "spans": [SPAN]}).spans
    assert (span.parent, span.start, span.duration) == (None, 1.5, 20.25)
