"""Rows into tables: one statement per table, one text per column, which is what DuckDB takes fastest.

Measured per value: an element of a list parameter 0.5 to 0.7 microseconds (and 600 with DuckDB 1.5 where numpy is not
installed), a piece of one long text that DuckDB splits 0.25, cast included; a value that all rows share nothing.
"""

from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Final, Literal

from otel_feedback.intake.rows import (
    DocumentRow,
    EvaluationRow,
    FeedbackRow,
    InteractionRow,
    TextRow,
    TraceRow,
    WordsRow,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import duckdb

TABLES: Final[dict[str, tuple[str, ...]]] = {
    "interactions": InteractionRow._fields,
    "documents": DocumentRow._fields,
    "feedback": (*FeedbackRow._fields, "given_at", "answered_at", "standing", "joined"),
    "evaluations": EvaluationRow._fields,
    "traces": (*TraceRow._fields, "chunk"),
    "texts": TextRow._fields,
    "words": WordsRow._fields,
}
"""Columns in the tables' order; ``started_ns`` is kept as ``started_at``."""

Form = Literal["same", "text", "list"]
"""How a column is passed: one value for all rows, one text of all, a list where a value holds what separates them."""

_BETWEEN: Final = "\x1f"
_NULL: Final = "\x1e"
_WITHIN: Final = "\x1d"

_TYPES: Final = {
    **dict.fromkeys(
        ("duration_ns", "at_ns", "chunk", "started_ns", "given_at", "answered_at", "first_at", "last_at"), "BIGINT"
    ),
    **dict.fromkeys(("score", "confidence"), "DOUBLE"),
    **dict.fromkeys(("flagged", "complete", "target_sampled", "first", "standing", "joined"), "BOOLEAN"),
    **dict.fromkeys(("rank", "spans"), "INTEGER"),
    "reasons": "VARCHAR[]",
}
_NULLABLE: Final = frozenset(
    (
        *("prompt_fingerprint", "provider", "response_id", "conversation_id", "user_hash", "error"),
        *("previous_sentiment", "revises", "score", "label", "confidence", "target_sampled", "first"),
        *("question", "answer", "system", "comment", "original", "corrected"),
    )
)


def insert(
    connection: "duckdb.DuckDBPyConnection", database: str, table: str, columns: "Iterable[Sequence[Any]]"
) -> None:
    """Add rows, given as columns in the order of :data:`TABLES`; times in ``..._at`` are microseconds."""
    parameters: list[Any] = []
    forms = []
    for name, values in zip(TABLES[table], columns, strict=True):
        form, parameter = _passed(name, values)
        forms.append(form)
        parameters.append(parameter)
    connection.execute(_insert_text(database, table, tuple(forms)), parameters)


def _passed(name: str, values: "Sequence[Any]") -> "tuple[Form, Any]":
    first = values[0]
    if name != "trace_id" and values.count(first) == len(values):  # one column makes the number of rows
        return "same", list(first) if isinstance(first, tuple) else first
    packed = _packed(name, values)
    return ("list", list(values)) if packed is None else ("text", packed)


def ids(values: "Iterable[str | int]") -> str:
    """Ids or numbers as one parameter, for ``unnest(string_split($1, ','))``."""
    return ",".join(map(str, values))


def _packed(name: str, values: "Sequence[Any]") -> str | None:
    """A column as one text; ``None`` where a value holds what separates them, so that a list must do."""
    kind = _TYPES.get(name, "VARCHAR")
    nulls = 0
    if name in _NULLABLE:
        nulls = values.count(None)
        texts = [_NULL if value is None else str(value) for value in values]
    elif kind == "VARCHAR[]":
        nulls = sum(not value for value in values)
        if any(_WITHIN in text or text == _NULL for value in values for text in value):
            return None
        texts = [_WITHIN.join(value) if value else _NULL for value in values]
    elif kind == "VARCHAR":
        texts = values  # type: ignore[assignment]
    else:
        texts = list(map(str, values))
    packed = _BETWEEN.join(texts)
    alone = packed.count(_BETWEEN) == len(values) - 1
    return packed if alone and (not nulls or packed.count(_NULL) == nulls or kind == "VARCHAR[]") else None


@lru_cache(maxsize=512)
def _insert_text(database: str, table: str, forms: "tuple[Form, ...]") -> str:
    values = ", ".join(
        _value(name, f"${index}", form) for index, (name, form) in enumerate(zip(TABLES[table], forms, strict=True), 1)
    )
    return f'INSERT INTO "{database}".{table} SELECT {values}'


def _value(name: str, parameter: str, form: "Form") -> str:
    kind = _TYPES.get(name, "VARCHAR")
    if form == "text":
        value = _piece(name, kind, f"unnest(string_split({parameter}, chr(31)))")
    else:
        value = f"{parameter}::{kind}" if form == "same" else f"unnest({parameter}::{kind}[])"
    if name == "started_ns":
        return f"make_timestamp({value} // 1000)"
    if name == "members":
        return f"unhex({value})"
    return f"make_timestamp({value})" if name.endswith("_at") else value


def _piece(name: str, kind: str, value: str) -> str:
    if name in _NULLABLE:
        value = f"nullif({value}, chr(30))"
    if kind == "VARCHAR[]":
        return f"coalesce(string_split(nullif({value}, chr(30)), chr(29)), [])"
    return value if kind == "VARCHAR" else f"{value}::{kind}"


@cache
def selected(table: str) -> str:
    """The columns of a table as a select list that gives its NamedTuple's fields back, times in nanoseconds."""
    return ", ".join(_read(table, name) for name in TABLES[table])


def _read(table: str, name: str) -> str:
    if name == "started_ns":
        return f"epoch_us({table}.started_at) * 1000"
    return f"epoch_us({table}.{name})" if name.endswith("_at") else f"{table}.{name}"
