"""Everything about one answer, found by its id or by how that begins."""

import re
from typing import TYPE_CHECKING, Any, Final

from otel_feedback.exceptions import NotFoundError
from otel_feedback.intake.rows import UNKNOWN_FACTS
from otel_feedback.intake.traces import exchange_of
from otel_feedback.store._gather import MORE_FACTS, Answers, Texts, in_utc, instant
from otel_feedback.store._views import AnswerDetail, Document, Evaluation, Message

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

    from otel_feedback.store._gather import Row, Target
    from otel_feedback.store._store import Store

_ID: Final = re.compile(r"([0-9a-f]{8,32})|([0-9a-f]{32})-([0-9a-f]{1,16})")
_TRACE_DIGITS: Final = 32
_FEW: Final = 10


def answer(store: "Store", id: str) -> AnswerDetail:  # noqa: A002 - what it is, everywhere
    """Return everything about one answer.

    Args:
        store: Where it is.
        id: ``<trace id>-<span id>``, a trace id, or how one begins: at least 8 digits.

    Raises:
        NotFoundError: There is none, or the id fits several.
    """
    found = _ID.fullmatch(id.strip().lower())
    if found is None:
        raise NotFoundError("That is no id of an answer: it has at least the first 8 hex digits of its trace's id.")
    with store.cursor() as connection:
        target = _find(connection, found[1] or found[2], found[3] or "")
        return _read(connection, store.content_databases(), target)


def _find(connection: "duckdb.DuckDBPyConnection", trace: str, span: str) -> "Target":
    """Return the one answer that an id means; one that counts is meant before what is only a target of feedback."""
    exact = len(trace) == _TRACE_DIGITS
    condition = "trace_id = $trace" if exact else "starts_with(trace_id, $trace)"
    condition += " AND starts_with(span_id, $span)" if span else ""
    rows = connection.execute(
        f"""
        SELECT trace_id, span_id, max(counts) FROM (
            SELECT trace_id, span_id, flagged AS counts FROM interactions WHERE {condition}
            UNION ALL SELECT trace_id, span_id, false FROM feedback WHERE {condition}
        ) GROUP BY trace_id, span_id ORDER BY 1, 2 LIMIT 100
        """,  # noqa: S608 - parameters
        {"trace": trace, **({"span": span} if span else {})},
    ).fetchall()
    chosen = [row[:2] for row in rows if row[2]]
    if len(chosen) != 1:
        chosen = [row[:2] for row in rows]
    if not chosen:
        raise NotFoundError("There is no such answer.")
    if len(chosen) > 1:
        some = "".join(f"\n  {trace_id}-{span_id}" for trace_id, span_id in chosen[:_FEW])
        raise NotFoundError(f"Several answers begin so; say more of the id:{some}")
    return chosen[0][0], chosen[0][1]


def _read(connection: "duckdb.DuckDBPyConnection", content: "Sequence[str]", target: "Target") -> AnswerDetail:
    from otel_feedback.store._trace import document_texts, read_trace, views

    reader = Answers(connection, content, [target], None)
    row = reader.facts().get(target)
    votes = reader.votes().get(target, [])
    if row is not None:
        times = in_utc(row["started_at"]), in_utc(row["started_at"])
        reader = Answers(connection, content, [target], times)
        started_at = times[0]
    else:
        row, times = votes[-1][1], None
        started_at = votes[-1][0].at
    trace_id, span_id = target
    trace = read_trace(connection, content, trace_id, times)
    exchange = exchange_of(trace.spans, trace_id, span_id)
    told = Texts()
    if exchange.question is None or exchange.answer is None:
        told = reader.texts().get(target, told)  # of log records
    texts = document_texts(trace.spans)
    documents = reader.documents().get(target, ())
    duration_ns = row.get("duration_ns")
    return AnswerDetail(
        id=f"{trace_id}-{span_id}",
        trace_id=trace_id,
        span_id=span_id,
        started_at=started_at,
        duration_ms=None if duration_ns is None else duration_ns / 1e6,
        name=row.get("name"),
        **{name: row[name] for name in UNKNOWN_FACTS},
        **_more(row),
        recorded="started_at" in row,
        question=exchange.question if exchange.question is not None else told.question,
        answer=exchange.answer if exchange.answer is not None else told.answer,
        system=exchange.system if exchange.system is not None else told.system,
        variables=dict(exchange.variables),
        prompt=tuple(Message(*message) for message in exchange.messages),
        documents=tuple(Document(it.rank, it.id, it.score, texts.get(it.id)) for it in documents),
        feedback=tuple(vote for vote, _ in votes),
        evaluations=_evaluations(connection, target),
        spans=views(trace, span_id=span_id),
    )


def _more(row: "Row") -> dict[str, Any]:
    return {**{name: row.get(name) for name in MORE_FACTS}, "flagged": row.get("flagged", False)}


def _evaluations(connection: "duckdb.DuckDBPyConnection", target: "Target") -> tuple[Evaluation, ...]:
    rows = connection.execute(
        """
        SELECT evaluation_id, name, score, label, at_ns, source FROM evaluations
        WHERE trace_id = $1 AND span_id = $2 ORDER BY at_ns, evaluation_id, name
        """,
        list(target),
    ).fetchall()
    return tuple(
        Evaluation(evaluation_id, name, score, label, instant(at_ns), source)
        for evaluation_id, name, score, label, at_ns, source in rows
    )
