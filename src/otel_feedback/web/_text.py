"""Strangers' text in pages: escaped, and with what can't be seen or turns the direction made visible."""

import difflib
import json
import re
from collections.abc import Iterator
from typing import Any, Final

from markupsafe import Markup, escape

LONGEST: Final = 100_000
"""Characters of one text in a page; the API has the whole."""

LONGEST_NAME: Final = 200
"""Characters of a name: of a template, a model, a span, ..."""

LONGEST_PREVIEW: Final = 160
"""Characters of a question in a list, four lines of a phone: the API has three times as many, its own page all."""

LONGEST_REPEATED: Final = 600
"""Characters of a question on its own page where the prompt below has the whole."""

_LONGEST_DIFF: Final = 4_000
"""Words of both texts together that are compared; the time grows with the square."""

_HIDDEN: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f\ud800-\udfff]"
)
"""Controls, marks of direction, invisible ones, halves of pairs; not the joiners that Persian and emoji need."""


def show(text: object, longest: int = LONGEST) -> Markup:
    """Return text as HTML that shows every character and is nothing but text."""
    raw, rest = _cut(str(text), longest)
    parts = [escape(part) for part in _HIDDEN.split(raw)]
    signs = (Markup('<span class="hidden-char">{}</span>').format(_name(each)) for each in _HIDDEN.findall(raw))
    shown = Markup("").join(part + sign for part, sign in zip(parts, [*signs, Markup("")], strict=True))
    return shown + Markup('<span class="cut">{}</span>').format(rest) if rest else shown


def plain(text: object, longest: int = LONGEST_NAME) -> str:
    """Return text for where HTML has no elements: options, attributes, titles."""
    raw, rest = _cut(str(text), longest)
    return _HIDDEN.sub(lambda found: f"[{_name(found[0])}]", raw) + rest


def show_value(value: Any) -> Markup:
    """Return the value of an attribute as HTML: strings as they are, anything else as JSON."""
    return show(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def compare(original: str, corrected: str) -> Iterator[tuple[str, str]]:
    """Yield the words of both texts as ``(kept | deleted | inserted, text)``, in reading order."""
    before, after = (re.findall(r"\s+|\w+|[^\w\s]", text) for text in (original, corrected))
    if len(before) + len(after) > _LONGEST_DIFF:
        yield "deleted", original
        yield "inserted", corrected
        return
    for operation, a, b, c, d in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if operation == "equal":
            yield "kept", "".join(before[a:b])
            continue
        if a < b:
            yield "deleted", "".join(before[a:b])
        if c < d:
            yield "inserted", "".join(after[c:d])


def _cut(text: str, longest: int) -> tuple[str, str]:
    text = text.replace("\r\n", "\n")
    return (text, "") if len(text) <= longest else (text[:longest], f"… ({len(text):,} characters)")


def _name(character: str) -> str:
    return f"U+{ord(character):04X}"
