"""What a reader of the store gets: frozen records, and the JSON that the API makes of them."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

Json = dict[str, Any]


class View:
    """A record that knows its JSON: the same names, times as ISO 8601 in UTC with a ``Z``."""

    def to_json(self) -> Json:
        """Return the record as values that ``json.dumps`` takes."""
        return {field.name: jsonable(getattr(self, field.name)) for field in fields(self)}  # type: ignore[arg-type]


def jsonable(value: Any) -> Any:
    """Return a value of a record as JSON has it."""
    if isinstance(value, dt.datetime):
        return value.astimezone(dt.timezone.utc).isoformat().replace("+00:00", "Z")
    if isinstance(value, View):
        return value.to_json()
    if isinstance(value, Mapping):
        return {key: jsonable(one) for key, one in value.items()}
    if isinstance(value, tuple | list):
        return [jsonable(one) for one in value]
    return value


@dataclass(frozen=True)
class Correction(View):
    """What a person made of what the system gave; a part that wasn't recorded is ``None``."""

    original: str | None
    corrected: str | None


@dataclass(frozen=True)
class Vote(View):
    """One feedback on an answer."""

    feedback_id: str
    signal: str
    """``thumbs``, ``copy``, ``text``, ..."""
    kind: str
    """``explicit``, ``implicit`` or ``correction``."""
    sentiment: str
    """``positive``, ``negative``, ``neutral`` or ``retracted``."""
    previous_sentiment: str | None
    """What the vote was before; ``unset`` before any, ``None`` where its producer doesn't say."""
    label: str | None
    """The value in words, such as ``up`` or ``4``."""
    score: float | None
    """In [0, 1]."""
    confidence: float | None
    reasons: tuple[str, ...]
    at: dt.datetime
    submitter: str
    """Pseudonym; empty where nobody says."""
    revises: str | None
    source: str
    standing: bool
    """Whether it is the one of its vote that counts."""
    comment: str | None
    """``None`` also where text isn't recorded."""
    correction: Correction | None


@dataclass(frozen=True)
class Document(View):
    """One retrieved document, by rank: 1 is the first."""

    rank: int
    id: str
    score: float | None
    text: str | None = None
    """Only in :class:`AnswerDetail`, and there where documents' texts are recorded."""


@dataclass(frozen=True)
class Answer(View):
    """One answer in a list. Texts are shortened."""

    id: str
    """``<trace id>-<span id>``."""
    trace_id: str
    span_id: str
    started_at: dt.datetime
    """Of the answer; where the store never got its span, the time of the feedback."""
    service: str
    namespace: str
    environment: str
    prompt_name: str
    prompt_version: str
    model: str
    query_type: str
    recorded: bool
    """Whether the store has the answer itself: one that was sampled out is known by its feedback alone."""
    question: str | None
    """What was asked, apart from the prompt that was made of it where the service records it so. ``None`` where no
    content is recorded, as are the next."""
    answer: str | None
    documents: tuple[Document, ...]
    feedback: tuple[Vote, ...]
    """Standing votes, oldest first; retracted ones too."""
    comment: str | None
    """The newest that a standing vote has."""
    correction: Correction | None
    reasons: tuple[str, ...]
    """Of all standing votes, each once."""


@dataclass(frozen=True)
class AnswersPage(View):
    """A page of a list, newest first."""

    rows: tuple[Answer, ...]
    next: str | None
    """Cursor of the next page; ``None`` on the last one."""
    looked_back_to: dt.datetime | None
    """Where a search ended before the page was full: older answers are yet to be looked through, from ``next`` on.
    ``None`` where the page is full, or there are none."""


@dataclass(frozen=True)
class Message(View):
    """One message of a prompt, as it was sent."""

    role: str
    """Empty where it isn't known."""
    text: str


@dataclass(frozen=True)
class SpanEvent(View):
    """One event of a span."""

    name: str
    at: dt.datetime
    offset_ms: float
    """From the start of the trace."""
    attributes: Json


@dataclass(frozen=True)
class SpanLink(View):
    """One link of a span."""

    trace_id: str
    span_id: str
    attributes: Json


@dataclass(frozen=True)
class SpanView(View):
    """One span of a trace, in the order of its tree: a parent before its children, those by start."""

    span_id: str
    parent_id: str
    """Empty at a root."""
    depth: int
    """0 at a root, and where the parent isn't here."""
    name: str
    kind: str
    """``internal``, ``server``, ``client``, ``producer``, ``consumer`` or ``unspecified``."""
    service: str
    scope: str
    """What made it: the name of the instrumentation."""
    started_at: dt.datetime
    offset_ms: float
    """From the start of the trace."""
    duration_ms: float
    status: str
    """``unset``, ``ok`` or ``error``."""
    status_message: str
    is_answer: bool
    """Whether it is the span of the answer that was asked for."""
    is_feedback: bool
    """Whether it brought feedback."""
    attributes: Json
    """Values that JSON knows; bytes as base64."""
    events: tuple[SpanEvent, ...]
    links: tuple[SpanLink, ...]


@dataclass(frozen=True)
class Evaluation(View):
    """One judgement by a model: beside feedback, never counted as it."""

    evaluation_id: str
    name: str
    score: float | None
    label: str | None
    at: dt.datetime
    source: str


@dataclass(frozen=True)
class AnswerDetail(View):
    """Everything about one answer."""

    id: str
    trace_id: str
    span_id: str
    started_at: dt.datetime
    duration_ms: float | None
    """``None`` where the answer itself isn't recorded."""
    name: str | None
    """Of its span."""
    service: str
    namespace: str
    environment: str
    prompt_name: str
    prompt_version: str
    prompt_fingerprint: str | None
    model: str
    provider: str | None
    query_type: str
    response_id: str | None
    conversation_id: str | None
    user_hash: str | None
    error: str | None
    flagged: bool
    """Whether it counts as an answer."""
    recorded: bool
    """Whether the store has the answer itself: one that was sampled out is known by its feedback alone."""
    question: str | None
    """Whole, as are the next; ``None`` where no content is recorded."""
    answer: str | None
    system: str | None
    variables: dict[str, str]
    """Of the prompt's template."""
    prompt: tuple[Message, ...]
    """What was sent to the model; empty where no content is recorded."""
    documents: tuple[Document, ...]
    feedback: tuple[Vote, ...]
    """All of it with its history, oldest first."""
    evaluations: tuple[Evaluation, ...]
    spans: tuple[SpanView, ...]
    """Of its trace: 2,000 at most, and its own."""
    span_count: int
    """How many its trace has."""
