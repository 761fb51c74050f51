"""The running server as a source: its JSON API over HTTP, by the standard library alone."""

import contextlib
import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

from otel_feedback.cli._addresses import start_command
from otel_feedback.exceptions import ConfigurationError, InvalidQueryError, NotFoundError, OtelFeedbackError, StoreError
from otel_feedback.server.options import is_loopback

Json = dict[str, Any]
Progress = Callable[[int, int], None]
"""Told how much is done, and of how much."""

ANSWER_SECONDS: Final = 60.0
"""What the server may take for one answer. Questions to millions of rows take less than one."""

LOOK_SECONDS: Final = 3.0
"""What it may take to say that it is there."""

SILENT_SECONDS: Final = 60.0
"""A live stream says something more often than this; one that doesn't is broken."""


class UnreachableError(OtelFeedbackError):
    """Nobody answers at the address, or somebody else does."""


class RefusedError(OtelFeedbackError):
    """The server asks for a token, or for another one."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would take the token to whoever it names; our server sends none."""

    def redirect_request(self, *_: Any) -> None:
        """Follow nothing."""


class HttpSource:
    """A running server.

    Args:
        url: Its address, such as ``http://127.0.0.1:8484``.
        token: Gives the token when the server asks for one, or ``None``; it is told the folder that the server
            says it has.

    Raises:
        ConfigurationError: The address is none.
    """

    def __init__(self, url: str, token: Callable[[Path | None], str | None]) -> None:
        host = _host(url)
        self.url = url.rstrip("/")
        self.name = f"the server at {self.url}"
        self._token = token
        self._send_token = False
        self._known_token: str | None = None
        self._folder: Path | None = None
        handlers: list[urllib.request.BaseHandler] = [_NoRedirects()]
        if is_loopback(host):
            handlers.append(urllib.request.ProxyHandler({}))
        self._opener = urllib.request.build_opener(*handlers)

    @property
    def token(self) -> str | None:
        """The token that the server asked for and took; ``None`` where it asks for none."""
        return self._known_token

    def close(self) -> None:
        """Nothing is kept open."""

    def is_there(self) -> bool:
        """Whether a server of ours answers."""
        try:
            self._json("/api/status", timeout=LOOK_SECONDS)
        except UnreachableError:
            return False
        except RefusedError:  # it is there, and wants a token
            return True
        return True

    def status(self) -> Json:
        """What the server is and has."""
        return self._json("/api/status")

    def satisfaction(self, query: Mapping[str, str]) -> Json:
        """Satisfaction by group."""
        return self._json("/api/satisfaction", query)

    def answers(self, query: Mapping[str, str]) -> Json:
        """Answers and what was said of them."""
        return self._json("/api/answers", query)

    def answer(self, name: str) -> Json:
        """Everything about one answer."""
        return self._json(f"/api/answers/{quote(name, safe='')}")

    def votes(self, on_open: Callable[[], None] = lambda: None) -> Iterator[Json]:
        """Votes as they come; it ends when the connection does.

        Args:
            on_open: Called when the connection stands.

        Raises:
            UnreachableError: Nobody answers.
        """
        with self._open("/api/live", {"votes": "1"}, timeout=SILENT_SECONDS) as stream:
            if stream.headers.get_content_type() != "text/event-stream":
                raise self._somebody_else()
            on_open()
            event, data = "", ""
            # A stream that breaks has ended: the caller decides whether to come again.
            with contextlib.suppress(OSError, http.client.HTTPException):
                for raw in stream:
                    line = raw.decode("utf-8", "replace").rstrip("\r\n")
                    name, _, value = line.partition(":")
                    if name == "event":
                        event = value.strip()
                    elif name == "data":
                        data += value.strip()
                    elif not line:
                        if event == "vote" and data:
                            yield self._parse(data)
                        event, data = "", ""

    def db_info(self) -> Json:
        """Files, rows and versions of the store."""
        self._demand_token()
        return self._json("/api/db/info")

    def backup(self, target: str, progress: Progress) -> None:
        """Copy the store into a folder of the server's machine while it goes on."""
        self._work("/api/db/backup", {"target": target}, progress)

    def check(self, progress: Progress) -> list[str]:
        """Read everything and return what is wrong."""
        return list(self._work("/api/db/check", {}, progress))

    def vacuum(self, progress: Progress) -> dict[str, int]:
        """Give room back that is not used; says how many bytes there were before and are after."""
        return dict(self._work("/api/db/vacuum", {}, progress))

    def _demand_token(self) -> None:
        """For what is never free: say who we are at once, with the token of the folder that the server has."""
        with contextlib.suppress(RefusedError):
            folder = self._json("/api/status").get("data")
            self._folder = Path(folder) if isinstance(folder, str) else None
        self._send_token = True

    def _work(self, path: str, body: Json, progress: Progress) -> Any:
        """Have something long done; the server tells how far it is, line by line."""
        self._demand_token()
        with self._open(path, body=body, timeout=None) as stream:
            for raw in stream:
                line = self._parse(raw)
                if "error" in line:
                    error = line["error"]
                    raise StoreError(str(error.get("detail", error)) if isinstance(error, dict) else str(error))
                if "result" in line:
                    return line["result"]
                progress(int(line["done"]), int(line["all"]))
        raise UnreachableError(
            f"The connection to {self.name} broke before it was done. Look again: otel-feedback status"
        )

    def _json(self, path: str, query: Mapping[str, str] | None = None, *, timeout: float = ANSWER_SECONDS) -> Json:
        with self._open(path, query, timeout=timeout) as response:
            try:
                text = response.read()
            except (OSError, http.client.HTTPException):
                text = b""
        return self._parse(text)

    def _parse(self, text: str | bytes) -> Json:
        with contextlib.suppress(ValueError):
            value = json.loads(text)
            if isinstance(value, dict):
                return value
        raise self._somebody_else()

    def _somebody_else(self) -> UnreachableError:
        return UnreachableError(f"Something else than otel-feedback answers at {self.url}. Choose another by --url.")

    def _open(
        self, path: str, query: Mapping[str, str] | None = None, *, body: Json | None = None, timeout: float | None
    ) -> http.client.HTTPResponse:
        address = f"{self.url}{path}" + (f"?{urlencode(query)}" if query else "")
        request = urllib.request.Request(address, headers={"accept": "application/json"})  # noqa: S310 - checked above
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("content-type", "application/json")
        token = self._find_token() if self._send_token else None
        if token is not None:
            request.add_unredirected_header("authorization", f"Bearer {token}")
        try:
            response: http.client.HTTPResponse = self._opener.open(request, timeout=timeout)
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 401 and not self._send_token and self._find_token() is not None:  # noqa: PLR2004
                    self._send_token = True
                    return self._open(path, query, body=body, timeout=timeout)
                raise self._problem(error) from None
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise UnreachableError(
                f"Nobody answers at {self.url} ({reason}). Start a server: {start_command(self.url)}"
            ) from None
        return response

    def _find_token(self) -> str | None:
        if self._known_token is None:
            self._known_token = self._token(self._folder)
        return self._known_token

    def _problem(self, error: urllib.error.HTTPError) -> OtelFeedbackError:
        """Make one of our errors of a refusal, as RFC 9457 and the API's pages have it."""
        if error.code == 401:  # noqa: PLR2004
            return RefusedError(
                f"{self.url} asks for its token. It is in the file 'token' of the server's data folder: give that "
                "folder by --data, or the token in OTEL_FEEDBACK_TOKEN."
            )
        try:
            problem = json.loads(error.read())
            detail, field = str(problem.get("detail") or problem["title"]), problem.get("field")
        except (ValueError, KeyError, AttributeError, TypeError, OSError):
            return UnreachableError(f"{self.url} answers with {error.code}, and not as otel-feedback does.")
        if error.code == 404:  # noqa: PLR2004
            return NotFoundError(detail)
        if field is not None and error.code in (400, 422):
            return InvalidQueryError(str(field), detail)
        return StoreError(detail)


def _host(url: str) -> str:
    try:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https") and parts.hostname and not parts.query and not parts.fragment:
            int(parts.port or 0)  # asking is what finds a port that is none
            return parts.hostname
    except ValueError:
        pass
    raise ConfigurationError("A server's address is like http://127.0.0.1:8484 (--url, OTEL_FEEDBACK_URL).")
