"""Judgements by models in the main table: each once."""

from typing import TYPE_CHECKING

from otel_feedback.store._tables import insert

if TYPE_CHECKING:
    from collections.abc import Iterable

    import duckdb

    from otel_feedback.intake.rows import EvaluationRow


def add_evaluations(connection: "duckdb.DuckDBPyConnection", rows: "Iterable[EvaluationRow]") -> None:
    """Put in what isn't there; the same id at another time is another judgement."""
    new = {(*row[:4], row.at_ns): row for row in sorted(rows, key=repr)}
    if not new:
        return
    columns = list(zip(*new, strict=True))
    known = connection.execute(
        """
        SELECT e.trace_id, e.span_id, e.name, e.evaluation_id, e.at_ns FROM store.evaluations e
        JOIN (SELECT unnest($1::VARCHAR[]) AS trace_id, unnest($2::VARCHAR[]) AS span_id, unnest($3::VARCHAR[]) AS name,
            unnest($4::VARCHAR[]) AS evaluation_id, unnest($5::BIGINT[]) AS at_ns) u
        USING (trace_id, span_id, name, evaluation_id, at_ns)
        WHERE e.at_ns BETWEEN $6 AND $7
        """,
        [*map(list, columns), min(columns[4]), max(columns[4])],
    ).fetchall()
    for key in known:
        new.pop(key, None)
    if new:
        insert(connection, "store", "evaluations", zip(*new.values(), strict=True))
