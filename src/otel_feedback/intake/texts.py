"""What was asked and what was answered in one span, in whichever dialect it was recorded.

Three families write the same exchange in six ways, as attributes, as span events and as log records. Each is a reader
here, and the first one that finds something wins, the most exact form first. A prompt is more than what was asked:
where its template was rendered with a question, that is the question.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from otel_feedback import _dialects, semconv
from otel_feedback._dialects import Role
from otel_feedback._limits import cut_evenly
from otel_feedback._messages import text_of
from otel_feedback.intake._foreign import (
    ASKING_NAMES,
    EVENT_CHOICE,
    EVENT_COMPLETION,
    EVENT_CONTENT,
    EVENT_OPERATION_DETAILS,
    EVENT_PROMPT,
    MESSAGE_EVENTS,
    QUESTION_ATTRIBUTES,
    QUESTION_VARIABLES,
    TEMPLATE_VARIABLES,
)
from otel_feedback.intake._values import clean

MAX_TEXT: Final = 32_768
"""Characters of a question, an answer or a system instruction in a row; the raw span has it all."""

MAX_MESSAGES: Final = 1000
"""Messages of one exchange that are looked at: the last ones count."""

Attributes = Mapping[str, Any]
Events = Sequence[tuple[str, Attributes]]

_SILENT: Final = frozenset((Role.RETRIEVAL, Role.EMBEDDING, Role.TOOL))
"""Spans whose input and output are a query and what was found, no question and answer."""
_INSTRUCTING: Final = frozenset(("system", "developer"))
_ANSWERING: Final = frozenset(("assistant", "model", "ai"))
_ASKING: Final = frozenset(("user", "human"))
_QUESTION_KEYS: Final = (
    "question",
    "query",
    "input",
    "prompt",
    "text",
    "message",
    "messages",
    "inputs",
    "args",
    "kwargs",
)
_ANSWER_KEYS: Final = ("answer", "output", "response", "result", "text", "content", "messages", "outputs")


class Message(NamedTuple):
    """One message of an exchange."""

    role: str
    text: str


class Texts(NamedTuple):
    """An exchange, whole; ``None`` where it wasn't recorded."""

    question: str | None = None
    answer: str | None = None
    system: str | None = None
    messages: tuple[Message, ...] = ()
    """What was sent, in order."""

    @property
    def empty(self) -> bool:
        """Whether nothing was recorded."""
        return self.question is None and self.answer is None and self.system is None


def shorten(text: str | None) -> str | None:
    """Clean a text for a row, and cut the middle out of one that is longer than ``MAX_TEXT``."""
    return None if text is None else clean(cut_evenly(text, MAX_TEXT))


def texts_of(attributes: Attributes, events: Events = ()) -> Texts:
    """Read the exchange of a span.

    Args:
        attributes: Of the span, as Python values.
        events: Name and attributes of its events.
    """
    if _dialects.role_of(attributes) in _SILENT:
        return Texts()
    sent = _first(_SENT, attributes, events)
    question = None if ASKING_NAMES.isdisjoint(attributes) else _question_of_template(attributes)
    if question is None:
        question = _last(sent, _ASKING)
    if question is None:
        question = _question_of_value(attributes)
    answer = None
    received = _first(_RECEIVED, attributes, events)
    if received:
        answer = "\n".join(message.text for message in received) or None
    if answer is None:
        answer = _answer_of_value(attributes)
    system = text_of(_loaded(attributes.get(semconv.GEN_AI_SYSTEM_INSTRUCTIONS)))
    if system is None:
        system = next((message.text for message in sent if message.role in _INSTRUCTING), None)
    return Texts(question, answer, system, tuple(sent))


def texts_of_details(values: Attributes) -> Texts:
    """Read the exchange of one call from the event ``gen_ai.client.inference.operation.details``.

    Args:
        values: Attributes and body of the event, as Python values.
    """
    return texts_of({**values, semconv.GEN_AI_OPERATION_NAME: "chat"})


def _first(readers: Iterable[Callable[[Attributes, Events], list[Message]]], *where: Any) -> list[Message]:
    for read in readers:
        found = read(*where)
        if found:
            return found
    return []


def _last(messages: Sequence[Message], roles: frozenset[str]) -> str | None:
    """Return the last message of these roles; where no message has a role, the last."""
    for message in reversed(messages):
        if message.role in roles:
            return message.text
    if roles is _ASKING and messages and not any(message.role for message in messages):
        return messages[-1].text
    return None


# --- Variables of templates ---


def _question_of_template(attributes: Attributes) -> str | None:
    """Find what was asked among the variables that a prompt's template was rendered with."""
    for name in QUESTION_ATTRIBUTES:
        value = attributes.get(name)
        if isinstance(value, str) and value.strip():
            return value
    for name in TEMPLATE_VARIABLES:
        variables = _loaded(attributes.get(name))
        if isinstance(variables, Mapping):
            for key in QUESTION_VARIABLES:
                value = variables.get(key)
                if isinstance(value, str) and value.strip():
                    return value
    return None


# --- Messages ---


def _json_messages(name: str) -> Callable[[Attributes, Events], list[Message]]:
    def read(attributes: Attributes, _: Events) -> list[Message]:
        return _messages(_loaded(attributes.get(name)))

    return read


def _messages(value: Any, role: str = "") -> list[Message]:
    """Read a list of messages, one message, or a text."""
    found = []
    for message in (value if isinstance(value, (list, tuple)) else (value,))[-MAX_MESSAGES:]:
        read = _message(message, role)
        if read is not None:
            found.append(read)
    return found


def _message(message: Any, role: str = "") -> Message | None:
    if isinstance(message, Mapping):
        if isinstance(message.get("message"), Mapping):  # a choice holds its message
            message = message["message"]
        told = message.get("role", message.get("type"))
        for key in ("parts", "content", "text"):
            text = text_of(message.get(key))
            if text:
                return Message(told.lower() if isinstance(told, str) else role, text)
        return None
    text = text_of(message)
    return Message(role, text) if text else None


def _indexed_messages(prefix: str, infix: str = "") -> Callable[[Attributes, Events], list[Message]]:
    """Make a reader of ``{prefix}{N}.{infix}role`` and ``{prefix}{N}.{infix}content``."""

    def read(attributes: Attributes, events: Events) -> list[Message]:  # noqa: ARG001 - one reader of several
        found: dict[int, dict[str, Any]] = {}
        for name, value in attributes.items():
            if not name.startswith(prefix):
                continue
            index, _, field = name[len(prefix) :].partition(".")
            if index.isdecimal() and len(index) < 5 and field.startswith(infix):  # noqa: PLR2004 - to 9999
                _take(found.setdefault(int(index), {}), field[len(infix) :], value)
        return _messages([_joined(found[index]) for index in sorted(found)])

    return read


def _take(message: dict[str, Any], field: str, value: Any) -> None:
    """Put a field of a flattened message where a message has it; parts of content keep their order."""
    if field in ("role", "content", "text"):
        message[field] = _loaded(value) if field == "content" and _looks_like_parts(value) else value
    elif field.startswith("contents.") and field.endswith(".message_content.text"):
        index = field.split(".", 2)[1]
        if index.isdecimal() and len(index) < 5:  # noqa: PLR2004 - to 9999
            message.setdefault("contents", {})[int(index)] = value


def _joined(message: dict[str, Any]) -> dict[str, Any]:
    contents = message.get("contents")
    if contents and not message.get("content"):
        message["content"] = [contents[index] for index in sorted(contents)]
    return message


def _looks_like_parts(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(("[{", '["'))


def _message_events(attributes: Attributes, events: Events) -> list[Message]:  # noqa: ARG001 - one reader of several
    found = []
    for name, values in events[-MAX_MESSAGES:]:
        role = MESSAGE_EVENTS.get(name)
        if role is not None:
            found += _messages(_body_of(values), role)
        elif name == EVENT_PROMPT:
            found += _messages(_loaded(values.get("gen_ai.prompt")))
        elif name == EVENT_OPERATION_DETAILS:
            found += _messages(_loaded(values.get(semconv.GEN_AI_INPUT_MESSAGES)))
    return found


def _answer_events(attributes: Attributes, events: Events) -> list[Message]:  # noqa: ARG001 - one reader of several
    found = []
    for name, values in events[-MAX_MESSAGES:]:
        if name == EVENT_CHOICE:
            found += _messages(_body_of(values))
        elif name == EVENT_COMPLETION:
            found += _messages(_loaded(values.get("gen_ai.completion")))
        elif name == EVENT_OPERATION_DETAILS:
            found += _messages(_loaded(values.get(semconv.GEN_AI_OUTPUT_MESSAGES)))
    return found


def _body_of(values: Attributes) -> Any:
    """Return an event's message: its attributes, or the JSON of all of them in one."""
    packed = values.get(EVENT_CONTENT)
    if packed is not None:
        return _loaded(packed)
    message = values.get("message")
    if isinstance(message, str):
        return {**values, "message": _loaded(message)} if message.startswith("{") else {"content": message}
    content = values.get("content")
    return {**values, "content": _loaded(content)} if _looks_like_parts(content) else values


def _prompt_texts(attributes: Attributes, _: Events) -> list[Message]:
    """Read OpenInference's prompts of completions, that have no roles."""
    return _messages(attributes.get("llm.prompts")) or [
        Message("", value)
        for name, value in attributes.items()
        if name.startswith("llm.prompts.") and name.endswith(".prompt.text") and isinstance(value, str) and value
    ]


def _choice_texts(attributes: Attributes, _: Events) -> list[Message]:
    return [
        Message("", value)
        for name, value in attributes.items()
        if name.startswith("llm.choices.") and name.endswith(".completion.text") and isinstance(value, str) and value
    ]


_SENT: Final = (
    _json_messages(semconv.GEN_AI_INPUT_MESSAGES),
    _indexed_messages("gen_ai.prompt."),
    _indexed_messages("llm.input_messages.", "message."),
    _message_events,
    _json_messages("gen_ai.prompt"),
    _prompt_texts,
)
_RECEIVED: Final = (
    _json_messages(semconv.GEN_AI_OUTPUT_MESSAGES),
    _indexed_messages("gen_ai.completion."),
    _indexed_messages("llm.output_messages.", "message."),
    _answer_events,
    _json_messages("gen_ai.completion"),
    _choice_texts,
)


# --- Values of chains and tasks ---


def _question_of_value(attributes: Attributes) -> str | None:
    for name in ("input.value", "traceloop.entity.input", "gen_ai.task.input"):
        value = attributes.get(name)
        if isinstance(value, str) and value:
            return _inside(value, _QUESTION_KEYS, _ASKING)
    return None


def _answer_of_value(attributes: Attributes) -> str | None:
    for name in ("output.value", "traceloop.entity.output", "gen_ai.task.output"):
        value = attributes.get(name)
        if isinstance(value, str) and value:
            return _inside(value, _ANSWER_KEYS, _ANSWERING)
    return None


def _inside(value: str, keys: Sequence[str], roles: frozenset[str]) -> str:
    """Find the text in a value that may be JSON of a call's arguments or results; else the value as it is."""
    if not value.startswith(("{", "[", '"')):
        return value
    return _text_inside(_loaded(value), keys, roles, 0) or value


def _text_inside(value: Any, keys: Sequence[str], roles: frozenset[str], depth: int) -> str | None:
    if isinstance(value, str):
        return value or None
    if depth > 4:  # noqa: PLR2004 - {"inputs": {"messages": [[{"content": ...}]]}} is as deep as they go
        return None
    if isinstance(value, list):
        messages = _messages(value) if all(isinstance(item, dict) for item in value) else []
        text = _last(messages, roles) or (messages[-1].text if messages else None)
        return text or next((text for item in value if (text := _text_inside(item, keys, roles, depth + 1))), None)
    if isinstance(value, dict):
        for key in keys:
            text = _text_inside(value[key], keys, roles, depth + 1) if key in value else None
            if text:
                return text
    return None


def _loaded(value: Any) -> Any:
    """Return what a JSON text holds, and anything else as it is."""
    if not isinstance(value, str) or not value.startswith(("{", "[", '"')):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value
