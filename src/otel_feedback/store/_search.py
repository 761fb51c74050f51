"""The way back through the answers of a page: where a text is looked for, step by step, and as far as one page goes."""

import datetime as dt
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from otel_feedback.store._gather import AFTER, BEFORE, TEXTS, WORDS, Search
from otel_feedback.store._select import NEWEST, Place, Wanted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import duckdb

NEAR: Final = 2000
"""How many answers a text is looked for in at first: what many have is found without reading more."""

MOST: Final = 50_000
"""How many answers one page looks for a text in: to look in all takes longer with each that is kept, so a page ends and
says how far it looked. With this number it takes 100 to 140 ms on two cores."""

PASSED: Final = 400_000
"""How many texts one page passes at most, with those of answers that nobody asks for: of each the trace is compared,
and most are decompressed since others of their block are read."""

_HOUR_US: Final = 3_600_000_000


class Walk:
    """Goes back through the answers that may match, from the newest on, as far as one page does.

    With a text to look for, some may have it only nearby: in another answer of their trace.

    Args:
        connection: A reader's.
        content: Names of the content databases.
        wanted: Which answers.
        after: Where the last page ended.
        at_once: How many are taken at once.
    """

    def __init__(
        self,
        connection: "duckdb.DuckDBPyConnection",
        content: "Sequence[str]",
        wanted: Wanted,
        *,
        after: Place | None,
        at_once: int,
    ) -> None:
        self.end: Place | None = None
        """Where it ended, once :meth:`take` has given less than it could and there is more behind."""
        self._connection = connection
        self._content = content
        self._wanted = wanted
        self._at_once = at_once
        self._places = self._all(after) if wanted.search is None else self._with_text(after, wanted.search)

    def take(self) -> list[Place]:
        """Return the next ones; fewer than could be taken at once are the last of this page."""
        return list(islice(self._places, self._at_once))

    def _all(self, after: Place | None) -> "Iterator[Place]":
        while True:
            some = self._wanted.newest(self._connection, self._at_once, after)
            yield from some
            if len(some) < self._at_once:
                return
            after = some[-1]

    def _with_text(self, after: Place | None, search: Search) -> "Iterator[Place]":
        if not self._content:
            return
        answers = _Times(self._connection, *self._times_of_answers(after))
        oldest_us = answers.oldest_us if after is None or answers.oldest_us is not None else after.at_us
        if oldest_us is None:
            return
        texts = _Times(self._connection, *self._times_of_texts(after))
        # Beyond a page that ended early few have it.
        for number in (MOST,) if after is not None and after.is_between else (NEAR, MOST):
            bounds = (oldest_us, answers.of(number), texts.of(PASSED))
            step_us = max(bound for bound in bounds if bound is not None)
            yield from self._between(after, step_us, search)
            after = Place.before(step_us)
            if step_us == oldest_us:
                return
            if step_us == texts.of(PASSED):
                break
        self.end = after

    def _times_of_answers(self, after: Place | None) -> tuple[str, dict[str, Any]]:
        parameters: dict[str, Any] = {}
        return _before(self._wanted.times(parameters), after), parameters

    def _times_of_texts(self, after: Place | None) -> tuple[str, dict[str, Any]]:
        texts = " UNION ALL ".join(f'SELECT started_at AS moment FROM "{name}".texts' for name in self._content)  # noqa: S608
        return _before(texts, after), {}

    def _between(self, after: Place | None, oldest_us: int, search: Search) -> "Iterator[Place]":
        """Look for the text in the traces of all answers of a time."""
        while True:
            some = self._next(after, oldest_us, search)
            yield from some
            if len(some) < self._at_once:
                return
            after = some[-1]

    def _next(self, after: Place | None, oldest_us: int, search: Search) -> list[Place]:
        parameters: dict[str, Any] = {"search": search.parameter, "limit": self._at_once}
        candidates = self._wanted.candidates(parameters, after, oldest_us)
        times = f"started_at >= make_timestamp({oldest_us}) - {_interval(BEFORE)}"
        if after is not None:
            times += f" AND started_at <= make_timestamp({after.at_us}) + {_interval(AFTER)}"
        # OFFSET keeps the condition on texts, which costs most, from being asked of answers that nobody asks for.
        selects = [
            f"""
            SELECT trace_id FROM (
                SELECT * FROM "{name}".{table} WHERE {time} AND trace_id IN (SELECT trace_id FROM candidates) OFFSET 0
            ) WHERE {search.within(columns)}
            """  # noqa: S608 - names and constants of ours; values are parameters
            for name in self._content
            for table, columns, time in (("texts", TEXTS, times), ("words", WORDS, "true"))
        ]
        sql = f"""
            WITH candidates AS MATERIALIZED ({candidates}), found AS ({" UNION ALL ".join(selects)})
            SELECT * FROM candidates WHERE trace_id IN (SELECT trace_id FROM found) {NEWEST}
        """  # noqa: S608
        return [Place(*row) for row in self._connection.execute(sql, parameters).fetchall()]


class _Times:
    """The times of some rows, counted by hour: to sort all would take four times as long.

    Args:
        connection: A reader's.
        sql: Gives them as ``moment``.
        parameters: Of the statement.
    """

    def __init__(self, connection: "duckdb.DuckDBPyConnection", sql: str, parameters: dict[str, Any]) -> None:
        self._connection = connection
        self._sql = sql
        self._parameters = parameters
        self._known: dict[int, int | None] = {}
        by_hour = f"""
            SELECT epoch_us(moment) // {_HOUR_US} AS hour, count(*), min(epoch_us(moment)) FROM ({sql})
            GROUP BY hour ORDER BY hour DESC
        """  # noqa: S608 - names and constants of ours; values are parameters
        self._hours = connection.execute(by_hour, parameters).fetchall()
        self.oldest_us: int | None = self._hours[-1][2] if self._hours else None

    def of(self, number: int) -> int | None:
        """Return the time of one by its number from the newest on, which is 1; ``None`` where there are fewer."""
        if number not in self._known:
            self._known[number] = self._find(number)
        return self._known[number]

    def _find(self, number: int) -> int | None:
        for hour, count, _ in self._hours:
            if number <= count:
                return self._within(hour, number)
            number -= count
        return None

    def _within(self, hour: int, number: int) -> int:
        first_us = hour * _HOUR_US
        sql = f"""
            SELECT epoch_us(moment) FROM ({self._sql})
            WHERE moment >= make_timestamp({first_us}) AND moment < make_timestamp({first_us + _HOUR_US})
            ORDER BY moment DESC LIMIT 1 OFFSET {number - 1}
        """  # noqa: S608
        rows = self._connection.execute(sql, self._parameters).fetchall()
        return int(rows[0][0]) if rows else first_us  # a vote may have changed since they were counted


def _before(sql: str, after: Place | None) -> str:
    """Leave out what is as young as where the last page ended: some of it may be on the next, but is no way back."""
    return sql if after is None else f"SELECT moment FROM ({sql}) WHERE moment < make_timestamp({after.at_us})"  # noqa: S608


def _interval(length: dt.timedelta) -> str:
    return f"to_seconds({int(length.total_seconds())})"
