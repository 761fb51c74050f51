"""Raw spans of some traces, read back from the content files."""

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from otel_feedback.intake.chunks import unpack
from otel_feedback.intake.members import members_of
from otel_feedback.store._content import read_chunk
from otel_feedback.store._tables import ids

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from otel_feedback.intake.members import Member
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
    bounds = {trace: ((start - BEFORE_NS) // 1000, (start + AFTER_NS) // 1000) for trace, start in starts.items()}
    found: defaultdict[str, dict[str, StoredSpan]] = defaultdict(dict)
    for name in databases.content():
        wanted: set[Target] = set()
        chunks: set[int] = set()
        for trace, member, chunk in _members(databases, name, bounds):
            wanted.add((trace, member.span_id))
            chunks.add(chunk)
        for span in _unpacked(databases, name, chunks):
            if span[:2] in wanted:
                found[span.trace_id].setdefault(span.span_id, span)
    return {
        trace: sorted(spans.values(), key=lambda it: (it.span.start_time_unix_nano, it.span_id))
        for trace, spans in found.items()
    }


def _members(
    databases: "Databases", name: str, bounds: "Mapping[str, tuple[int, int]]"
) -> "Iterator[tuple[str, Member, int]]":
    """The spans of some traces that started within bounds in microseconds, each with its trace and its chunk."""
    rows = databases.writer.execute(
        f"""
        SELECT t.trace_id, t.members, t.chunk FROM "{name}".traces t
        JOIN (SELECT unnest(string_split($1, ',')) AS trace_id) u ON t.trace_id = u.trace_id
        WHERE t.first_at <= make_timestamp($2) AND t.last_at >= make_timestamp($3)
        """,  # noqa: S608
        [ids(bounds), max(last for _, last in bounds.values()), min(first for first, _ in bounds.values())],
    ).fetchall()
    for trace, members, chunk in rows:
        first, last = bounds[trace]
        for member in members_of(members):
            if first <= member.started_us <= last:
                yield trace, member, chunk


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
    bounds: dict[str, tuple[int, int]] = {}
    for (trace, _), at_ns in judged.items():
        first, last = (at_ns - JUDGED_WITHIN_NS) // 1000, (at_ns + _SKEW_NS) // 1000
        known = bounds.setdefault(trace, (first, last))
        bounds[trace] = min(first, known[0]), max(last, known[1])
    found: dict[Target, int] = {}
    for name in databases.content():
        for trace, member, _ in _members(databases, name, bounds):
            target, started_ns = (trace, member.span_id), member.started_us * 1000
            judged_ns = judged.get(target)
            if judged_ns is not None and judged_ns - JUDGED_WITHIN_NS <= started_ns <= judged_ns + _SKEW_NS:
                found[target] = min(started_ns, found.get(target, started_ns))
    return found
