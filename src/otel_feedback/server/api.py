"""The JSON API: what the pages show, for programs; live events; and the work on the data folder."""

import asyncio
import functools
import json
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

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
            "/api/satisfaction": lambda query: _questions().ask_satisfaction(self.store, query),
            "/api/trend": lambda query: _questions().ask_trend(self.store, query),
            "/api/options": lambda query: _questions().ask_options(self.store, query),
            "/api/answers": lambda query: _questions().ask_answers(self.store, query),
            "/api/db/info": lambda _: self.store.info(),
        }
        works = _Jobs()
        jobs: dict[str, Callable[[Mapping[str, Any]], Work]] = {
            "/api/db/backup": self._backup,
            "/api/db/check": lambda _: self.store.check,
            "/api/db/vacuum": lambda _: self.store.vacuum,
        }
        return [
            *(Route(path, functools.partial(_read, view)) for path, view in read.items()),
            Route("/api/answers/{id}", self._answer),
            Route("/api/live", _Listening(self.live), methods=["GET"]),
            *(Route(path, functools.partial(works.run, make), methods=["POST"]) for path, make in jobs.items()),
        ]

    async def _answer(self, request: Request) -> Response:
        return await _answer_with(lambda: _questions().ask_answer(self.store, request.path_params["id"]))

    def _backup(self, body: Mapping[str, Any]) -> Work:
        target = body.get("target")
        if not isinstance(target, str) or not Path(target).is_absolute() or "\0" in target:
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "target must be the path of a new folder.", field="target")
        return lambda progress: self.store.backup(Path(target), progress)


class _Listening:
    """Tells what happens, as long as somebody listens; plain ASGI, so that a place is held exactly as long."""

    def __init__(self, live: Live) -> None:
        self._live = live

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        votes = Request(scope).query_params.get("votes", "") not in ("", "0")
        try:
            with self._live.listening(votes=votes) as events:
                headers = {**HEADERS, "X-Accel-Buffering": "no"}
                response = StreamingResponse(events, headers=headers, media_type="text/event-stream")
                await response(scope, receive, send)
        except TooManyError:
            problem = Problem(HTTPStatus.SERVICE_UNAVAILABLE, "Too many listen already.", headers={"Retry-After": "10"})
            await problem.response()(scope, receive, send)


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


def _questions() -> ModuleType:
    from otel_feedback.analysis import questions  # with the first question: a start doesn't wait for it

    return questions


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
