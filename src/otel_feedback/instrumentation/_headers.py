"""What a handle does to a response's headers: added once, readable for scripts, kept out of shared caches.

Pure functions over ASGI's list of header pairs; the given list is never changed, since it may belong to a response
object that the service sends again to somebody else.
"""

from collections.abc import Iterable
from typing import Final

from otel_feedback import _guard, semconv

Headers = list[tuple[bytes, bytes]]

NAME: Final = semconv.HANDLE_HEADER.encode("ascii")
_EXPOSE: Final = b"access-control-expose-headers"
_CACHE_CONTROL: Final = b"cache-control"
OURS: Final = (NAME, _EXPOSE, _CACHE_CONTROL)
"""Headers that ``with_handle`` may set or change."""
_CDN_HEADERS: Final = (b"cdn-cache-control", b"surrogate-control", b"x-accel-expires")
"""Headers that tell a shared cache what to do whatever ``Cache-Control`` says (RFC 9213; nginx)."""


def may_carry(status: int) -> bool:
    """Say whether a response with this status is an answer: 2xx; a 304 would renew somebody's stored headers."""
    return 200 <= status < 300  # noqa: PLR2004 - HTTP's classes


def with_handle(headers: Iterable[tuple[bytes, bytes]], handle: str) -> Headers | None:
    """Return a copy of the headers that carries the handle.

    Returns:
        The copy, with ``Access-Control-Expose-Headers`` completed and, unless the response is not to be stored by
        shared caches anyway, marked ``private``. None where the service gives the response to shared caches on
        purpose: a handle in there would let one user vote for another, and marking it private would undo its caching.
    """
    kept = [(name.lower(), value) for name, value in headers]
    directives = cache_directives(value for name, value in kept if name == _CACHE_CONTROL)
    if _shared(kept, directives):
        _guard.warn_once(
            "shared-cache",
            "otel-feedback: a response that answers with a model is given to shared caches (public, s-maxage or a "
            "CDN's header), so it has no handle. Mark it private or no-store to let its reader vote.",
        )
        return None
    result = [(name, value) for name, value in kept if name not in (NAME, _EXPOSE)]
    if not directives & {"private", "no-store"}:
        result = _combined(result, kept, _CACHE_CONTROL, b"private")
    result = _combined(result, kept, _EXPOSE, NAME)
    result.append((NAME, handle.encode("ascii")))
    return result


def _combined(result: Headers, before: Headers, name: bytes, value: bytes) -> Headers:
    """Return ``result`` with one header that lists what there was and ``value``."""
    values = [old for key, old in before if key == name and old.strip()]
    if name == _EXPOSE:
        values = [old for old in values if NAME not in old.lower()] or []
    return [pair for pair in result if pair[0] != name] + [(name, b", ".join([*values, value]))]


def cache_directives(values: Iterable[bytes]) -> set[str]:
    """Return the names of the directives in ``Cache-Control`` values; those with a field list in quotes excepted."""
    found = set()
    for value in values:
        for part in value.decode("latin-1").split(","):
            name, _, argument = part.strip().lower().partition("=")
            if not argument.lstrip().startswith('"'):
                found.add(name.strip())
    return found


def _shared(headers: Headers, directives: set[str]) -> bool:
    if directives & {"public", "s-maxage"} and not directives & {"private", "no-store"}:
        return True
    return any(name in _CDN_HEADERS and value.strip() != b"0" for name, value in headers)
