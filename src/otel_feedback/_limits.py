"""Guests keep to the host's limits: attributes on a span that isn't ours, and JSON that fits without being cut.

Texts keep to ours: they are cut where it harms least.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from opentelemetry.trace import Span

MAX_ATTRIBUTES: Final = 32
"""Attributes that one span of the host gets from us at the most."""

MAX_FACT: Final = 1024
"""Characters of a fact; a longer one is left out. Who asks may choose some, such as a conversation's id: they are kept
for thousands of answers, and go with the votes of others in one batch, which a receiver takes or refuses as a whole."""

MAX_JSON: Final = 8192
"""Characters of a JSON array of ours, where the host sets no smaller limit."""

_GAP: Final = " … "
"""What stands where the middle of a text was."""

_PARAGRAPH: Final = re.compile(rf"\n[^\S\n]*\n\s*|{_GAP}")
"""What stands before a paragraph; in a text that was cut before, what was cut."""

_BEGINNING: Final = 5
"""Which part of a text that is cut is its beginning: a fifth."""

_TELLING: Final = 20
"""Characters from which on a last paragraph says something: ``Answer:`` doesn't."""


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


def value_limit(span: Any) -> int | None:
    """Return how many characters the host lets an attribute of this span have; None for any number."""
    limit = getattr(getattr(span, "_attributes", None), "max_value_len", None)
    return limit if isinstance(limit, int) else None


def set_json(span: Span, name: str, text: str) -> None:
    """Set an attribute that holds JSON, unless the host's limit would cut it."""
    limit = value_limit(span)
    if limit is None or len(text) <= limit:
        set_within_limits(span, {name: text})


def json_room(span: Any) -> int:
    """Return how many characters a JSON array of ours may have on this span."""
    limit = value_limit(span)
    return MAX_JSON if limit is None else min(limit, MAX_JSON)


def json_array(entries: Sequence[Mapping[str, Any]], room: int, *, optional: str) -> str | None:
    """Write a JSON array of at most ``room`` characters; what doesn't fit is left out, never cut.

    The ``optional`` key of entries is left out before an entry is, and entries are left out from the end.

    Returns:
        The array, or None where not even the first entry fits.
    """
    text = _dump(entries)
    if len(text) <= room:
        return text
    kept: list[Mapping[str, Any]] = []
    free = room - 1  # of the brackets; every entry but the first has a comma, which the other one stands for
    for entry in entries:
        least: Mapping[str, Any] = {key: value for key, value in entry.items() if key != optional}
        free -= len(_dump(least)) + 1
        if free < 0:
            break
        kept.append(least)
    free = room - len(_dump(kept))
    for index, least in enumerate(kept):
        more = len(_dump(entries[index])) - len(_dump(least))
        if more <= free:
            kept[index] = entries[index]
            free -= more
    return _dump(kept) if kept else None


def clean_text(text: str) -> str:
    """Put U+FFFD in place of each lone surrogate, which UTF-8 cannot hold.

    Browsers cut texts in the middle of an emoji: the rest of what a user wrote is worth keeping, and one such
    character would make an exporter drop a whole batch.
    """
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def cut_evenly(text: str, longest: int) -> str:
    """Cut a text that is kept to ``longest`` characters: as much of its beginning as of its end stays."""
    if len(text) <= longest:
        return text
    end = longest // 2
    return f"{text[: longest - end - len(_GAP)].rstrip()}{_GAP}{text[len(text) - end :].lstrip()}"


def cut_middle(text: str, longest: int) -> str:
    """Cut a text that is shown to at most ``longest`` characters, so that what was asked is seen.

    A prompt has it at its end, after passages, or at its beginning, before them; how it begins is often the same for
    all. So a fifth is the beginning's, the rest the end's: its last paragraph where that fits, else lines, else words.
    """
    if len(text) <= longest:
        return text
    text = text.strip()
    begin = longest // _BEGINNING
    return text if len(text) <= longest else f"{_first(text, begin)}{_GAP}{_last(text, longest - begin - len(_GAP))}"


def cut_repeated(text: str, elsewhere: Iterable[str], longest: int) -> str:
    """Cut a text by :func:`cut_middle` where the whole of it stands elsewhere, too; else it stays whole."""
    return cut_middle(text, longest) if len(text) > longest and text in elsewhere else text


def _first(text: str, room: int) -> str:
    """Return whole words that a text begins with; a long one is cut."""
    words = re.match(r"(?s).*(?=\s)", text[: room + 1])
    return words[0].rstrip() if words and len(words[0]) > room // 2 else text[:room].rstrip()


def _last(text: str, room: int) -> str:
    """Return what a text ends with: a paragraph, lines, or whole words."""
    end = text[len(text) - room - 1 :]  # with what stands before, which may be the blank
    for start in (*reversed([gap.end() for gap in _PARAGRAPH.finditer(end)]), end.find("\n") + 1):
        if start and len(end) - start >= _TELLING:
            return end[start:].lstrip()
    blank = re.search(r"\s+", end[: room // 2])
    return end[blank.end() if blank else 1 :].lstrip()


# Made once: ``json.dumps`` with these arguments makes a new encoder at each call.
_dump: Final = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
