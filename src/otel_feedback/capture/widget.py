"""The widget as capture serves it: the newest by one name, and each released one by the hash that pages name."""

import base64
import gzip
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

STATIC: Final = Path(__file__).parent / "static"
"""Where the built files are: ``widget.js``, and ``widget-<hash>.js`` for every released one."""

HASH_DIGITS: Final = 16
"""Hex digits of a file's SHA-256 in its name."""

FRESH: Final = 300
"""Seconds for which a browser may take the newest one for the newest."""

YEAR: Final = 31_536_000
"""Seconds for which a file whose name says what is in it is kept: the longest that means anything."""


@dataclass(frozen=True, slots=True)
class WidgetFile:
    """One build of the widget.

    Attributes:
        content: What is served.
        packed: The same, gzipped.
        digest: The first 16 hex digits of its SHA-256.
        integrity: What a page writes into ``integrity`` (SHA-384).
    """

    content: bytes
    packed: bytes
    digest: str
    integrity: str

    @property
    def path(self) -> str:
        """The address, below capture's, which this build has for ever."""
        return f"/v1/widget-{self.digest}.js"

    @classmethod
    def read(cls, path: Path) -> "WidgetFile":
        """Read a build.

        Raises:
            OSError: It can't be read: the package is not whole.
        """
        content = path.read_bytes()
        integrity = base64.b64encode(hashlib.sha384(content).digest()).decode()
        return cls(
            content=content,
            packed=gzip.compress(content, mtime=0),
            digest=hashlib.sha256(content).hexdigest()[:HASH_DIGITS],
            integrity=f"sha384-{integrity}",
        )


def current_widget() -> WidgetFile:
    """Return the build of this version.

    Raises:
        OSError: It can't be read: the package is not whole.
    """
    return WidgetFile.read(STATIC / "widget.js")


def widget_snippet(base_url: str, *, pinned: bool = True) -> str:
    """Return the script element that brings the widget into a page.

    Args:
        base_url: Where capture is, such as ``https://feedback.example.com``, with the path that it is mounted at.
        pinned: Name this very build, whose content the browser checks (Subresource Integrity); else the newest.

    Raises:
        OSError: The build can't be read: the package is not whole.
    """
    base, widget = base_url.rstrip("/"), current_widget()
    if not pinned:
        return f'<script type="module" src="{base}/v1/widget.js"></script>'
    checked = f'integrity="{widget.integrity}" crossorigin="anonymous"'
    return f'<script type="module" src="{base}{widget.path}" {checked}></script>'


def widget_routes() -> list[Route]:
    """Return the routes that serve the widget, to stand beside ``POST /v1/feedback``: any page may load it.

    Raises:
        OSError: A build can't be read: the package is not whole.
    """
    newest = current_widget()
    builds = [newest, *(WidgetFile.read(path) for path in STATIC.glob("widget-*.js"))]
    by_hash = {build.path: _serving(build, f"public, max-age={YEAR}, immutable") for build in builds}
    return [
        Route("/v1/widget.js", _serving(newest, f"public, max-age={FRESH}"), methods=["GET"], name="widget"),
        *(Route(path, answer, methods=["GET"]) for path, answer in by_hash.items()),
    ]


def _serving(build: WidgetFile, cache_control: str) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        packed = "gzip" in request.headers.get("accept-encoding", "")
        etag = f'"{build.digest}{"-gz" if packed else ""}"'
        headers = {
            "Access-Control-Allow-Origin": "*",
            "Cache-Control": cache_control,
            "Cross-Origin-Resource-Policy": "cross-origin",
            "ETag": etag,
            "Vary": "Accept-Encoding",
            "X-Content-Type-Options": "nosniff",
        }
        if etag in (each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")):
            return Response(status_code=304, headers=headers)
        if packed:
            headers["Content-Encoding"] = "gzip"
        content = build.packed if packed else build.content
        return Response(content, headers=headers, media_type="text/javascript")

    return answer
