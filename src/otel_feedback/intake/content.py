"""What people wrote or read leaves a span before anything of it is kept, where content isn't kept."""

import json
from typing import Any, Final

from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_feedback import _dialects
from otel_feedback.intake._names import CONTENT, DOCUMENTS, is_content_event, kind_of
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
        kept = [event for event in span.events if not is_content_event(event.name)]
        if len(kept) != len(span.events):
            _replace(span.events, kept)
            changed = True
        for event in span.events:
            changed |= strip_attributes(event.attributes)
    for link in span.links:
        changed |= strip_attributes(link.attributes)
    return changed


def strip_attributes(attributes: Any) -> bool:
    """Drop content from attributes of a message, and return whether there was any.

    Args:
        attributes: The repeated field.
    """
    kinds = [kind_of(item.key) for item in attributes]
    if not any(kind & (CONTENT | DOCUMENTS) for kind in kinds):
        return False
    kept = []
    for item, kind in zip(attributes, kinds, strict=True):
        if kind & CONTENT:
            continue
        if kind & DOCUMENTS:
            item = _without_texts(item)  # noqa: PLW2901 - the same attribute, less
        kept.append(item)
    _replace(attributes, kept)
    return True


def _replace(field: Any, kept: list[Any]) -> None:
    # Copied first: what a cleared field held is gone.
    copies = [type(item).FromString(item.SerializeToString()) for item in kept]
    del field[:]
    field.extend(copies)


def _without_texts(item: KeyValue) -> KeyValue:
    documents = _dialects.documents_of({item.key: value_of(item.value)})
    bare = [{key: value for key, value in document.items() if key in ("id", "score")} for document in documents]
    less = KeyValue(key=item.key)
    less.value.string_value = _to_json(bare)
    return less
