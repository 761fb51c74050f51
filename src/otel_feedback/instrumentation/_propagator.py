"""The handle for what isn't ASGI: OpenTelemetry's response propagator, called by Flask's, Django's and others.

It is called when a response's header leaves, inside the server span; a stream's model call comes later and gives its
handle by ``interaction().handle`` instead.
"""

import contextvars
from collections.abc import MutableMapping
from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.instrumentation import propagators

from otel_feedback import _facts, _guard, _ledger
from otel_feedback.instrumentation import _attach, _headers

# The module is not annotated.
_propagators: Any = propagators

_OK: Final = 200
_SEEN: Final = "_otel_feedback"
"""Attribute of a response object that has been given a handle."""

_flask_status: contextvars.ContextVar[int] = contextvars.ContextVar("otel_feedback_flask_status", default=_OK)
"""Status of the response that Flask is about to send: its instrumentation hands us the headers only."""


class HandlePropagator(propagators.ResponsePropagator):
    """Add the handle to a response's headers, after whatever propagator the service has set itself.

    Attributes:
        inner: The service's own response propagator, or None.
    """

    def __init__(self, inner: Any = None) -> None:
        self.inner = inner

    def inject(self, carrier: Any, context: Context | None = None, setter: Any = propagators.default_setter) -> None:
        """Add the handle where the request was an answer."""
        if self.inner is not None:
            self.inner.inject(carrier, context=context, setter=setter)
        _inject(carrier, context, setter)


@_guard.guarded()
def _inject(carrier: Any, context: Context | None, setter: Any) -> None:
    sheet = _attach.request_sheet(context)
    if isinstance(carrier, list):
        _into_flask(carrier, sheet)
    elif hasattr(carrier, "status_code") and hasattr(carrier, "items"):
        _into_django(carrier, sheet)
    elif not (isinstance(carrier, MutableMapping) and "type" in carrier):  # an ASGI message is our middleware's
        _into_other(carrier, sheet, setter)


def _handle(sheet: _facts.FactSheet | None, status: int) -> str | None:
    if sheet is not None and _headers.is_failure(status):
        sheet.fail()
    target = sheet.target() if sheet is not None and _headers.may_carry(status) else None
    return _ledger.handle_of(target) if target is not None else None


@_guard.guarded()
def note_flask_response(_: Any, response: Any, **__: Any) -> None:
    """Receive Flask's signal that a response is complete."""
    _flask_status.set(response.status_code)


def _into_flask(headers: list[tuple[str, str]], sheet: _facts.FactSheet | None) -> None:
    """Change a list of pairs that Flask makes anew for each response."""
    handle = _handle(sheet, _flask_status.get())
    if handle is None:
        return
    new = _changes(headers, handle)
    if new is not None:
        headers[:] = [pair for pair in headers if pair[0].lower() not in new]
        headers.extend((name.title() if name != _NAME else name, value) for name, value in new.items())


def _into_django(response: Any, sheet: _facts.FactSheet | None) -> None:
    """Change a response object, which the service may keep and send again to somebody else.

    Such an object has a handle at its first time only: two threads may be sending it at once.
    """
    mine = object()
    if vars(response).setdefault(_SEEN, mine) is not mine:
        del response[_NAME]
        return
    handle = _handle(sheet, response.status_code)
    new = _changes(response.items(), handle) if handle is not None else None
    if new is None:
        del vars(response)[_SEEN]
        return
    for name, value in new.items():
        response[name.title() if name != _NAME else name] = value


def _into_other(carrier: Any, sheet: _facts.FactSheet | None, setter: Any) -> None:
    """Change something that only its instrumentation's setter knows; setters add to what a header has."""
    handle = _handle(sheet, _OK)
    for name, value in (_changes((), handle) or {}).items() if handle is not None else ():
        setter.set(carrier, name, value)


_NAME: Final = _headers.NAME.decode("ascii")


def _changes(headers: Any, handle: str) -> dict[str, str] | None:
    pairs = [(name.encode("latin-1"), str(value).encode("latin-1")) for name, value in headers]
    new = _headers.changes(pairs, handle)
    if new is None:
        return None
    return {name.decode("ascii"): value.decode("latin-1") for name, value in new.items()}


def install() -> None:
    """Become the global response propagator, around the one that is set."""
    current = _propagators.get_global_response_propagator()
    if not isinstance(current, HandlePropagator):
        _propagators.set_global_response_propagator(HandlePropagator(current))


def uninstall() -> None:
    """Give the place back, if it is still ours."""
    current = _propagators.get_global_response_propagator()
    if isinstance(current, HandlePropagator):
        _propagators.set_global_response_propagator(current.inner)
