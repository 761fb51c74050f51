"""The JSON API: what the pages show, for programs; live events; and the work on the data folder."""

import asyncio
import functools
import json
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from otel_feedback._guard import failed
from otel_feedback.capture.problems import Problem
from otel_feedback.exceptions import InvalidQueryError, NotFoundError, OtelFeedbackError
from otel_feedback.server.live import Live, TooManyError
from otel_feedback.store import Store

HEADERS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
MAX_BODY: Final = 65_536
"""Bytes of a request's body."""

Query = Mapping[str, str]
Progress = Callable[[int, int], None]
Work = Callable[[Progress], Any]


@dataclass(frozen=True)
class Api:
    """The parts that the API tells of."""

    store: Store
    status: Callable[[], Mapping[str, Any]]
    live: Live

    def routes(self) -> list[Route]:
        """Return the routes of the API."""
        read: dict[str, Callable[[Query], Any]] = {
            "/api/status": lambda _: self.status(),
            "/api/satisfaction": self._satisfaction,
            "/api/trend": self._trend,
            "/api/options": self._options,
            "/api/answers": self._answers,
            "/api/db/info": lambda _: self.store.info(),
        }
        self_made = _Jobs()
        jobs: dict[str, Callable[[Mapping[str, Any]], Work]] = {
            "/api/db/backup": self._backup,
            "/api/db/check": lambda _: self.store.check,
            "/api/db/vacuum": lambda _: self.store.vacuum,
        }
        return [
            *(Route(path, functools.partial(_read, view)) for path, view in read.items()),
            Route("/api/answers/{id}", self._answer),
            Route("/api/live", self._live),
            *(Route(path, functools.partial(self_made.run, make), methods=["POST"]) for path, make in jobs.items()),
        ]

    def _satisfaction(self, query: Query) -> Any:
        from otel_feedback.analysis.satisfaction import MOST, satisfaction
        from otel_feedback.store.filters import Filter

        chosen = Filter.from_query(query)
        by = tuple(name.strip() for name in (query.get("by") or "template,version").split(","))
        rows = satisfaction(self.store, by=by, filter=chosen, limit=_number(query, "limit", MOST))
        return {"rows": [row.to_json() for row in rows], "filter": chosen.to_query()}

    def _trend(self, query: Query) -> Any:
        from otel_feedback.analysis.satisfaction import trend
        from otel_feedback.store.filters import Filter

        chosen = Filter.from_query(query)
        points = trend(self.store, chosen, bucket=query.get("bucket") or "auto", by=query.get("by") or None)
        return {"points": [point.to_json() for point in points], "filter": chosen.to_query()}

    def _options(self, _: Query) -> Any:
        from otel_feedback.analysis.satisfaction import options

        return options(self.store)

    def _answers(self, query: Query) -> Any:
        from otel_feedback.store._answers import answers
        from otel_feedback.store.filters import Filter

        return answers(
            self.store,
            Filter.from_query(query),
            feedback=query.get("feedback") or "bad",
            signal=query.get("signal") or None,
            reason=query.get("reason") or None,
            search=query.get("search") or None,
            limit=_number(query, "limit", 50),
            after=query.get("after") or None,
        ).to_json()

    async def _answer(self, request: Request) -> Response:
        from otel_feedback.store._answers import answer

        name = request.path_params["id"]
        return await _answer_with(lambda: answer(self.store, name).to_json())

    async def _live(self, request: Request) -> Response:
        try:
            stream = self.live.listen(votes=request.query_params.get("votes", "") not in ("", "0"))
        except TooManyError:
            problem = Problem(HTTPStatus.SERVICE_UNAVAILABLE, "Too many listen already.", headers={"Retry-After": "10"})
            return problem.response()
        headers = {**HEADERS, "X-Accel-Buffering": "no"}
        return StreamingResponse(stream, headers=headers, media_type="text/event-stream")

    def _backup(self, body: Mapping[str, Any]) -> Work:
        target = body.get("target")
        if not isinstance(target, str) or not Path(target).is_absolute() or "\0" in target:
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "target must be the path of a new folder.", field="target")
        return lambda progress: self.store.backup(Path(target), progress)


def problem_of(error: Exception) -> Problem:
    """Say what an error of ours means to who asked."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, InvalidQueryError):
        return Problem(HTTPStatus.BAD_REQUEST, str(error), field=error.field)
    if isinstance(error, NotFoundError):
        return Problem(HTTPStatus.NOT_FOUND, str(error))
    if isinstance(error, OtelFeedbackError):
        return Problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error), headers={"Retry-After": "5"})
    failed("the server's API", error)
    return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "This went wrong; the server's log says where.")


async def _read(view: Callable[[Query], Any], request: Request) -> Response:
    query = dict(request.query_params)
    return await _answer_with(lambda: view(query))


async def _answer_with(call: Callable[[], Any]) -> Response:
    try:
        return JSONResponse(await run_sync(call), headers=HEADERS)
    except Exception as error:
        return problem_of(error).response()


def _number(query: Query, name: str, default: int) -> int:
    text = query.get(name, "")
    if not text:
        return default
    if not text.isdecimal() or len(text) > 9:  # noqa: PLR2004 - a billion is beyond every limit
        raise InvalidQueryError(name, f"{name} must be a number.")
    return int(text)


class _Jobs:
    """Long work, one at a time, whose progress is told line by line."""

    def __init__(self) -> None:
        self._busy = threading.Lock()

    async def run(self, make: Callable[[Mapping[str, Any]], Work], request: Request) -> Response:
        try:
            work = make(await _body(request))
        except Problem as problem:
            return problem.response()
        if not self._busy.acquire(blocking=False):
            return Problem(HTTPStatus.CONFLICT, "Other work on the data folder goes on; wait for its end.").response()
        # Begun here and not where its lines are read: a caller who is gone by then would leave it busy for ever.
        return StreamingResponse(_read_lines(self._begin(work)), headers=HEADERS, media_type="application/x-ndjson")

    def _begin(self, work: Work) -> "asyncio.Queue[Mapping[str, Any]]":
        loop = asyncio.get_running_loop()
        lines: asyncio.Queue[Mapping[str, Any]] = asyncio.Queue()

        def tell(line: Mapping[str, Any]) -> None:
            loop.call_soon_threadsafe(lines.put_nowait, line)

        def run() -> None:
            try:
                try:
                    end = {"result": work(lambda done, of: tell({"done": done, "all": of}))}
                except Exception as error:
                    problem = problem_of(error)
                    end = {"error": {"title": problem.status.phrase, "detail": problem.detail}}
            finally:
                self._busy.release()
            tell(_jsonable(end))

        # Not one of the loop's threads: whoever ends the process doesn't wait for it.
        threading.Thread(target=run, name="otel-feedback-job", daemon=True).start()
        return lines


async def _read_lines(lines: "asyncio.Queue[Mapping[str, Any]]") -> AsyncIterator[str]:
    while True:
        line = await lines.get()
        yield json.dumps(line) + "\n"
        if "done" not in line:
            return


def _jsonable(end: dict[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(end, default=str))  # type: ignore[no-any-return]


async def _body(request: Request) -> Mapping[str, Any]:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY:
            raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body may have at most {MAX_BODY:,} bytes.")
    try:
        content = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise Problem(HTTPStatus.BAD_REQUEST, "The body must be a JSON object.")
    return content
