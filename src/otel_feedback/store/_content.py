"""The first half of a commit: raw spans and texts into the content file of the week they came in."""

from collections import defaultdict
from functools import lru_cache
from itertools import chain, repeat
from typing import TYPE_CHECKING, Final

from otel_feedback.store._folder import week_of
from otel_feedback.store._tables import insert

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import duckdb

    from otel_feedback.intake.rows import Batch
    from otel_feedback.store._databases import Databases

PART_BYTES: Final = 16_384
"""What a row holds of a chunk at most. A checkpoint writes the last group of rows of a table again: its size is this
times the rows of a group."""

_AT_ONCE: Final = 256
"""Parts that one statement adds."""


def write_content(databases: "Databases", batches: "Sequence[Batch]") -> None:
    """Commit what batches have of raw spans, texts and words, each week in a transaction of its own.

    Sent again after a failure it is there twice; readers count a span once.
    """
    weeks: defaultdict[str, list[Batch]] = defaultdict(list)
    for batch in batches:
        if batch.traces or batch.texts or batch.words:
            weeks[week_of(batch.received_ns)].append(batch)
    for week, some in sorted(weeks.items()):
        name = databases.open_content(week)
        writer = databases.writer
        writer.execute("BEGIN")
        try:
            last = _insert_week(databases, name, some)
            writer.execute("COMMIT")
        except BaseException:
            databases.roll_back()
            raise
        databases.next_chunk[name] = last


def read_chunk(connection: "duckdb.DuckDBPyConnection", database: str, number: int) -> tuple[bytes, int] | None:
    """A chunk put together again, and when it came in microseconds; ``None`` where there is none of this number."""
    rows = connection.execute(
        f'SELECT data, epoch_us(received_at) FROM "{database}".chunks WHERE chunk = $1 ORDER BY part',  # noqa: S608
        [number],
    ).fetchall()
    return (b"".join(data for data, _ in rows), rows[0][1]) if rows else None


def _insert_chunks(
    connection: "duckdb.DuckDBPyConnection", database: str, chunks: "Iterable[tuple[int, int, bytes]]"
) -> None:
    """Add chunks, each with its number and when it came in nanoseconds: many parts in one statement."""
    rows = [
        (number, received_ns // 1000, start // PART_BYTES, data[start : start + PART_BYTES])
        for number, received_ns, data in chunks
        for start in range(0, len(data), PART_BYTES)
    ]
    for first in range(0, len(rows), _AT_ONCE):
        some = rows[first : first + _AT_ONCE]
        connection.execute(_chunks_text(database, len(some)), list(chain.from_iterable(some)))


@lru_cache(maxsize=2 * _AT_ONCE)
def _chunks_text(database: str, rows: int) -> str:
    values = ", ".join(f"(${n}, make_timestamp(${n + 1}), ${n + 2}, ${n + 3})" for n in range(1, 4 * rows, 4))
    return f'INSERT INTO "{database}".chunks VALUES {values}'  # noqa: S608


def _insert_week(databases: "Databases", name: str, batches: "Iterable[Batch]") -> int:
    writer = databases.writer
    number = databases.next_chunk[name]
    chunks: list[tuple[int, int, bytes]] = []
    numbers: list[Iterable[int]] = []
    traces, texts, words = [], [], []
    for batch in batches:
        if batch.traces:
            traces.extend(batch.traces)
            numbers.append(repeat(number, len(batch.traces)))
        if batch.chunk:
            chunks.append((number, batch.received_ns, batch.chunk))
        texts.extend(batch.texts)
        words.extend(batch.words)
        number += 1
    if traces:
        insert(writer, name, "traces", [*zip(*traces, strict=True), list(chain.from_iterable(numbers))])
    _insert_chunks(writer, name, chunks)
    for table, rows in (("texts", texts), ("words", words)):
        if rows:
            insert(writer, name, table, zip(*rows, strict=True))
    return number
