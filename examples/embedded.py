"""Asks the API of ``otel-feedback up`` for the table *satisfaction by template*, and for one bad answer."""

from collections.abc import Mapping
from typing import Any, Final

from stack.client import get_json

from examples.satisfaction import Key, Line, Lines
from examples.trace_tree import Span, Trace
from otel_feedback import semconv
from otel_feedback.analysis._interval import wilson

MOST_ANSWERS: Final = "200"
"""So many of the newest bad answers are looked through for one whose user said why."""


def read_lines(url: str, service: str) -> Lines:
    """Ask for every line of one service.

    Args:
        url: Of the embedded process.
        service: ``service.name``.
    """
    found = get_json(f"{url}/api/satisfaction", {"by": "template,version", "service": service})
    return {_key(row): _line(row) for row in found["rows"]}


def _key(row: Mapping[str, Any]) -> Key:
    return row["key"]["template"], row["key"]["version"]


def _line(row: Mapping[str, Any]) -> Line:
    """What it tells of one template; the shares are those of opinions, as metrics have them."""
    expressed = row["expressed"]
    counts = {
        "answers": row["interactions"],
        "voted": row["voted"],
        "positive": expressed[semconv.POSITIVE],
        "negative": expressed[semconv.NEGATIVE],
        "changes": row["changed"],
        "standing positive": row["positive"],
        "standing negative": row["negative"],
    }
    share = wilson(counts["positive"], counts["negative"])
    shares = {"satisfaction": share.value, "low": share.low, "high": share.high}
    line = Line(*_key(row), shares={name: value for name, value in shares.items() if value is not None})
    line.counts.update(counts | row["implicit"])
    return line


def find_bad_answer(url: str, service: str) -> Trace | None:
    """The trace of an answer that a user judged bad, and stayed with it; ``None`` if there is none.

    Args:
        url: Of the embedded process.
        service: ``service.name``.
    """
    found = get_json(f"{url}/api/answers", {"feedback": "bad", "service": service, "limit": MOST_ANSWERS})
    rows = found["rows"]
    if not rows:
        return None
    # A comment tells more than reasons, reasons more than a bare vote.
    most = max(rows, key=lambda row: (bool(row["comment"]), bool(row["reasons"])))
    return read_trace(get_json(f"{url}/api/answers/{most['id']}"))


def read_trace(detail: Mapping[str, Any]) -> Trace:
    """A trace out of the API's JSON."""
    return Trace(
        detail["trace_id"],
        [
            Span(
                id=span["span_id"],
                parent=span["parent_id"] or None,
                name=span["name"],
                start=span["offset_ms"],
                duration=span["duration_ms"],
                tags=span["attributes"],
            )
            for span in detail["spans"]
        ],
    )
