"""What only a whole trace tells: the facts of answers whose own span doesn't say them, the order of a page's tree.

Pure functions over the spans of one trace as they are stored.
"""

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from otel_feedback import _dialects, semconv
from otel_feedback._dialects import Role
from otel_feedback.intake import _foreign
from otel_feedback.intake._names import kinds_of
from otel_feedback.intake._span import ReadSpan, home_of
from otel_feedback.intake._values import clean, fact, times_of, value_of, values_of
from otel_feedback.intake.rows import DocumentRow, InteractionRow, StoredSpan
from otel_feedback.intake.spans import MAX_NAME, document_rows, interaction_of
from otel_feedback.intake.texts import Message, Texts, texts_of

Key = tuple[str, str]


class Exchange(NamedTuple):
    """What was asked and answered, whole, for the page of one answer; ``None`` where it wasn't recorded."""

    question: str | None
    answer: str | None
    system: str | None
    variables: Mapping[str, str]
    """What the template was rendered with."""
    messages: tuple[Message, ...]
    """The prompt as it was sent to the model that gave the answer."""


class Node(NamedTuple):
    """A span in the order of its trace."""

    span: StoredSpan
    depth: int
    """0 at a root."""


def tree(spans: Iterable[StoredSpan]) -> list[Node]:
    """Order the spans of one trace for reading: parents before children, siblings by their start.

    A span that is there twice is there once; one whose parent isn't there is a root, as is the first of a circle.
    """
    known = _by_key(spans)
    children: dict[str, list[StoredSpan]] = {}
    roots = []
    for span in sorted(known.values(), key=_start):
        if span.parent_id and span.parent_id != span.span_id and (span.trace_id, span.parent_id) in known:
            children.setdefault(span.parent_id, []).append(span)
        else:
            roots.append(span)
    ordered: list[Node] = []
    placed: set[str] = set()
    for start in (*roots, *sorted(known.values(), key=_start)):  # the rest is in circles
        waiting = [Node(start, 0)]
        while waiting:
            node = waiting.pop()
            if node.span.span_id in placed:
                continue
            placed.add(node.span.span_id)
            ordered.append(node)
            waiting += [Node(child, node.depth + 1) for child in reversed(children.get(node.span.span_id, ()))]
    return ordered


def complete_trace(
    spans: Sequence[StoredSpan], *, targets: Collection[Key], received_ns: int | None = None
) -> list[tuple[InteractionRow, list[DocumentRow]]]:
    """Make the rows of answers whose own span doesn't tell all: of flagged ones, and of others that were judged.

    Facts come from the span itself and from all below it: the last inference gave the answer. Documents come from the
    retrievals below it; for an inference also from those beside it.

    Args:
        spans: Of one trace, as far as they have arrived.
        targets: Trace and span ids of what was judged.
        received_ns: Stands for times that no clock can have shown, in nanoseconds since 1970; by default now.
    """
    received_ns = time.time_ns() if received_ns is None else received_ns
    nodes = [_Known.of(span) for span in _by_key(spans).values()]
    by_id = {node.span.span_id: node for node in nodes}
    children: dict[str, list[_Known]] = {}
    for node in sorted(nodes, key=lambda known: _start(known.span)):
        children.setdefault(node.span.parent_id, []).append(node)
    rows = []
    for node in nodes:
        flagged = node.attributes.get(semconv.FEEDBACK_INTERACTION) is True
        targeted = (node.span.trace_id, node.span.span_id) in targets
        if node.judges or not (targeted or flagged):
            continue
        rows.append(_completed(node, by_id, children, received_ns))
    return rows


def exchange_of(spans: Iterable[StoredSpan], trace_id: str, span_id: str) -> Exchange:
    """Read what was asked and answered in one answer.

    The answer's own span counts first; what it doesn't say comes from below: the question from the first span that
    tells one, the answer and the prompt as sent from the last inference.

    Args:
        spans: Of its trace.
        trace_id: Of the answer.
        span_id: Of the answer.
    """
    known = _by_key(spans)
    top = known.get((trace_id, span_id))
    if top is None:
        return Exchange(None, None, None, {}, ())
    children: dict[str, list[_Known]] = {}
    for span in sorted(known.values(), key=_start):
        children.setdefault(span.parent_id, []).append(_Known.of(span))
    own = _Known.of(top)
    below = [node for node in _below(own, children) if not node.judges]
    told = [(node, node.texts()) for node in (own, *below)]
    inferences = [entry for entry in told if entry[0].role is Role.INFERENCE] or told
    last = inferences[-1][1]
    mine = told[0][1]
    question = mine.question or next((texts.question for _, texts in told if texts.question), None)
    answer = mine.answer or next((texts.answer for _, texts in reversed(inferences) if texts.answer), None)
    answer = answer or next((texts.answer for _, texts in reversed(told) if texts.answer), None)
    system = last.system or next((texts.system for _, texts in reversed(told) if texts.system), None)
    variables: dict[str, str] = {}
    for node, _ in inferences:
        variables.update(node.variables())
    return Exchange(question, answer, system, variables, last.messages)


class _Known(NamedTuple):
    """A span with those of its attributes read that may tell something."""

    span: StoredSpan
    attributes: Mapping[str, Any]
    role: Role

    @classmethod
    def of(cls, span: StoredSpan) -> "_Known":
        items = span.span.attributes
        names = [item.key for item in items]
        attributes = {names[index]: value_of(items[index].value) for index, _ in kinds_of(names)}
        return cls(span, attributes, _dialects.role_of(attributes))

    def whole(self) -> "_Known":
        """Return it with all of its attributes."""
        return self._replace(attributes=values_of(self.span.span.attributes))

    @property
    def judges(self) -> bool:
        """Whether it is a judgement, or a preview of a span: it tells nothing of an answer."""
        return (
            semconv.FEEDBACK_SIGNAL in self.attributes
            or self.attributes.get(semconv.OPENINFERENCE_SPAN_KIND) == semconv.EVALUATOR
            or self.attributes.get(_foreign.LOGFIRE_SPAN_TYPE)
            in (_foreign.LOGFIRE_ANNOTATION, _foreign.LOGFIRE_PENDING)
        )

    def texts(self) -> Texts:
        """Read its exchange."""
        return texts_of(self.attributes, [(event.name, values_of(event.attributes)) for event in self.span.span.events])

    def variables(self) -> dict[str, str]:
        """Read what its prompt was rendered with."""
        prefix = semconv.GEN_AI_PROMPT_VARIABLE
        return {
            name[len(prefix) :]: value if isinstance(value, str) else str(value)
            for name, value in self.attributes.items()
            if name.startswith(prefix)
        }


def _by_key(spans: Iterable[StoredSpan]) -> dict[Key, StoredSpan]:
    """Take each span once, the first that came."""
    known: dict[Key, StoredSpan] = {}
    for span in spans:
        known.setdefault((span.trace_id, span.span_id), span)
    return known


def _start(span: StoredSpan) -> tuple[int, str]:
    return span.span.start_time_unix_nano, span.span_id


def _below(node: _Known, children: Mapping[str, Sequence[_Known]]) -> list[_Known]:
    """Return all spans below one, by their start."""
    found: dict[str, _Known] = {}
    waiting = list(children.get(node.span.span_id, ()))
    while waiting:
        child = waiting.pop()
        if child.span.span_id not in found and child.span.span_id != node.span.span_id:
            found[child.span.span_id] = child
            waiting += children.get(child.span.span_id, ())
    return sorted(found.values(), key=lambda known: _start(known.span))


def _completed(
    node: _Known, by_id: Mapping[str, _Known], children: Mapping[str, Sequence[_Known]], received_ns: int
) -> tuple[InteractionRow, list[DocumentRow]]:
    below = [other for other in _below(node, children) if not other.judges]
    node = node.whole()
    own = _own_row(node, received_ns)
    told: dict[str, str] = {}
    for role in (Role.OTHER, Role.WORKFLOW, Role.AGENT, Role.INFERENCE):  # the last that tells counts
        for other in below:
            if other.role is role:
                told.update(_answer_facts(other.attributes))
    model = told.get(semconv.FEEDBACK_MODEL) or told.get(_dialects.REQUEST_MODEL)
    row = own._replace(
        prompt_name=_either(own.prompt_name, fact(told, semconv.FEEDBACK_PROMPT_NAME) or _place(node)),
        prompt_version=_either(own.prompt_version, fact(told, semconv.FEEDBACK_PROMPT_VERSION)),
        model=clean(model) if model and not own.complete else own.model,
        query_type=_either(own.query_type, fact(told, semconv.FEEDBACK_QUERY_TYPE)),
        prompt_fingerprint=own.prompt_fingerprint or fact(told, semconv.FEEDBACK_PROMPT_FINGERPRINT),
        provider=own.provider or fact(told, semconv.FEEDBACK_PROVIDER),
        response_id=own.response_id or fact(told, semconv.FEEDBACK_RESPONSE_ID),
        conversation_id=own.conversation_id or fact(told, semconv.GEN_AI_CONVERSATION_ID),
    )
    row = row._replace(complete=own.complete or model is not None)
    documents = _dialects.documents_of(node.attributes) or _retrieved(below)
    if not documents and node.role is Role.INFERENCE:
        parent = by_id.get(node.span.parent_id)
        if parent is not None:
            documents = _retrieved([other for other in _below(parent, children) if not other.judges])
    return row, document_rows(row, documents)


def _answer_facts(attributes: Mapping[str, Any]) -> dict[str, str]:
    facts = _dialects.facts_of(attributes)
    fingerprint = fact(attributes, semconv.FEEDBACK_PROMPT_FINGERPRINT)
    if fingerprint is not None:
        facts[semconv.FEEDBACK_PROMPT_FINGERPRINT] = fingerprint
    return facts


def _own_row(node: _Known, received_ns: int) -> InteractionRow:
    span = node.span.span
    started, duration = times_of(span, received_ns)
    seen = ReadSpan(*node.span[:3], started, duration, span, node.attributes, (), home_of(node.span.resource))
    return interaction_of(seen, clean(span.name[:MAX_NAME]))


def _either(own: str, other: str | None) -> str:
    return other if own == semconv.UNKNOWN and other else own


def _place(node: _Known) -> str | None:
    """Return what names the prompt where none is declared, as the processor names it: the route, or what ran."""
    if node.role is Role.OTHER:
        return fact(node.attributes, "http.route")
    name = _dialects.name_of(node.attributes) or node.span.span.name
    return clean(name) if 0 < len(name) <= MAX_NAME else None


def _retrieved(nodes: Iterable[_Known]) -> list[dict[str, Any]]:
    """Gather documents of retrievals, the first of an id."""
    found: dict[str, dict[str, Any]] = {}
    for node in nodes:
        if node.role in (Role.RETRIEVAL, Role.OTHER):
            for document in _dialects.documents_of(node.attributes):
                if len(found) < _dialects.MAX_DOCUMENTS:
                    found.setdefault(document["id"], document)
    return list(found.values())
