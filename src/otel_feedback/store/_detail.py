"""Everything about one answer, found by its id or by how that begins."""

import re
from typing import TYPE_CHECKING, Any, Final

from otel_feedback.exceptions import NotFoundError
from otel_feedback.intake.rows import UNKNOWN_FACTS
from otel_feedback.intake.traces import exchange_of
from otel_feedback.store._gather import MORE_FACTS, Answers, Texts, in_utc, instant
from otel_feedback.store._views import AnswerDetail, Document, Evaluation, Message

if TYPE_CHECKING:
    import datetime as dt
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
        target, started_at = _find(connection, found[1] or found[2], found[3] or "")
        return _read(connection, store.content_databases(), target, started_at)


def _find(connection: "duckdb.DuckDBPyConnection", trace: str, span: str) -> "tuple[Target, dt.datetime | None]":
    """Return the one answer that an id means, and when it started, where the store has it.

    One that counts is meant before what is only a target of feedback.
    """
    exact = len(trace) == _TRACE_DIGITS
    condition = "trace_id = $trace" if exact else "starts_with(trace_id, $trace)"
    condition += " AND starts_with(span_id, $span)" if span else ""
    rows = connection.execute(
        f"""
        SELECT trace_id, span_id, max(flagged), max(started_at) FROM (
            SELECT trace_id, span_id, flagged, started_at FROM interactions WHERE {condition}
            UNION ALL SELECT trace_id, span_id, false, NULL FROM feedback WHERE {condition}
        ) GROUP BY trace_id, span_id ORDER BY 1, 2 LIMIT 100
        """,  # noqa: S608 - parameters
        {"trace": trace, **({"span": span} if span else {})},
    ).fetchall()
    chosen = [row for row in rows if row[2]]
    if len(chosen) != 1:
        chosen = rows
    if not chosen:
        raise NotFoundError("There is no such answer.")
    if len(chosen) > 1:
        some = "".join(f"\n  {trace_id}-{span_id}" for trace_id, span_id, *_ in chosen[:_FEW])
        raise NotFoundError(f"Several answers begin so; say more of the id:{some}")
    trace_id, span_id, _, started_at = chosen[0]
    return (trace_id, span_id), None if started_at is None else in_utc(started_at)


def _read(
    connection: "duckdb.DuckDBPyConnection",
    content: "Sequence[str]",
    target: "Target",
    started_at: "dt.datetime | None",
) -> AnswerDetail:
    from otel_feedback.store._trace import document_texts, read_trace, views

    times = None if started_at is None else (started_at, started_at)
    reader = Answers(connection, content, [target], times)
    votes = reader.votes().get(target, [])
    row = votes[-1][1] if started_at is None else reader.facts()[target]
    trace_id, span_id = target
    trace = read_trace(connection, content, target, times)
    exchange = exchange_of(trace.spans, trace_id, span_id)
    told = Texts()
    if exchange.question is None or exchange.answer is None:
        told = reader.texts().get(target, told)  # of log records
    texts = document_texts(trace.spans)
    duration_ns = row.get("duration_ns")
    return AnswerDetail(
        id=f"{trace_id}-{span_id}",
        trace_id=trace_id,
        span_id=span_id,
        started_at=votes[-1][0].at if started_at is None else started_at,
        duration_ms=None if duration_ns is None else duration_ns / 1e6,
        name=row.get("name"),
        **{name: row[name] for name in UNKNOWN_FACTS},
        **_more(row),
        recorded=started_at is not None,
        question=told.question if exchange.question is None else exchange.question,
        answer=told.answer if exchange.answer is None else exchange.answer,
        system=told.system if exchange.system is None else exchange.system,
        variables=dict(exchange.variables),
        prompt=tuple(Message(*message) for message in exchange.messages),
        documents=tuple(
            Document(it.rank, it.id, it.score, texts.get(it.id)) for it in reader.documents().get(target, ())
        ),
        feedback=tuple(vote for vote, _ in votes),
        evaluations=_evaluations(connection, target),
        spans=views(trace, span_id=span_id),
        span_count=trace.total,
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
