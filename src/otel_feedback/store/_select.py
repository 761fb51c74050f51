"""Which answers belong on a page: the newest that match, found without reading what isn't shown."""

import datetime as dt
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from otel_feedback import semconv
from otel_feedback.exceptions import InvalidQueryError
from otel_feedback.store._gather import AFTER, BEFORE, TEXTS, WORDS, Search
from otel_feedback.store.filters import Filter

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

FEEDBACK: Final = ("bad", "good", "any", "all")
"""Judged badly or corrected; judged well; with any feedback that stands; also those without."""

_CURSOR: Final = re.compile(r"([0-9]{1,18})-([0-9a-f]{32})-([0-9a-f]{16})")

NEAR: Final = 2000
"""Answers that a text is looked for in at first."""

FARTHER: Final = (10, 100)
"""How many times as far back it is looked for then, before it is looked for in all: reading everything takes long."""

FEW: Final = 10_000
"""Traces with a text that are handed from one statement to the next."""

_NEWEST: Final = "ORDER BY at_us DESC, trace_id DESC, span_id DESC LIMIT $limit"

_JUDGEMENTS: Final = {
    "bad": f"feedback.sentiment = '{semconv.NEGATIVE}'",
    "good": f"feedback.sentiment = '{semconv.POSITIVE}'",
    "any": f"feedback.sentiment <> '{semconv.RETRACTED}'",
    "all": f"feedback.sentiment <> '{semconv.RETRACTED}'",
}

_KINDS: Final = {
    "bad": f"feedback.kind IN ('{semconv.EXPLICIT}', '{semconv.CORRECTION}')",
    "good": f"feedback.kind = '{semconv.EXPLICIT}'",
}
"""What software derived from what people did makes no answer a bad one, unless it is asked for by its signal."""


class Place(NamedTuple):
    """Where an answer stands in the order of a list, which is from the greatest to the least."""

    at_us: int
    """Microseconds since 1970: of the answer, or of the feedback on one that isn't recorded."""
    trace_id: str
    span_id: str

    @classmethod
    def from_cursor(cls, text: str) -> "Place":
        """Read the cursor of a page.

        Raises:
            InvalidQueryError: It is none.
        """
        found = _CURSOR.fullmatch(text)
        if found is None:
            raise InvalidQueryError("after", "after must be the next that a page of answers came with.")
        return cls(int(found[1]), found[2], found[3])

    def to_cursor(self) -> str:
        """Return the cursor of the page that begins after it."""
        return f"{self.at_us}-{self.trace_id}-{self.span_id}"


@dataclass(frozen=True)
class Wanted:
    """What a list of answers is asked for."""

    filter: Filter
    feedback: str = "bad"
    signal: str | None = None
    reason: str | None = None
    search: Search | None = None

    def find(
        self, connection: "duckdb.DuckDBPyConnection", content: "Sequence[str]", *, limit: int, after: Place | None
    ) -> list[Place]:
        """Return the next answers that may match, newest first; with ``search`` some may have it only nearby.

        Args:
            connection: A reader's.
            content: Names of the content databases.
            limit: Answers at most.
            after: Where the last page ended.
        """
        if self.search is None:
            return self._newest(connection, limit, after)
        if not content:
            return []
        # What many answers have is among the newest: only for what few have everything is read.
        newest = self._newest(connection, max(limit, NEAR), after)
        found = self._with_text(connection, content, newest, self.search)
        if len(newest) < max(limit, NEAR):
            return found[:limit]
        after = newest[-1]
        far_us = newest[0].at_us - after.at_us
        # Few are judged, of which all are soon gone through.
        steps = [after.at_us - times * far_us for times in FARTHER] if self._of_all else []
        for oldest_us in (*steps, None):
            if len(found) >= limit:
                break
            found += self._anywhere(connection, content, limit - len(found), after, self.search, oldest_us=oldest_us)
            if oldest_us is not None:
                after = Place(oldest_us, "", "")
        return found[:limit]

    def _newest(self, connection: "duckdb.DuckDBPyConnection", limit: int, after: Place | None) -> list[Place]:
        parameters: dict[str, Any] = {"limit": limit}
        oldest_us = self._oldest(connection, limit, after) if self._of_all else None
        sql = f"{self._candidates(parameters, after, oldest_us)} {_NEWEST}"
        return _places(connection, sql, parameters)

    @property
    def _of_all(self) -> bool:
        return self.feedback == "all" and self.signal is None and self.reason is None

    def _candidates(
        self,
        parameters: dict[str, Any],
        after: Place | None,
        oldest_us: int | None = None,
        *,
        among: str = "true",
    ) -> str:
        """Return SQL for the places of all that match but for the text.

        Args:
            parameters: Gets those that the statement needs.
            after: Where the last page ended.
            oldest_us: Older ones are left out.
            among: A condition more.
        """
        branches = [self._judged(parameters, among)]
        if self._of_all:
            branches = [self._unrecorded(parameters, among), self._recorded(parameters, after, oldest_us, among)]
        where = "true"
        if after is not None:
            where = "(answered, trace_id, span_id) < (make_timestamp($at_us), $trace_id, $span_id)"
            parameters |= after._asdict()
        if oldest_us is not None:
            where += " AND answered >= make_timestamp($oldest_us)"
            parameters["oldest_us"] = oldest_us
        return f"""
            SELECT epoch_us(answered) AS at_us, trace_id, span_id FROM ({" UNION ALL ".join(branches)}) WHERE {where}
        """  # noqa: S608 - names and constants of ours; values are parameters

    def _oldest(self, connection: "duckdb.DuckDBPyConnection", limit: int, after: Place | None) -> int | None:
        """Return a time so that enough answers are not older: whole blocks needn't be sorted, nor their ids read."""
        condition, parameters = self.filter.where("interactions")
        parameters["limit"] = limit
        if after is not None:
            condition += " AND interactions.started_at < make_timestamp($at_us)"
            parameters["at_us"] = after.at_us
        sql = f"""
            SELECT epoch_us(started_at) FROM interactions WHERE {condition} ORDER BY started_at DESC LIMIT $limit
        """  # noqa: S608
        times = [at_us for (at_us,) in connection.execute(sql, parameters).fetchall()]
        return times[-1] if len(times) == limit else None

    def _with_text(
        self, connection: "duckdb.DuckDBPyConnection", content: "Sequence[str]", places: list[Place], search: Search
    ) -> list[Place]:
        """Return those of some answers in whose trace the text is."""
        if not places:
            return []
        parameters = {"search": search.parameter, "traces": ",".join({place.trace_id for place in places})}
        times = f"""started_at BETWEEN make_timestamp({places[-1].at_us}) - {_interval(BEFORE)}
            AND make_timestamp({places[0].at_us}) + {_interval(AFTER)}"""
        few = "trace_id IN (SELECT unnest(string_split($traces, ',')))"
        selects = [
            f'SELECT trace_id FROM "{name}".{table} WHERE {few} AND {time} AND {search.within(columns)}'  # noqa: S608
            for name in content
            for table, columns, time in (("texts", TEXTS, times), ("words", WORDS, "true"))
        ]
        found = {trace for (trace,) in connection.execute(" UNION ALL ".join(selects), parameters).fetchall()}
        return [place for place in places if place.trace_id in found]

    def _anywhere(
        self,
        connection: "duckdb.DuckDBPyConnection",
        content: "Sequence[str]",
        limit: int,
        after: Place,
        search: Search,
        *,
        oldest_us: int | None,
    ) -> list[Place]:
        """Return answers in whose trace the text is, reading all texts that can be theirs; older ones are left out."""
        parameters: dict[str, Any] = {"search": search.parameter}
        times = [f"started_at <= make_timestamp({after.at_us}) + {_interval(AFTER)}"]
        if self.filter.since is not None:
            times.append(f"started_at >= $since::TIMESTAMP - {_interval(BEFORE)}")
            parameters["since"] = self.filter.where("interactions")[1]["since"]
        if oldest_us is not None:
            times.append(f"started_at >= make_timestamp({oldest_us}) - {_interval(BEFORE)}")
        selects = []
        for name in content:
            texts = f'"{name}".texts WHERE {" AND ".join(times)}'
            if not self._of_all:
                # Few answers are judged. OFFSET keeps the condition on texts, which costs most, from being asked first.
                texts = f"(SELECT * FROM {texts} AND trace_id IN (SELECT trace_id FROM judged) OFFSET 0) WHERE true"  # noqa: S608
            selects.append(f"SELECT trace_id FROM {texts} AND {search.within(TEXTS)}")  # noqa: S608
            selects.append(f'SELECT trace_id FROM "{name}".words WHERE {search.within(WORDS)}')  # noqa: S608
        found = " UNION ALL ".join(selects)
        among = "trace_id IN (SELECT trace_id FROM found)"
        if not self._of_all:
            judged = f"judged AS MATERIALIZED ({self._candidates(parameters, after, oldest_us)})"
            sql = f"WITH {judged}, found AS ({found}) SELECT * FROM judged WHERE {among} {_NEWEST}"  # noqa: S608
            return _places(connection, sql, {**parameters, "limit": limit})
        # Answers are gone through only if there is something to find: that takes a third of the time.
        sql = f"SELECT DISTINCT trace_id FROM ({found}) LIMIT {FEW + 1}"  # noqa: S608
        traces = [trace for (trace,) in connection.execute(sql, parameters).fetchall()]
        if not traces:
            return []
        if len(traces) <= FEW:
            found = "SELECT unnest(string_split($traces, ',')) AS trace_id"
            parameters = {"traces": ",".join(traces)}
        candidates = self._candidates(parameters, after, oldest_us, among=among)
        sql = f"WITH found AS MATERIALIZED ({found}) {candidates} {_NEWEST}"
        return _places(connection, sql, {**parameters, "limit": limit})

    def _judged(self, parameters: dict[str, Any], among: str) -> str:
        conditions = [among, "feedback.standing", _JUDGEMENTS[self.feedback]]
        if self.signal is not None:
            conditions.append("feedback.signal = $signal")
            parameters["signal"] = self.signal
        elif self.feedback in _KINDS:
            conditions.append(_KINDS[self.feedback])
        if self.reason is not None:
            conditions.append("list_contains(feedback.reasons, $reason)")
            parameters["reason"] = self.reason
        return self._targets(conditions, parameters)

    def _unrecorded(self, parameters: dict[str, Any], among: str) -> str:
        return self._targets([among, "NOT feedback.joined"], parameters)

    def _targets(self, conditions: list[str], parameters: dict[str, Any]) -> str:
        condition, values = self.filter.where("feedback")
        parameters |= values
        return f"""
            SELECT trace_id, span_id, max(answered_at) AS answered FROM feedback
            WHERE {" AND ".join([*conditions, condition])} GROUP BY trace_id, span_id
        """  # noqa: S608

    def _recorded(self, parameters: dict[str, Any], after: Place | None, oldest_us: int | None, among: str) -> str:
        condition, values = self.filter.where("interactions")
        parameters |= values
        if after is not None:  # lets whole blocks be skipped, as does the next
            condition += " AND interactions.started_at <= make_timestamp($at_us)"
        if oldest_us is not None:
            condition += " AND interactions.started_at >= make_timestamp($oldest_us)"
        return f"SELECT trace_id, span_id, started_at AS answered FROM interactions WHERE {among} AND {condition}"  # noqa: S608


def _places(connection: "duckdb.DuckDBPyConnection", sql: str, parameters: dict[str, Any]) -> list[Place]:
    return [Place(*row) for row in connection.execute(sql, parameters).fetchall()]


def _interval(length: dt.timedelta) -> str:
    return f"to_seconds({int(length.total_seconds())})"
