"""The trace of one answer for reading: raw spans back from their chunks, in the order of their tree."""

import base64
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from otel_feedback import _dialects, semconv
from otel_feedback.intake._span import home_of
from otel_feedback.intake._values import clean, plausible, times_of, values_of
from otel_feedback.intake.chunks import unpack
from otel_feedback.intake.members import members_of
from otel_feedback.intake.traces import tree
from otel_feedback.store._content import read_chunk
from otel_feedback.store._gather import AFTER, BEFORE, instant
from otel_feedback.store._views import SpanEvent, SpanLink, SpanView

if TYPE_CHECKING:
    import duckdb

    from otel_feedback.intake.rows import StoredSpan
    from otel_feedback.store._gather import Period, Target

MOST: Final = 2000
"""Spans of one trace that are read, beside the answer's own."""

_KINDS: Final = ("unspecified", "internal", "server", "client", "producer", "consumer")
_STATUSES: Final = ("unset", "ok", "error")


class Trace(NamedTuple):
    """The spans of one trace."""

    spans: "tuple[StoredSpan, ...]"
    received_ns: int
    """Stands for times that no clock can have shown."""
    total: int
    """How many there are; more than ``spans`` has where those are too many."""


def read_trace(
    connection: "duckdb.DuckDBPyConnection", content: Sequence[str], target: "Target", times: "Period | None"
) -> Trace:
    """Read the spans of an answer's trace, each once: at most ``MOST``, and its own wherever that is among them.

    Args:
        connection: A reader's.
        content: Names of the content databases.
        target: Trace and span of the answer.
        times: When it started; ``None`` looks at all times.
    """
    trace_id, span_id = target
    found: dict[str, StoredSpan] = {}
    beyond = 0
    received_ns = 0
    parameters: dict[str, Any] = {"trace": trace_id}
    bounds = ""
    if times is not None:
        bounds = "AND first_at <= $last::TIMESTAMP AND last_at >= $first::TIMESTAMP"
        parameters |= {
            "first": (times[0] - BEFORE).replace(tzinfo=None),
            "last": (times[1] + AFTER).replace(tzinfo=None),
        }
    for database in content:
        numbers = connection.execute(
            f'SELECT DISTINCT chunk FROM "{database}".traces WHERE trace_id = $trace {bounds} ORDER BY chunk',  # noqa: S608
            parameters,
        ).fetchall()
        for (number,) in numbers:
            data, received_us = read_chunk(connection, database, number) or (b"", 0)
            received_ns = max(received_ns, received_us * 1000)
            for span in unpack(data) if data else ():
                if span.trace_id != trace_id or span.span_id in found:
                    continue
                if len(found) < MOST or span.span_id == span_id:
                    found[span.span_id] = span
                else:
                    beyond += 1
    count = _count(connection, content, trace_id) if beyond else len(found)
    return Trace(tuple(found.values()), received_ns, count)


def _count(connection: "duckdb.DuckDBPyConnection", content: Sequence[str], trace_id: str) -> int:
    """Count the spans of a trace, each once, in whichever files it is sent to again."""
    sql = " UNION ALL ".join(f'SELECT members FROM "{name}".traces WHERE trace_id = $trace' for name in content)  # noqa: S608
    rows = connection.execute(sql, {"trace": trace_id}).fetchall()
    return len({member.span_id for (members,) in rows for member in members_of(members)})


def document_texts(spans: "Iterable[StoredSpan]") -> dict[str, str]:
    """Return the texts of retrieved documents by their ids, where they are recorded."""
    texts: dict[str, str] = {}
    for span in spans:
        for document in _dialects.documents_of(values_of(span.span.attributes)):
            if "content" in document:
                texts.setdefault(document["id"], document["content"])
    return texts


def views(trace: Trace, *, span_id: str) -> tuple[SpanView, ...]:
    """Return the spans of a trace for reading, in the order of its tree.

    Args:
        trace: The spans.
        span_id: Of the answer.
    """
    starts = [times_of(span.span, trace.received_ns)[0] for span in trace.spans]
    first = min(starts, default=0)
    return tuple(_view(node.span, node.depth, first, trace.received_ns, span_id) for node in tree(trace.spans))


def _view(stored: "StoredSpan", depth: int, first_ns: int, received_ns: int, answer: str) -> SpanView:
    span = stored.span
    started, duration = times_of(span, received_ns)
    attributes = values_of(span.attributes)
    return SpanView(
        span_id=stored.span_id,
        parent_id=stored.parent_id,
        depth=depth,
        name=clean(span.name),
        kind=_named(_KINDS, span.kind),
        service=home_of(stored.resource).service,
        scope=stored.scope,
        started_at=instant(started),
        offset_ms=(started - first_ns) / 1e6,
        duration_ms=duration / 1e6,
        status=_named(_STATUSES, span.status.code),
        status_message=clean(span.status.message),
        is_answer=stored.span_id == answer,
        is_feedback=semconv.FEEDBACK_SIGNAL in attributes
        or attributes.get(semconv.OPENINFERENCE_SPAN_KIND) == semconv.EVALUATOR,
        attributes=_readable(attributes),
        events=tuple(
            SpanEvent(clean(event.name), instant(at), (at - first_ns) / 1e6, _readable(values_of(event.attributes)))
            for event in span.events
            for at in (plausible(event.time_unix_nano, received_ns),)
        ),
        links=tuple(
            SpanLink(link.trace_id.hex(), link.span_id.hex(), _readable(values_of(link.attributes)))
            for link in span.links
        ),
    )


def _named(names: Sequence[str], number: int) -> str:
    return names[number] if 0 <= number < len(names) else names[0]


def _readable(value: Any) -> Any:
    """Return a value that JSON has: bytes as base64, numbers that JSON lacks as words."""
    if isinstance(value, Mapping):
        return {clean(key): _readable(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_readable(one) for one in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return clean(value) if isinstance(value, str) else value
