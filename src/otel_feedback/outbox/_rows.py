"""A carrier on disk: what the queue keeps of it, and how it is read again."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

from otel_feedback._carrier import Attributes, AttributeValue, Carrier

_encode: Final = json.JSONEncoder(separators=(",", ":")).encode
_ids: Final = RandomIdGenerator()


@dataclass(frozen=True, slots=True)
class Row:
    """One feedback that waits.

    Attributes:
        number: Its place in the order in which feedback was accepted; never given twice.
        accepted_ns: When it was accepted, in nanoseconds since 1970.
        tries: How often a receiver has rejected just this one.
        size: Bytes of it in the file.
        carrier: The feedback.
        trace_id: Of the carrier's own span, the same on every try.
        span_id: Of the carrier's own span, the same on every try.
        resource: Attributes of the resource that it was recorded under.
    """

    number: int
    accepted_ns: int
    tries: int
    size: int
    carrier: Carrier
    trace_id: int
    span_id: int
    resource: Mapping[str, AttributeValue]


@dataclass(frozen=True, slots=True)
class Counts:
    """How the queue stands.

    Attributes:
        depth: How many feedbacks wait.
        bytes: How many bytes they take.
        oldest_ns: When the oldest of them was accepted, in nanoseconds since 1970; ``None`` where none waits.
        set_aside: How many receivers have rejected for good: they are kept, and don't wait.
        why: How many of those for which reason.
    """

    depth: int
    bytes: int
    oldest_ns: int | None
    set_aside: int
    why: Mapping[str, int]


def own_ids(carrier: Carrier) -> tuple[int, int]:
    """Make trace and span id of a carrier's own span."""
    return carrier.trace_id if carrier.same_trace else _ids.generate_trace_id(), _ids.generate_span_id()


def pack(carrier: Carrier) -> str:
    """Write a carrier down, in ASCII, with the ids of its own span."""
    return _encode(
        (
            carrier.name,
            carrier.time_ns,
            carrier.trace_id,
            carrier.span_id,
            carrier.sampled,
            carrier.same_trace,
            carrier.attributes,
            carrier.events,
            *own_ids(carrier),
        )
    )


def unpack(text: str) -> tuple[Carrier, int, int]:
    """Read what ``pack`` wrote: the carrier, and trace and span id of its own span."""
    name, time_ns, trace_id, span_id, sampled, same_trace, attributes, events, own_trace, own_span = json.loads(text)
    carrier = Carrier(
        name=name,
        time_ns=time_ns,
        trace_id=trace_id,
        span_id=span_id,
        sampled=sampled,
        same_trace=same_trace,
        attributes=_attributes(attributes),
        events=tuple((event, _attributes(its)) for event, its in events),
    )
    return carrier, own_trace, own_span


def pack_resource(attributes: Mapping[str, Any]) -> str:
    """Write a resource down; equal ones alike."""
    return json.dumps(dict(attributes), sort_keys=True, separators=(",", ":"), default=str)


def unpack_resource(text: str) -> Attributes:
    """Read what ``pack_resource`` wrote."""
    return _attributes(json.loads(text))


def _attributes(read: dict[str, Any]) -> Attributes:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in read.items()}
