"""What the attributes of other conventions mean: which role a span plays, and which facts it tells.

One pure table for the three instrumentation families (OpenTelemetry's GenAI conventions, OpenLLMetry,
OpenInference) and for plain spans of a service's own that use any of these names.
"""

import enum
import json
import math
import uuid
from collections.abc import Mapping
from typing import Any, Final

from otel_feedback import semconv
from otel_feedback._limits import MAX_FACT

Attributes = Mapping[str, Any]


class Role(enum.IntEnum):
    """What a span does in the making of an answer."""

    OTHER = 0
    RETRIEVAL = 1
    EMBEDDING = 2
    TOOL = 3
    WORKFLOW = 4
    AGENT = 5
    INFERENCE = 6

    @property
    def answers(self) -> bool:
        """Whether a span of this role can itself be the interaction, where nothing encloses it."""
        return self >= Role.WORKFLOW


REQUEST_MODEL: Final = semconv.GEN_AI_REQUEST_MODEL
"""Fact: the model that was asked for. All other facts have the names of ``semconv``'s ``feedback.*`` attributes."""

_ROLE_ATTRIBUTES: Final[tuple[tuple[str, Mapping[str, Role]], ...]] = (
    (  # OpenTelemetry GenAI, and OpenLLMetry since it adopted it
        semconv.GEN_AI_OPERATION_NAME,
        {
            "chat": Role.INFERENCE,
            "text_completion": Role.INFERENCE,
            "generate_content": Role.INFERENCE,
            "retrieval": Role.RETRIEVAL,
            "embeddings": Role.EMBEDDING,
            "execute_tool": Role.TOOL,
            "invoke_agent": Role.AGENT,
            "invoke_workflow": Role.WORKFLOW,
        },
    ),
    (  # OpenInference
        semconv.OPENINFERENCE_SPAN_KIND,
        {
            "LLM": Role.INFERENCE,
            "RETRIEVER": Role.RETRIEVAL,
            "RERANKER": Role.RETRIEVAL,
            "EMBEDDING": Role.EMBEDDING,
            "TOOL": Role.TOOL,
            "AGENT": Role.AGENT,
            "CHAIN": Role.WORKFLOW,
        },
    ),
    (  # OpenLLMetry
        "traceloop.span.kind",
        {"workflow": Role.WORKFLOW, "agent": Role.AGENT, "tool": Role.TOOL},
    ),
    (  # OpenLLMetry, earlier
        "llm.request.type",
        {"chat": Role.INFERENCE, "completion": Role.INFERENCE, "embedding": Role.EMBEDDING},
    ),
)

FACT_ATTRIBUTES: Final[Mapping[str, str]] = {
    semconv.GEN_AI_REQUEST_MODEL: REQUEST_MODEL,
    semconv.GEN_AI_RESPONSE_MODEL: semconv.FEEDBACK_MODEL,
    semconv.GEN_AI_PROVIDER_NAME: semconv.FEEDBACK_PROVIDER,
    semconv.GEN_AI_RESPONSE_ID: semconv.FEEDBACK_RESPONSE_ID,
    semconv.GEN_AI_CONVERSATION_ID: semconv.GEN_AI_CONVERSATION_ID,
    semconv.GEN_AI_PROMPT_NAME: semconv.FEEDBACK_PROMPT_NAME,
    semconv.GEN_AI_PROMPT_VERSION: semconv.FEEDBACK_PROMPT_VERSION,
    # GenAI conventions before 1.37, still sent by OpenLLMetry
    "gen_ai.system": semconv.FEEDBACK_PROVIDER,
    # OpenInference
    "llm.model_name": semconv.FEEDBACK_MODEL,
    "llm.provider": semconv.FEEDBACK_PROVIDER,
    "llm.system": semconv.FEEDBACK_PROVIDER,
    "session.id": semconv.GEN_AI_CONVERSATION_ID,
    "llm.prompt_template.version": semconv.FEEDBACK_PROMPT_VERSION,
    # OpenLLMetry
    "traceloop.association.properties.session_id": semconv.GEN_AI_CONVERSATION_ID,
    "traceloop.prompt.key": semconv.FEEDBACK_PROMPT_NAME,
    "traceloop.prompt.version": semconv.FEEDBACK_PROMPT_VERSION,
    # A service's own span may say our facts by their names; last, for we write them on a bare inference ourselves
    semconv.FEEDBACK_QUERY_TYPE: semconv.FEEDBACK_QUERY_TYPE,
    semconv.FEEDBACK_PROMPT_NAME: semconv.FEEDBACK_PROMPT_NAME,
    semconv.FEEDBACK_PROMPT_VERSION: semconv.FEEDBACK_PROMPT_VERSION,
    semconv.FEEDBACK_MODEL: semconv.FEEDBACK_MODEL,
    semconv.FEEDBACK_PROVIDER: semconv.FEEDBACK_PROVIDER,
    semconv.FEEDBACK_RESPONSE_ID: semconv.FEEDBACK_RESPONSE_ID,
}
"""Attribute to the fact that it tells, in whichever convention; of several for one fact the first wins."""

_LAST_RANK_FIRST: Final = tuple(FACT_ATTRIBUTES.items())[::-1]
_NAME_ATTRIBUTES: Final = (
    semconv.GEN_AI_WORKFLOW_NAME,
    "gen_ai.agent.name",
    "traceloop.entity.name",
    semconv.GEN_AI_OPERATION_NAME,
)
_TELLING: Final = frozenset(
    (
        *FACT_ATTRIBUTES,
        *(name for name, _ in _ROLE_ATTRIBUTES),
        semconv.GEN_AI_RETRIEVAL_DOCUMENTS,
        semconv.FEEDBACK_DOCUMENTS,
    )
)
_OPENINFERENCE_DOCUMENT: Final = "retrieval.documents."
_TEXT_KEYS: Final = ("content", "text", "page_content")
MAX_DOCUMENTS: Final = 50
"""Documents kept of one answer."""


def role_of(attributes: Attributes) -> Role:
    """Say what a span does, by the first convention that it follows.

    Unknown values are ``Role.OTHER``: a new operation of a convention must not make interactions by surprise.
    """
    for name, roles in _ROLE_ATTRIBUTES:
        value = attributes.get(name)
        if value is not None:
            return roles.get(value, Role.OTHER) if isinstance(value, str) else Role.OTHER
    return Role.OTHER


def names_a_role(attributes: Attributes | None) -> bool:
    """Say whether a span that is about to start follows one of the conventions at all (for the sampler)."""
    return attributes is not None and any(name in attributes for name, _ in _ROLE_ATTRIBUTES)


def name_of(attributes: Attributes) -> str | None:
    """Return what a workflow or agent is called, else its operation, by whichever convention; None without any."""
    for name in _NAME_ATTRIBUTES:
        value = attributes.get(name)
        if isinstance(value, str) and value:
            return value
    return None


def tells_nothing(attributes: Attributes) -> bool:
    """Say whether a span follows no convention of this table at all, as most spans of a service: quickly."""
    return _TELLING.isdisjoint(attributes)


def facts_of(attributes: Attributes) -> dict[str, str]:
    """Gather the facts that a span's attributes tell; empty, overlong and non-string values tell nothing.

    Where several attributes tell one fact, the first of them in the table wins.
    """
    facts: dict[str, str] = {}
    for name, value in attributes.items():
        fact = FACT_ATTRIBUTES.get(name)
        if fact is not None and value and isinstance(value, str) and len(value) <= MAX_FACT:
            if fact in facts:
                return _ranked_facts_of(attributes)
            facts[fact] = value
    return facts


def _ranked_facts_of(attributes: Attributes) -> dict[str, str]:
    facts = {}
    for name, fact in _LAST_RANK_FIRST:
        value = attributes.get(name)
        if value and isinstance(value, str) and len(value) <= MAX_FACT:
            facts[fact] = value
    return facts


def documents_of(attributes: Attributes) -> list[dict[str, Any]]:
    """Gather retrieved documents as ``{"id", "score", ...}``, from a JSON string, a sequence or OpenInference's keys.

    What can't be read is left out: it is somebody else's attribute and tells nothing.
    """
    value = attributes.get(semconv.GEN_AI_RETRIEVAL_DOCUMENTS)
    if value is None:
        value = attributes.get(semconv.FEEDBACK_DOCUMENTS)
    if value is None:
        return _openinference_documents(attributes) if semconv.OPENINFERENCE_SPAN_KIND in attributes else []
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return []
    return normal_documents(value) if isinstance(value, (list, tuple)) else []


def normal_documents(documents: Any) -> list[dict[str, Any]]:
    """Bring documents as people give them (mappings, ids, ``(id, score)`` pairs; one alone) into one form.

    Returns:
        At most ``MAX_DOCUMENTS`` dictionaries, each with ``id``; ``score`` where it is a number, and the text under
        ``content`` where there is one. Entries without an id are left out.
    """
    found = []
    for document in (documents,) if isinstance(documents, (str, Mapping)) else documents:
        entry = _normal_document(document)
        if entry is not None:
            found.append(entry)
            if len(found) == MAX_DOCUMENTS:
                break
    return found


def _normal_document(document: Any) -> dict[str, Any] | None:
    if isinstance(document, (tuple, list)):
        if len(document) != 2:  # noqa: PLR2004 - a pair
            return None
        return _entry({"id": document[0], "score": document[1]})
    return _entry(document if isinstance(document, (dict, Mapping)) else {"id": document})


def _entry(document: Mapping[str, Any]) -> dict[str, Any] | None:
    identifier = document.get("id")
    if identifier is None:
        identifier = document.get("document.id")
    if not isinstance(identifier, str):
        identifier = _identifier(identifier)
    if not identifier:
        return None
    entry: dict[str, Any] = {"id": identifier}
    score = _score(document.get("score"))
    if score is not None:
        entry["score"] = score
    for key in _TEXT_KEYS:
        if key in document:
            if isinstance(document[key], str):
                entry["content"] = document[key]
            break
    return entry


def _identifier(value: Any) -> str | None:
    """Write an id as text: a whole number of Python or an array library, or a UUID."""
    if isinstance(value, bool) or not (hasattr(value, "__index__") or isinstance(value, uuid.UUID)):
        return None
    try:
        return str(value)
    except ValueError:  # a number of thousands of digits
        return None


def _score(value: Any) -> float | None:
    """Read a number of Python or an array library; NaN and infinities have no JSON and are none."""
    if type(value) is not float:
        if isinstance(value, bool) or not hasattr(value, "__float__"):
            return None
        try:
            value = float(value)
        except OverflowError:
            return None
    return value if math.isfinite(value) else None


def _openinference_documents(attributes: Attributes) -> list[dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    for name, value in attributes.items():
        if not name.startswith(_OPENINFERENCE_DOCUMENT):
            continue
        index, _, field = name[len(_OPENINFERENCE_DOCUMENT) :].partition(".document.")
        if index.isdecimal() and len(index) < 5 and field in ("id", "score", "content"):  # noqa: PLR2004 - to 9999
            found.setdefault(int(index), {})[field] = value
    return normal_documents(found[index] for index in sorted(found))
