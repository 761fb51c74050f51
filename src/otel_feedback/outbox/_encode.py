"""Carriers' spans in OTLP, as the SDK's encoder writes them, in a sixth of its time.

Sending takes turns with taking in, and the encoder was the half of it: it makes each value a message of its own and
copies it into the next, where this fills the request in its place. A test holds both to the same bytes.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.trace import ReadableSpan

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource

_LOCAL: Final = 0x100
_REMOTE: Final = 0x300
"""Flags of OTLP that say whether a parent, or a link's span, is another process's."""


def encode(spans: Sequence[ReadableSpan]) -> ExportTraceServiceRequest:
    """Write carriers' spans as one request; those of one resource, one after the other, share it.

    Args:
        spans: From ``_spans``: of kind INTERNAL, of one scope, with links to interactions.
    """
    request = ExportTraceServiceRequest()
    resource: Resource | None = None
    for span in spans:
        if resource is None or span.resource is not resource:
            resource = span.resource
            group = request.resource_spans.add()
            group.resource.SetInParent()
            fill(group.resource.attributes, resource.attributes)
            scope = group.scope_spans.add()
            if span.instrumentation_scope is not None:
                scope.scope.name = span.instrumentation_scope.name
                scope.scope.version = span.instrumentation_scope.version or ""
                scope.schema_url = span.instrumentation_scope.schema_url or ""
        _fill_span(scope.spans.add(), span)
    return request


def _fill_span(message: Span, span: ReadableSpan) -> None:
    context, parent = span.get_span_context(), span.parent
    assert context is not None  # noqa: S101 - _spans gives each one
    message.trace_id = context.trace_id.to_bytes(16, "big")
    message.span_id = context.span_id.to_bytes(8, "big")
    message.flags = _LOCAL
    if parent is not None:
        message.parent_span_id = parent.span_id.to_bytes(8, "big")
        message.flags = _REMOTE if parent.is_remote else _LOCAL
    message.name = span.name
    message.kind = Span.SPAN_KIND_INTERNAL
    message.start_time_unix_nano = span.start_time or 0
    message.end_time_unix_nano = span.end_time or 0
    message.status.SetInParent()
    fill(message.attributes, span.attributes or {})
    for event in span.events:
        written = message.events.add()
        written.name = event.name
        written.time_unix_nano = event.timestamp
        fill(written.attributes, event.attributes or {})
    for link in span.links:
        target = message.links.add()
        target.trace_id = link.context.trace_id.to_bytes(16, "big")
        target.span_id = link.context.span_id.to_bytes(8, "big")
        target.flags = _REMOTE if link.context.is_remote else _LOCAL


def fill(messages: Any, attributes: Mapping[str, Any]) -> None:
    """Add attributes to a message's: texts, numbers, truth values and tuples of these."""
    for name, value in attributes.items():
        message = messages.add()
        message.key = name
        _set(message.value, value)


def _set(message: AnyValue, value: Any) -> None:
    if isinstance(value, str):
        message.string_value = value
    elif isinstance(value, bool):
        message.bool_value = value
    elif isinstance(value, int):
        message.int_value = value
    elif isinstance(value, float):
        message.double_value = value
    else:
        message.array_value.SetInParent()
        _fill_array(message.array_value.values, value)


def _fill_array(messages: Any, values: Iterable[Any]) -> None:
    for value in values:
        _set(messages.add(), value)
