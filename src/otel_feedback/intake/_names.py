"""What the name of an attribute promises: facts, words of people, or nothing that this process looks at.

Most attributes of most spans are dull. A name is looked at once and remembered, so that a span whose names are all
known to be dull is done with after one comparison of sets.
"""

import re
from typing import Final

from otel_feedback import _dialects, semconv
from otel_feedback.intake._foreign import (
    FOREIGN_CONTENT,
    FOREIGN_NAMES,
    FOREIGN_PREFIXES,
    JUDGING_NAMES,
    JUDGING_PREFIXES,
    TEXT_NAMES,
    TEXT_PREFIXES,
)

TELLS: Final = 1
"""Facts of an answer, or documents."""
TEXT: Final = 2
"""A question or an answer."""
CONTENT: Final = 4
"""What people wrote or read: dropped where content isn't kept."""
DOCUMENTS: Final = 8
"""Documents, whose texts are dropped where content isn't kept."""
JUDGES: Final = 16
"""A judgement, ours or another producer's."""
READ: Final = TELLS | TEXT | JUDGES
"""What the walk reads the value of."""

_REMEMBERED: Final = 20_000
_LONGEST: Final = 256

_OWN: Final = frozenset(
    value for name, value in vars(semconv).items() if name.isupper() and isinstance(value, str) and "." in value
)
_TELLING: Final = _OWN | FOREIGN_NAMES
_CONTENT: Final = re.compile("|".join(f"(?:{name})" for name in (*semconv.CONTENT_ATTRIBUTES, *FOREIGN_CONTENT)))
_CONTENT_EVENT: Final = re.compile("|".join(f"(?:{name})" for name in semconv.CONTENT_EVENTS))
_INDEXED_TEXT: Final = re.compile(f"(?:{'|'.join(map(re.escape, TEXT_PREFIXES))})[0-9]")
_WITH_DOCUMENTS: Final = frozenset((semconv.FEEDBACK_DOCUMENTS, semconv.GEN_AI_RETRIEVAL_DOCUMENTS))

_kinds: Final[dict[str, int]] = {}
_dull: Final[set[str]] = set()


def all_dull(names: list[str]) -> bool:
    """Say whether nothing here looks at attributes of these names."""
    return _dull.issuperset(names) or not any(map(kind_of, names))


def kinds_of(names: list[str]) -> list[tuple[int, int]]:
    """Return index and flags of the names that aren't dull."""
    return [(index, kind_of(name)) for index, name in enumerate(names) if name not in _dull]


def kind_of(name: str) -> int:
    """Return the flags of an attribute's name; 0 for a dull one."""
    kind = _kinds.get(name)
    if kind is None:
        kind = _look_at(name)
        if len(name) <= _LONGEST:
            _remember(name, kind)
    return kind


def is_content_event(name: str) -> bool:
    """Say whether a span event of this name holds nothing but content."""
    return name.startswith("gen_ai.") and _CONTENT_EVENT.fullmatch(name) is not None


def _look_at(name: str) -> int:
    kind = 0
    if name in _TELLING or name.startswith(FOREIGN_PREFIXES) or not _dialects.tells_nothing({name: None}):
        kind |= TELLS
    if name in TEXT_NAMES or _INDEXED_TEXT.match(name):
        kind |= TEXT
    if name in JUDGING_NAMES or name.startswith(JUDGING_PREFIXES):
        kind |= JUDGES
    if name in _WITH_DOCUMENTS:
        kind |= DOCUMENTS
    if _CONTENT.fullmatch(name):
        kind |= CONTENT
    return kind


def _remember(name: str, kind: int) -> None:
    if len(_kinds) >= _REMEMBERED:  # somebody puts ids into names; start anew rather than grow
        _kinds.clear()
        _dull.clear()
    _kinds[name] = kind
    if not kind:
        _dull.add(name)
