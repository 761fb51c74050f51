"""The one guard between us and the host: what goes wrong in here is logged once and never raised there.

Under test (``strict()``) it is raised, so that no test passes over a failure of ours.
"""

import contextlib
import functools
import logging
import traceback
from collections.abc import Callable, Iterator
from typing import Any, Final, ParamSpec, TypeVar, cast

P = ParamSpec("P")
R = TypeVar("R")

logger: Final = logging.getLogger("otel_feedback")
"""The package's one logger. Messages never contain prompts, answers, comments, handles or keys."""

_strict = False
_warned: dict[str, object] = {}


def warn_once(code: str, message: str, *args: object) -> None:
    """Log a warning the first time that ``code`` comes in this process.

    Args:
        code: What the warning is about, such as ``"no-provider"``.
        message: A ``logging`` format: what is wrong, and which setting or package mends it.
        args: Its arguments.
    """
    # One atomic operation decides between threads: a lock could be held for ever in a forked child.
    mine = object()
    if _warned.setdefault(code, mine) is mine:
        _log(logging.WARNING, message, *args)


def failed(where: str, error: BaseException) -> None:
    """Report a failure of our own: once per place and type, without its message, which may hold user text."""
    if _strict:
        raise error
    warn_once(
        f"failed:{where}:{type(error).__name__}",
        "otel-feedback: %s failed with %s; the service goes on without it. Set the log level of 'otel_feedback' to "
        "DEBUG to see where.",
        where,
        type(error).__name__,
    )
    if logger.isEnabledFor(logging.DEBUG):  # where it happened, without any exception's words
        place = "".join(traceback.format_tb(error.__traceback__))
        _log(logging.DEBUG, "otel-feedback: %s failed at:\n%s", where, place)


def _log(level: int, message: str, *args: object) -> None:
    # A filter or handler of the host's may raise; where telemetry is at work, that is no reason for its work to fail.
    with contextlib.suppress(Exception):
        logger.log(level, message, *args)


def guarded(default: Any = None) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorate a function that a host calls: on an error of ours it returns ``default``."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        where = function.__qualname__

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return function(*args, **kwargs)
            except Exception as error:
                failed(where, error)
                return cast("R", default)

        return call

    return decorate


class guard:  # noqa: N801 - a block: ``with guard("...")``
    """Swallow and report an error of ours in a block; nothing of the host's may run inside."""

    __slots__ = ("_where",)

    def __init__(self, where: str) -> None:
        self._where = where

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> bool:
        if not isinstance(error, Exception):
            return False
        failed(self._where, error)
        return True


@contextlib.contextmanager
def strict() -> Iterator[None]:
    """Raise what the guard would swallow, and forget which warnings were given: for tests."""
    global _strict  # noqa: PLW0603 - one switch for the whole process, by design
    before, _strict = _strict, True
    _warned.clear()
    try:
        yield
    finally:
        _strict = before
        _warned.clear()


def is_strict() -> bool:
    """Whether errors of ours are raised instead of swallowed."""
    return _strict


def forget_warnings() -> None:
    """Let every warning be given again: for tests."""
    _warned.clear()
