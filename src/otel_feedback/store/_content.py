"""The first half of a commit: raw spans and texts into the content file of the week they came in."""

from collections import defaultdict
from itertools import chain, repeat
from typing import TYPE_CHECKING

from otel_feedback.store._folder import week_of
from otel_feedback.store._tables import insert

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from otel_feedback.intake.rows import Batch
    from otel_feedback.store._databases import Databases


def write_content(databases: "Databases", batches: "Sequence[Batch]") -> None:
    """Commit what batches have of raw spans, texts and words, each week in a transaction of its own.

    Sent again after a failure it is there twice; readers count a span once.
    """
    weeks: defaultdict[str, list[Batch]] = defaultdict(list)
    for batch in batches:
        if batch.spans or batch.texts or batch.words:
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


def _insert_week(databases: "Databases", name: str, batches: "Iterable[Batch]") -> int:
    writer = databases.writer
    number = databases.next_chunk[name]
    chunks: list[tuple[int, int, bytes]] = []
    numbers: list[Iterable[int]] = []
    spans, texts, words = [], [], []
    for batch in batches:
        if batch.spans:
            spans.append(batch.spans)
            numbers.append(repeat(number, len(batch.spans)))
        if batch.chunk is not None:
            chunks.append((number, batch.received_ns, batch.chunk))
        texts.extend(batch.texts)
        words.extend(batch.words)
        number += 1
    if spans:
        columns = zip(*chain.from_iterable(spans), strict=True)
        insert(writer, name, "spans", [*columns, list(chain.from_iterable(numbers))])
    for row in chunks:
        writer.execute(f'INSERT INTO "{name}".chunks VALUES ($1, make_timestamp($2 // 1000), $3)', row)  # noqa: S608
    for table, rows in (("texts", texts), ("words", words)):
        if rows:
            insert(writer, name, table, zip(*rows, strict=True))
    return number
