"""What arrives: telemetry in OTLP, of any SDK and instrumentation family, as the rows of a store."""

from otel_feedback.intake.logs import read_logs
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
from otel_feedback.intake.traces import Exchange, Node, complete_trace, exchange_of, tree, unpack
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
    "Exchange",
    "FeedbackRow",
    "InteractionRow",
    "MalformedError",
    "Node",
    "SpanRow",
    "StoredSpan",
    "TextRow",
    "TooLargeError",
    "WordsRow",
    "complete_trace",
    "decode_logs",
    "decode_metrics",
    "decode_traces",
    "exchange_of",
    "gunzip",
    "read_logs",
    "read_traces",
    "tree",
    "unpack",
]
