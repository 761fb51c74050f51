"""The sheet on which the facts of one answer gather: one per request, interaction or bare inference."""

import dataclasses
import enum
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from opentelemetry import trace

from otel_feedback import _limits, _runtime, semconv
from otel_feedback._dialects import MAX_DOCUMENTS, Fact


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

    prompt: PromptStamp
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
        "served",
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
        self.served = False
        """Whether our ASGI middleware takes care of this request's response header."""
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
        self._documents, other._documents = other._documents, []  # noqa: SLF001 - of its own class

    def name_of_prompt(self) -> str:
        """Return what stands for the template's name where none is declared: the route, or what ran."""
        route = self.route() if callable(self.route) else self.route
        return route or semconv.UNKNOWN

    def stamp(self) -> PromptStamp:
        """Return the answer's template: its last inference's, else the one rendered last, else where it was made."""
        if self.answer is not None:
            return self.answer.prompt
        return self.prompt or PromptStamp(self.name_of_prompt(), semconv.UNKNOWN)

    def facts(self) -> dict[str, str]:
        """Return what is known by now, under the names of ``semconv``; documents and flags excepted."""
        facts: dict[str, str] = {}
        stamp = self.stamp()
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
