"""Group commit over a table of numbers: what the tests of the committer share."""

import contextlib
import sqlite3
import threading

from otel_feedback.outbox._committer import Committer


class Session:
    """Gathers numbers, and writes them into a table."""

    def __init__(self, connection):
        self.connection, self.numbers = connection, []
        self.connection.execute("CREATE TABLE IF NOT EXISTS numbers (number)")

    def prepare(self, hints):
        """Nothing is read."""

    def put(self, number):
        self.numbers.append(number)
        return -number

    def mark(self):
        return len(self.numbers)

    def back_to(self, mark):
        del self.numbers[mark:]

    def write(self):
        self.connection.executemany("INSERT INTO numbers VALUES (?)", [(number,) for number in self.numbers])

    def written(self):
        """Nobody wants to know."""


class File:
    """A committer on a file, what was opened, and what is in it."""

    def __init__(self, path, begin=Session):
        self.path, self.opened, self.statements = path, 0, []
        self.committer = Committer(self.connect, begin)

    def connect(self):
        self.opened += 1
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.set_trace_callback(self.statements.append)
        return connection

    def put(self, number):
        return self.committer.run(lambda session: session.put(number))

    def put_soon(self, number):
        return self.committer.soon(lambda session: session.put(number))

    def numbers(self):
        with contextlib.closing(sqlite3.connect(self.path)) as connection:
            return [number for (number,) in connection.execute("SELECT number FROM numbers")]

    def commits(self):
        return self.statements.count("COMMIT")


@contextlib.contextmanager
def held(file):
    """Keep the committer's thread at work as long as the block lasts."""
    reached, go_on = threading.Event(), threading.Event()
    thread = in_thread(lambda: file.committer.run(lambda _: (reached.set(), go_on.wait(30))))
    assert reached.wait(30)
    try:
        yield
    finally:
        go_on.set()
        thread.join()


def in_thread(function, *args):
    thread = threading.Thread(target=function, args=args)
    thread.start()
    return thread


def raising(error):
    """Work that gathers something and then fails."""

    def work(session):
        session.put(0)
        raise error

    return work
