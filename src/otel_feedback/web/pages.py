"""The pages: Satisfaction, Answers, one answer, Setup, and the charts and files that they show."""

import functools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from otel_feedback.analysis._interval import ENOUGH, response_rate, wilson
from otel_feedback.analysis._views import SatisfactionRow, TrendPoint
from otel_feedback.analysis.satisfaction import options, satisfaction, trend
from otel_feedback.exceptions import InvalidQueryError, NotFoundError
from otel_feedback.store._answers import answer, answers
from otel_feedback.store.filters import Filter
from otel_feedback.web import _charts, _render, _shapes
from otel_feedback.web.context import Context

RANGES: Final = {"1h": "1 hour", "24h": "24 hours", "7d": "7 days", "30d": "30 days", "all": "All"}
GROUPINGS: Final = {
    "template,version": "Template and version",
    "template": "Template",
    "model": "Model",
    "query_type": "Query type",
    "service": "Service",
    "environment": "Environment",
}
FEEDBACK: Final = {"bad": "Bad", "good": "Good", "any": "Judged", "all": "All answers"}
FACTS: Final = {
    "template": "Template",
    "version": "Version",
    "model": "Model",
    "query_type": "Query type",
    "service": "Service",
    "environment": "Environment",
}
_LISTED: Final = ("signal", "reason")
"""What only lists of answers are filtered by."""

DEFAULT_SINCE: Final = "7d"
PAGE: Final = 25
"""Answers of one page."""

_MOST_ROWS: Final = 300
_MOST_SPANS: Final = 1000
_DEEPEST: Final = 50
"""Pages back that an address remembers."""

Page = Callable[[Context, Request], Awaitable[Response]]


def page_routes(context: Context) -> list[BaseRoute]:
    """Return the routes of all pages, of the charts in them, and of their files.

    ``/login`` is only shown here; whoever checks the token takes what its form posts: ``token`` and ``next``.
    """
    pages: dict[str, Page] = {
        "/": _satisfaction_page,
        "/answers": _answers_page,
        "/answers/{id}": _answer_page,
        "/setup": _setup_page,
        "/login": _login_page,
        "/chart/{name}.svg": _chart,
        "/static/{name}": _static,
    }
    return [Route(path, functools.partial(_answer_safely, page, context)) for path, page in pages.items()]


def render_login(context: Context, *, next_path: str = "/", failed: bool = False) -> Response:
    """Return the page that asks for the token.

    Args:
        context: Of the process.
        next_path: Where to go then; sent along as ``next``. Anything but a path of this server becomes ``/``.
        failed: Whether a token was given that isn't the right one: then the status is 401.
    """
    code = 401 if failed else 200
    return _render.render(
        "login.html", code=code, context=context, here="login", next=local_path(next_path), failed=failed
    )


def local_path(path: str) -> str:
    """Return a path of this server, whatever was asked for: two slashes or a backslash would be another host."""
    safe = path.startswith("/") and path[1:2] not in ("/", "\\") and path.isprintable() and path.isascii()
    return path if safe else "/"


def render_error(context: Context, *, status: int, title: str, sentence: str) -> Response:
    """Return a page that says what went wrong, and what to do."""
    return _render.render("error.html", code=status, context=context, here="", title=title, sentence=sentence)


async def _answer_safely(page: Page, context: Context, request: Request) -> Response:
    try:
        return await page(context, request)
    except InvalidQueryError as error:
        return render_error(context, status=400, title="That can't be shown", sentence=error.name_fields(_label))
    except NotFoundError as error:
        return render_error(context, status=404, title="Not found", sentence=str(error))


def _label(field: str) -> str:
    """Return what a field is called where it is filled in."""
    return {"since": "From", "until": "To", **FACTS}.get(field, field)


async def _satisfaction_page(context: Context, request: Request) -> Response:
    query, chosen = _read_query(request.query_params)
    by = request.query_params.get("by") or next(iter(GROUPINGS))
    names = [name.strip() for name in by.split(",")]
    rows, points, choices = await _in_thread(
        lambda: (
            satisfaction(context.store, by=names, filter=chosen),
            trend(context.store, chosen),
            options(context.store, tuple(FACTS)),
        )
    )
    return _render.render(
        "satisfaction.html",
        **_common(context, "satisfaction", query, choices),
        by=by,
        names=names,
        groupings=GROUPINGS,
        rows=rows[:_MOST_ROWS],
        more=max(0, len(rows) - _MOST_ROWS),
        total=_add_up(rows),
        enough=ENOUGH,
        points=points,
        revision=_revision(points),
    )


async def _answers_page(context: Context, request: Request) -> Response:
    query, chosen = _read_query(request.query_params)
    mine = {name: request.query_params.get(name, "") for name in ("feedback", "signal", "reason", "search")}
    if mine["feedback"] not in FEEDBACK:
        if mine["feedback"]:
            raise InvalidQueryError("feedback", f"feedback must be one of {', '.join(FEEDBACK)}.")
        mine["feedback"] = "bad"
    after = request.query_params.get("after") or None
    back = [cursor for cursor in request.query_params.get("back", "").split(" ") if cursor]
    found, choices = await _in_thread(
        lambda: (
            answers(
                context.store,
                chosen,
                feedback=mine["feedback"],
                signal=mine["signal"] or None,
                reason=mine["reason"] or None,
                search=mine["search"].strip() or None,
                limit=PAGE,
                after=after,
            ),
            options(context.store, (*FACTS, *_LISTED)),
        )
    )
    return _render.render(
        "answers.html",
        **_common(context, "answers", query | mine, choices),
        feedback=FEEDBACK,
        page=found,
        after=after,
        newer=_newer(query | mine, after, back),
        older=_older(query | mine, after, back, found.next),
    )


async def _answer_page(context: Context, request: Request) -> Response:
    detail = await _in_thread(lambda: answer(context.store, request.path_params["id"]))
    spans = detail.spans[:_MOST_SPANS]
    return _render.render(
        "answer.html",
        context=context,
        here="answers",
        it=detail,
        bars=list(_shapes.lay_out(spans)),
        more=detail.span_count - len(spans),
        width=_shapes.WIDTH,
        jaeger=_jaeger(context.jaeger_url, detail.trace_id, detail.span_id),
    )


async def _setup_page(context: Context, request: Request) -> Response:
    status = await _in_thread(context.status)
    url = str(status.get("url") or request.base_url).rstrip("/")
    return _render.render("setup.html", context=context, here="setup", status=status, url=url)


async def _login_page(context: Context, request: Request) -> Response:
    return render_login(context, next_path=request.query_params.get("next", "/"))


async def _chart(context: Context, request: Request) -> Response:
    draw = {"satisfaction": _charts.draw_satisfaction, "votes": _charts.draw_votes}.get(request.path_params["name"])
    if draw is None:
        raise NotFoundError("There is no such chart.")
    _, chosen = _read_query(request.query_params)
    narrow = bool(request.query_params.get("narrow"))
    svg = await _in_thread(lambda: draw(_charts.fill(trend(context.store, chosen)), narrow=narrow))
    headers = {**_render.PAGE_HEADERS, "content-security-policy": _charts.policy_of(svg)}
    return Response(svg, headers=headers, media_type="image/svg+xml")


async def _static(_: Context, request: Request) -> Response:
    name = request.path_params["name"]
    if name not in _render.STATIC:
        raise NotFoundError("There is no such file.")
    headers = {**_render.HEADERS, "cache-control": "max-age=31536000, immutable"}
    return Response(_render.read_static(name), headers=headers, media_type=_render.STATIC[name])


async def _in_thread(call: Callable[[], Any]) -> Any:
    return await anyio.to_thread.run_sync(call)


def _read_query(fields: Mapping[str, str]) -> tuple[dict[str, str], Filter]:
    """Return the fields of the window and facts as they go on in links, and what they mean."""
    query = {name: fields.get(name, "").strip() for name in ("since", "until")}
    query["since"] = query["since"] or ("" if query["until"] else DEFAULT_SINCE)
    query |= {name: fields.get(name, "") for name in FACTS}
    return query, Filter.from_query({**query, "since": "" if query["since"] == "all" else query["since"]})


def _common(context: Context, here: str, query: dict[str, str], choices: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    shown = {name: list(choices.get(name, ())) for name in (*FACTS, *_LISTED)}
    for name, values in shown.items():
        if query.get(name) and query[name] not in values:
            values.append(query[name])
    return {
        "context": context,
        "here": here,
        "query": query,
        "ranges": RANGES,
        "facts": FACTS,
        "choices": shown,
    }


def _add_up(rows: Sequence[SatisfactionRow]) -> dict[str, Any]:
    names = ("interactions", "voted", "positive", "negative", "corrections")
    total = {name: sum(getattr(row, name) for row in rows) for name in names}
    share = wilson(total["positive"], total["negative"])
    rate = response_rate(total["voted"], total["interactions"])
    return {**total, "response_rate": rate, "satisfaction": share.value, "low": share.low, "high": share.high}


def _revision(points: Sequence[TrendPoint]) -> str:
    """Return what changes whenever the charts do, so that a browser fetches them again."""
    return "-".join(str(sum(getattr(point, name) for point in points)) for name in ("positive", "negative"))


def _newer(query: Mapping[str, str], after: str | None, back: Sequence[str]) -> str | None:
    if after is None:
        return None
    return _render.address("/answers", query, after=back[-1] if back else None, back=" ".join(back[:-1]))


def _older(query: Mapping[str, str], after: str | None, back: Sequence[str], cursor: str | None) -> str | None:
    if cursor is None:
        return None
    return _render.address("/answers", query, after=cursor, back=" ".join([*back, *filter(None, [after])][-_DEEPEST:]))


def _jaeger(base: str | None, trace_id: str, span_id: str) -> str | None:
    if not base or not base.startswith(("http://", "https://")):
        return None
    return f"{base.rstrip('/')}/trace/{trace_id}?uiFind={span_id}"
