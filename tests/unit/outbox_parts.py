"""Votes into an outbox, files that fail when a test says so, and what is in them."""

import contextlib
import dataclasses
import sqlite3
from pathlib import Path

from tests.unit.drain_parts import RESOURCE, carrier

from otel_feedback import semconv
from otel_feedback._votes import Ballot, VoteKey
from otel_feedback.outbox import Outbox
from otel_feedback.outbox._database import open_database
from otel_feedback.testing import START

MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - many files, each for a moment


def ballot(name, sentiment="positive", *, interaction=1, signal="thumbs", submitter=None, **more):
    """A feedback called so."""
    return Ballot(
        VoteKey(interaction, 7, signal, submitter), name, sentiment, **{"explicit": True, "nonce": None, **more}
    )


def carrying(delivery, cast, text=""):
    """What a vote book is to call: it delivers a carrier that says what became of the vote."""

    def deliver(transition):
        plain = carrier(cast.id, interaction=cast.key.trace_id, text=text)
        said = {
            semconv.FEEDBACK_SENTIMENT: cast.sentiment,
            semconv.FEEDBACK_PREVIOUS_SENTIMENT: transition.previous_sentiment,
            semconv.FEEDBACK_FIRST: transition.first,
            semconv.FEEDBACK_REVISES: transition.revises or "",
        }
        delivery.submit(dataclasses.replace(plain, attributes={**plain.attributes, **said}))

    return deliver


def vote(outbox, *args, text="", **more):
    """Cast a vote with its carrier."""
    cast = ballot(*args, **more)
    return outbox.cast(cast, carrying(outbox, cast, text))


@contextlib.contextmanager
def outbox_at(folder, **more):
    """The outbox of a folder, as long as the block lasts."""
    outbox = Outbox(folder / "outbox.db", **{"resource": RESOURCE, "clock": lambda: START * 10**9, **more})
    try:
        yield outbox
    finally:
        outbox.close()


def waiting(outbox):
    """All that waits, in its order."""
    return outbox.oldest(most=10**6, most_bytes=10**9)


def names(outbox):
    """What waits is called."""
    return [row.carrier.attributes[semconv.FEEDBACK_ID] for row in waiting(outbox)]


def chain(outbox):
    """What waits, each with what it revises."""
    rows = [row.carrier.attributes for row in waiting(outbox)]
    return [(row[semconv.FEEDBACK_ID], row[semconv.FEEDBACK_REVISES]) for row in rows]


def ask(folder, sql):
    """What a file says, past the outbox."""
    with contextlib.closing(sqlite3.connect(folder / "outbox.db")) as connection:
        return connection.execute(sql).fetchall()


class Watched:
    """A connection that notes its statements, and does something else at one of them.

    Attributes:
        statements: What was run.
        at: Number, from 0, of the statement before which ``instead`` is called.
    """

    def __init__(self, path, *, at=None, instead=None):
        self._connection = open_database(path)
        self.statements, self.at, self.instead = [], at, instead

    def execute(self, *args):
        self._count(args[0])
        return self._connection.execute(*args)

    def executemany(self, *args):
        self._count(args[0])
        return self._connection.executemany(*args)

    def close(self):
        self._connection.close()

    def _count(self, sql):
        self.statements.append(sql)
        if len(self.statements) - 1 == self.at:
            self.instead()


def fail():
    """What SQLite raises where the disk does."""
    raise sqlite3.OperationalError("disk I/O error: secret")
