"""ASGI middleware that gives each answer its handle in the response header, streamed answers included.

A stream's header leaves before its generator has called a model, so the start of a response waits for the first chunk
of its body, at most ``Settings.stream_wait_ms``; the body is never delayed by more than that.
"""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final

from opentelemetry import context as otel_context

from otel_feedback import _facts, _follow, _guard, _ledger, _record, _runtime
from otel_feedback.instrumentation import _attach, _headers

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_SERVING: Final = "otel_feedback"
"""Key in the scope: the sheet that an outer one of these middlewares serves already."""

_PRIVACY: Final = (b"sec-gpc", b"dnt")
_MAX_ROUTES: Final = 1000
_LAST_WORDS: Final = ("lifespan.shutdown.complete", "lifespan.shutdown.failed")
_LAST_SECONDS: Final = 3.0
"""How long the end of a server may wait for the export of feedback."""

_answering_routes: OrderedDict[str, None] = OrderedDict()
"""Routes whose request was itself an answer before, oldest first."""


class FeedbackMiddleware:
    """Add the ``feedback-handle`` header to responses that answer with a model.

    It must run inside of whatever opens the request's server span. ``FeedbackInstrumentor`` puts it into
    OpenTelemetry's ASGI middleware and into FastAPI applications; others can wrap their application in it.

    Attributes:
        app: The wrapped application, under the name by which frameworks walk a stack of middlewares.
    """

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or see a server's start and end through."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, _sending_feedback_first(send))
            return
        sheet = _attach.request_sheet() if scope["type"] == "http" else None
        if sheet is None or scope.get(_SERVING) is sheet:
            await self.app(scope, receive, send)
            return
        scope[_SERVING] = sheet
        sheet.unwatched = _wants_privacy(scope.get("headers", ()))
        response = _Response(sheet, scope.get("method", ""), send)
        token = otel_context.attach(_ledger.with_sheet(sheet))
        try:
            await self.app(scope, response.watching(receive), response.send)
        except Exception:
            response.fail()
            # As if nothing had waited: what handles the error must see a started response, and this error.
            with contextlib.suppress(Exception):
                await response.release()
            raise
        else:
            await response.release()
        finally:
            response.finish()
            otel_context.detach(token)


@_guard.guarded(default=False)
def _wants_privacy(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Say whether a browser sends Global Privacy Control or Do Not Track: then nothing is derived, as in the widget."""
    return any(name in _PRIVACY and value == b"1" for name, value in headers)


def _sending_feedback_first(send: Send) -> Send:
    """Return a ``send`` that exports feedback before the server hears that the application has ended.

    Servers such as uvicorn then end by the very signal that they got, and exit handlers never run.
    """

    async def after_feedback(message: Message) -> None:
        if message["type"] in _LAST_WORDS:
            with _guard.guard("FeedbackMiddleware"), contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(asyncio.to_thread(_record.send_what_waits), _LAST_SECONDS)
        await send(message)

    return after_feedback


class _Response:
    """One response on its way out: its start may be held until a model is called."""

    def __init__(self, sheet: _facts.FactSheet, method: str, send: Send) -> None:
        self._sheet = sheet
        self._method = method
        self._send = send
        self._route: str | None = None
        self._held: Message | None = None
        self._gate: asyncio.Lock | None = None
        """There once a start was held: nothing passes while the start is being sent."""
        self._complete = False
        """Whether the response ends with the message that comes now: no model is called for it any more."""
        self._timer: asyncio.TimerHandle | None = None
        self._started = False
        self._shown = False
        """Whether some of the body went out."""
        self._ended = False
        """Whether the last message went out, or nobody was there to take one."""
        self._late: asyncio.Task[None] | None = None
        """Sends the start where the timer was first."""

    async def send(self, message: Message) -> None:
        """Pass a message on; the start of an answer gets its handle, or is held until it can."""
        is_start = message["type"] == "http.response.start"
        self._started = self._started or is_start
        if is_start and self._gate is None and self._hold(message):
            return
        self._complete = not is_start and not message.get("more_body", False)
        await self.release()
        try:
            await self._send(self._with_handle(message) if is_start else message)
        except OSError:  # as servers tell it to those who don't listen
            self.leave()
            raise
        self._ended = self._ended or self._complete
        self._shown = self._shown or bool(message.get("body"))

    def watching(self, receive: Receive) -> Receive:
        """Return a ``receive`` that notes when the client goes before it has all of an answer."""

        async def watched() -> Message:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.leave()
            return message

        return watched

    @_guard.guarded()
    def leave(self) -> None:
        """Note that the client has gone: from the middle of an answer, or after its end."""
        target = self._sheet.target() if self._shown and not self._ended else None
        self._ended = True
        if target is not None:
            _follow.left(target)

    async def release(self) -> None:
        """Send the start if it is held. Whoever comes while it is being sent waits, and fails as that does."""
        if self._late is not None:
            await self._late
        elif self._gate is not None:
            await self._start(self._gate)

    @_guard.guarded(default=False)
    def _hold(self, message: Message) -> bool:
        wait = _runtime.settings().stream_wait_ms / 1000
        if wait <= 0 or not _headers.may_carry(message["status"]) or self._sheet.target() is not None:
            return False
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # another event loop (trio): nothing is held there
            return False
        self._timer = loop.call_later(wait, self._time_is_up)
        self._gate = asyncio.Lock()
        self._held = message
        return True

    def _time_is_up(self) -> None:
        if self._held is not None and self._gate is not None:
            self._late = asyncio.ensure_future(self._start(self._gate))

    async def _start(self, gate: asyncio.Lock) -> None:
        async with gate:
            message, self._held = self._held, None
            if message is not None:
                await self._send(self._with_handle(message))

    def _with_handle(self, message: Message) -> Message:
        """Return the start of the response with the handle, or as it was; never raises."""
        with _guard.guard("FeedbackMiddleware"):
            handle = self._handle(message["status"])
            if handle is not None:
                message = {**message, "headers": list(message.get("headers", ()))}  # it may be an iterator
                message["headers"] = _headers.with_handle(message["headers"], handle)
        return message

    @_guard.guarded()
    def fail(self) -> None:
        """Count no answer where the application failed before it began to respond."""
        if not self._started:
            self._sheet.fail()

    def _handle(self, status: int) -> str | None:
        if _headers.is_failure(status):
            self._sheet.fail()
        if not _headers.may_carry(status):
            return None
        self._route = f"{self._method} {self._sheet.place()}"
        target = self._sheet.target()
        if target is None and not self._sheet.own and not self._complete and self._route in _answering_routes:
            target = self._sheet  # this route's answers begin after their header has left
        return _ledger.handle_of(target) if target is not None else None

    @_guard.guarded()
    def finish(self) -> None:
        """Leave nothing behind, and remember a route whose request turned out to be the answer."""
        if self._timer is not None:
            self._timer.cancel()
        if self._late is not None:
            self._late.cancel()  # or, where it has failed, let asyncio not complain that nobody looked at its error
        if self._route is not None and self._sheet.is_interaction:
            _answering_routes.pop(self._route, None)
            _ledger.bounded_put(_answering_routes, self._route, None, _MAX_ROUTES)
