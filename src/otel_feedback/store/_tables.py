"""Rows into tables: one statement per table, all rows in one text, which is what DuckDB takes fastest.

Measured per value: an element of a list parameter 0.5 to 0.7 microseconds (and 600 with DuckDB 1.5 where numpy is not
installed), a field of a row of one long text that DuckDB splits 0.2, cast included; a value that all rows share
nothing. A text for each column takes half as long again, and twice as long where the texts are long.
"""

import itertools
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
    from collections.abc import Iterable, Mapping, Sequence

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
"""How a column is passed: one value for all rows, fields of the rows' text, a list where a value holds what separates
them."""

_ROW: Final = "\x1c"
_FIELD: Final = "\x1f"
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
    values = dict(zip(TABLES[table], columns, strict=True))
    same = {name for name, column in values.items() if _is_same(name, column)}
    fields = {name: _fields(name, column) for name, column in values.items() if name not in same}
    rows = _joined(fields)
    if not _splits(rows, fields, values):  # seldom: look which
        fields = {name: column for name, column in fields.items() if _is_splittable(name, column, values[name])}
        rows = _joined(fields)
    forms: list[Form] = ["same" if name in same else "text" if name in fields else "list" for name in values]
    others = [_parameter(column, form) for column, form in zip(values.values(), forms, strict=True) if form != "text"]
    connection.execute(_insert_text(database, table, tuple(forms)), [rows, *others])


def _is_same(name: str, column: "Sequence[Any]") -> bool:
    return name != "trace_id" and column.count(column[0]) == len(column)  # one column makes the number of rows


def _fields(name: str, column: "Sequence[Any]") -> "Sequence[str]":
    """A column's values as texts."""
    kind = _TYPES.get(name, "VARCHAR")
    if name in _NULLABLE:
        return [_NULL if value is None else str(value) for value in column]
    if kind == "VARCHAR[]":
        return [_WITHIN.join(value) if value else _NULL for value in column]
    return column if kind == "VARCHAR" else list(map(str, column))


def _joined(fields: "Mapping[str, Sequence[str]]") -> str:
    return _ROW.join(map(_FIELD.join, zip(*fields.values(), strict=True)))


def _splits(rows: str, fields: "Mapping[str, Sequence[str]]", values: "Mapping[str, Sequence[Any]]") -> bool:
    """Whether a text surely splits into what it was joined of: what separates is nowhere else in it."""
    number = len(values["trace_id"])
    nulls = sum(values[name].count(None) for name in fields if name in _NULLABLE)
    lists = [values[name] for name in fields if _TYPES.get(name) == "VARCHAR[]"]
    nulls += sum(not value for column in lists for value in column)
    within = sum(max(0, len(value) - 1) for column in lists for value in column)
    return (rows.count(_ROW), rows.count(_FIELD)) == (number - 1, number * (len(fields) - 1)) and (
        rows.count(_NULL),
        rows.count(_WITHIN) if lists else 0,
    ) == (nulls, within)


def _is_splittable(name: str, fields: "Sequence[str]", values: "Sequence[Any]") -> bool:
    parts = [text for value in values for text in value] if _TYPES.get(name) == "VARCHAR[]" else fields
    special = _ROW + _FIELD + (_WITHIN if parts is not fields else "")
    nulls = sum(not value if parts is not fields else value is None for value in values)
    return not any(one in text for text in parts for one in special) and fields.count(_NULL) == nulls


def _parameter(column: "Sequence[Any]", form: "Form") -> Any:
    if form == "list":
        return list(column)
    return list(column[0]) if isinstance(column[0], tuple) else column[0]


def ids(values: "Iterable[str | int]") -> str:
    """Ids or numbers as one parameter, for ``unnest(string_split($1, ','))``."""
    return ",".join(map(str, values))


@lru_cache(maxsize=512)
def _insert_text(database: str, table: str, forms: "tuple[Form, ...]") -> str:
    numbers = itertools.count(2)
    parts = itertools.count(1)
    rows = [f"string_split(unnest(string_split($1, chr({ord(_ROW)}))), chr({ord(_FIELD)})) AS r"]
    values = []
    for name, form in zip(TABLES[table], forms, strict=True):
        kind = _TYPES.get(name, "VARCHAR")
        if form == "text":
            value = _piece(name, kind, f"r[{next(parts)}]")
        else:
            value = f"${next(numbers)}::{kind}"
            if form == "list":
                rows.append(f"unnest({value}[]) AS {name}")
                value = name
        values.append(_of_column(name, value))
    return f'INSERT INTO "{database}".{table} SELECT {", ".join(values)} FROM (SELECT {", ".join(rows)})'  # noqa: S608


def _of_column(name: str, value: str) -> str:
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
