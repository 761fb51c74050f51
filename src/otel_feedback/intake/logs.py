"""The few log records that an answer's story needs: messages that instrumentations log, and judgements.

All other records are accepted and dropped: this process keeps no logs. Where several records of one request tell of
one span, they become one row.
"""

from typing import Any, Final

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_feedback import semconv
from otel_feedback.intake import _foreign
from otel_feedback.intake._names import is_content_event
from otel_feedback.intake._span import NOWHERE, ReadSpan, valid
from otel_feedback.intake._values import clean, plausible, value_of, values_of
from otel_feedback.intake.feedback import add_judgements
from otel_feedback.intake.rows import Batch, TextRow
from otel_feedback.intake.spans import MAX_ATTRIBUTES, MAX_NAME, MAX_SPAN
from otel_feedback.intake.texts import Events, Texts, shorten, texts_of, texts_of_details

_EVENT_NAME: Final = "event.name"

_Key = tuple[str, str]


def read_logs(request: ExportLogsServiceRequest, *, received_ns: int, keep_content: bool = True) -> Batch:
    """Turn a request into a batch: ``texts`` of GenAI events and judgements of evaluation events.

    Args:
        request: As ``decode_logs`` gives it.
        received_ns: When it came, in nanoseconds since 1970.
        keep_content: Whether what people wrote and read is kept.
    """
    batch = Batch(received_ns=received_ns, size=request.ByteSize())
    told: dict[_Key, tuple[int, list[tuple[str, dict[str, Any]]]]] = {}
    for group in request.resource_logs:
        for scoped in group.scope_logs:
            if scoped.scope.name:
                batch.scopes.add(clean(scoped.scope.name[:MAX_NAME]))
            for record in scoped.log_records:
                name = _name_of(record)
                content = keep_content and is_content_event(name)
                if not (content or name == semconv.EVENT_EVALUATION_RESULT) or not _usable(record):
                    continue
                at_ns = plausible(record.time_unix_nano or record.observed_time_unix_nano, received_ns)
                if content:
                    key = (record.trace_id.hex(), record.span_id.hex())
                    told.setdefault(key, (at_ns, []))[1].append((name, _values(record)))
                else:
                    _judge(batch, record, at_ns, keep_content=keep_content)
    for (trace_id, span_id), (at_ns, events) in told.items():
        texts = _texts(events)
        if not texts.empty:
            words = (shorten(texts.question), shorten(texts.answer), shorten(texts.system))
            batch.texts.append(TextRow(trace_id, span_id, "", at_ns, *words, "log"))
            batch.telling.add(trace_id)
    return batch


def _name_of(record: LogRecord) -> str:
    """Return what event a record is: by its field, or by the attribute of earlier SDKs."""
    if record.event_name:
        return record.event_name
    for item in record.attributes:
        if item.key == _EVENT_NAME:
            return item.value.string_value
    return ""


def _usable(record: LogRecord) -> bool:
    return (
        valid(record.trace_id, record.span_id)
        and len(record.attributes) <= MAX_ATTRIBUTES
        and record.ByteSize() <= MAX_SPAN
    )


def _values(record: LogRecord) -> dict[str, Any]:
    """Return attributes and body of an event as one mapping: conventions moved what it says from one to the other."""
    body = value_of(record.body)
    inside = body if isinstance(body, dict) else {"content": body} if isinstance(body, str) else {}
    return {**values_of(record.attributes), **inside}


def _texts(events: Events) -> Texts:
    """Read the exchange that several records tell of: the details of a call have all of it, else its messages."""
    for name, values in events:
        if name == _foreign.EVENT_OPERATION_DETAILS:
            texts = texts_of_details(values)
            if not texts.empty:
                return texts
    return texts_of({}, events)


def _judge(batch: Batch, record: LogRecord, at_ns: int, *, keep_content: bool) -> None:
    """Read a judgement that was logged: its record belongs to the span that is judged."""
    seen = ReadSpan(
        record.trace_id.hex(),
        record.span_id.hex(),
        "",
        at_ns,
        0,
        Span(),
        {},
        [(semconv.EVENT_EVALUATION_RESULT, at_ns, _values(record))],
        NOWHERE,
    )
    add_judgements(batch, seen, keep_content=keep_content)
