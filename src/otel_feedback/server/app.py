"""The applications of the listeners: all of it on the main port, OTLP alone on its own."""

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

import anyio
import anyio.to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from otel_feedback._recorder import Recorder
from otel_feedback.capture.app import capture_app
from otel_feedback.capture.limits import RateLimits
from otel_feedback.capture.problems import Problem
from otel_feedback.server.api import Api
from otel_feedback.server.door import CAPTURE
from otel_feedback.server.http_receiver import otlp_routes
from otel_feedback.server.receiving import Receiver
from otel_feedback.server.token import COOKIE, Token

if TYPE_CHECKING:
    from otel_feedback.web.context import Context

MakeContext = Callable[[], "Context"]

SESSION_SECONDS: Final = 30 * 86_400
"""For which a browser keeps its cookie."""

FORM_SECONDS: Final = 10.0
"""Time that a form may take to arrive."""

LOOPBACK_ORIGINS: Final = r"https?://(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?"
"""Pages of services on this machine."""

_MAX_FORM: Final = 4_096


def otlp_app(receiver: Receiver) -> ASGIApp:
    """Make the application that takes OTLP and nothing else."""
    return _starlette([*otlp_routes(receiver), Route("/healthz", _healthy)])


def main_app(
    *,
    receiver: Receiver,
    recorder: Recorder,
    api: Api,
    context: MakeContext,
    token: Token,
    allow_origins: Sequence[str],
    allow_loopback_origins: bool,
) -> ASGIApp:
    """Make the application of the main port.

    Args:
        receiver: Takes OTLP.
        recorder: Takes votes.
        api: What programs ask.
        context: Makes what pages need to know, when one is asked for: what draws them takes long to import.
        token: Of the data folder, for whoever signs in.
        allow_origins: Origins of pages that may send votes.
        allow_loopback_origins: Whether pages of this machine may, too.

    Raises:
        ConfigurationError: An origin is none.
    """
    capture = capture_app(
        recorder=recorder,
        allow_origins=allow_origins,
        allow_origin_regex=LOOPBACK_ORIGINS if allow_loopback_origins else None,
        # On this machine all have one address, the services that pass feedback on among them.
        limits=RateLimits(address=None) if allow_loopback_origins else RateLimits(),
    )
    pages = _Pages(context)
    rest = _starlette(
        [
            *otlp_routes(receiver),
            *api.routes(),
            Route("/healthz", _healthy),
            Route("/login", _Login(pages, token), methods=["GET", "POST"]),
            Route("/logout", _logout, methods=["POST"]),
        ],
        pages=pages,
    )

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        is_capture_s = scope.get("path", "").startswith(CAPTURE)
        await (capture if is_capture_s else rest)(scope, receive, send)

    return app


class _Pages:
    """The pages, made when the first is asked for."""

    def __init__(self, make_context: MakeContext) -> None:
        self._make_context = make_context
        self._made: tuple[Context, ASGIApp] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        _, app = await self._open()
        await app(scope, receive, send)

    async def context(self) -> "Context":
        context, _ = await self._open()
        return context

    async def _open(self) -> "tuple[Context, ASGIApp]":
        if self._made is None:  # two at once make the same
            self._made = await anyio.to_thread.run_sync(self._make)
        return self._made

    def _make(self) -> "tuple[Context, ASGIApp]":
        from otel_feedback.web.pages import page_routes, render_error

        context = self._make_context()

        def on_error(_: Request, error: Exception) -> Response:
            status = HTTPStatus(error.status_code if isinstance(error, HTTPException) else 500)
            sentence = "There is no such page." if status is HTTPStatus.NOT_FOUND else status.description
            return render_error(context, status=status, title=status.phrase, sentence=sentence)

        return context, _starlette(page_routes(context), on_error=on_error)


def _starlette(
    routes: Sequence[BaseRoute],
    *,
    pages: ASGIApp | None = None,
    on_error: Callable[[Request, Exception], Response] | None = None,
) -> Starlette:
    app = Starlette(routes=routes, exception_handlers={HTTPException: on_error or _on_http_exception})
    app.router.redirect_slashes = False
    if pages is not None:
        nowhere = app.router.default

        async def default(scope: Scope, receive: Receive, send: Send) -> None:
            ours = scope["path"].startswith(("/api/", "/v1/"))
            await (nowhere if ours else pages)(scope, receive, send)

        app.router.default = default
    return app


async def _on_http_exception(_: Request, error: Exception) -> JSONResponse:
    status = HTTPStatus(error.status_code if isinstance(error, HTTPException) else 500)
    headers: Mapping[str, Any] | None = error.headers if isinstance(error, HTTPException) else None
    allowed = (headers or {}).get("Allow")
    detail = f"Allowed here: {allowed}." if allowed else "There is nothing at this path."
    return Problem(status, detail, headers=headers).response()


async def _healthy(_: Request) -> JSONResponse:
    return JSONResponse({"status": "ok"})


class _Login:
    """The page that asks for the token, and what takes its form."""

    def __init__(self, pages: _Pages, token: Token) -> None:
        self._pages = pages
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "POST":
            response = await self._sign_in(Request(scope, receive))
            await response(scope, receive, send)
        else:
            await self._pages(scope, receive, send)

    async def _sign_in(self, request: Request) -> Response:
        context = await self._pages.context()
        from otel_feedback.web.pages import local_path, render_login

        form = await _form(request)
        path = local_path(form.get("next", "/"))
        if not self._token.matches(form.get("token", "").strip()):
            return render_login(context, next_path=path, failed=True)
        response = RedirectResponse(path, HTTPStatus.SEE_OTHER)
        response.set_cookie(
            COOKIE,
            self._token.session,
            max_age=SESSION_SECONDS,
            path="/",
            httponly=True,
            samesite="strict",
            secure=request.headers.get("x-forwarded-proto", "") == "https",  # a lie spoils only the liar's cookie
        )
        return response


async def _logout(_: Request) -> Response:
    response = RedirectResponse("/login", HTTPStatus.SEE_OTHER)
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
    return response


async def _form(request: Request) -> dict[str, str]:
    body = bytearray()
    try:
        with anyio.fail_after(FORM_SECONDS):
            async for part in request.stream():
                body += part
                if len(body) > _MAX_FORM:
                    raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    except TimeoutError:
        raise HTTPException(HTTPStatus.REQUEST_TIMEOUT, headers={"Connection": "close"}) from None
    fields = parse_qs(body.decode("utf-8", "replace"), max_num_fields=10)
    return {name: values[0] for name, values in fields.items()}
