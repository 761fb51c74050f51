"""The spans of one trace in one request, packed into one value: a row for each would cost more than all else.

24 bytes a span: its id, its parent's (zeros at a root) and when it started, in microseconds since 1970.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from otel_feedback.intake._span import NO_SPAN, parent_of
from otel_feedback.intake.rows import TraceRow

_MEMBER: Final = struct.Struct(">8s8sQ")


class Member(NamedTuple):
    """One span of a trace."""

    span_id: str
    parent_id: str
    """Empty at a root."""
    started_us: int


def trace_row(trace_id: bytes, members: Sequence[tuple[bytes, bytes, int]]) -> TraceRow:
    """Pack the spans of one trace.

    Args:
        trace_id: Whose spans.
        members: Id, parent and start of each, in microseconds; a parent that isn't eight bytes long is none.
    """
    starts = [started for _, _, started in members]
    packed = b"".join(
        [_MEMBER.pack(span, parent if len(parent) == len(NO_SPAN) else NO_SPAN, at) for span, parent, at in members]
    )
    return TraceRow(trace_id.hex(), min(starts), max(starts), len(members), packed.hex())


def members_of(packed: bytes) -> Iterator[Member]:
    """Read what ``trace_row`` has packed, from the column's bytes."""
    for span_id, parent_id, started_us in _MEMBER.iter_unpack(packed):
        yield Member(span_id.hex(), parent_of(parent_id), started_us)
