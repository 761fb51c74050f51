"""Rows into tables: one statement per table, one list parameter per column, which is what DuckDB takes fastest."""

from functools import cache
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import duckdb

from otel_feedback.intake.rows import (
    DocumentRow,
    EvaluationRow,
    FeedbackRow,
    InteractionRow,
    SpanRow,
    TextRow,
    WordsRow,
)

TABLES: Final[dict[str, tuple[str, ...]]] = {
    "interactions": InteractionRow._fields,
    "documents": DocumentRow._fields,
    "feedback": (*FeedbackRow._fields, "given_at", "answered_at", "standing", "joined"),
    "evaluations": EvaluationRow._fields,
    "spans": (*SpanRow._fields, "chunk"),
    "chunks": ("chunk", "received_ns", "data"),
    "texts": TextRow._fields,
    "words": WordsRow._fields,
}
"""Columns in the tables' order; ``started_ns`` and ``received_ns`` are kept as ``started_at`` and ``received_at``."""

_TYPES: Final = {
    "duration_ns": "BIGINT",
    "at_ns": "BIGINT",
    "rank": "INTEGER",
    "chunk": "BIGINT",
    "data": "BLOB",
    "score": "DOUBLE",
    "confidence": "DOUBLE",
    "reasons": "VARCHAR[]",
    **dict.fromkeys(("flagged", "complete", "target_sampled", "first", "standing", "joined"), "BOOLEAN"),
}
_NANOSECONDS: Final = ("started_ns", "received_ns")
_MICROSECONDS: Final = ("given_at", "answered_at")


def insert(
    connection: "duckdb.DuckDBPyConnection", database: str, table: str, columns: "Iterable[Sequence[Any]]"
) -> None:
    """Add rows, given as columns in the order of :data:`TABLES`; times in ``..._at`` are microseconds."""
    connection.execute(_insert_text(database, table), list(columns))


@cache
def _insert_text(database: str, table: str) -> str:
    values = ", ".join(_value(name, f"${index}") for index, name in enumerate(TABLES[table], start=1))
    return f'INSERT INTO "{database}".{table} SELECT {values}'


def _value(name: str, parameter: str) -> str:
    if name in _NANOSECONDS:
        return f"make_timestamp(unnest({parameter}::BIGINT[]) // 1000)"
    if name in _MICROSECONDS:
        return f"make_timestamp(unnest({parameter}::BIGINT[]))"
    return f"unnest({parameter}::{_TYPES.get(name, 'VARCHAR')}[])"


@cache
def selected(table: str) -> str:
    """The columns of a table as a select list that gives its NamedTuple's fields back, times in nanoseconds."""
    return ", ".join(
        f"epoch_us({table}.{name[:-3]}_at) * 1000"
        if name in _NANOSECONDS
        else f"epoch_us({table}.{name})"
        if name in _MICROSECONDS
        else f"{table}.{name}"
        for name in TABLES[table]
    )
