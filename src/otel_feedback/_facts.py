"""The sheet on which the facts of one answer gather: one per request, interaction or bare inference."""

import dataclasses
import enum
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from opentelemetry import trace

from otel_feedback import _guard, _limits, _runtime, semconv
from otel_feedback._dialects import MAX_DOCUMENTS, REQUEST_MODEL

MAX_PATHS: Final = 100
"""Paths of requests without a route that name prompts: anybody can call others, and each would be a metric's label."""

Question = str | Callable[[], str | None]
"""What a user asked: as the service says it, or where a user's message to the model may be read."""

_paths: Final[dict[str, None]] = {}


class Path(str):
    """What stands for a route where the framework tells none: the path of the request, perhaps."""

    __slots__ = ()


class PromptStamp:
    """The template of an answer, as it goes onto spans and handles.

    Attributes:
        name: Its name.
        version: Its version; without one, the fingerprint.
        fingerprint: 12 hex digits, or None where only a name or version is known.
        variables: What it was rendered with; empty unless content is captured.
        facts: The first three under the names of ``semconv``.
    """

    __slots__ = ("facts", "fingerprint", "name", "variables", "version")

    def __init__(
        self, name: str, version: str, fingerprint: str | None = None, variables: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.version = version
        self.fingerprint = fingerprint
        self.variables = variables or {}
        self.facts = {semconv.FEEDBACK_PROMPT_NAME: name, semconv.FEEDBACK_PROMPT_VERSION: version}
        if fingerprint is not None:
            self.facts[semconv.FEEDBACK_PROMPT_FINGERPRINT] = fingerprint


class CallNote(NamedTuple):
    """What a client's arguments say of prompt and model when a call starts.

    Attributes:
        name: Name of a prompt stored at the provider, or None.
        version: Its version, or None.
        fingerprint: Of the system instruction, or None.
        model: The model that is asked for, or None: some instrumentations tell it only later.
        question: Finds the user's message that the call answers; None where there is none.
    """

    name: str | None = None
    version: str | None = None
    fingerprint: str | None = None
    model: str | None = None
    question: Callable[[], str | None] | None = None


@dataclasses.dataclass(slots=True, eq=False)
class Call:
    """One inference below a sheet.

    Attributes:
        prompt: Its template.
        facts: What its span tells.
        model: The model that will answer, by all that is known at its start; its facts know better in the end.
    """

    prompt: PromptStamp
    facts: dict[str, str]
    model: str | None


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
    """The facts of one answer, and the span that stands for it.

    A sheet is made for every request of a service, most of which call no model: what such a one never needs has its
    default on the class, and mappings are replaced, not changed.
    """

    open = True
    """Whether its span still runs."""
    own: "tuple[FactSheet, ...]" = ()
    """Interactions that were opened inside this request: the first two, more make no difference."""
    request: "FactSheet | None" = None
    """The request that encloses an interaction."""
    request_key: tuple[int, int] | None = None
    """Its trace and span id, for longer than it is needed itself."""
    handed = False
    """Whether a handle was made: from then on it can be judged."""
    unwatched = False
    """Whether who asked doesn't want to be watched: nothing is derived from what they do."""
    failed = False
    """Whether it came to nothing before anybody could judge it."""
    route: Callable[[], str | None] | str | None = None
    """What names the prompt where no template is declared."""
    prompt: PromptStamp | None = None
    """The template that was rendered last."""
    answer: Call | None = None
    """The inference that started last: the answer's."""
    general: Mapping[str, str] = {}
    """Facts that any span below told."""
    by_caller: Mapping[str, str] = {}
    """Facts that ``interaction()`` was told; they win."""
    service: Mapping[str, str] = {}
    """Who answers."""
    question: Question | None = None
    """What the user asked, until it is known to which conversation it belongs; never after the span's end."""
    followed = False
    """Whether its conversation is followed."""
    ended: list[tuple[int, int]] | None = None
    """Trace and span ids of the spans below that have ended."""
    _documents: Sequence[dict[str, Any]] = ()
    _documents_json: str | None = None
    _written: Mapping[str, Any] = {}

    def __init__(self, kind: Kind, context: trace.SpanContext, span: trace.Span | None) -> None:
        self.kind = kind
        self.context = context
        self.key: tuple[int, int] = context[:2]
        """Trace and span id of its span."""
        self.span = span
        self.began = kind is Kind.OWN
        """Whether an answer has begun here: for a request, whether a model was called for it."""

    @property
    def is_interaction(self) -> bool:
        """Whether this sheet's span is one that a user can judge."""
        return self.began and self.kind is not Kind.ROOT and not self.own and not self.failed

    def target(self) -> "FactSheet | None":
        """Return the one interaction that the response to this request gives a handle to, or None."""
        if self.own:
            return self.own[0] if len(self.own) == 1 else None
        return self if self.is_interaction else None

    def adopt(self, interaction: "FactSheet") -> None:
        """Let an interaction that was opened inside stand for the answer instead of this sheet's span."""
        was_interaction = self.is_interaction
        self.own = (*self.own, interaction)[:2]
        if was_interaction:
            self._unmark()  # a model was called before: this was taken for the answer, which it is not

    def fail(self) -> None:
        """Stand for no answer where the request or the block ended in an error: nobody can judge what never came.

        What a handle was made for stays an interaction: of a stream that breaks, people have seen the beginning.
        """
        if self.handed:
            return
        was_interaction = self.is_interaction
        self.failed = True
        if was_interaction:
            self._unmark()

    def _unmark(self) -> None:
        if self.span is not None:
            _limits.set_within_limits(self.span, {semconv.FEEDBACK_INTERACTION: False})

    def add_documents(self, documents: Sequence[dict[str, Any]]) -> None:
        """Merge retrieved documents; the first of an id stays. Texts are kept only where content is captured."""
        longest = _limits.MAX_JSON if _runtime.settings().capture_content else -1
        merged = {document["id"]: document for document in self._documents}
        for document in documents:
            if document["id"] in merged:
                continue
            if len(merged) >= MAX_DOCUMENTS:
                break
            fits = "content" not in document or len(document["content"]) <= longest
            merged[document["id"]] = document if fits else _without_text(document)
        self._documents = list(merged.values())
        self._documents_json = None

    def tell(self, facts: Mapping[str, str]) -> None:
        """Take over facts that hold whichever call answers."""
        self.general = {**self.general, **facts}

    def inherit(self, other: "FactSheet", prompt: PromptStamp | None) -> None:
        """Take over what gathered before this interaction began, and the template that was rendered for it."""
        self.prompt = prompt or self.prompt
        self.tell(other.general)
        self._documents, other._documents = other._documents, ()  # noqa: SLF001 - of its own class

    def place(self) -> str:
        """Return where the answer is made: the route, or what ran."""
        route = self.route  # read once: another thread may be closing this sheet
        if callable(route):
            route = route()
        return route or semconv.UNKNOWN

    def name_of_prompt(self) -> str:
        """Return what stands for the template's name where none is declared: the route, or what ran."""
        place = self.place()
        return _name_of_path(place) if isinstance(place, Path) else place

    def stamp(self) -> PromptStamp:
        """Return the answer's template: its last inference's, else the one rendered last, else where it was made."""
        if self.answer is not None:
            return self.answer.prompt
        return self.prompt or PromptStamp(self.name_of_prompt(), semconv.UNKNOWN)

    def facts(self) -> dict[str, str]:
        """Return what is known by now, under the names of ``semconv``; documents and flags excepted."""
        facts = dict(self.stamp().facts)
        if self.answer is not None:
            told = self.answer.facts
            model = told.get(semconv.FEEDBACK_MODEL) or self.answer.model or told.get(REQUEST_MODEL)
            if model is not None:
                facts[semconv.FEEDBACK_MODEL] = model
            for fact in (semconv.FEEDBACK_PROVIDER, semconv.FEEDBACK_RESPONSE_ID):
                if fact in told:
                    facts[fact] = told[fact]
        facts.update(self.general)
        facts.update(self.by_caller)
        facts.update(self.service)
        return facts

    def attributes(self, facts: Mapping[str, str]) -> dict[str, Any]:
        """Return facts, documents and the flag as attributes of the interaction span, the most telling first."""
        attributes: dict[str, Any] = {semconv.FEEDBACK_INTERACTION: not self.failed, **facts}
        if self._documents:
            if self._documents_json is None:
                room = _limits.json_room(self.span)
                self._documents_json = _limits.json_array(self._documents, room, optional="content")
            if self._documents_json is not None:
                attributes[semconv.FEEDBACK_DOCUMENTS] = self._documents_json
        return attributes

    def write(self) -> None:
        """Put what is new onto the interaction span; one that ``interaction()`` opened is written when it closes."""
        if self.span is None or self.kind is Kind.OWN or not self.is_interaction:
            return
        attributes, before = self.attributes(self.facts()), self._written
        self._written = attributes
        if before:
            attributes = {name: value for name, value in attributes.items() if before.get(name) != value}
        _limits.set_within_limits(self.span, attributes)

    def close(self) -> None:
        """Take no more facts, and let go of all but what a handle may still be made of."""
        self.open = False
        self.route = self.name_of_prompt() if self.is_interaction else None
        self.span = self.request = None
        self._documents = ()
        self._documents_json, self._written = None, {}


def _name_of_path(path: str) -> str:
    if path in _paths or (len(_paths) < MAX_PATHS and len(path) <= _limits.MAX_FACT):
        _paths[path] = None
        return str(path)
    _guard.warn_once(
        "many-paths",
        "otel-feedback: requests have many paths and no route, so the prompts of further ones are called 'varies'. "
        "Declare a PromptTemplate(name, text) to tell them apart.",
    )
    return semconv.VARIES


def forget_paths() -> None:
    """Let new paths name prompts: for tests."""
    _paths.clear()


def _without_text(document: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key != "content"}


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
