"""Rows and batches for stores by hand, what is in a store, and a store of a test's own."""

from contextlib import contextmanager

from otel_feedback.intake.members import trace_row
from otel_feedback.intake.rows import (
    Batch,
    DocumentRow,
    EvaluationRow,
    FeedbackRow,
    InteractionRow,
    TextRow,
    TraceRow,
    WordsRow,
)
from otel_feedback.store import Store
from otel_feedback.testing import START

STARTED = START * 10**9
SECOND = 10**9
RAG = ("rag", "shop", "prod", "qa", "v1", "m-1", "unknown")
UNKNOWN = ("unknown",) * 7


def trace(number):
    return f"{number:032x}"


def span(number):
    return f"{number:016x}"


def interaction(number, *, started_ns=STARTED, complete=True, facts=RAG, flagged=True):
    rest = (None,) * 6
    return InteractionRow(trace(number), span(number), started_ns, SECOND, "GET /ask", *facts, *rest, flagged, complete)


def feedback(number, feedback_id, seconds=1, sentiment="positive", **changes):
    row = FeedbackRow(
        *(trace(number), span(number), "thumbs", "", feedback_id, STARTED + seconds * SECOND, "explicit", sentiment),
        *("unset", None, 1.0, "up", None, ("clear",), "capture", True, True, trace(9000), span(9000), *UNKNOWN, None),
    )
    return row._replace(**changes)


def raw(number, *, started_ns=STARTED, of=None, parent=None):
    """Where a span is; of another trace, and below another span, if said."""
    ids = bytes.fromhex(span(number)), bytes.fromhex(span(parent)) if parent else b""
    return trace_row(bytes.fromhex(trace(of or number)), [(*ids, started_ns // 1000)])


def batch(*rows, received_ns=STARTED, **more):
    """A batch of rows of any kind."""
    made = Batch(received_ns, **more)
    fields = {
        InteractionRow: made.interactions,
        DocumentRow: made.documents,
        FeedbackRow: made.feedback,
        EvaluationRow: made.evaluations,
        TraceRow: made.traces,
        TextRow: made.texts,
        WordsRow: made.words,
    }
    for row in rows:
        fields[type(row)].append(row)
    return made


@contextmanager
def opened(folder, **options):
    store = Store.open(folder, **options)
    try:
        yield store
    finally:
        store.close()


def ask(store, sql, *parameters):
    with store.cursor() as cursor:
        return cursor.execute(sql, list(parameters)).fetchall()


def standing(store):
    """Id, standing, joined, model of all feedback, by id."""
    return ask(store, "SELECT feedback_id, standing, joined, model FROM feedback ORDER BY feedback_id")
