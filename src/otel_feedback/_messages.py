"""What was sent to a model, where an instrumentation records it or its client is called: instruction and question."""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from otel_feedback import semconv

Attributes = Mapping[str, Any]


def system_of(attributes: Attributes) -> str | None:
    """Find the text of the system instruction where an instrumentation recorded it, in any dialect."""
    for name, read in _SYSTEM_ATTRIBUTES:
        value = attributes.get(name)
        if isinstance(value, str) and value:
            text = read(value, attributes)
            if text:
                return text
    return None


def _from_parts(value: str, _: Attributes) -> str | None:
    return _text_of_json(value)


def _from_first_message(role: str) -> Callable[[str, Attributes], str | None]:
    def read(value: str, attributes: Attributes) -> str | None:
        return value if attributes.get(role) in ("system", "developer") else None

    return read


def _from_messages(value: str, _: Attributes) -> str | None:
    try:
        messages = json.loads(value)
    except (ValueError, RecursionError):
        return None
    for message in messages if isinstance(messages, list) else ():
        if isinstance(message, dict) and message.get("role") in ("system", "developer"):
            return text_of(message.get("parts", message.get("content")))
    return None


def _text_of_json(value: str) -> str | None:
    try:
        return text_of(json.loads(value))
    except (ValueError, RecursionError):
        return value


def may_ask(attributes: Attributes) -> bool:
    """Say whether an inference's attributes hold the messages that were sent, in any dialect: quickly."""
    return not _MESSAGES.isdisjoint(attributes)


def question_of(attributes: Attributes) -> str | None:
    """Find the user's message that an inference answers: the last one, in any dialect.

    None where something else came last, such as a tool's result: then the question was asked before.
    """
    value = attributes.get(semconv.GEN_AI_INPUT_MESSAGES)
    if isinstance(value, str):
        try:
            return last_of_user(json.loads(value))
        except (ValueError, RecursionError):
            return None
    for first, role, content in _NUMBERED_MESSAGES:
        if first in attributes:
            index = 0
            while role % (index + 1) in attributes:
                index += 1
            text = attributes.get(content % index) if attributes[role % index] == "user" else None
            return text if isinstance(text, str) else None
    return None


def last_of_user(messages: Any) -> str | None:
    """Return the text of the last message of a list where it is the user's."""
    if not isinstance(messages, (list, tuple)) or not messages:
        return None
    role, content = field_of(messages[-1], "role"), field_of(messages[-1], "content")
    return text_of(field_of(messages[-1], "parts") if content is None else content) if role == "user" else None


def field_of(message: Any, name: str) -> Any:
    """Return a field of a message that is a mapping or an object; None without it."""
    return message.get(name) if isinstance(message, Mapping) else getattr(message, name, None)


def text_of(content: Any) -> str | None:
    """Join the texts of a message's content: a string, or a list of parts with ``text`` or ``content``."""
    if isinstance(content, str):
        return content or None
    if not isinstance(content, (list, tuple)):
        return None
    texts = []
    for part in content:
        text = part if isinstance(part, str) else None
        if isinstance(part, Mapping):
            text = part.get("text", part.get("content"))
        if isinstance(text, str):
            texts.append(text)
    return "\n".join(texts) or None


_SYSTEM_ATTRIBUTES: Final[tuple[tuple[str, Callable[[str, Attributes], str | None]], ...]] = (
    (semconv.GEN_AI_SYSTEM_INSTRUCTIONS, _from_parts),
    (semconv.GEN_AI_INPUT_MESSAGES, _from_messages),
    ("gen_ai.prompt.0.content", _from_first_message("gen_ai.prompt.0.role")),
    ("llm.input_messages.0.message.content", _from_first_message("llm.input_messages.0.message.role")),
)

_NUMBERED_MESSAGES: Final = (
    (
        "llm.input_messages.0.message.role",
        "llm.input_messages.%d.message.role",
        "llm.input_messages.%d.message.content",
    ),
    ("gen_ai.prompt.0.role", "gen_ai.prompt.%d.role", "gen_ai.prompt.%d.content"),
)
_MESSAGES: Final = frozenset((semconv.GEN_AI_INPUT_MESSAGES, *(first for first, _, _ in _NUMBERED_MESSAGES)))
