"""The door of every HTTP listener: which names it answers to, what a browser's page may not do, and the token."""

import asyncio
import ipaddress
import socket
from collections.abc import Iterable
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from otel_feedback.capture.problems import Problem
from otel_feedback.server.options import Address, is_loopback
from otel_feedback.server.receiving import BUSY_SECONDS
from otel_feedback.server.token import COOKIE, Token

OTLP: Final = frozenset({"/v1/traces", "/v1/logs", "/v1/metrics"})
CAPTURE: Final = ("/v1/feedback", "/v1/widget", "/v1/openapi.json")
"""What the paths of capture begin with: strangers' pages come to them."""

_OPEN: Final = frozenset({"/healthz", "/login"})
_FORMS: Final = frozenset({"/login", "/logout"})
_ANY: Final = "*"
_PROXIES: Final = frozenset(
    (
        *("forwarded", "via", "x-real-ip", "x-client-ip", "x-cluster-client-ip", "x-original-host"),
        *("cf-connecting-ip", "true-client-ip", "fastly-client-ip", "fly-client-ip", "x-envoy-external-address"),
    )
)
_PROXIES_OWN: Final = "x-forwarded"
"""Headers that a proxy adds, and what many begin with."""


class Hosts:
    """The names that a listener answers to: a page that rebinds a name of its own to this machine gets nothing."""

    def __init__(self, address: Address, allowed: Iterable[str] = ()) -> None:
        """Collect the names.

        Args:
            address: Where the listener is.
            allowed: More names; ``*`` for any.
        """
        names = {_bare(name) for name in allowed}
        if not address.is_loopback:
            names |= {_bare(address.host), _bare(socket.gethostname())}
        self._names = names
        self._by_number = not address.is_loopback

    def know(self, host: str) -> bool:
        """Whether a name, as :func:`host_of` gives it, is one of them."""
        if is_loopback(host) or host in self._names or _ANY in self._names:
            return True
        # A number can't be rebound: whoever has a page there is that machine.
        return self._by_number and _is_number(host)


class Door:
    """Lets in who may come in; plain ASGI around an application."""

    def __init__(self, app: ASGIApp, *, hosts: Hosts, token: Token, is_local: bool) -> None:
        """Guard an application.

        Args:
            app: What is guarded.
            hosts: The names that it answers to.
            token: Of the data folder.
            is_local: Whether the listener is only reached from this machine; else nearly everything needs the token.
        """
        self._app = app
        self._hosts = hosts
        self._token = token
        self._is_local = is_local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # there are no others here
            return
        refusal = self._refusal(scope["path"], scope["method"], Headers(scope=scope))
        began = False

        async def watched(message: Message) -> None:
            nonlocal began
            began = True
            await send(message)

        try:
            await (refusal or self._app)(scope, receive, watched)
        except asyncio.CancelledError:
            # Only the end of the server cancels a request. Let go, it would be answered with 500, after which no sender
            # of spans comes again. What was queued may still be written; it counts once.
            if began:
                raise
            headers = {"Retry-After": str(BUSY_SECONDS), "Connection": "close"}
            problem = Problem(HTTPStatus.SERVICE_UNAVAILABLE, "The server ends. Send it again.", headers=headers)
            await problem.response()(scope, receive, send)

    def _refusal(self, path: str, method: str, headers: Headers) -> Response | None:
        host = host_of(headers.getlist("host"))
        if host is None or not self._hosts.know(host):
            sentence = "This server doesn't answer to that name. Start it with --allow-host NAME to have it do so."
            return Problem(HTTPStatus.MISDIRECTED_REQUEST, sentence).response()
        if _is_foreign(path, method, host, headers):
            return Problem(HTTPStatus.FORBIDDEN, "Pages of other origins can't do this.").response()
        if self._may_enter(path, host, headers):
            return None
        is_page = path not in OTLP and not path.startswith("/api/")
        if method == "GET" and is_page and "text/html" in headers.get("accept", ""):
            return RedirectResponse(f"/login?next={quote(path)}", HTTPStatus.SEE_OTHER)
        sentence = "Send the token, which is in the file token of the server's data folder: Authorization: Bearer TOKEN"
        return Problem(HTTPStatus.UNAUTHORIZED, sentence, headers={"WWW-Authenticate": "Bearer"}).response()

    def _may_enter(self, path: str, host: str, headers: Headers) -> bool:
        if path in _OPEN or path.startswith(("/static/", *CAPTURE)):
            return True
        if self._token.is_bearer(headers.get("authorization", "")):
            return True
        if path.startswith("/api/db/"):
            return False
        if self._is_local and is_loopback(host) and not was_passed_on(headers):
            return True
        return path not in OTLP and self._token.is_session(cookie_parser(headers.get("cookie", "")).get(COOKIE, ""))


def was_passed_on(names: Iterable[str]) -> bool:
    """Whether a proxy sends a request, by its headers' names: then it may come from anywhere, though it comes locally.

    A proxy that adds nothing can't be told from a program of this machine.
    """
    return any(name in _PROXIES or name.startswith(_PROXIES_OWN) for name in names)


def _is_foreign(path: str, method: str, host: str, headers: Headers) -> bool:
    """Whether a page of another origin sends what only our own may, or what none may."""
    if path in OTLP:
        return "origin" in headers
    is_form = path in _FORMS and method == "POST"
    # Browsers tell the site only where there is TLS or a loopback address, but always the origin of a form.
    if is_form and "origin" in headers and not _is_origin_of(headers["origin"], host):
        return True
    is_ours = is_form or path.startswith("/api/")
    return is_ours and headers.get("sec-fetch-site", "none") in ("cross-site", "same-site")


def _is_origin_of(origin: str, host: str) -> bool:
    # Without the port, which proxies leave out of the Host header.
    return host_of([origin.partition("://")[2]]) == host


def host_of(values: list[str]) -> str | None:
    """Return the host of a request's ``Host`` headers, without port and brackets; ``None`` where there isn't one."""
    if len(values) != 1:
        return None
    value = values[0].strip()
    if value.startswith("["):
        host, bracket, port = value[1:].partition("]")
        valid = bracket and (not port or port.startswith(":"))
    else:
        host, _, port = value.partition(":")
        valid = ":" not in port
    return _bare(host) if valid and host else None


def _bare(name: str) -> str:
    return name.strip("[]").rstrip(".").lower()


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
