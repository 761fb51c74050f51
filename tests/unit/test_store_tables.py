"""Rows go into a table by one text of all of them: whatever stands in them, the same rows come back."""

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.store_parts import STARTED, feedback

from otel_feedback.intake.rows import DocumentRow, FeedbackRow, WordsRow
from otel_feedback.store._migrations import CONTENT, MAIN
from otel_feedback.store._tables import insert, selected

TEXTS = st.text(alphabet="\x1c\x1d\x1e\x1f'$ aü", max_size=4)
MAYBE = st.none() | TEXTS
ALTERED = st.fixed_dictionaries(
    {
        "submitter": TEXTS,
        "previous_sentiment": MAYBE,
        "label": MAYBE,
        "score": st.none() | st.floats(allow_nan=False, allow_infinity=False),
        "confidence": st.none() | st.just(0.5),
        "reasons": st.lists(TEXTS, max_size=3).map(tuple),
        "first": st.none() | st.booleans(),
        "target_sampled": st.none() | st.booleans(),
    }
)


@pytest.fixture(scope="module")
def connection():
    with duckdb.connect() as made:
        made.execute("ATTACH ':memory:' AS store; USE store")
        made.execute(MAIN[0].sql)
        made.execute(CONTENT[0].sql)
        yield made


def back(connection, table, rows, more=()):
    """Rows as they come back from a table that has only them."""
    connection.execute(f"DELETE FROM {table}")  # noqa: S608
    insert(connection, "store", table, [*zip(*rows, strict=True), *([value] * len(rows) for value in more)])
    return connection.execute(f"SELECT {selected(table)} FROM {table} ORDER BY rowid").fetchall()  # noqa: S608


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(TEXTS, TEXTS, MAYBE, MAYBE, MAYBE), min_size=1, max_size=4))
def test_what_people_wrote_comes_back(connection, texts):
    """NULL, the empty text, and what separates one text from the next."""
    rows = [WordsRow("a" * 32, "b" * 16, signal, "", name, 7, *rest) for signal, name, *rest in texts]
    assert back(connection, "words", rows) == rows


@settings(max_examples=100, deadline=None)
@given(st.lists(ALTERED, min_size=1, max_size=4))
def test_feedback_comes_back(connection, altered):
    """Lists of texts, numbers and truth values, each perhaps missing; other columns the same in all rows."""
    rows = [feedback(number, str(number), **some) for number, some in enumerate(altered)]
    found = back(connection, "feedback", rows, (STARTED // 1000, STARTED // 1000, True, False))
    names = FeedbackRow._fields
    assert [
        FeedbackRow(*row[: len(names)])._replace(reasons=tuple(row[names.index("reasons")])) for row in found
    ] == rows
    assert {row[len(names) :] for row in found} == {(STARTED // 1000, STARTED // 1000, True, False)}


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(TEXTS, st.none() | st.floats(allow_nan=False, allow_infinity=False)), min_size=1, max_size=4))
def test_documents_come_back(connection, documents):
    """Times in microseconds, numbers exactly."""
    rows = [
        DocumentRow("a" * 32, "b" * 16, STARTED + 1000 * rank, rank, *document)
        for rank, document in enumerate(documents)
    ]
    assert back(connection, "documents", rows) == rows
