"""Answers in a list: the newest that match, a page at a time, each with what was asked, answered and said of it."""

from typing import TYPE_CHECKING, Final

from otel_feedback import semconv
from otel_feedback._limits import clean_text, cut_middle
from otel_feedback.exceptions import InvalidQueryError
from otel_feedback.intake.rows import UNKNOWN_FACTS
from otel_feedback.store._detail import answer
from otel_feedback.store._gather import Answers, Row, Search, Texts, in_utc, instant, newest_words
from otel_feedback.store._search import Walk
from otel_feedback.store._select import FEEDBACK, Place, Wanted
from otel_feedback.store._views import Answer, AnswersPage, Document, Vote
from otel_feedback.store.filters import Filter

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

    from otel_feedback.store._gather import Target
    from otel_feedback.store._store import Store

__all__ = ["MOST", "SHORT", "answer", "answers"]

MOST: Final = 200
"""Answers of one page at the most."""

SHORT: Final = 500
"""Characters of a question or an answer in a list: of a question the middle is cut out, of an answer the end."""

_LONGEST: Final = 1000
"""Characters that can be searched for, or that a signal or reason can have."""

_ROUNDS: Final = 8
"""How many times more answers are read for one page, where others of their traces have the text: of one trace there may
be thousands."""

_NONE: Final = Texts()


def answers(
    store: "Store",
    filter: Filter | None = None,  # noqa: A002 - what it is, everywhere
    *,
    feedback: str = "bad",
    signal: str | None = None,
    reason: str | None = None,
    search: str | None = None,
    limit: int = 50,
    after: str | None = None,
) -> AnswersPage:
    """Return a page of answers, the newest first.

    A search looks through so many answers for one page, and where they haven't enough with the text the page ends
    before it is full: it says how far it looked, and the next one goes on there. All pages together have everything.

    Args:
        store: Where they are.
        filter: Which answers.
        feedback: ``bad``: a standing vote is negative, or a correction stands that changed something; ``good``: a
            standing vote is positive; ``any``: whatever feedback stands; ``all``: also without any. Signals that
            software derived make nothing bad or good, unless ``signal`` names one.
        signal: Only with this signal, such as ``copy``: what ``feedback`` asks for must be of it.
        reason: Only where this reason was given with it.
        search: Only with this text, in whatever case, in question, answer, comment or correction.
        limit: How many, from 1 to 200.
        after: ``next`` of the page before.

    Raises:
        InvalidQueryError: An argument can't be understood.
    """
    if feedback not in FEEDBACK:
        raise InvalidQueryError("feedback", f"feedback must be one of {', '.join(FEEDBACK)}.")
    if not 1 <= limit <= MOST:
        raise InvalidQueryError("limit", f"limit must be a number from 1 to {MOST}.")
    wanted = Wanted(
        filter or Filter(),
        feedback=feedback,
        signal=_text("signal", signal) if signal else None,
        reason=_text("reason", reason) if reason else None,
        search=Search(_text("search", search)) if search else None,
    )
    place = Place.from_cursor(after) if after else None
    with store.cursor() as connection:
        return _page(connection, store.content_databases(), wanted, limit, place)


def _text(name: str, value: str) -> str:
    if len(value) > _LONGEST:
        raise InvalidQueryError(name, f"{name} has at most {_LONGEST} characters.")
    return clean_text(value)


def _page(
    connection: "duckdb.DuckDBPyConnection", content: "Sequence[str]", wanted: Wanted, limit: int, after: Place | None
) -> AnswersPage:
    rows: list[tuple[Place, Answer]] = []
    walk = Walk(connection, content, wanted, after=after, at_once=limit + 1)
    end = None
    for _ in range(_ROUNDS):
        places = walk.take()
        rows += _read(connection, content, places, wanted.search)
        end = walk.end if len(places) <= limit else places[-1]
        if len(rows) > limit or len(places) <= limit:
            break
    if len(rows) > limit:
        return AnswersPage(tuple(row for _, row in rows[:limit]), rows[limit - 1][0].to_cursor(), None)
    return AnswersPage(
        tuple(row for _, row in rows), end and end.to_cursor(), None if end is None else instant(end.at_us * 1000)
    )


def _read(
    connection: "duckdb.DuckDBPyConnection", content: "Sequence[str]", places: "Sequence[Place]", search: Search | None
) -> "list[tuple[Place, Answer]]":
    if not places:
        return []
    times = instant(places[-1].at_us * 1000), instant(places[0].at_us * 1000)
    reader = Answers(connection, content, [place[1:] for place in places], times, search=search)
    facts, documents, texts, votes = reader.facts(), reader.documents(), reader.texts(), reader.votes()
    rows = []
    for place in places:
        target: Target = place[1:]
        said = votes.get(target, [])
        row = facts.get(target) or (said[-1][1] if said else None)
        if row is None or (search is not None and target not in reader.hits):
            continue  # gone meanwhile; or another answer of its trace has the text
        told = texts.get(target, _NONE)
        rows.append((place, _answer(place, row, told, documents.get(target, ()), [vote for vote, _ in said])))
    return rows


def _answer(place: Place, row: Row, told: Texts, documents: tuple[Document, ...], votes: "Sequence[Vote]") -> Answer:
    standing = tuple(vote for vote in votes if vote.standing)
    comment, correction = newest_words(votes)
    started_at = row.get("started_at")
    return Answer(
        id=f"{place.trace_id}-{place.span_id}",
        trace_id=place.trace_id,
        span_id=place.span_id,
        started_at=in_utc(started_at) if started_at else instant(place.at_us * 1000),
        **{name: row[name] for name in UNKNOWN_FACTS},
        recorded=started_at is not None,
        question=None if told.question is None else cut_middle(told.question, SHORT),
        answer=_shorten(told.answer),
        documents=documents,
        feedback=standing,
        comment=comment,
        correction=correction,
        reasons=tuple(
            dict.fromkeys(reason for vote in standing if vote.sentiment != semconv.RETRACTED for reason in vote.reasons)
        ),
    )


def _shorten(text: str | None) -> str | None:
    return text if text is None or len(text) <= SHORT else f"{text[: SHORT - 1]}…"
