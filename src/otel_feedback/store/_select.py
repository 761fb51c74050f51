"""Which answers belong on a page: the newest that match, found without reading what isn't shown."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from otel_feedback import semconv
from otel_feedback.exceptions import InvalidQueryError
from otel_feedback.store._gather import Search
from otel_feedback.store.filters import Filter

if TYPE_CHECKING:
    import duckdb

FEEDBACK: Final = ("bad", "good", "any", "all")
"""Judged badly or corrected; judged well; with any feedback that stands; also those without."""

_CURSOR: Final = re.compile(r"([0-9]{1,18})-([0-9a-f]{32})-([0-9a-f]{16})")

NEWEST: Final = "ORDER BY at_us DESC, trace_id DESC, span_id DESC LIMIT $limit"
"""The order of a list, and its end."""

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

    @classmethod
    def before(cls, at_us: int) -> "Place":
        """Return the place that is after all answers of a time and before all older ones."""
        return cls(at_us, "0" * 32, "0" * 16)

    @property
    def is_between(self) -> bool:
        """Whether it is one of :meth:`before`, and no answer's."""
        return self.trace_id == "0" * 32

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

    def newest(self, connection: "duckdb.DuckDBPyConnection", limit: int, after: Place | None) -> list[Place]:
        """Return the next answers that match but for the text, newest first.

        Args:
            connection: A reader's.
            limit: Answers at most.
            after: Where the last ones ended.
        """
        parameters: dict[str, Any] = {"limit": limit}
        oldest_us = self._oldest(connection, limit, after) if self._of_all else None
        sql = f"{self.candidates(parameters, after, oldest_us)} {NEWEST}"
        return [Place(*row) for row in connection.execute(sql, parameters).fetchall()]

    @property
    def _of_all(self) -> bool:
        return self.feedback == "all" and self.signal is None and self.reason is None

    def candidates(self, parameters: dict[str, Any], after: Place | None, oldest_us: int | None = None) -> str:
        """Return SQL for the places of all that match but for the text.

        Args:
            parameters: Gets those that the statement needs.
            after: Where the last page ended.
            oldest_us: Older ones are left out.
        """
        judged = self._judged(parameters)
        if oldest_us is not None:  # lets whole blocks be skipped; younger ones must stay, since the youngest counts
            judged += " AND feedback.answered_at >= make_timestamp($oldest_us)"
        branches = [
            f"""
            SELECT trace_id, span_id, max(answered_at) AS answered FROM feedback
            WHERE {judged} GROUP BY trace_id, span_id
            """  # noqa: S608 - names and constants of ours; values are parameters
        ]
        if self._of_all:
            condition = self._recorded(parameters)
            if after is not None:  # lets whole blocks be skipped, too
                condition += " AND interactions.started_at <= make_timestamp($at_us)"
            if oldest_us is not None:
                condition += " AND interactions.started_at >= make_timestamp($oldest_us)"
            branches.append(f"SELECT trace_id, span_id, started_at AS answered FROM interactions WHERE {condition}")  # noqa: S608
        where = "true"
        if after is not None:
            where = "(answered, trace_id, span_id) < (make_timestamp($at_us), $trace_id, $span_id)"
            parameters |= after._asdict()
        if oldest_us is not None:
            where += " AND answered >= make_timestamp($oldest_us)"
            parameters["oldest_us"] = oldest_us
        return f"""
            SELECT epoch_us(answered) AS at_us, trace_id, span_id FROM ({" UNION ALL ".join(branches)}) WHERE {where}
        """  # noqa: S608

    def times(self, parameters: dict[str, Any]) -> str:
        """Return SQL for the times of all that match but for the text, as ``moment``: of what is judged, of each vote.

        Args:
            parameters: Gets those that the statement needs.
        """
        times = f"SELECT answered_at AS moment FROM feedback WHERE {self._judged(parameters)}"  # noqa: S608
        if self._of_all:
            times += f" UNION ALL SELECT started_at FROM interactions WHERE {self._recorded(parameters)}"  # noqa: S608
        return times

    def _oldest(self, connection: "duckdb.DuckDBPyConnection", limit: int, after: Place | None) -> int | None:
        """Return a time so that enough answers are not older: whole blocks needn't be sorted, nor their ids read."""
        parameters: dict[str, Any] = {"limit": limit}
        condition = self._recorded(parameters)
        if after is not None:
            condition += " AND interactions.started_at < make_timestamp($at_us)"
            parameters["at_us"] = after.at_us
        sql = f"""
            SELECT epoch_us(started_at) FROM interactions WHERE {condition} ORDER BY started_at DESC LIMIT $limit
        """  # noqa: S608
        times = [at_us for (at_us,) in connection.execute(sql, parameters).fetchall()]
        return times[-1] if len(times) == limit else None

    def _recorded(self, parameters: dict[str, Any]) -> str:
        condition, values = self.filter.where("interactions")
        parameters |= values
        return condition

    def _judged(self, parameters: dict[str, Any]) -> str:
        """Return a condition on feedback; where all answers are wanted, only that they are not recorded."""
        condition, values = self.filter.where("feedback")
        parameters |= values
        if self._of_all:
            return f"NOT feedback.joined AND {condition}"
        conditions = ["feedback.standing", _JUDGEMENTS[self.feedback], condition]
        if self.signal is not None:
            conditions.append("feedback.signal = $signal")
            parameters["signal"] = self.signal
        elif self.feedback in _KINDS:
            conditions.append(_KINDS[self.feedback])
        if self.reason is not None:
            conditions.append("list_contains(feedback.reasons, $reason)")
            parameters["reason"] = self.reason
        return " AND ".join(conditions)
