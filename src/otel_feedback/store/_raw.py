"""Raw spans of some traces, read back from the content files."""

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from otel_feedback.intake.traces import unpack
from otel_feedback.store._content import read_chunk
from otel_feedback.store._tables import ids

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from otel_feedback.intake.rows import StoredSpan
    from otel_feedback.store._databases import Databases
    from otel_feedback.store._watch import Target

BEFORE_NS: Final = 60_000_000_000
"""How much earlier than its answer a span of its trace may start: clocks of several machines."""

AFTER_NS: Final = 25 * 3_600_000_000_000
"""How much later than its answer a span of its trace may start."""

JUDGED_WITHIN_NS: Final = 35 * 24 * 3_600_000_000_000
"""How old a span without a flag may be when it is judged; a handle lives for 30 days."""

_SKEW_NS: Final = 3_600_000_000_000


def read_traces(databases: "Databases", starts: "Mapping[str, int]") -> "dict[str, list[StoredSpan]]":
    """The raw spans of some traces, each once, by start.

    Args:
        databases: Where they are.
        starts: When the first answer of each trace started, in nanoseconds: what is far from it is not read.
    """
    times = list(starts.values())
    found: defaultdict[str, dict[str, StoredSpan]] = defaultdict(dict)
    for name in databases.content():
        places = databases.writer.execute(
            f"""
            SELECT s.trace_id, s.span_id, s.chunk FROM "{name}".spans s
            JOIN (SELECT unnest(string_split($1, ',')) AS trace_id, unnest(string_split($2, ','))::BIGINT AS start) u
            ON s.trace_id = u.trace_id
            AND epoch_us(s.started_at) BETWEEN (u.start - $3) // 1000 AND (u.start + $4) // 1000
            WHERE s.started_at BETWEEN make_timestamp($5 // 1000) AND make_timestamp($6 // 1000)
            """,  # noqa: S608
            [ids(starts), ids(times), BEFORE_NS, AFTER_NS, min(times) - BEFORE_NS, max(times) + AFTER_NS],
        ).fetchall()
        if places:
            wanted = {(trace, span) for trace, span, _ in places}
            for span in _unpacked(databases, name, {chunk for _, _, chunk in places}):
                if span[:2] in wanted:
                    found[span.trace_id].setdefault(span.span_id, span)
    return {
        trace: sorted(spans.values(), key=lambda it: (it.span.start_time_unix_nano, it.span_id))
        for trace, spans in found.items()
    }


def _unpacked(databases: "Databases", name: str, chunks: "Iterable[int]") -> "Iterator[StoredSpan]":
    for chunk in sorted(chunks):  # one by one: together they may be large
        found = read_chunk(databases.writer, name, chunk)
        if found is not None:
            yield from unpack(found[0])


def find_spans(databases: "Databases", judged: "Mapping[Target, int]") -> "dict[Target, int]":
    """When judged spans started, of those that have come.

    Args:
        databases: Where they are.
        judged: Judged spans, with the time of the feedback in nanoseconds.
    """
    traces, spans = zip(*judged, strict=True)
    times = list(judged.values())
    found: dict[Target, int] = {}
    for name in databases.content():
        rows = databases.writer.execute(
            f"""
            SELECT s.trace_id, s.span_id, epoch_us(s.started_at) * 1000 FROM "{name}".spans s
            JOIN (SELECT unnest(string_split($1, ',')) AS trace_id, unnest(string_split($2, ',')) AS span_id,
            unnest(string_split($3, ','))::BIGINT AS at_ns) u
            ON s.trace_id = u.trace_id AND s.span_id = u.span_id
            AND epoch_us(s.started_at) BETWEEN (u.at_ns - $4) // 1000 AND (u.at_ns + $5) // 1000
            WHERE s.started_at BETWEEN make_timestamp($6 // 1000) AND make_timestamp($7 // 1000)
            """,  # noqa: S608
            [
                *(ids(traces), ids(spans), ids(times)),
                *(JUDGED_WITHIN_NS, _SKEW_NS, min(times) - JUDGED_WITHIN_NS, max(times) + _SKEW_NS),
            ],
        ).fetchall()
        for trace_id, span_id, started_ns in rows:
            found[trace_id, span_id] = min(started_ns, found.get((trace_id, span_id), started_ns))
    return found
