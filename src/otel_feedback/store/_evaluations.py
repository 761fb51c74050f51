"""Judgements by models in the main table: each once."""

from typing import TYPE_CHECKING

from otel_feedback.store._tables import ids, insert

if TYPE_CHECKING:
    from collections.abc import Iterable

    import duckdb

    from otel_feedback.intake.rows import EvaluationRow


def add_evaluations(connection: "duckdb.DuckDBPyConnection", rows: "Iterable[EvaluationRow]") -> None:
    """Put in what isn't there; the same id at another time is another judgement."""
    new = {(*row[:4], row.at_ns): row for row in sorted(rows, key=repr)}
    if not new:
        return
    known = connection.execute(
        """
        SELECT e.trace_id, e.span_id, e.name, e.evaluation_id, e.at_ns FROM store.evaluations e
        WHERE e.at_ns BETWEEN $1 AND $2 AND e.trace_id IN (SELECT unnest(string_split($3, ',')))
        """,
        [min(key[4] for key in new), max(key[4] for key in new), ids({key[0] for key in new})],
    ).fetchall()
    for key in known:
        new.pop(key, None)
    if new:
        insert(connection, "store", "evaluations", zip(*new.values(), strict=True))
