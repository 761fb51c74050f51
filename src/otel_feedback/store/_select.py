"""Which answers belong on a page: the newest that match, found without reading what isn't shown."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from otel_feedback import semconv
from otel_feedback.exceptions import InvalidQueryError
from otel_feedback.store._gather import matches
from otel_feedback.store.filters import Filter

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

FEEDBACK: Final = ("bad", "good", "any", "all")
"""Judged badly or corrected; judged well; with any feedback that stands; also those without."""

_CURSOR: Final = re.compile(r"([0-9]{1,18})-([0-9a-f]{32})-([0-9a-f]{16})")

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
    search: str | None = None

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
        parameters: dict[str, Any] = {"limit": limit}
        branches = [self._judged(parameters)]
        if self.feedback == "all" and self.signal is None and self.reason is None:
            branches = [self._unrecorded(parameters), self._recorded(parameters, after)]
        where = ["true"]
        if after is not None:
            where.append("(answered, trace_id, span_id) < (make_timestamp($at_us), $trace_id, $span_id)")
            parameters |= after._asdict()
        found = ""
        if self.search is not None:
            found = _search(content) + ","
            where.append("trace_id IN (FROM found)")
            parameters["search"] = self.search
        rows = connection.execute(
            f"""
            WITH {found} candidates AS ({" UNION ALL ".join(branches)})
            SELECT epoch_us(answered), trace_id, span_id FROM candidates WHERE {" AND ".join(where)}
            ORDER BY answered DESC, trace_id DESC, span_id DESC LIMIT $limit
            """,  # noqa: S608 - names and constants of ours; values are parameters
            parameters,
        ).fetchall()
        return [Place(*row) for row in rows]

    def _judged(self, parameters: dict[str, Any]) -> str:
        conditions = ["feedback.standing", _JUDGEMENTS[self.feedback]]
        if self.signal is not None:
            conditions.append("feedback.signal = $signal")
            parameters["signal"] = self.signal
        elif self.feedback in _KINDS:
            conditions.append(_KINDS[self.feedback])
        if self.reason is not None:
            conditions.append("list_contains(feedback.reasons, $reason)")
            parameters["reason"] = self.reason
        return self._targets(conditions, parameters)

    def _unrecorded(self, parameters: dict[str, Any]) -> str:
        return self._targets(["NOT feedback.joined"], parameters)

    def _targets(self, conditions: list[str], parameters: dict[str, Any]) -> str:
        condition, values = self.filter.where("feedback")
        parameters |= values
        return f"""
            SELECT trace_id, span_id, max(answered_at) AS answered FROM feedback
            WHERE {" AND ".join([*conditions, condition])} GROUP BY trace_id, span_id
        """  # noqa: S608

    def _recorded(self, parameters: dict[str, Any], after: Place | None) -> str:
        condition, values = self.filter.where("interactions")
        parameters |= values
        if after is not None:  # lets whole blocks be skipped
            condition += " AND interactions.started_at <= make_timestamp($at_us)"
        return f"SELECT trace_id, span_id, started_at AS answered FROM interactions WHERE {condition}"  # noqa: S608


def _search(content: "Sequence[str]") -> str:
    tables = {"texts": ("question", "answer"), "words": ("comment", "original", "corrected")}
    selects = ["SELECT NULL::VARCHAR AS trace_id WHERE false"]
    for name in content:
        for table, columns in tables.items():
            selects.append(f'SELECT trace_id FROM "{name}".{table} WHERE {matches("$search", columns)}')  # noqa: S608
    return f"found AS MATERIALIZED (SELECT DISTINCT trace_id FROM ({' UNION ALL '.join(selects)}))"  # noqa: S608
