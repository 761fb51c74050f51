"""Questions as they are put in an address, or on the command line, and their answers as JSON: the same everywhere."""

from collections.abc import Mapping
from typing import Any, Final

from otel_feedback.analysis.satisfaction import MOST, options, satisfaction, trend
from otel_feedback.exceptions import InvalidQueryError
from otel_feedback.store import Store
from otel_feedback.store._answers import answers
from otel_feedback.store._detail import answer
from otel_feedback.store.filters import Filter

Query = Mapping[str, str]
Json = dict[str, Any]

ANSWERS: Final = 50
"""Rows of a list of answers where no number is asked for."""


def ask_satisfaction(store: Store, query: Query) -> Json:
    """Return satisfaction by group.

    Args:
        store: What is asked.
        query: The fields of ``Filter``, ``by`` and ``limit``.

    Raises:
        InvalidQueryError: A field can't be understood.
    """
    chosen = Filter.from_query(query)
    by = tuple(name.strip() for name in (query.get("by") or "template,version").split(","))
    rows = satisfaction(store, by=by, filter=chosen, limit=_number(query, "limit", MOST))
    return {"rows": [row.to_json() for row in rows], "filter": chosen.to_query()}


def ask_trend(store: Store, query: Query) -> Json:
    """Return how satisfaction went: as ``ask_satisfaction``, with ``bucket``."""
    chosen = Filter.from_query(query)
    points = trend(store, chosen, bucket=query.get("bucket") or "auto", by=query.get("by") or None)
    return {"points": [point.to_json() for point in points], "filter": chosen.to_query()}


def ask_options(store: Store, _: Query) -> dict[str, list[str]]:
    """Return what answers can be picked by."""
    return options(store)


def ask_answers(store: Store, query: Query) -> Json:
    """Return a page of answers.

    Args:
        store: What is asked.
        query: The fields of ``Filter``, ``feedback``, ``signal``, ``reason``, ``search``, ``limit`` and ``after``.

    Raises:
        InvalidQueryError: A field can't be understood.
    """
    return answers(
        store,
        Filter.from_query(query),
        feedback=query.get("feedback") or "bad",
        signal=query.get("signal") or None,
        reason=query.get("reason") or None,
        search=query.get("search") or None,
        limit=_number(query, "limit", ANSWERS),
        after=query.get("after") or None,
    ).to_json()


def ask_answer(store: Store, name: str) -> Json:
    """Return everything about one answer.

    Raises:
        NotFoundError: There is none of this id, or several.
    """
    return answer(store, name).to_json()


def _number(query: Query, name: str, default: int) -> int:
    text = query.get(name, "")
    if not text:
        return default
    if not text.isdecimal() or len(text) > 9:  # noqa: PLR2004 - a billion is beyond every limit
        raise InvalidQueryError(name, f"{name} must be a number.")
    return int(text)
