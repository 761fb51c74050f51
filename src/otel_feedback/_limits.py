"""Guests keep to the host's limits: attributes on a span that isn't ours, and JSON that fits without being cut."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from opentelemetry.trace import Span

MAX_ATTRIBUTES: Final = 32
"""Attributes that one span of the host gets from us at the most."""

MAX_JSON: Final = 8192
"""Characters of a JSON attribute, where the host sets no smaller limit."""


def raw_attributes(span: Any) -> Mapping[str, Any]:
    """Return a span's attributes as the plain dict below the SDK's wrappers, to be read only.

    Reading through ``span.attributes`` (a ``MappingProxyType`` over a Python-level mapping) costs several
    microseconds a span; where the SDK's inside has another shape the public way is taken.
    """
    inner = getattr(getattr(span, "_attributes", None), "_dict", None)
    if isinstance(inner, dict):
        return inner
    return dict(getattr(span, "attributes", None) or {})


def set_within_limits(span: Span, attributes: Mapping[str, Any]) -> None:
    """Set attributes on a span of the host, as many as it has room for, the first ones first.

    The SDK makes room by dropping a span's *oldest* attribute, so what doesn't fit must not be set at all. Nothing is
    set on a span that has ended (the SDK would log a warning for each).
    """
    if not attributes or not span.is_recording():
        return
    bounded = getattr(span, "_attributes", None)
    limit = getattr(bounded, "maxlen", None)
    if limit is not None and bounded is not None:
        present = raw_attributes(span)
        room = limit - len(present)
        if room < len(attributes):
            attributes = _first_fitting(attributes, present, room)
            if not attributes:
                return
    span.set_attributes(attributes)


def _first_fitting(attributes: Mapping[str, Any], present: Mapping[str, Any], room: int) -> dict[str, Any]:
    fitting = {}
    for name, value in attributes.items():
        if name not in present:
            if room <= 0:
                continue
            room -= 1
        fitting[name] = value
    return fitting


def json_room(span: Any) -> int:
    """Return how many characters a JSON attribute of this span may have."""
    limit = getattr(getattr(span, "_attributes", None), "max_value_len", None)
    return MAX_JSON if limit is None else min(int(limit), MAX_JSON)


def json_array(entries: Sequence[Mapping[str, Any]], room: int) -> str | None:
    """Write a JSON array of at most ``room`` characters; what doesn't fit is dropped from its end, never cut.

    Returns:
        The array, or None where not even the first entry fits.
    """
    text = _dump(entries)
    if len(text) <= room:
        return text
    kept: list[Mapping[str, Any]] = []
    length = 2  # the brackets
    for entry in entries:
        length += len(_dump(entry)) + (1 if kept else 0)
        if length > room:
            break
        kept.append(entry)
    return _dump(kept) if kept else None


# Made once: ``json.dumps`` with these arguments makes a new encoder at each call.
_dump: Final = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
