"""What arrives: telemetry in OTLP, of any SDK and instrumentation family, as the rows of a store."""

from otel_feedback.intake.chunks import pack, unpack
from otel_feedback.intake.logs import read_logs
from otel_feedback.intake.members import Member, members_of, trace_row
from otel_feedback.intake.rows import (
    Batch,
    DocumentRow,
    EvaluationRow,
    FeedbackRow,
    InteractionRow,
    StoredSpan,
    TextRow,
    TraceRow,
    WordsRow,
)
from otel_feedback.intake.spans import read_traces
from otel_feedback.intake.traces import Exchange, Node, complete_trace, exchange_of, tree
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
    "Member",
    "Node",
    "StoredSpan",
    "TextRow",
    "TooLargeError",
    "TraceRow",
    "WordsRow",
    "complete_trace",
    "decode_logs",
    "decode_metrics",
    "decode_traces",
    "exchange_of",
    "gunzip",
    "members_of",
    "pack",
    "read_logs",
    "read_traces",
    "trace_row",
    "tree",
    "unpack",
]
