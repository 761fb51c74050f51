"""A stored carrier as the span that it would have been, had it been exported at once."""

from collections.abc import Sequence
from typing import Final

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otel_feedback import semconv
from otel_feedback._carrier import Carrier
from otel_feedback._version import VERSION
from otel_feedback.outbox._rows import Row

_SCOPE: Final = InstrumentationScope(semconv.SCOPE, VERSION, semconv.SCHEMA_URL)


def spans_of(rows: Sequence[Row]) -> list[ReadableSpan]:
    """Return the spans of rows, in their order; those of one resource share it, as the encoder expects."""
    resources: list[Resource] = []
    spans = []
    for row in rows:
        resource = next((one for one in resources if one.attributes == row.resource), None)
        if resource is None:
            resource = Resource(row.resource)
            resources.append(resource)
        spans.append(span_of(row.carrier, (row.trace_id, row.span_id), resource))
    return spans


def span_of(carrier: Carrier, ids: tuple[int, int], resource: Resource) -> ReadableSpan:
    """Return the span of one carrier; ``ids`` are its own trace and span id."""
    target = _target(carrier)
    return ReadableSpan(
        name=carrier.name,
        context=trace.SpanContext(*ids, is_remote=False, trace_flags=trace.TraceFlags(trace.TraceFlags.SAMPLED)),
        parent=target if carrier.same_trace else None,
        resource=resource,
        attributes=carrier.attributes,
        events=[Event(name, attributes, carrier.time_ns) for name, attributes in carrier.events],
        links=[trace.Link(target, {})],
        kind=trace.SpanKind.INTERNAL,
        start_time=carrier.time_ns,
        end_time=carrier.end_ns,
        instrumentation_scope=_SCOPE,
    )


def _target(carrier: Carrier) -> trace.SpanContext:
    sampled = trace.TraceFlags.SAMPLED if carrier.sampled else trace.TraceFlags.DEFAULT
    return trace.SpanContext(carrier.trace_id, carrier.span_id, is_remote=True, trace_flags=trace.TraceFlags(sampled))
