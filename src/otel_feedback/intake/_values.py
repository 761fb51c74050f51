"""OTLP's values as Python's, cleaned of what a database can't hold."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_feedback._limits import MAX_FACT, clean_text

MIN_NS: Final = 946_684_800_000_000_000
"""2000-01-01: an earlier time is no clock's."""

AHEAD_NS: Final = 86_400_000_000_000
"""A day: how far the clock of a sender may be ahead."""

_DEEPEST: Final = 64
"""Values within values: far below what Python's recursion takes."""


def value_of(value: AnyValue, depth: int = 0) -> Any:
    """Return a value as Python's own; ``None`` for an empty one and for what is nested too deeply."""
    text = value.string_value
    if text:
        return text
    read = _READ.get(value.WhichOneof("value") or "")
    return read(value, depth + 1) if read is not None and depth < _DEEPEST else None


_READ: Final[Mapping[str, Callable[[AnyValue, int], Any]]] = {
    "string_value": lambda value, _: value.string_value,
    "bool_value": lambda value, _: value.bool_value,
    "int_value": lambda value, _: value.int_value,
    "double_value": lambda value, _: value.double_value,
    "bytes_value": lambda value, _: value.bytes_value,
    "array_value": lambda value, depth: [value_of(item, depth) for item in value.array_value.values],
    "kvlist_value": lambda value, depth: {item.key: value_of(item.value, depth) for item in value.kvlist_value.values},
}


def values_of(attributes: Iterable[KeyValue]) -> dict[str, Any]:
    """Return attributes as a dictionary; of several with one key the last counts."""
    return {item.key: value_of(item.value) for item in attributes}


def clean(text: str) -> str:
    """Put U+FFFD in place of what a database's text can't hold: NUL, and lone surrogates, which JSON can spell."""
    if "\0" in text:
        text = text.replace("\0", "\ufffd")
    return text if text.isascii() else clean_text(text)


def fact(attributes: Mapping[str, Any], name: str) -> str | None:
    """Return a short text among attributes; ``None`` where it isn't one."""
    value = attributes.get(name)
    if type(value) is not str or not 0 < len(value) <= MAX_FACT:
        return None
    return value if value.isascii() and "\0" not in value else clean(value)


def number(value: Any) -> float | None:
    """Return a finite number; ``None`` where it isn't one."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    return None


def plausible(time_ns: int, received_ns: int) -> int:
    """Return a time, or the time of receipt where no clock can have shown it."""
    return time_ns if MIN_NS <= time_ns <= received_ns + AHEAD_NS else received_ns


def started_of(span: Span, received_ns: int) -> int:
    """Return when a span started, as ``times_of`` does."""
    started = span.start_time_unix_nano
    return started if MIN_NS <= started <= received_ns + AHEAD_NS else received_ns


def times_of(span: Span, received_ns: int) -> tuple[int, int]:
    """Return start and duration of a span in nanoseconds, such as a clock can have shown; none is negative."""
    started, ended = span.start_time_unix_nano, span.end_time_unix_nano
    latest = received_ns + AHEAD_NS
    if not MIN_NS <= started <= latest:
        return received_ns, 0
    return started, ended - started if started <= ended <= latest else 0
