"""From a request with spans to the rows of the store: the hot path, some microseconds a span.

Most spans of a service tell nothing about answers. They are recognised by the names of their attributes, before any
value is looked at, and become a few bytes of an index; as a whole they go into the batch's chunk as they came.
"""

from collections.abc import Mapping
from typing import Any, Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_feedback import _dialects, semconv
from otel_feedback.intake import _foreign
from otel_feedback.intake._names import (
    CONTENT,
    DOCUMENTS,
    JUDGES,
    READ,
    TELLS,
    TEXT,
    all_dull,
    is_content_event,
    kinds_of,
)
from otel_feedback.intake._span import NO_SPAN, NO_TRACE, Home, ReadSpan, home_of, parent_of
from otel_feedback.intake._values import clean, fact, plausible, started_of, times_of, value_of, values_of
from otel_feedback.intake.chunks import pack
from otel_feedback.intake.content import strip_attributes, strip_content
from otel_feedback.intake.feedback import add_judgements
from otel_feedback.intake.members import trace_row
from otel_feedback.intake.rows import Batch, DocumentRow, InteractionRow, TextRow
from otel_feedback.intake.texts import shorten, texts_of

MAX_SPAN: Final = 8 * 1024 * 1024
"""Bytes of one span."""

MAX_ATTRIBUTES: Final = 10_000
"""Attributes, events or links of one span: the SDKs' own limit is 128."""

MAX_NAME: Final = 1024
"""Characters of a span's name, or a scope's, in a row."""


def read_traces(
    request: ExportTraceServiceRequest, *, received_ns: int, keep_content: bool = True, raw: bytes | None = None
) -> Batch:
    """Turn a request into a batch. Whatever a span holds, this doesn't raise; a span of no use is left out alone.

    Args:
        request: As ``decode_traces`` gives it; spans that are left out and content that isn't kept are removed from it.
        received_ns: When it came, in nanoseconds since 1970.
        keep_content: Whether what people wrote and read is kept.
        raw: The request's protobuf bytes, where there are any: saves making them anew.
    """
    size = len(raw) if raw is not None else request.ByteSize()
    batch = Batch(received_ns=received_ns, size=size)
    walk = _Walk(batch, received_ns, keep_content=keep_content, may_be_large=size > MAX_SPAN)
    for group in request.resource_spans:
        home = _home(group.resource.attributes)
        if not keep_content:
            walk.changed |= strip_attributes(group.resource.attributes)
        for scoped in group.scope_spans:
            if scoped.scope.name:
                batch.scopes.add(clean(scoped.scope.name[:MAX_NAME]))
            if not keep_content:
                walk.changed |= strip_attributes(scoped.scope.attributes)
            refused = walk.read(scoped.spans, home)
            if refused:
                kept = [span for index, span in enumerate(scoped.spans) if index not in refused]
                copies = [Span.FromString(span.SerializeToString()) for span in kept]
                del scoped.spans[:]
                scoped.spans.extend(copies)
    if walk.members:
        batch.traces = [trace_row(trace_id, members) for trace_id, members in walk.members.items()]
        data = raw if raw is not None and not (batch.rejected or walk.changed) else request.SerializeToString()
        batch.chunk = pack(data)
    return batch


def _home(attributes: Any) -> Home:
    return home_of(values_of(attributes)) if len(attributes) <= MAX_ATTRIBUTES else home_of({})


class _Walk:
    """The walk over one request."""

    def __init__(self, batch: Batch, received_ns: int, *, keep_content: bool, may_be_large: bool) -> None:
        self.batch = batch
        self.received_ns = received_ns
        self.keep_content = keep_content
        self.may_be_large = may_be_large
        self.changed = False
        """Whether content was taken out of the request."""
        self.members: dict[bytes, list[tuple[bytes, bytes, int]]] = {}
        """Id, parent and start in microseconds of the kept spans, by trace."""

    def read(self, spans: Any, home: Home) -> set[int]:
        """Read the spans of one scope, and return the indexes of those that are refused."""
        refused: set[int] = set()
        traces = self.members
        received_ns = self.received_ns
        for index, span in enumerate(spans):
            trace_id, span_id, parent_id = span.trace_id, span.span_id, span.parent_span_id
            attributes = span.attributes
            if (
                len(trace_id) != 16  # noqa: PLR2004 - bytes
                or len(span_id) != 8  # noqa: PLR2004 - bytes
                or trace_id == NO_TRACE
                or span_id == NO_SPAN
            ):
                refused.add(index)
                self._refuse("its trace id or span id is no id, or a text of it is no UTF-8")
                continue
            if self.may_be_large and span.ByteSize() > MAX_SPAN:
                refused.add(index)
                self._refuse(f"it has more than {MAX_SPAN} bytes")
                continue
            events = len(span.events)
            if len(attributes) > MAX_ATTRIBUTES or events > MAX_ATTRIBUTES or len(span.links) > MAX_ATTRIBUTES:
                refused.add(index)
                self._refuse(f"it has more than {MAX_ATTRIBUTES} attributes, events or links")
                continue
            started = started_of(span, received_ns)
            members = traces.get(trace_id)
            if members is None:
                members = traces[trace_id] = []
            members.append((span_id, parent_id, started // 1000))
            names = [item.key for item in attributes]
            if events or not all_dull(names):
                self._read_more(span, home, names)
            elif not self.keep_content and span.links:
                self.changed |= strip_content(span)
        if len(refused) < len(spans):
            self.batch.services.add(home.service)
        return refused

    def _refuse(self, reason: str) -> None:
        self.batch.rejected += 1
        if not self.batch.message:
            self.batch.message = f"A span was left out: {reason}."
        elif not self.batch.message.endswith("others."):
            self.batch.message = f"{self.batch.message[:-1]}; so were others."

    def _read_more(self, span: Span, home: Home, names: list[str]) -> None:
        items = span.attributes
        attributes: dict[str, Any] = {}
        flags = 0
        for index, kind in kinds_of(names):
            flags |= kind
            if kind & READ:
                attributes[names[index]] = value_of(items[index].value)
        if attributes.get(_foreign.LOGFIRE_SPAN_TYPE) != _foreign.LOGFIRE_PENDING:
            events = self._events(span) if span.events else []
            seen = ReadSpan(
                span.trace_id.hex(),
                span.span_id.hex(),
                parent_of(span.parent_span_id),
                *times_of(span, self.received_ns),
                span,
                attributes,
                events,
                home,
            )
            self._read_telling(seen, flags)
        if not self.keep_content and (flags & (CONTENT | DOCUMENTS) or span.events or span.links):
            self.changed |= strip_content(span)

    def _read_telling(self, seen: ReadSpan, flags: int) -> None:
        batch, attributes = self.batch, seen.attributes
        if flags & JUDGES or seen.events:
            add_judgements(batch, seen, keep_content=self.keep_content)
            if semconv.FEEDBACK_SIGNAL in attributes:
                return
        if flags & TELLS and not _dialects.tells_nothing(attributes):
            batch.telling.add(seen.trace_id)
        if attributes.get(semconv.FEEDBACK_INTERACTION) is True:
            interaction = interaction_of(seen, clean(seen.span.name[:MAX_NAME]))
            batch.interactions.append(interaction)
            batch.documents += documents_of(interaction, attributes)
        if self.keep_content and (flags & TEXT or seen.events):
            self._add_texts(seen)

    def _add_texts(self, seen: ReadSpan) -> None:
        texts = texts_of(seen.attributes, [(name, values) for name, _, values in seen.events])
        if not texts.empty:
            words = (shorten(texts.question), shorten(texts.answer), shorten(texts.system))
            self.batch.texts.append(
                TextRow(seen.trace_id, seen.span_id, seen.parent_id, seen.started_ns, *words, "span")
            )

    def _events(self, span: Span) -> "list[tuple[str, int, dict[str, Any]]]":
        return [
            (event.name, plausible(event.time_unix_nano, self.received_ns), values_of(event.attributes))
            for event in span.events
            if len(event.attributes) <= MAX_ATTRIBUTES
            and (
                event.name in (semconv.EVENT_EVALUATION_RESULT, semconv.EVENT_CORRECTION)
                or is_content_event(event.name)
            )
        ]


def interaction_of(seen: ReadSpan, name: str) -> InteractionRow:
    """Make the row of an answer from what its own span tells.

    Args:
        seen: The span.
        name: Of the span.
    """
    attributes = seen.attributes
    facts = _dialects.facts_of(attributes)
    model = facts.get(semconv.FEEDBACK_MODEL)
    unknown = semconv.UNKNOWN
    return InteractionRow(
        seen.trace_id,
        seen.span_id,
        seen.started_ns,
        seen.duration_ns,
        name,
        fact(attributes, semconv.FEEDBACK_SERVICE_NAME) or seen.home.service,
        fact(attributes, semconv.FEEDBACK_SERVICE_NAMESPACE) or seen.home.namespace,
        fact(attributes, semconv.FEEDBACK_ENVIRONMENT) or seen.home.environment,
        fact(facts, semconv.FEEDBACK_PROMPT_NAME) or unknown,
        fact(facts, semconv.FEEDBACK_PROMPT_VERSION) or unknown,
        clean(model or facts.get(_dialects.REQUEST_MODEL) or unknown),
        fact(facts, semconv.FEEDBACK_QUERY_TYPE) or unknown,
        fact(attributes, semconv.FEEDBACK_PROMPT_FINGERPRINT),
        fact(facts, semconv.FEEDBACK_PROVIDER),
        fact(facts, semconv.FEEDBACK_RESPONSE_ID),
        fact(facts, semconv.GEN_AI_CONVERSATION_ID),
        fact(attributes, semconv.USER_HASH),
        fact(attributes, semconv.ERROR_TYPE),
        attributes.get(semconv.FEEDBACK_INTERACTION) is True,
        model is not None,
    )


def documents_of(interaction: InteractionRow, attributes: Mapping[str, Any]) -> list[DocumentRow]:
    """Make the rows of the documents that a span names, for the answer that was made of them.

    Args:
        interaction: The answer.
        attributes: Of the span, as Python values.
    """
    return document_rows(interaction, _dialects.documents_of(attributes))


def document_rows(interaction: InteractionRow, documents: list[dict[str, Any]]) -> list[DocumentRow]:
    """Make rows of documents in one form, as ``_dialects.documents_of`` returns them, the first one first."""
    rows: list[DocumentRow] = []
    for document in documents:
        if len(document["id"]) <= MAX_NAME:
            rows.append(
                DocumentRow(
                    interaction.trace_id,
                    interaction.span_id,
                    interaction.started_ns,
                    len(rows) + 1,
                    clean(document["id"]),
                    document.get("score"),
                )
            )
    return rows
