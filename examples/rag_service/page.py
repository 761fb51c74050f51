"""The chat page: three static files, and a policy that allows no script but its own and the widget's.

``FEEDBACK_URL`` is where the page's buttons come from and send to: the address of ``otel-feedback up`` or of a capture
service, as the browser reaches it. Without it the page asks for no feedback. ``DASHBOARD_URL`` is a page to link to.
"""

import html
from pathlib import Path
from string import Template
from urllib.parse import urlsplit

from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

FILES = Path(__file__).parent / "page"

POLICY = (
    "default-src 'none'; script-src 'self'{feedback}; connect-src 'self'{feedback}; style-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
    "trusted-types 'none'"
)


def origin_of(name: str, url: str) -> str:
    """The origin of an address.

    Raises:
        ValueError: It is none of the web.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or set(parts.netloc) & set(" ;,'\"@"):
        raise ValueError(f"{name} must be an address such as http://127.0.0.1:8484")
    return f"{parts.scheme}://{parts.netloc}"


def add_page(app: FastAPI, feedback_url: str, dashboard_url: str) -> None:
    """Serve the page at ``/``.

    Args:
        app: That answers its questions.
        feedback_url: Where the widget is, as the browser reaches it; empty for a page without feedback.
        dashboard_url: What the page links to; empty for nothing.

    Raises:
        ValueError: An address is none.
    """
    feedback = f" {origin_of('FEEDBACK_URL', feedback_url)}" if feedback_url else ""
    widget = f'<script type="module" src="{html.escape(feedback_url.rstrip("/"))}/v1/widget.js"></script>'
    dashboard = ""
    if dashboard_url:
        origin_of("DASHBOARD_URL", dashboard_url)
        dashboard = f'<a href="{html.escape(dashboard_url)}" target="_blank" rel="noopener">Satisfaction</a>'
    written = Template((FILES / "index.html").read_text()).substitute(
        widget=widget if feedback else "", dashboard=dashboard
    )
    headers = {
        "content-security-policy": POLICY.format(feedback=feedback),
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
        "cache-control": "no-cache",
    }

    @app.get("/", include_in_schema=False)
    async def page() -> HTMLResponse:
        return HTMLResponse(written, headers=headers)

    app.mount("/page", StaticFiles(directory=FILES), name="page")
