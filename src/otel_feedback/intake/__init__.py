"""What arrives over OTLP, as rows: decoding and understanding, without a database."""

from otel_feedback.intake.rows import (
    Batch,
    DocumentRow,
    EvaluationRow,
    FeedbackRow,
    InteractionRow,
    SpanRow,
    StoredSpan,
    TextRow,
    WordsRow,
)
from otel_feedback.intake.spans import read_traces
from otel_feedback.intake.wire import (
    MAX_BODY,
    MalformedError,
    TooLargeError,
    decode_logs,
    decode_metrics,
    decode_traces,
    gunzip,
)

__all__ = [
    "MAX_BODY",
    "Batch",
    "DocumentRow",
    "EvaluationRow",
    "FeedbackRow",
    "InteractionRow",
    "MalformedError",
    "SpanRow",
    "StoredSpan",
    "TextRow",
    "TooLargeError",
    "WordsRow",
    "decode_logs",
    "decode_metrics",
    "decode_traces",
    "gunzip",
    "read_traces",
]
