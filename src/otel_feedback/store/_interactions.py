"""Answers and their documents in the main tables: each once, whoever sends it how often."""

from itertools import chain
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from otel_feedback.intake.rows import UNKNOWN_FACTS, DocumentRow, InteractionRow
from otel_feedback.store._tables import ids, insert, selected
from otel_feedback.store._watch import Known

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    import duckdb

    from otel_feedback.intake.rows import Batch
    from otel_feedback.store._watch import Target

Answered = tuple[InteractionRow, tuple[DocumentRow, ...]]
"""An answer with its documents by rank."""

_HOUR_NS: Final = 3_600_000_000_000
_MOST_RANGES: Final = 8
_FOREVER_NS: Final = 2**63 - 1
_FACTS_AT: Final = InteractionRow._fields.index("service")
_FACTS_END: Final = InteractionRow._fields.index("query_type") + 1


def known_of(row: InteractionRow) -> Known:
    """What feedback takes from an answer."""
    return Known(row.started_ns // 1000, cast("tuple[str, ...]", row[_FACTS_AT:_FACTS_END]))


def gather(batches: "Iterable[Batch]") -> "dict[Target, Answered]":
    """The answers of some batches, each once."""
    found: dict[Target, Answered] = {}
    for batch in batches:
        documents: dict[Target, list[DocumentRow]] = {}
        for document in dict.fromkeys(batch.documents):  # a span may be in one request twice
            documents.setdefault(document[:2], []).append(document)
        for row in batch.interactions:
            answered = row, tuple(documents.get(row[:2], ()))
            known = found.setdefault(row[:2], answered)
            if known[0] != row and repr(answered) < repr(known):  # whichever came first must not matter
                found[row[:2]] = answered
    return found


def find(
    connection: "duckdb.DuckDBPyConnection", answers: "Collection[InteractionRow]", *, anytime: bool = False
) -> "dict[Target, tuple[int, bool]]":
    """Which of some answers are in the table.

    Args:
        connection: The writer's.
        answers: As they would be put there; their times tell where to look.
        anytime: Look at all times, since theirs say nothing.

    Returns:
        Number of the row and whether it is flagged, by trace and span.
    """
    found: dict[Target, tuple[int, bool]] = {}
    for low, high in [(0, _FOREVER_NS)] if anytime else _ranges(row.started_ns for row in answers):
        within = [row for row in answers if anytime or low <= row.started_ns <= high]
        rows = connection.execute(
            """
            SELECT i.trace_id, i.span_id, i.rowid, i.flagged FROM store.interactions i
            JOIN (SELECT unnest(string_split($1, ',')) AS trace_id, unnest(string_split($2, ',')) AS span_id) u
            ON i.trace_id = u.trace_id AND i.span_id = u.span_id
            WHERE i.started_at BETWEEN make_timestamp($3 // 1000) AND make_timestamp($4 // 1000)
            """,
            [ids(row[0] for row in within), ids(row[1] for row in within), low, high],
        ).fetchall()
        found.update({(trace, span): (number, flagged) for trace, span, number, flagged in rows})
    return found


def _ranges(times: "Iterable[int]") -> list[tuple[int, int]]:
    """Few ranges that cover all times: one lone clock from years ago must not make all years be read."""
    ranges: list[tuple[int, int]] = []
    for time in sorted(times):
        if ranges and time - ranges[-1][1] <= _HOUR_NS:
            ranges[-1] = ranges[-1][0], time
        else:
            ranges.append((time, time))
    return ranges if len(ranges) <= _MOST_RANGES else [(ranges[0][0], ranges[-1][1])]


class Numbered(NamedTuple):
    """An answer as the table has it, with the number of its row."""

    number: int
    answered: Answered


def read(connection: "duckdb.DuckDBPyConnection", numbers: "Sequence[int]") -> "dict[Target, Numbered]":
    """Answers by the numbers of their rows, with their documents."""
    rows = connection.execute(
        f"SELECT rowid, {selected('interactions')} FROM store.interactions "  # noqa: S608
        "WHERE rowid IN (SELECT unnest(string_split($1, ','))::BIGINT)",
        [ids(numbers)],
    ).fetchall()
    answers = [(number, InteractionRow(*row)) for number, *row in rows]
    documents: dict[Target, list[DocumentRow]] = {row[:2]: [] for _, row in answers}
    for row in _documents(connection, [row for _, row in answers]):
        documents[row[:2]].append(row)
    return {row[:2]: Numbered(number, kept(row, documents[row[:2]])) for number, row in answers}


def kept(row: InteractionRow, documents: "Iterable[DocumentRow]") -> Answered:
    """An answer that was completed from its trace, as the table keeps it: in microseconds, documents by rank.

    It stays one whose own span didn't tell all, so that later spans of its trace count as earlier ones do.
    """
    row = row._replace(started_ns=row.started_ns // 1000 * 1000, complete=False)
    some = (document._replace(started_ns=row.started_ns) for document in documents)
    return row, tuple(sorted(some, key=lambda document: (document.rank, repr(document))))


def _documents(connection: "duckdb.DuckDBPyConnection", answers: "Sequence[InteractionRow]") -> "Iterable[DocumentRow]":
    for low, high in _ranges(row.started_ns for row in answers):
        within = [row for row in answers if low <= row.started_ns <= high]
        for row in connection.execute(
            f"""
            SELECT {selected("documents")} FROM store.documents
            JOIN (SELECT unnest(string_split($1, ',')) AS trace_id, unnest(string_split($2, ',')) AS span_id) u
            ON documents.trace_id = u.trace_id AND documents.span_id = u.span_id
            WHERE documents.started_at BETWEEN make_timestamp($3 // 1000) AND make_timestamp($4 // 1000)
            """,  # noqa: S608
            [ids(row[0] for row in within), ids(row[1] for row in within), low, high],
        ).fetchall():
            yield DocumentRow(*row)


def remove(connection: "duckdb.DuckDBPyConnection", answers: "Collection[Numbered]") -> None:
    """Take answers and their documents out, to be put in anew."""
    if not answers:
        return
    connection.execute(
        "DELETE FROM store.interactions WHERE rowid IN (SELECT unnest(string_split($1, ','))::BIGINT)",
        [ids(it.number for it in answers)],
    )
    rows = [it.answered[0] for it in answers]
    times = [row.started_ns for row in rows]
    connection.execute(
        """
        DELETE FROM store.documents d
        USING (SELECT unnest(string_split($1, ',')) AS trace_id, unnest(string_split($2, ',')) AS span_id) u
        WHERE d.trace_id = u.trace_id AND d.span_id = u.span_id
        AND d.started_at BETWEEN make_timestamp($3 // 1000) AND make_timestamp($4 // 1000)
        """,
        [ids(row[0] for row in rows), ids(row[1] for row in rows), min(times), max(times)],
    )


def add(connection: "duckdb.DuckDBPyConnection", answers: "Collection[Answered]") -> None:
    """Put answers in that aren't there."""
    if answers:
        insert(connection, "store", "interactions", zip(*(row for row, _ in answers), strict=True))
    documents = list(chain.from_iterable(some for _, some in answers))
    if documents:
        insert(connection, "store", "documents", zip(*documents, strict=True))


class Found(NamedTuple):
    """What a judged span's answer is, as the table has it."""

    known: Known
    flagged: bool
    complete: bool


def look_up(connection: "duckdb.DuckDBPyConnection", targets: "Collection[Target]") -> "dict[Target, Found]":
    """The answers that some feedback judges, of any time: reads two columns of the whole table."""
    rows = connection.execute(
        f"""
        SELECT trace_id, span_id, epoch_us(started_at), flagged, complete, {", ".join(UNKNOWN_FACTS)}
        FROM store.interactions
        JOIN (SELECT unnest(string_split($1, ',')) AS trace_id, unnest(string_split($2, ',')) AS span_id) u
        USING (trace_id, span_id)
        """,  # noqa: S608
        [ids(trace for trace, _ in targets), ids(span for _, span in targets)],
    ).fetchall()
    return {
        (trace, span): Found(Known(started_us, tuple(facts)), flagged, complete)
        for trace, span, started_us, flagged, complete, *facts in rows
    }
