"""The handle for frameworks without our middleware: OpenTelemetry's response propagator (Flask, Django, other ASGI).

It is called when a response's header leaves, inside the server span; a stream's model call comes later and gives its
handle by ``interaction().handle`` instead.
"""

from collections.abc import MutableMapping
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.instrumentation import propagators

from otel_feedback import _facts, _guard, _ledger, semconv
from otel_feedback.instrumentation import _attach, _headers

# The module is not annotated.
_propagators: Any = propagators


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
    _attach.attach_late()
    handle = _handle(context)
    if isinstance(carrier, MutableMapping) and "type" in carrier:
        _into_asgi(carrier, handle)
    elif isinstance(carrier, list):
        _into_wsgi(carrier, handle)
    else:
        _into_object(carrier, handle, setter)


def _handle(context: Context | None) -> str | None:
    node = _ledger.ledger.node(_ledger.key_of(trace.get_current_span(context).get_span_context()))
    if node is None:
        return None
    sheet = node.sheet
    if sheet.kind is not _facts.Kind.REQUEST or sheet.served:
        return None
    target = sheet.target()
    return _ledger.handle_of(target) if target is not None else None


def _into_asgi(message: MutableMapping[str, Any], handle: str | None) -> None:
    """ASGI: called for every message, with the live header list of the service's response object."""
    if handle is None or message["type"] != "http.response.start" or not _headers.may_carry(message["status"]):
        return
    headers = _headers.with_handle(message.get("headers", ()), handle)
    if headers is not None:
        message["headers"] = headers


def _into_wsgi(response_headers: list[Any], handle: str | None) -> None:
    """Flask: a list of pairs of text, made anew for each response."""
    if handle is None:
        return
    pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in response_headers]
    headers = _headers.with_handle(pairs, handle)
    if headers is not None:
        response_headers[:] = [(_title(name), value.decode("latin-1")) for name, value in headers]


def _into_object(response: Any, handle: str | None, setter: Any) -> None:
    """Django: a response object, which the service may send again to somebody else."""
    if not hasattr(response, "items") or not hasattr(response, "__delitem__"):
        if handle is not None:
            setter.set(response, semconv.HANDLE_HEADER, handle)
        return
    if getattr(response, "_otel_feedback", False):
        del response[semconv.HANDLE_HEADER]  # an earlier caller's, on a response that is kept
        response._otel_feedback = False  # noqa: SLF001 - our own mark
    if handle is None or not _headers.may_carry(getattr(response, "status_code", 200)):
        return
    pairs = [(name.encode("latin-1"), str(value).encode("latin-1")) for name, value in response.items()]
    headers = _headers.with_handle(pairs, handle)
    if headers is not None:
        for name, value in headers:
            if name in _headers.OURS:
                response[_title(name)] = value.decode("latin-1")
        response._otel_feedback = True  # noqa: SLF001 - our own mark


def _title(name: bytes) -> str:
    """Write a header's name as HTTP/1 servers are used to; the handle's stays as documented."""
    text = name.decode("latin-1")
    return text if text == semconv.HANDLE_HEADER else text.title()


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
