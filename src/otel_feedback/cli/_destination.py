"""Where ``otel-feedback run`` sends a service's telemetry, and whether what users ask may go there too.

On a machine with several users anybody can listen at the usual address. So questions and answers go to a server that
was named (``--url``), or that a data folder of this user names; never to whoever happens to answer.
"""

import contextlib
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from otel_feedback.cli import _show
from otel_feedback.cli._addresses import DEFAULT_URL, is_ours, is_server_of, read_token, running_url, start_command
from otel_feedback.cli._http import HttpSource, RefusedError, UnreachableError
from otel_feedback.cli._service_environment import ENDPOINTS
from otel_feedback.cli._source import Place
from otel_feedback.exceptions import ConfigurationError

WAIT_SECONDS: Final = 3.0
"""How long a server that is just being started is waited for."""

_PAUSE_SECONDS: Final = 0.1
_KNOCK_SECONDS: Final = 1.0


@dataclass(frozen=True, kw_only=True)
class Destination:
    """A server, and what is known of it.

    Attributes:
        url: Its address.
        status: What it says of itself; ``None`` where it doesn't answer, or refuses to say.
        token: What it asks for, where that is known.
        token_from: The data folder that the token was read from, if it was.
        refusal: Why it doesn't let us in; ``None`` where it does, or isn't there.
        is_known: Whether it is known whose it is.
    """

    url: str
    status: Mapping[str, Any] | None = None
    token: str | None = None
    token_from: Path | None = None
    refusal: str | None = None
    is_known: bool = True


def find_destination(place: Place, *, wait: float | None = None) -> Destination:
    """Find the server that a service is to send to, and tell what keeps spans from arriving.

    Args:
        place: What was said of it.
        wait: Seconds to wait for it; by default ``WAIT_SECONDS``.

    Raises:
        ConfigurationError: Somebody answers at the usual address, and nothing shows that it is this user's server.
    """
    # Where the user says where spans go, no server of ours needs to be there.
    is_elsewhere = any(os.environ.get(variable, "").strip() for variable in ENDPOINTS)
    deadline = time.monotonic() + (0.0 if is_elsewhere else WAIT_SECONDS if wait is None else wait)
    while True:
        found = _ask(place)
        if found is not None or time.monotonic() >= deadline:
            break
        time.sleep(_PAUSE_SECONDS)
    url = place.url or running_url(place.folder) or DEFAULT_URL
    is_named = place.url is not None or url != DEFAULT_URL
    if found is not None:
        if found.is_known:
            return found
        if not is_elsewhere:
            raise ConfigurationError(_somebody_else("An otel-feedback"))
    if is_elsewhere:
        return Destination(url=url, is_known=is_named)
    if not is_named and _is_taken(url):
        raise ConfigurationError(_somebody_else("A program"))
    consequence = "" if is_named else ", and questions and answers are left out"
    _show.note(
        f"otel-feedback: no server answers at {url} yet, so spans will be lost until one does{consequence}. "
        f"Start it in another terminal, then this again: {start_command(url, place.data)}"
    )
    token = os.environ.get("OTEL_FEEDBACK_TOKEN", "").strip() if is_named else ""
    return Destination(url=url, token=token or None, is_known=is_named)


def _ask(place: Place) -> Destination | None:
    """Ask the server what it is; ``None`` where none answers."""
    server = place.server()
    if server is None:
        return None
    with contextlib.closing(server):
        named = place.url is not None or is_server_of(place.folder, server.url)
        try:
            status = server.status()
        except UnreachableError:
            return None
        except RefusedError as error:  # it is there, and will refuse spans too
            return Destination(url=server.url, refusal=str(error), is_known=named)
        folder = Path(str(status.get("data") or place.folder))
        return Destination(
            url=server.url,
            status=status,
            token=server.token,
            token_from=_whose_token(server, [folder, place.folder]),
            is_known=named or is_ours(folder, server.url),
        )


def _whose_token(server: HttpSource, folders: list[Path]) -> Path | None:
    """Return the folder that has the token that a server took."""
    if server.token is None:
        return None
    return next((folder for folder in folders if read_token(folder) == server.token), None)


def _is_taken(url: str) -> bool:
    parts = urlsplit(url)
    with contextlib.suppress(OSError), socket.create_connection((parts.hostname, parts.port or 80), _KNOCK_SECONDS):
        return True
    return False


def _somebody_else(who: str) -> str:
    return (
        f"{who} answers at {DEFAULT_URL}, and nothing shows that it is yours, so questions and answers don't go there. "
        f"If it is, say so: --url {DEFAULT_URL}, or --data with its data folder. Else start one of your own, which is "
        "then found: otel-feedback up --listen 127.0.0.1:9000 --otlp-grpc off --otlp-http off"
    )
