"""What belongs to some answers: their facts, documents, texts and votes, read by few statements for all of them."""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from otel_feedback import semconv
from otel_feedback.intake.members import members_of
from otel_feedback.intake.rows import UNKNOWN_FACTS
from otel_feedback.store._views import Correction, Document, Vote

if TYPE_CHECKING:
    import duckdb

Target = tuple[str, str]
"""Trace and span of an answer."""

_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)

BEFORE: Final = dt.timedelta(minutes=1)
"""How much earlier than its answer a span below it may start: clocks of several machines."""

AFTER: Final = dt.timedelta(hours=25)
"""How much later than its answer a span below it may start."""

_FACTS: Final = ("duration_ns", "name", *UNKNOWN_FACTS)
MORE_FACTS: Final = (
    *("prompt_fingerprint", "provider", "response_id", "conversation_id", "user_hash", "error", "flagged"),
)
_FEEDBACK: Final = ("trace_id", "span_id", "signal", "submitter", "feedback_id", "at_ns")
"""What names one feedback, here and among words."""
WORDS: Final = ("comment", "original", "corrected")
"""What people write with a feedback."""
TEXTS: Final = ("question", "answer")
"""What is searched of an exchange."""
_VOTE: Final = (
    *_FEEDBACK,
    *("kind", "sentiment", "previous_sentiment", "revises", "score", "label", "confidence", "reasons", "source"),
    *("standing", "conversation_id"),
    *UNKNOWN_FACTS,
)

Row = dict[str, Any]
Period = tuple[dt.datetime, dt.datetime]


class Search:
    """A text to look for within others, in whatever case."""

    def __init__(self, text: str) -> None:
        # ILIKE takes half to all of the time of contains(lower(...)), but with an ESCAPE it takes twice as long.
        self._wild = "%" in text or "_" in text
        self.parameter = text if self._wild else f"%{text}%"
        """Value of ``$search``."""

    def within(self, columns: Sequence[str]) -> str:
        """Return the condition that one of some columns has it."""
        one = "contains(lower({0}), lower($search))" if self._wild else "{0} ILIKE $search"
        return f"({' OR '.join(one.format(name) for name in columns)})"


class Texts(NamedTuple):
    """What was asked and answered."""

    question: str | None = None
    answer: str | None = None
    system: str | None = None


class Answers:
    """Reads what belongs to answers.

    Args:
        connection: A reader's.
        content: Names of the content databases.
        targets: Trace and span of each answer.
        times: When the first of them started and the last one, so that whole blocks of other times are skipped;
            ``None`` where that isn't known.
        search: A text to look for.
    """

    def __init__(
        self,
        connection: "duckdb.DuckDBPyConnection",
        content: Sequence[str],
        targets: Sequence[Target],
        times: Period | None,
        *,
        search: Search | None = None,
    ) -> None:
        self.hits: set[Target] = set()
        """Those that have ``search`` in a text or in what was written of them, once both have been read."""
        self._search = search
        self._connection = connection
        self._content = content
        self._targets = frozenset(targets)
        self._traces = sorted({trace for trace, _ in targets})
        self._times = times

    def facts(self) -> dict[Target, Row]:
        """Return what is known of the answers themselves, as columns of ``interactions``."""
        names = ("trace_id", "span_id", "started_at", *_FACTS, *MORE_FACTS)
        return {(row["trace_id"], row["span_id"]): row for row in self._read("interactions", names)}

    def documents(self) -> dict[Target, tuple[Document, ...]]:
        """Return the documents of each, by rank."""
        found: defaultdict[Target, list[Document]] = defaultdict(list)
        for row in self._read("documents", ("trace_id", "span_id", "rank", "document_id", "score")):
            found[row["trace_id"], row["span_id"]].append(Document(row["rank"], row["document_id"], row["score"]))
        return {target: tuple(sorted(some, key=lambda it: (it.rank, it.id))) for target, some in found.items()}

    def votes(self) -> dict[Target, list[tuple[Vote, Row]]]:
        """Return all feedback on each with its words, oldest first, beside its columns of ``feedback``."""
        rows = self._read("feedback", _VOTE, timed=False)
        words = self._words() if rows else {}
        found: defaultdict[Target, list[tuple[Vote, Row]]] = defaultdict(list)
        for row in sorted(rows, key=lambda it: (it["at_ns"], it["feedback_id"])):
            key = tuple(row[name] for name in _FEEDBACK)
            found[row["trace_id"], row["span_id"]].append((_vote(row, words.get(key, {})), row))
        return found

    def texts(self) -> dict[Target, Texts]:
        """Return question and answer of each: those of its own span, else of the spans below it.

        The question is the first one below, the answer the last one.
        """
        names = ("trace_id", "span_id", "parent_id", "started_at", "question", "answer", "system")
        rows = [
            row
            for database in self._content
            for row in self._read(f'"{database}".texts', names, below=True, searched=TEXTS)
        ]
        if not rows:
            return {}
        parents = {(row["trace_id"], row["span_id"]): row["parent_id"] for row in rows if row["parent_id"]}
        if any((row["trace_id"], row["span_id"]) not in self._targets for row in rows):
            parents |= self._parents()
        found: defaultdict[Target, list[Row]] = defaultdict(list)
        for row in sorted(rows, key=lambda it: (it["started_at"], it["span_id"])):
            for span_id in _upwards(row["trace_id"], row["span_id"], parents):
                if (row["trace_id"], span_id) in self._targets:
                    found[row["trace_id"], span_id].append(row)
        self.hits |= {target for target, some in found.items() if any(row["hit"] for row in some)}
        return {target: _told(target[1], some) for target, some in found.items()}

    def _parents(self) -> dict[Target, str]:
        rows = (
            row
            for database in self._content
            for row in self._read(
                f'"{database}".traces', ("trace_id", "members"), below=True, started=("first_at", "last_at")
            )
        )
        return {(row["trace_id"], it.span_id): it.parent_id for row in rows for it in members_of(row["members"])}

    def _words(self) -> dict[tuple[Any, ...], Row]:
        found: dict[tuple[Any, ...], Row] = {}
        for database in self._content:
            for row in self._read(f'"{database}".words', (*_FEEDBACK, *WORDS), searched=WORDS, timed=False):
                found.setdefault(tuple(row[name] for name in _FEEDBACK), row)
                if row["hit"]:
                    self.hits.add((row["trace_id"], row["span_id"]))
        return found

    def _read(
        self,
        table: str,
        names: Sequence[str],
        *,
        timed: bool = True,
        below: bool = False,
        searched: Sequence[str] = (),
        started: tuple[str, str] = ("started_at", "started_at"),
    ) -> list[Row]:
        parameters: dict[str, Any] = {"traces": ",".join(self._traces)}
        traces = "SELECT unnest(string_split($traces, ','))"
        if table == "feedback":  # has an index, which is used for a list and not for a subquery
            parameters = {f"t{number}": trace for number, trace in enumerate(self._traces)}
            traces = ", ".join(f"${name}" for name in parameters)
        hit = "false"
        if searched and self._search is not None:
            hit = f"coalesce({self._search.within(searched)}, false)"
            parameters["search"] = self._search.parameter
        sql = f"SELECT {', '.join(names)}, {hit} FROM {table} WHERE trace_id IN ({traces})"  # noqa: S608 - names of ours
        if timed and self._times is not None:
            first, last = self._times
            first, last = (first - BEFORE, last + AFTER) if below else (first, last)
            parameters |= {"first": first.replace(tzinfo=None), "last": last.replace(tzinfo=None)}
            sql += f" AND {started[0]} <= $last::TIMESTAMP AND {started[1]} >= $first::TIMESTAMP"
        found = self._connection.execute(sql, parameters).fetchall()
        return [dict(zip((*names, "hit"), row, strict=True)) for row in found]


def instant(ns: int) -> dt.datetime:
    """Return nanoseconds since 1970 as a time."""
    return _EPOCH + dt.timedelta(microseconds=ns // 1000)


def in_utc(moment: dt.datetime) -> dt.datetime:
    """Return a time of the tables, which have no zone."""
    return moment.replace(tzinfo=dt.timezone.utc)


def _vote(row: Row, words: Row) -> Vote:
    corrected = words.get("original") is not None or words.get("corrected") is not None
    return Vote(
        feedback_id=row["feedback_id"],
        signal=row["signal"],
        kind=row["kind"],
        sentiment=row["sentiment"],
        previous_sentiment=row["previous_sentiment"],
        label=row["label"],
        score=row["score"],
        confidence=row["confidence"],
        reasons=tuple(row["reasons"]),
        at=instant(row["at_ns"]),
        submitter=row["submitter"],
        revises=row["revises"],
        source=row["source"],
        standing=row["standing"],
        comment=words.get("comment"),
        correction=Correction(words["original"], words["corrected"]) if corrected else None,
    )


def newest_words(votes: Iterable[Vote]) -> tuple[str | None, Correction | None]:
    """Return the newest comment and correction of what people still think.

    A vote may get its comment first and reasons later, in a feedback that repeats the sentiment: what was written with
    another sentiment than the one that stands is left out, and so is what was taken back.
    """
    ordered = list(votes)
    stands = {(vote.signal, vote.submitter): vote.sentiment for vote in ordered if vote.standing}
    held = [vote for vote in ordered if stands.get((vote.signal, vote.submitter)) == vote.sentiment]
    held = [vote for vote in held if vote.sentiment != semconv.RETRACTED]
    comment = next((vote.comment for vote in reversed(held) if vote.comment), None)
    return comment, next((vote.correction for vote in reversed(held) if vote.correction), None)


def _upwards(trace_id: str, span_id: str, parents: Mapping[Target, str]) -> Iterable[str]:
    passed: set[str] = set()
    while span_id and span_id not in passed:
        passed.add(span_id)
        yield span_id
        span_id = parents.get((trace_id, span_id), "")


def _told(span_id: str, rows: Sequence[Row]) -> Texts:
    """Choose among the texts of an answer and of what is below it, by start."""
    own = [row for row in rows if row["span_id"] == span_id]
    latest = (*reversed(own), *reversed(rows))
    return Texts(_first("question", (*own, *rows)), _first("answer", latest), _first("system", latest))


def _first(name: str, rows: Iterable[Row]) -> str | None:
    return next((row[name] for row in rows if row[name] is not None), None)
