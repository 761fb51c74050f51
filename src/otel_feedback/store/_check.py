"""Whether a store is whole: everything is read, and what its parts say of each other is compared."""

# ruff: noqa: S608 - only names of ours are put into SQL

from itertools import groupby
from typing import TYPE_CHECKING, Final

import duckdb

from otel_feedback.intake.rows import UNKNOWN_FACTS
from otel_feedback.store._admin import Item, items
from otel_feedback.store._settle import settle_votes
from otel_feedback.store._votes import stored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from otel_feedback.store._databases import Databases
    from otel_feedback.store._folder import Folder

_AT_ONCE: Final = 10_000

_SAME_ANSWER: Final = "f.trace_id = i.trace_id AND f.span_id = i.span_id"
_FACTS: Final = " OR ".join(f"f.{name} <> i.{name}" for name in UNKNOWN_FACTS)

_TOGETHER: Final[dict[str, str]] = {
    "{n} answers are there more than once.": """
        SELECT count(*) - count(DISTINCT (trace_id, span_id)) FROM interactions
    """,
    "{n} feedback are there more than once.": """
        SELECT count(*) - count(DISTINCT (trace_id, span_id, signal, submitter, feedback_id)) FROM feedback
    """,
    "{n} feedback don't have the facts of their answer, which is there. They get them after the next start.": f"""
        SELECT count(*) FROM feedback f SEMI JOIN interactions i ON {_SAME_ANSWER}
        WHERE NOT f.joined AND f.target_sampled IS DISTINCT FROM false
    """,
    "{n} feedback have the facts of an answer that isn't there.": f"""
        SELECT count(*) FROM feedback f ANTI JOIN interactions i ON {_SAME_ANSWER} AND f.answered_at = i.started_at
        WHERE f.joined
    """,
    "{n} feedback have other facts than their answer.": f"""
        SELECT count(*) FROM feedback f JOIN interactions i ON {_SAME_ANSWER} WHERE f.joined AND ({_FACTS})
    """,
    "{n} documents belong to no answer.": """
        SELECT count(*) FROM documents d ANTI JOIN interactions i ON d.trace_id = i.trace_id AND d.span_id = i.span_id
    """,
}

_OF_CONTENT: Final[dict[str, str]] = {
    "{file}: {n} spans name raw data that isn't there.": """
        SELECT coalesce(sum(s.spans), 0) FROM "{name}".traces s ANTI JOIN "{name}".chunks c ON s.chunk = c.chunk
    """,
    "{file}: words of {n} feedback that isn't there: of commits that were cut off.": """
        SELECT count(*) FROM "{name}".words w ANTI JOIN feedback f ON w.trace_id = f.trace_id
        AND w.span_id = f.span_id AND w.signal = f.signal AND w.submitter = f.submitter
        AND w.feedback_id = f.feedback_id
    """,
}


def check(folder: "Folder", databases: "Databases", progress: "Callable[[int, int], None]") -> list[str]:
    """Read everything and compare.

    Returns:
        What is wrong, a sentence each; nothing where all is well.
    """
    problems: list[str] = []
    everything = items(folder, databases)
    steps = len(everything) + 2
    with databases.cursor() as cursor:
        for number, item in enumerate(everything):
            progress(number, steps)
            problems += _read_all(cursor, item)
        progress(steps - 2, steps)
        if problems:  # what can't be read can't be compared
            return problems
        problems += _compare(cursor, everything)
        progress(steps - 1, steps)
        problems += _unsettled(cursor)
    progress(steps, steps)
    return problems


def _read_all(cursor: duckdb.DuckDBPyConnection, item: Item) -> "Iterator[str]":
    for table in ("migrations", *item.tables):
        if error := _unreadable(cursor, item.name, table):
            yield (
                f"Table {table} of {item.file} can't be read ({error}). Put the file of a backup in its place while "
                "nothing runs."
            )
        elif table == "migrations" and _history(cursor, item.name) != [step.name for step in item.steps]:
            yield f"{item.file} has other steps in its history than this version knows."


def _history(cursor: duckdb.DuckDBPyConnection, name: str) -> list[str]:
    rows = cursor.execute(f'SELECT name FROM "{name}".migrations ORDER BY version').fetchall()
    return [row[0] for row in rows]


def _unreadable(cursor: duckdb.DuckDBPyConnection, name: str, table: str) -> str | None:
    try:
        columns = [row[0] for row in cursor.execute(f'DESCRIBE "{name}".{table}').fetchall()]
        hashes = ", ".join(f"bit_xor(hash({column}))" for column in columns)
        cursor.execute(f'SELECT {hashes} FROM "{name}".{table}').fetchall()
    except duckdb.Error as error:
        return type(error).__name__
    return None


def _compare(cursor: duckdb.DuckDBPyConnection, everything: list[Item]) -> "Iterator[str]":
    for words, sql in _TOGETHER.items():
        if number := cursor.execute(sql).fetchall()[0][0]:
            yield words.format(n=number)
    for item in everything[1:]:
        for words, sql in _OF_CONTENT.items():
            if number := cursor.execute(sql.format(name=item.name)).fetchall()[0][0]:
                yield words.format(n=number, file=item.file.name)


def _unsettled(cursor: duckdb.DuckDBPyConnection) -> "Iterator[str]":
    wrong = 0
    for _, votes in groupby(stored(cursor, at_once=_AT_ONCE), key=lambda kept: kept.row[:4]):
        rows = list(votes)
        wanted = {(it.row.feedback_id, it.standing) for it in settle_votes(kept.row for kept in rows)}
        wrong += wanted != {(kept.row.feedback_id, kept.standing) for kept in rows}
    if wrong:
        yield f"In {wrong} votes another feedback is marked as standing than the one that stands."
