"""Put our middleware into FastAPI and Starlette applications, just inside of their error handling.

There it is below the server span of OpenTelemetry's instrumentations and of FastAPI's own telemetry alike, and the
outermost object of the stack keeps its class, which both of them look at.
"""

import functools
from collections.abc import Callable
from typing import Any

import wrapt

from otel_feedback import _guard
from otel_feedback.instrumentation.asgi import FeedbackMiddleware

_METHOD = "build_middleware_stack"
_patched: list[tuple[type, Callable[..., Any]]] = []
_active = False


def patch() -> None:
    """Wrap the stacks of applications that are built from now on, also where a framework is imported only later."""
    global _active  # noqa: PLW0603 - import hooks can't be taken back, so they ask
    if _active:
        return
    _active = True
    for module, name in (("fastapi.applications", "FastAPI"), ("starlette.applications", "Starlette")):
        wrapt.register_post_import_hook(functools.partial(_patch_class, name), module)


def unpatch() -> None:
    """Give the classes their methods back; stacks that were built keep our middleware."""
    global _active  # noqa: PLW0603 - see patch
    _active = False
    while _patched:
        cls, original = _patched.pop()
        setattr(cls, _METHOD, original)


@_guard.guarded()
def _patch_class(name: str, module: Any) -> None:
    cls = getattr(module, name)
    original = cls.__dict__.get(_METHOD)
    if not _active or original is None or any(known is cls for known, _ in _patched):
        return

    @functools.wraps(original)
    def build_middleware_stack(self: Any) -> Any:
        stack = original(self)
        with _guard.guard("build_middleware_stack"):
            if not _holds_ours(stack):
                stack.app = FeedbackMiddleware(stack.app)
        return stack

    _patched.append((cls, original))
    setattr(cls, _METHOD, build_middleware_stack)


def _holds_ours(stack: Any) -> bool:
    seen = 0
    while stack is not None and seen < 100:  # noqa: PLR2004 - a stack that loops ends somewhere
        if isinstance(stack, FeedbackMiddleware):
            return True
        stack, seen = getattr(stack, "app", None), seen + 1
    return False
