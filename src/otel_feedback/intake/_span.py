"""One span as its readers take it: what the walk over a request has already found out."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_feedback import semconv
from otel_feedback.intake._values import fact

NO_SPAN: Final = bytes(8)
NO_TRACE: Final = bytes(16)


class Home(NamedTuple):
    """Whose spans these are, by their resource; ``unknown`` where it doesn't say."""

    service: str = semconv.UNKNOWN
    namespace: str = semconv.UNKNOWN
    environment: str = semconv.UNKNOWN


NOWHERE: Final = Home()


class ReadSpan(NamedTuple):
    """A span that tells something."""

    trace_id: str
    span_id: str
    parent_id: str
    started_ns: int
    duration_ns: int
    span: Span
    attributes: Mapping[str, Any]
    """As Python values: those that tell something, or all."""
    events: Sequence[tuple[str, int, Mapping[str, Any]]]
    """Name, time and attributes of those that tell something."""
    home: Home

    @property
    def ended_ns(self) -> int:
        """When it ended."""
        return self.started_ns + self.duration_ns

    def id_of(self, place: str) -> str:
        """Make the id of a judgement that brings none: the same whenever its span is sent again.

        Args:
            place: Where on the span it stands.
        """
        return hashlib.sha256(f"{self.trace_id}{self.span_id}{place}".encode()).hexdigest()[:32]


def home_of(resource: Mapping[str, Any]) -> Home:
    """Read whose spans these are from the attributes of a resource."""
    unknown = semconv.UNKNOWN
    environment = fact(resource, "deployment.environment.name") or fact(resource, "deployment.environment")
    service, namespace = fact(resource, "service.name"), fact(resource, "service.namespace")
    return Home(service or unknown, namespace or unknown, environment or unknown)


def first_link(span: Span) -> tuple[str, str] | None:
    """Return trace and span id of a span's first link with valid ids."""
    for link in span.links:
        if valid(link.trace_id, link.span_id):
            return link.trace_id.hex(), link.span_id.hex()
    return None


def parent_of(parent_id: bytes) -> str:
    """Return the id of a span's parent; empty at a root, which is a span whose parent's id is no id."""
    return parent_id.hex() if len(parent_id) == len(NO_SPAN) and parent_id != NO_SPAN else ""


def valid(trace_id: bytes, span_id: bytes) -> bool:
    """Say whether ids are ids: of the right length, and not all zero."""
    return len(trace_id) == 16 and len(span_id) == 8 and trace_id != NO_TRACE and span_id != NO_SPAN  # noqa: PLR2004
