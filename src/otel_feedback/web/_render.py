"""Templates to answers: jinja2 with escaping on, and the headers that every page has."""

import datetime as dt
import functools
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import Response

from otel_feedback import semconv
from otel_feedback._limits import cut_middle, cut_repeated
from otel_feedback.analysis._interval import in_percent
from otel_feedback.store._views import Vote
from otel_feedback.web import _text

_HERE: Final = Path(__file__).parent

HEADERS: Final = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
PAGE_HEADERS: Final = {
    **HEADERS,
    "cache-control": "no-store",
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
}
STATIC: Final = {"style.css": "text/css", "live.js": "text/javascript", "icon.svg": "image/svg+xml"}


def render(template: str, *, code: int = 200, **values: Any) -> Response:
    """Return a page with a status code."""
    html = _environment().get_template(template).render(values)
    return Response(html.encode(errors="replace"), code, PAGE_HEADERS, "text/html; charset=utf-8")


@functools.cache
def read_static(name: str) -> bytes:
    """Return one of the files of ``STATIC``."""
    return (_HERE / "static" / name).read_bytes()


def address(path: str, query: Mapping[str, Any] | None = None, **changes: Any) -> str:
    """Return an address with the fields of a query, changed; ``None`` and empty ones are left out."""
    fields = {name: value for name, value in {**(query or {}), **changes}.items() if value not in (None, "")}
    return f"{path}?{urlencode(fields, errors='replace')}" if fields else path


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "show": _text.show,
        "name": lambda text: _text.show(text, _text.LONGEST_NAME),
        "plain": _text.plain,
        "preview": lambda text: _text.show(cut_middle(text, _text.LONGEST_PREVIEW)),
        "asked": lambda text, prompt: cut_repeated(text, (each.text for each in prompt), _text.LONGEST_REPEATED),
        "value": _text.show_value,
        "percent": _percent,
        "in_percent": in_percent,
        "number": lambda number: f"{number:,}".replace(",", "\u202f"),
        "duration": _duration,
        "time": _time,
        "by_kind": _by_kind,
    }
    environment.globals |= {"address": address, "static": _static, "compare": _text.compare}
    return environment


def _static(name: str) -> str:
    return f"/static/{name}?v={hashlib.sha256(read_static(name)).hexdigest()[:12]}"


def _percent(share: float | None) -> str:
    return "\N{EN DASH}" if share is None else f"{in_percent(share)}\u202f%"


def _duration(ms: float) -> str:
    if ms < 1:
        return f"{ms * 1000:.0f}\u202fµs"
    if ms < 1000:  # noqa: PLR2004 - a second
        return f"{ms:.3g}\u202fms" if ms < 100 else f"{ms:.0f}\u202fms"  # noqa: PLR2004 - three digits
    if ms < 120_000:  # noqa: PLR2004 - two minutes
        return f"{ms / 1000:.3g}\u202fs"
    return f"{ms / 60_000:.0f}\u202fmin"


def _time(moment: dt.datetime | str) -> Markup:
    if isinstance(moment, str):
        moment = dt.datetime.fromisoformat(moment.replace("Z", "+00:00"))
    moment = moment.astimezone(dt.timezone.utc)
    iso, shown = moment.isoformat().replace("+00:00", "Z"), moment.strftime("%Y-%m-%d %H:%M:%S")
    return Markup('<time datetime="{}">{}<span class="zone"> UTC</span></time>').format(iso, shown)


def _by_kind(votes: Sequence[Vote]) -> list[Vote]:
    """Return votes with what people said first, then what they wrote, then what software saw."""
    order = [semconv.EXPLICIT, semconv.CORRECTION, semconv.IMPLICIT]
    return sorted(votes, key=lambda vote: order.index(vote.kind) if vote.kind in order else len(order))
