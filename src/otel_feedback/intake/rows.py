"""The rows that telemetry becomes: one NamedTuple per table, in the order of its columns, and the batch of them.

A NamedTuple is made in half a microsecond, and ``zip(*rows)`` is its columns. Ids are lower-case hex. Times are whole
nanoseconds since 1970 in fields that end in ``_ns``; the store keeps them as TIMESTAMP in columns that end in ``_at``
(``started_ns`` is the column ``started_at``), but for ``at_ns`` of feedback, whose order must be exact.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.proto.trace.v1.trace_pb2 import Span

UNKNOWN_FACTS: Final = ("service", "namespace", "environment", "prompt_name", "prompt_version", "model", "query_type")
"""Columns that are labels: what isn't known reads ``unknown`` there, and never NULL."""


class TraceRow(NamedTuple):
    """Where raw spans are, those of one trace in one request: table ``traces`` of a content file."""

    trace_id: str
    first_at: int
    """Microseconds: when the earliest of them started, and next the latest."""
    last_at: int
    spans: int
    members: str
    """Their ids, parents and starts, as ``members.members_of`` reads them; hex here, bytes in the table."""


class InteractionRow(NamedTuple):
    """One answer that can be judged: table ``interactions``."""

    trace_id: str
    span_id: str
    started_ns: int
    duration_ns: int
    name: str
    """Of the span."""
    service: str
    namespace: str
    environment: str
    prompt_name: str
    prompt_version: str
    model: str
    query_type: str
    prompt_fingerprint: str | None
    provider: str | None
    response_id: str | None
    conversation_id: str | None
    user_hash: str | None
    error: str | None
    flagged: bool
    """Whether the span says ``feedback.interaction=true``: only then it counts as an answer. Another span is here
    because somebody judged it."""
    complete: bool
    """Whether the span itself said all there is; else its trace is read for more."""


class DocumentRow(NamedTuple):
    """One retrieved document of one answer: table ``documents``. Its text stays in the raw span."""

    trace_id: str
    span_id: str
    started_ns: int
    """Of the answer."""
    rank: int
    """1 is the first."""
    document_id: str
    score: float | None


class FeedbackRow(NamedTuple):
    """One feedback as it was sent: table ``feedback``, which adds ``standing``, ``joined`` and ``answered_at``."""

    trace_id: str
    """Of the answer that is judged, as is the next."""
    span_id: str
    signal: str
    submitter: str
    """Pseudonym of who judged; empty where nobody says."""
    feedback_id: str
    at_ns: int
    kind: str
    sentiment: str
    previous_sentiment: str | None
    """``None`` where a foreign producer doesn't say."""
    revises: str | None
    score: float | None
    label: str | None
    """The value in words, such as ``up`` or ``4``."""
    confidence: float | None
    reasons: tuple[str, ...]
    source: str
    """``capture`` or ``record``; ``annotation``, ``evaluation`` or ``logfire`` of foreign producers."""
    target_sampled: bool | None
    """``None`` where a foreign producer doesn't say."""
    first: bool | None
    carrier_trace_id: str
    carrier_span_id: str
    service: str
    namespace: str
    environment: str
    prompt_name: str
    prompt_version: str
    model: str
    query_type: str
    conversation_id: str | None


class EvaluationRow(NamedTuple):
    """One judgement by a model, shown beside feedback and never counted as it: table ``evaluations``."""

    trace_id: str
    span_id: str
    name: str
    evaluation_id: str
    at_ns: int
    score: float | None
    label: str | None
    source: str


class TextRow(NamedTuple):
    """What was asked and answered in one span: table ``texts`` of a content file."""

    trace_id: str
    span_id: str
    parent_id: str
    """Empty at a root, and where it isn't known (log records)."""
    started_ns: int
    question: str | None
    answer: str | None
    system: str | None
    source: str
    """``span`` or ``log``."""


class WordsRow(NamedTuple):
    """What a person wrote with a feedback: table ``words`` of a content file. The first five name the feedback."""

    trace_id: str
    span_id: str
    signal: str
    submitter: str
    feedback_id: str
    at_ns: int
    comment: str | None
    original: str | None
    corrected: str | None


@dataclass(slots=True)
class Batch:
    """What one request becomes; it is committed as a whole."""

    received_ns: int
    """Nanoseconds since 1970; decides which content file takes it."""
    chunk: bytes | None = None
    """The kept spans as a chunk; ``None`` where there are none."""
    traces: list[TraceRow] = field(default_factory=list)
    interactions: list[InteractionRow] = field(default_factory=list)
    documents: list[DocumentRow] = field(default_factory=list)
    feedback: list[FeedbackRow] = field(default_factory=list)
    evaluations: list[EvaluationRow] = field(default_factory=list)
    texts: list[TextRow] = field(default_factory=list)
    words: list[WordsRow] = field(default_factory=list)
    telling: set[str] = field(default_factory=set)
    """Trace ids of spans that tell facts, for answers whose own span doesn't."""
    services: set[str] = field(default_factory=set)
    """Names of the services whose spans these are, and next of the instrumentation scopes, for whoever asks what has
    arrived."""
    scopes: set[str] = field(default_factory=set)
    size: int = 0
    """Bytes that the request had, decompressed: what a queue counts."""
    rejected: int = 0
    """Spans that could not be used."""
    message: str = ""
    """Why, in a sentence for the sender; empty where none was rejected."""

    @property
    def spans(self) -> int:
        """How many raw spans it has."""
        return sum(row.spans for row in self.traces)


class StoredSpan(NamedTuple):
    """A raw span as it was sent, with what its request said about all of its siblings."""

    trace_id: str
    span_id: str
    parent_id: str
    span: "Span"
    resource: "Mapping[str, object]"
    """Attributes of the resource, as Python values."""
    scope: str
    scope_version: str
