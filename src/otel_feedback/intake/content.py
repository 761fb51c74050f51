"""What people wrote or read leaves a span before anything of it is kept, where content isn't kept."""

import json
from typing import Any, Final

from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_feedback import _dialects
from otel_feedback.intake._names import CONTENT, DOCUMENTS, is_content_event, kinds_of
from otel_feedback.intake._values import value_of

_to_json: Final = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def strip_content(span: Span) -> bool:
    """Drop from a span what ``semconv.CONTENT_ATTRIBUTES`` and ``CONTENT_EVENTS`` name.

    Documents lose their texts and keep ids and scores.

    Returns:
        Whether anything was dropped.
    """
    changed = strip_attributes(span.attributes)
    if span.events:
        events = span.events
        for index in range(len(events) - 1, -1, -1):
            if is_content_event(events[index].name):
                del events[index]
                changed = True
            else:
                changed |= strip_attributes(events[index].attributes)
    for link in span.links:
        changed |= strip_attributes(link.attributes)
    return changed


def strip_attributes(attributes: Any) -> bool:
    """Drop content from attributes of a message, and return whether there was any.

    Args:
        attributes: The repeated field.
    """
    changed = False
    for index, kind in reversed(kinds_of([item.key for item in attributes])):
        if kind & CONTENT:
            del attributes[index]
            changed = True
        elif kind & DOCUMENTS:
            _drop_texts(attributes[index])
            changed = True
    return changed


def _drop_texts(item: KeyValue) -> None:
    documents = _dialects.documents_of({item.key: value_of(item.value)})
    bare = [{key: value for key, value in document.items() if key in ("id", "score")} for document in documents]
    item.value.string_value = _to_json(bare)
