"""Requests as clients send them: spans by hand or of a real SDK, encoded by OpenTelemetry's own exporter."""

import json

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from otel_feedback.intake import members_of, read_logs, read_traces, unpack
from otel_feedback.testing import START

TRACE, SPAN, PARENT = "0" * 30 + "a1", "0" * 14 + "b2", "0" * 14 + "c3"
TARGET_TRACE, TARGET_SPAN = "0" * 30 + "d4", "0" * 14 + "e5"
STARTED = START * 10**9
SECOND = 10**9
RECEIVED = STARTED + 60 * SECOND
RAG = {"service.name": "rag", "service.namespace": "shop", "deployment.environment.name": "prod"}


def any_value(value, into=None):
    """A Python value in OTLP's form."""
    into = AnyValue() if into is None else into
    if isinstance(value, bool):
        into.bool_value = value
    elif isinstance(value, int):
        into.int_value = value
    elif isinstance(value, float):
        into.double_value = value
    elif isinstance(value, bytes):
        into.bytes_value = value
    elif isinstance(value, str):
        into.string_value = value
    elif isinstance(value, (list, tuple)):
        into.array_value.SetInParent()
        for item in value:
            any_value(item, into.array_value.values.add())
    elif isinstance(value, dict):
        into.kvlist_value.SetInParent()
        put(into.kvlist_value.values, value)
    return into


def put(field, attributes):
    """Add attributes to a repeated field."""
    for key, value in attributes.items():
        any_value(value, field.add(key=key).value)


def add_span(spans, attributes=None, *, name="work", events=(), links=(), **ids):
    """Add a span to a repeated field; ids are hex."""
    span = spans.add(
        trace_id=bytes.fromhex(ids.get("trace_id", TRACE)),
        span_id=bytes.fromhex(ids.get("span_id", SPAN)),
        parent_span_id=bytes.fromhex(ids.get("parent_id", "")),
        name=name,
        start_time_unix_nano=ids.get("start", STARTED),
        end_time_unix_nano=ids.get("end", STARTED + SECOND),
    )
    put(span.attributes, attributes or {})
    for event_name, values in events:
        put(span.events.add(name=event_name, time_unix_nano=STARTED + SECOND).attributes, values)
    for trace_id, span_id in links:
        span.links.add(trace_id=bytes.fromhex(trace_id), span_id=bytes.fromhex(span_id))
    return span


def request(*spans, resource=RAG, scope="scope"):
    """A request of spans, each the arguments of ``add_span`` as a dictionary."""
    made = ExportTraceServiceRequest()
    group = made.resource_spans.add()
    put(group.resource.attributes, resource)
    scoped = group.scope_spans.add()
    scoped.scope.name = scope
    for span in spans:
        add_span(scoped.spans, **span)
    return made


def read(*spans, keep_content=True, **options):
    """What spans become, each the arguments of ``add_span`` as a dictionary."""
    return read_traces(request(*spans, **options), received_ns=RECEIVED, keep_content=keep_content)


def read_sdk(spans, *, received_ns=RECEIVED, keep_content=True):
    """What spans of a real SDK become, as its exporter sends them."""
    raw = encode_spans(spans).SerializeToString()
    decoded = ExportTraceServiceRequest.FromString(raw)
    return read_traces(decoded, received_ns=received_ns, keep_content=keep_content, raw=raw)


def members(batch):
    """Trace, id and parent of a batch's spans and when they started, in microseconds, as the index has them."""
    return [(row.trace_id, *member) for row in batch.traces for member in members_of(bytes.fromhex(row.members))]


def kept_names(batch):
    """The names of a batch's raw spans; its index has as many."""
    names = [kept.span.name for kept in unpack(batch.chunk)]
    assert batch.spans == len(names)
    return names


def stored(*spans, **options):
    """The spans of a request as they come back from the store."""
    return list(unpack(read(*spans, **options).chunk))


def logs(*records):
    """A request of log records: (event name, attributes, body)."""
    made = ExportLogsServiceRequest()
    scoped = made.resource_logs.add().scope_logs.add()
    scoped.scope.name = "logs"
    for name, attributes, body in records:
        record = scoped.log_records.add(
            trace_id=bytes.fromhex(TRACE),
            span_id=bytes.fromhex(SPAN),
            event_name=name,
            time_unix_nano=STARTED,
        )
        put(record.attributes, attributes)
        any_value(body, record.body)
    return made


def read_records(*records, keep_content=True):
    """What log records become."""
    return read_logs(logs(*records), received_ns=RECEIVED, keep_content=keep_content)


def parts_of(text):
    """A message's parts, as the GenAI conventions have them."""
    return [{"type": "text", "content": text}]


def messages(*pairs):
    """Messages as JSON, as the GenAI conventions have them."""
    return json.dumps([{"role": role, "parts": parts_of(text)} for role, text in pairs])
