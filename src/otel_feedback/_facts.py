"""Where the facts of an answer gather while it is made: one sheet per request, interaction or bare inference.

Sheets are found by the (trace id, span id) of any span below them, in tables of bounded size. Every table is a plain
dict used through single, atomic operations: no lock is held when a process forks or a thread dies.
"""

import contextvars
import dataclasses
import enum
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TypeVar

from opentelemetry import context as otel_context
from opentelemetry import trace

from otel_feedback import _limits, _runtime, semconv
from otel_feedback._dialects import MAX_DOCUMENTS, Fact, Role

Key = tuple[int, int]
"""(trace id, span id)."""


class PromptStamp(NamedTuple):
    """The template of an answer, as it goes onto spans and handles.

    Attributes:
        name: Its name.
        version: Its version; without one, the fingerprint.
        fingerprint: 12 hex digits, or None where only a name or version is known.
        variables: What it was rendered with; empty unless content is captured.
    """

    name: str
    version: str
    fingerprint: str | None = None
    variables: Mapping[str, str] = {}


class CallNote(NamedTuple):
    """What a client's arguments say of the prompt when a call starts.

    Attributes:
        name: Name of a prompt stored at the provider, or None.
        version: Its version, or None.
        fingerprint: Of the system instruction, or None.
    """

    name: str | None = None
    version: str | None = None
    fingerprint: str | None = None


@dataclasses.dataclass(slots=True, eq=False)
class Call:
    """One inference below a sheet."""

    prompt: PromptStamp | None
    facts: dict[Fact, str]


class Kind(enum.Enum):
    """What a sheet stands for."""

    REQUEST = enum.auto()
    """An HTTP server span: an interaction once an inference starts below it and ``interaction()`` opens none."""
    OWN = enum.auto()
    """A span that ``interaction()`` opened."""
    BARE = enum.auto()
    """A workflow, agent or inference span that nothing encloses: itself the interaction."""
    ROOT = enum.auto()
    """Any other first span of this process: no interaction, it keeps facts for the one that comes."""


class FactSheet:
    """The facts of one answer, and the span that stands for it."""

    __slots__ = (
        "_documents",
        "answer",
        "began",
        "context",
        "facts_by_caller",
        "general",
        "kind",
        "open",
        "own",
        "prompt",
        "request",
        "route",
        "service",
        "span",
    )

    def __init__(self, kind: Kind, context: trace.SpanContext, span: trace.Span | None) -> None:
        self.kind = kind
        self.context = context
        self.span = span
        self.open = True
        self.began = kind is Kind.OWN
        """Whether an answer has begun here: for a request, whether a model was called for it."""
        self.own: list[FactSheet] = []
        """Interactions that were opened inside this request: the first two, more make no difference."""
        self.request: FactSheet | None = None
        """The request that encloses an interaction."""
        self.route: Callable[[], str | None] | str | None = None
        self.prompt: PromptStamp | None = None
        """The template that was rendered last."""
        self.answer: Call | None = None
        """The inference that started last: the answer's."""
        self.general: dict[Fact, str] = {}
        self.facts_by_caller: dict[str, str] = {}
        """Facts that ``interaction()`` was told; they win."""
        self.service: Mapping[str, str] = {}
        self._documents: list[dict[str, Any]] = []

    @property
    def is_interaction(self) -> bool:
        """Whether this sheet's span is one that a user can judge."""
        return self.began and self.kind is not Kind.ROOT and not self.own

    def target(self) -> "FactSheet | None":
        """Return the one interaction that the response to this request gives a handle to, or None."""
        if self.own:
            return self.own[0] if len(self.own) == 1 else None
        return self if self.is_interaction else None

    def adopt(self, interaction: "FactSheet") -> None:
        """Let an interaction own this request's response header."""
        if len(self.own) < 2:  # noqa: PLR2004 - none, one, or several
            self.own.append(interaction)

    def add_documents(self, documents: list[dict[str, Any]]) -> None:
        """Merge retrieved documents; the first of an id stays."""
        known = {document["id"] for document in self._documents}
        for document in documents:
            if len(self._documents) >= MAX_DOCUMENTS:
                return
            if document["id"] not in known:
                known.add(document["id"])
                self._documents.append(document)

    def inherit(self, other: "FactSheet") -> None:
        """Take over what gathered before this interaction began."""
        self.prompt = other.prompt
        self.general.update(other.general)
        self._documents, other._documents = other._documents, []

    def name_of_prompt(self) -> str:
        """Return what stands for the template's name where none is declared: the route, or what ran."""
        route = self.route() if callable(self.route) else self.route
        return route or semconv.UNKNOWN

    def stamp(self) -> PromptStamp | None:
        """Return the answer's template: its last inference's, else the one rendered last."""
        if self.answer is not None and self.answer.prompt is not None:
            return self.answer.prompt
        return self.prompt

    def facts(self) -> dict[str, str]:
        """Return what is known by now, under the names of ``semconv``; documents and flags excepted."""
        facts: dict[str, str] = {}
        stamp = self.stamp()
        if stamp is not None:
            facts[semconv.FEEDBACK_PROMPT_NAME] = stamp.name
            facts[semconv.FEEDBACK_PROMPT_VERSION] = stamp.version
            if stamp.fingerprint is not None:
                facts[semconv.FEEDBACK_PROMPT_FINGERPRINT] = stamp.fingerprint
        if self.answer is not None:
            told = self.answer.facts
            model = told.get(Fact.RESPONSE_MODEL) or told.get(Fact.REQUEST_MODEL)
            if model:
                facts[semconv.FEEDBACK_MODEL] = model
            for fact in (Fact.PROVIDER, Fact.RESPONSE_ID):
                if fact in told:
                    facts[fact.value] = told[fact]
        for fact in (Fact.CONVERSATION, Fact.QUERY_TYPE):
            if fact in self.general:
                facts[fact.value] = self.general[fact]
        facts.update(self.facts_by_caller)
        facts.update(self.service)
        return facts

    def attributes(self) -> dict[str, Any]:
        """Return the facts as attributes of the interaction span, the most telling first."""
        attributes: dict[str, Any] = {semconv.FEEDBACK_INTERACTION: True, **self.facts()}
        if self._documents:
            keep_text = _runtime.settings().capture_content
            documents = self._documents if keep_text else [_without_text(one) for one in self._documents]
            text = _limits.json_array(documents, _limits.json_room(self.span))
            if text is not None:
                attributes[semconv.FEEDBACK_DOCUMENTS] = text
        return attributes

    def write(self) -> None:
        """Put what is known by now onto the interaction span, if it still records."""
        if self.span is not None and self.is_interaction:
            _limits.set_within_limits(self.span, self.attributes())


def _without_text(document: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key != "content"} if "content" in document else document


class Node(NamedTuple):
    """One live span below a sheet."""

    sheet: FactSheet
    role: Role
    call: Call | None = None


T = TypeVar("T")


def bounded_put(table: dict[Key, T], key: Key, value: T, limit: int) -> None:
    """Put an entry into a table and let go of the oldest ones beyond ``limit``."""
    table[key] = value
    while len(table) > limit:
        try:
            table.pop(next(iter(table)), None)
        except (StopIteration, RuntimeError):  # another thread changed it meanwhile, and keeps the bound
            break


class Ledger:
    """All sheets of this process, by the spans below them."""

    def __init__(self) -> None:
        self._live: dict[Key, Node] = {}
        self._ended: dict[Key, Node] = {}
        """Spans that ended inside an open sheet: what was started from them still belongs there."""
        self._finished: dict[Key, dict[str, str]] = {}

    def node(self, key: Key) -> Node | None:
        """Find the sheet and role of a span; None where its sheet is closed."""
        node = self._live.get(key) or self._ended.get(key)
        return node if node is not None and node.sheet.open else None

    def put(self, key: Key, node: Node) -> None:
        """Remember a live span."""
        bounded_put(self._live, key, node, _runtime.settings().live_spans)

    def end(self, key: Key) -> Node | None:
        """Take a span off the live ones when it ends and return what it was, if it was known."""
        node = self._live.pop(key, None)
        if node is not None and node.sheet.open and node.sheet.context.span_id != key[1]:
            bounded_put(self._ended, key, node, _runtime.settings().finished_interactions)
        return node

    def close(self, sheet: FactSheet) -> None:
        """Close a sheet when its span ends, and keep its facts for ``record()`` in this process."""
        sheet.open = False
        sheet.span = None
        key = (sheet.context.trace_id, sheet.context.span_id)
        self._live.pop(key, None)
        if sheet.is_interaction:
            bounded_put(self._finished, key, sheet.facts(), _runtime.settings().finished_interactions)

    def facts(self, key: Key) -> dict[str, str] | None:
        """Return what is known of an interaction that runs or has ended in this process, or None."""
        finished = self._finished.get(key)
        if finished is not None:
            return finished
        node = self._live.get(key)
        if node is None or node.sheet.context.span_id != key[1]:
            return None
        return node.sheet.facts()

    def clear(self) -> None:
        """Forget everything: for tests."""
        self._live.clear()
        self._ended.clear()
        self._finished.clear()

    def sizes(self) -> tuple[int, int, int]:
        """Return how many live, ended and finished entries there are."""
        return len(self._live), len(self._ended), len(self._finished)


ledger: Final = Ledger()
"""The one ledger of this process: span ids are unique across providers."""

_SHEET: Final = "otel-feedback-sheet"
_call_note: contextvars.ContextVar[CallNote | None] = contextvars.ContextVar("otel_feedback_call", default=None)
_loose_prompt: contextvars.ContextVar[PromptStamp | None] = contextvars.ContextVar(
    "otel_feedback_prompt", default=None
)


def key_of(context: trace.SpanContext) -> Key:
    """Return the key of a span in the tables."""
    return context.trace_id, context.span_id


def with_sheet(sheet: FactSheet, context: otel_context.Context | None = None) -> otel_context.Context:
    """Return a context that carries a sheet past spans which the tables don't know (sampled out, or lost)."""
    return otel_context.set_value(_SHEET, sheet, context)


def sheet_in(context: otel_context.Context | None) -> FactSheet | None:
    """Return the open sheet that a context carries, or None."""
    sheet = otel_context.get_value(_SHEET, context)
    return sheet if isinstance(sheet, FactSheet) and sheet.open else None


def current_sheet(context: otel_context.Context | None = None) -> FactSheet | None:
    """Return the sheet that the current span writes to, or None outside of any."""
    node = ledger.node(key_of(trace.get_current_span(context).get_span_context()))
    return node.sheet if node is not None else sheet_in(context)


def finished_facts(trace_id: int, span_id: int) -> Mapping[str, str] | None:
    """Return the facts of an interaction of this process by the names of ``semconv``, or None."""
    return ledger.facts((trace_id, span_id))


def declare_prompt(stamp: PromptStamp) -> None:
    """Say which template was just rendered: it is the one of the inference that comes next."""
    sheet = current_sheet()
    if sheet is None:
        _loose_prompt.set(stamp)
    else:
        sheet.prompt = stamp


def take_loose_prompt() -> PromptStamp | None:
    """Return the template that was rendered outside of any span, once."""
    stamp = _loose_prompt.get()
    if stamp is not None:
        _loose_prompt.set(None)
    return stamp


def note_call(note: CallNote | None) -> "contextvars.Token[CallNote | None]":
    """Leave word of a client's arguments for the inference span that is about to start."""
    return _call_note.set(note)


def forget_call(token: "contextvars.Token[CallNote | None]") -> None:
    """Take the word back when the call has returned."""
    _call_note.reset(token)


def current_call() -> CallNote | None:
    """Return the word that was left for this call, or None."""
    return _call_note.get()


_service: tuple[Any, Mapping[str, str]] = (None, {})


def service_of(span: Any) -> Mapping[str, str]:
    """Return who answers, as facts, from the resource of a span; empty for a span that doesn't record."""
    global _service  # noqa: PLW0603 - the last resource seen: a process rarely has two
    resource = getattr(span, "resource", None)
    if resource is None:
        return {}
    known, facts = _service
    if resource is not known:
        facts = _service_facts(resource.attributes)
        _service = (resource, facts)
    return facts


def _service_facts(attributes: Mapping[str, Any]) -> dict[str, str]:
    facts = {}
    for fact, names in (
        (semconv.FEEDBACK_SERVICE_NAME, ("service.name",)),
        (semconv.FEEDBACK_SERVICE_NAMESPACE, ("service.namespace",)),
        (semconv.FEEDBACK_ENVIRONMENT, ("deployment.environment.name", "deployment.environment")),
    ):
        for name in names:
            value = attributes.get(name)
            if isinstance(value, str) and value:
                facts[fact] = value
                break
    return facts


def handle_of(sheet: FactSheet) -> str | None:
    """Make the handle of an interaction, with the facts known by now; None without a key or a valid span."""
    codec = _runtime.codec()
    context = sheet.context
    if codec is None or not context.is_valid:
        return None
    facts = sheet.facts()
    return codec.issue(
        trace_id=context.trace_id,
        span_id=context.span_id,
        sampled=context.trace_flags.sampled,
        facts=facts,
        user=facts.get(semconv.USER_HASH),
    )
