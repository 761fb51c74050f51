"""Feedback in the main table: settled by vote, with the facts of its answer where that has come."""

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from otel_feedback.intake.rows import FeedbackRow
from otel_feedback.store._settle import settle_votes, vote_of
from otel_feedback.store._tables import ids, insert, selected
from otel_feedback.store._watch import Known

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    import duckdb

    from otel_feedback.store._watch import Target

_FIELDS: Final = len(FeedbackRow._fields)
_FACTS_AT: Final = FeedbackRow._fields.index("service")
_FACTS_END: Final = FeedbackRow._fields.index("query_type") + 1


class Kept(NamedTuple):
    """A feedback as the table has it."""

    row: FeedbackRow
    given_us: int
    answered_us: int
    standing: bool
    joined: bool


class Votes:
    """The feedback of some traces, as the table has it, to be compared with what it should be."""

    def __init__(self, connection: "duckdb.DuckDBPyConnection", traces: "Collection[str]") -> None:
        self._connection = connection
        self._kept: defaultdict[Target, list[tuple[int, Kept]]] = defaultdict(list)
        for number, *columns in _rows(connection, traces):
            kept = _kept(columns)
            self._kept[kept.row[:2]].append((number, kept))

    def known(self, target: "Target") -> Known | None:
        """What feedback that is joined already tells about its answer."""
        for _, kept in self._kept.get(target, ()):
            if kept.joined:
                return Known(kept.answered_us, cast("tuple[str, ...]", kept.row[_FACTS_AT:_FACTS_END]))
        return None

    def has(self, target: "Target") -> bool:
        """Whether there is feedback on a span."""
        return target in self._kept

    def settle(
        self, new: "Iterable[FeedbackRow]", answers: "Mapping[Target, Known]", touched: "Iterable[Target]"
    ) -> list[FeedbackRow]:
        """Write what changes by new feedback and new answers.

        Args:
            new: What has come.
            answers: What is known now of the judged answers.
            touched: Targets without new feedback whose answer is new or has changed.

        Returns:
            Those of the new feedback that weren't there, as they are kept, oldest first.
        """
        by_target: defaultdict[Target, list[FeedbackRow]] = defaultdict(list, {target: [] for target in touched})
        for row in new:
            by_target[row[:2]].append(row)
        wanted: list[Kept] = []
        given: list[FeedbackRow] = []
        removed: list[int] = []
        for target, rows in by_target.items():
            answer = answers.get(target) or self.known(target)
            old = {(*vote_of(kept.row), kept.row.feedback_id): (number, kept) for number, kept in self._kept[target]}
            for settled in settle_votes([*(kept.row for _, kept in old.values()), *rows]):
                kept = _joined(settled.row, answer, standing=settled.standing)
                before = old.get((*vote_of(kept.row), kept.row.feedback_id))
                if before is None:
                    given.append(kept.row)
                elif before[1] == kept:
                    continue
                else:
                    removed.append(before[0])
                wanted.append(kept)
        self._write(wanted, removed)
        return sorted(given, key=lambda row: (row.at_ns, row.feedback_id))

    def _write(self, wanted: list[Kept], removed: list[int]) -> None:
        if removed:
            self._connection.execute(
                "DELETE FROM store.feedback WHERE rowid IN (SELECT unnest(string_split($1, ','))::BIGINT)",
                [ids(removed)],
            )
        if wanted:
            rows = ((*kept.row, *kept[1:]) for kept in wanted)
            insert(self._connection, "store", "feedback", zip(*rows, strict=True))


def history(connection: "duckdb.DuckDBPyConnection", target: "Target") -> list[FeedbackRow]:
    """All feedback on one answer, oldest first."""
    rows = (_kept(columns).row for _, *columns in _rows(connection, [target[0]]))
    return sorted((row for row in rows if row[:2] == target), key=lambda row: (row.at_ns, row.feedback_id))


def stored(connection: "duckdb.DuckDBPyConnection", *, at_once: int) -> "Iterator[Kept]":
    """All feedback, vote by vote, some rows at a time."""
    rows = connection.execute(
        f"SELECT {selected('feedback')} FROM store.feedback "  # noqa: S608
        "ORDER BY trace_id, span_id, signal, submitter"
    )
    while some := rows.fetchmany(at_once):
        for columns in some:
            yield _kept(list(columns))


def _rows(connection: "duckdb.DuckDBPyConnection", traces: "Collection[str]") -> "list[tuple[Any, ...]]":
    if not traces:
        return []
    return connection.execute(
        f"SELECT rowid, {selected('feedback')} FROM store.feedback "  # noqa: S608
        "WHERE trace_id IN (SELECT unnest(string_split($1, ',')))",
        [ids(traces)],
    ).fetchall()


def _kept(columns: "list[object]") -> Kept:
    row = FeedbackRow(*columns[:_FIELDS])  # type: ignore[arg-type]
    return Kept(row._replace(reasons=tuple(row.reasons)), *columns[_FIELDS:])  # type: ignore[arg-type]


def _joined(row: FeedbackRow, known: Known | None, *, standing: bool) -> Kept:
    given_us = row.at_ns // 1000
    if known is None or row.target_sampled is False:
        return Kept(row, given_us, given_us, standing, joined=False)
    row = FeedbackRow(*row[:_FACTS_AT], *known.facts, *row[_FACTS_END:])  # type: ignore[arg-type]
    return Kept(row, given_us, known.started_us, standing, joined=True)
