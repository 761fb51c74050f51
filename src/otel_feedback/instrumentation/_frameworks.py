"""Put our middleware just inside of what opens a request's server span: OpenTelemetry's ASGI middleware, or FastAPI.

Other instrumentations, and FastAPI's own telemetry, look at the classes in an application's stack: it keeps them all,
and each has its ``app`` as before.
"""

from collections.abc import Callable
from typing import Any, Final

import wrapt

from otel_feedback import _guard
from otel_feedback.instrumentation import _attach, _propagator
from otel_feedback.instrumentation.asgi import FeedbackMiddleware

_Wrapper = Callable[[Callable[..., Any], Any, tuple[Any, ...], dict[str, Any]], Any]

_active = False
_hooked = False


def patch() -> None:
    """Wrap what builds an application's stack, also where its module is imported only later."""
    global _active, _hooked  # noqa: PLW0603 - import hooks can't be taken back, so the wrappers ask
    _active = True
    if _hooked:
        return
    _hooked = True
    for module, hook in _HOOKS.items():
        wrapt.register_post_import_hook(hook, module)


def unpatch() -> None:
    """Let the wrappers do nothing; stacks that were built keep our middleware, which then finds no spans."""
    global _active  # noqa: PLW0603 - see patch
    _active = False


def _around(place: str, wrapper: _Wrapper) -> Callable[[Any], None]:
    @_guard.guarded()
    def hook(module: Any) -> None:
        wrapt.wrap_function_wrapper(module, place, wrapper)

    return hook


def _new_otel_middleware(
    wrapped: Callable[..., Any], instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    wrapped(*args, **kwargs)
    if _active:
        with _guard.guard("OpenTelemetryMiddleware"):
            instance.app = FeedbackMiddleware(instance.app)


def _new_fastapi_stack(wrapped: Callable[..., Any], _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    stack = wrapped(*args, **kwargs)
    if _active:
        with _guard.guard("build_middleware_stack"):
            stack.app = FeedbackMiddleware(stack.app)
    return stack


def _new_provider(wrapped: Callable[..., Any], _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    result = wrapped(*args, **kwargs)
    if _active:
        with _guard.guard("set_tracer_provider"):
            _attach.attach_late()
    return result


@_guard.guarded()
def _watch_flask(module: Any) -> None:
    module.request_finished.connect(_propagator.note_flask_response, weak=False)


_HOOKS: Final[dict[str, Callable[[Any], None]]] = {
    "opentelemetry.instrumentation.asgi": _around("OpenTelemetryMiddleware.__init__", _new_otel_middleware),
    "fastapi.applications": _around("FastAPI.build_middleware_stack", _new_fastapi_stack),
    "opentelemetry.trace": _around("set_tracer_provider", _new_provider),
    "flask.signals": _watch_flask,
}
"""What is wrapped, by the module that has it."""
