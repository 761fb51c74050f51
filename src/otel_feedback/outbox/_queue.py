"""What waits in the outbox's file: rows in the order in which they were accepted. Statements only, no threads."""

import json
import sqlite3
from collections.abc import Sequence
from typing import Final

from otel_feedback.outbox._rows import Counts, Row, unpack, unpack_resource

# Many numbers in one parameter: see ``_book`` for why each statement counts.
_GONE: Final = (
    "SELECT count(*), coalesce(sum(length(carrier)), 0) FROM queue WHERE number IN (SELECT value FROM json_each(?))"
)
_DELETE: Final = "DELETE FROM queue WHERE number IN (SELECT value FROM json_each(?))"


def append(connection: sqlite3.Connection, rows: Sequence[str], *, accepted_ns: int, resource: int) -> None:
    """Put rows at the end, all accepted at one time; ``resource`` is a number from ``resource_number``."""
    connection.execute(
        # Of an array's elements that are arrays, json_each gives the text as it is.
        "INSERT INTO queue (accepted_ns, resource, carrier) SELECT ?, ?, value FROM json_each(?) ORDER BY key",
        (accepted_ns, resource, f"[{','.join(rows)}]"),
    )
    _add(connection, len(rows), sum(map(len, rows)))


def resource_number(connection: sqlite3.Connection, text: str) -> int:
    """Return the number of a resource; a new one gets one."""
    connection.execute("INSERT OR IGNORE INTO resources (attributes) VALUES (?)", (text,))
    number: int = connection.execute("SELECT id FROM resources WHERE attributes = ?", (text,)).fetchone()[0]
    return number


def size(connection: sqlite3.Connection) -> tuple[int, int]:
    """Return how many rows wait, and how many bytes they take."""
    depth, total = connection.execute("SELECT depth, bytes FROM totals").fetchone()
    return depth, total


def oldest(connection: sqlite3.Connection, *, most: int, most_bytes: int) -> list[Row]:
    """Return the oldest rows: at least one where any waits, else at most so many, and so many bytes."""
    found: list[Row] = []
    total = 0
    for number, accepted_ns, tries, text, resource in connection.execute(
        "SELECT number, accepted_ns, tries, carrier, attributes FROM queue "
        "JOIN resources ON resources.id = queue.resource ORDER BY number LIMIT ?",
        (most,),
    ):
        total += len(text)
        if found and total > most_bytes:
            break
        carrier, trace_id, span_id = unpack(text)
        found.append(Row(number, accepted_ns, tries, len(text), carrier, trace_id, span_id, unpack_resource(resource)))
    return found


def remove(connection: sqlite3.Connection, numbers: Sequence[int]) -> None:
    """Take out rows that were delivered."""
    those = (json.dumps(list(numbers)),)
    gone, total = connection.execute(_GONE, those).fetchone()
    connection.execute(_DELETE, those)
    _add(connection, -gone, -total)


def count_rejection(connection: sqlite3.Connection, number: int) -> int:
    """Note that a receiver rejected a row, and return how often that has happened."""
    found = connection.execute(
        "UPDATE queue SET tries = tries + 1 WHERE number = ? RETURNING tries", (number,)
    ).fetchall()
    return found[0][0] if found else 0


def set_aside(connection: sqlite3.Connection, number: int, why: str) -> None:
    """Take a row out of the way, and keep it."""
    connection.execute(
        "INSERT INTO set_aside SELECT number, accepted_ns, resource, carrier, ? FROM queue WHERE number = ?",
        (why, number),
    )
    remove(connection, [number])


def put_back(connection: sqlite3.Connection) -> int:
    """Let what was set aside wait again, in its old places, and return how many that were."""
    put, total = connection.execute("SELECT count(*), coalesce(sum(length(carrier)), 0) FROM set_aside").fetchone()
    connection.execute(
        "INSERT INTO queue (number, accepted_ns, resource, carrier) "
        "SELECT number, accepted_ns, resource, carrier FROM set_aside"
    )
    connection.execute("DELETE FROM set_aside")
    _add(connection, put, total)
    return int(put)


def counts(connection: sqlite3.Connection) -> Counts:
    """Say how the queue stands."""
    depth, total = size(connection)
    first = connection.execute("SELECT accepted_ns FROM queue ORDER BY number LIMIT 1").fetchone()
    why = dict(connection.execute("SELECT why, count(*) FROM set_aside GROUP BY why ORDER BY why"))
    return Counts(depth, total, first[0] if first else None, sum(why.values()), why)


def version(connection: sqlite3.Connection) -> int:
    """Return a number that is another one when another connection has changed the file."""
    number: int = connection.execute("PRAGMA data_version").fetchone()[0]
    return number


def _add(connection: sqlite3.Connection, rows: int, total: int) -> None:
    connection.execute("UPDATE totals SET depth = depth + ?, bytes = bytes + ?", (rows, total))
