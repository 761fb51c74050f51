"""What a handle does to a response's headers: added once, readable for scripts, kept out of shared caches.

Pure functions over ASGI's pairs of header name and value.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from otel_feedback import _guard, semconv

Header = tuple[bytes, bytes]

NAME: Final = semconv.HANDLE_HEADER.encode("ascii")
EXPOSE: Final = b"access-control-expose-headers"
CACHE_CONTROL: Final = b"cache-control"
PRIVATE: Final = b"private"

_NOT_SHARED: Final = frozenset({"private", "no-store"})
_FOR_SHARED: Final = frozenset({"public", "s-maxage"})
_CDN_DIRECTIVES: Final = (b"cdn-cache-control", b"surrogate-control", b"edge-control", b"akamai-cache-control")
"""Ends of the names of headers that tell a CDN what to do whatever ``Cache-Control`` says (RFC 9213 and before)."""
_NGINX: Final = b"x-accel-expires"
_QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*"')


def is_failure(status: int) -> bool:
    """Say whether a response with this status brings no answer at all: 4xx and 5xx."""
    return status >= 400  # noqa: PLR2004 - HTTP's classes


def may_carry(status: int) -> bool:
    """Say whether a response with this status is an answer: 2xx; a 304 would renew somebody's stored headers."""
    return 200 <= status < 300  # noqa: PLR2004 - HTTP's classes


def with_handle(headers: Sequence[Header], handle: str) -> list[Header]:
    """Return a copy of the headers that carries the handle where ``changes`` allows it."""
    new = changes(headers, handle) or {}
    return [*((name, value) for name, value in headers if name.lower() not in new), *new.items()]


def changes(headers: Sequence[Header], handle: str) -> dict[bytes, bytes] | None:
    """Say which headers carry the handle, by lower-case name: they replace those of the same name.

    Returns:
        The handle, ``Access-Control-Expose-Headers`` completed and, unless shared caches don't store the response
        anyway, ``Cache-Control`` with ``private``. None where the service gives the response to shared caches on
        purpose: a handle in there would let one user vote for another, and marking it private would undo its caching.
    """
    before: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        before.setdefault(name.lower(), []).append(value)
    directives = cache_directives(before.get(CACHE_CONTROL, ()))
    if _for_shared_caches(before, directives):
        _guard.warn_once(
            "shared-cache",
            "otel-feedback: a response that answers with a model is given to shared caches (public, s-maxage or a "
            "CDN's header), so it has no handle. Mark it private or no-store to let its reader vote.",
        )
        return None
    new = {NAME: handle.encode("ascii")}
    exposed = before.get(EXPOSE, ())
    if NAME not in {name.strip().lower() for value in exposed for name in value.split(b",")}:
        new[EXPOSE] = _list(exposed, NAME)
    if directives.isdisjoint(_NOT_SHARED):
        new[CACHE_CONTROL] = _list(before.get(CACHE_CONTROL, ()), PRIVATE)
    return new


def _list(values: Iterable[bytes], more: bytes) -> bytes:
    return b", ".join([*(value for value in values if value.strip()), more])


def cache_directives(values: Iterable[bytes]) -> set[str]:
    """Return the names of the directives in ``Cache-Control`` values; those with a field list in quotes excepted."""
    found = set()
    for value in values:
        for part in _QUOTED.sub('"', value.decode("latin-1").lower()).split(","):
            name, _, argument = part.partition("=")
            if not argument.strip().startswith('"'):
                found.add(name.strip())
    return found


def _for_shared_caches(headers: dict[bytes, list[bytes]], directives: set[str]) -> bool:
    for name, values in headers.items():
        if name.endswith(_CDN_DIRECTIVES) and cache_directives(values).isdisjoint(_NOT_SHARED):
            return True
        if name == _NGINX and any(value.strip() != b"0" for value in values):
            return True
    return not directives.isdisjoint(_FOR_SHARED) and directives.isdisjoint(_NOT_SHARED)
