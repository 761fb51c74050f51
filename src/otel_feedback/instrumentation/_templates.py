"""Read the prompt from a client's arguments when a call starts, for services that declare no template.

The instrumentations show the system instruction only with content on, and then at the end of the call: too late for a
stream's header. Only a fingerprint is kept of it.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import wrapt

from otel_feedback import _facts, _guard, _ledger, _processor, _prompts
from otel_feedback._limits import MAX_FACT
from otel_feedback._messages import field_of, last_of_user, text_of

_SYSTEM_ROLES: Final = ("system", "developer")

_OPENAI_METHODS: Final = (
    ("openai.resources.chat.completions.completions", "Completions", ("create", "parse"), False),
    ("openai.resources.chat.completions.completions", "AsyncCompletions", ("create", "parse"), True),
    ("openai.resources.responses.responses", "Responses", ("create", "parse"), False),
    ("openai.resources.responses.responses", "AsyncResponses", ("create", "parse"), True),
)

_hooked: set[str] = set()
_active = False


def hook() -> None:
    """Wrap the client methods, where and when their library is imported."""
    global _active  # noqa: PLW0603 - import hooks can't be taken back, so the wrappers ask
    _active = True
    for module, cls, methods, is_async in _OPENAI_METHODS:
        place = f"{module}:{cls}"
        if place not in _hooked:
            _hooked.add(place)
            wrapt.register_post_import_hook(functools.partial(_wrap, cls, methods, is_async=is_async), module)


def unhook() -> None:
    """Let the wrappers do nothing: other instrumentations may have wrapped them in turn."""
    global _active  # noqa: PLW0603 - see hook
    _active = False


@_guard.guarded()
def _wrap(cls: str, methods: Sequence[str], module: Any, *, is_async: bool) -> None:
    for method in methods:
        if hasattr(getattr(module, cls, None), method):
            wrapt.wrap_function_wrapper(module, f"{cls}.{method}", _around_async if is_async else _around)


class _noting:  # noqa: N801 - a block: ``with _noting(kwargs)``
    """Leave word of a call's arguments while it is made, for whichever of the wrappers is the outer one."""

    __slots__ = ("_note", "_token")

    def __init__(self, kwargs: Mapping[str, Any]) -> None:
        self._note = _note_of(kwargs) if _active else None

    def __enter__(self) -> None:
        if self._note is not None:
            self._token = _ledger.note_call(self._note)
            _processor.tell_current_call(self._note)

    def __exit__(self, *_: object) -> None:
        if self._note is not None:
            _ledger.forget_call(self._token)


def _around(wrapped: Callable[..., Any], _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    with _noting(kwargs):
        return wrapped(*args, **kwargs)


async def _around_async(wrapped: Callable[..., Any], _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    with _noting(kwargs):
        return await wrapped(*args, **kwargs)


@_guard.guarded()
def _note_of(kwargs: Mapping[str, Any]) -> _facts.CallNote | None:
    """Read the arguments of a chat or responses call; None where they tell nothing."""
    stored = kwargs.get("prompt")
    system = kwargs.get("instructions")
    if not isinstance(system, str):
        system = _system_of(kwargs.get("messages")) or _system_of(kwargs.get("input"))
    own = _prompts.fingerprint(system) if system else None
    question = _question_of(kwargs.get("messages", kwargs.get("input")))
    model = kwargs.get("model")
    model = model if isinstance(model, str) and 0 < len(model) <= MAX_FACT else None
    if isinstance(stored, Mapping) and isinstance(stored.get("id"), str):
        version = stored.get("version")
        return _facts.CallNote(stored["id"], version if isinstance(version, str) else None, own, model, question)
    return _facts.CallNote(None, None, own, model, question) if own or model or question else None


def _question_of(messages: Any) -> Callable[[], str | None] | None:
    """Return how to find what the user asks: not now, for most calls belong to no conversation."""
    if isinstance(messages, str):
        return lambda: messages
    if not isinstance(messages, (list, tuple)) or not messages or field_of(messages[-1], "role") != "user":
        return None
    last = (messages[-1],)  # the list itself may grow
    return lambda: last_of_user(last)


def _system_of(messages: Any) -> str | None:
    """Join the system messages that open a conversation; an iterator is left alone, reading would use it up."""
    if not isinstance(messages, (list, tuple)):
        return None
    texts = []
    for message in messages:
        role = field_of(message, "role")
        if role not in _SYSTEM_ROLES:
            break
        text = text_of(field_of(message, "content"))
        if text:
            texts.append(text)
    return "\n".join(texts) or None
