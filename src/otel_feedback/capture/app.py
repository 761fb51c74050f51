"""The capture endpoint as an ASGI application: mounted into a service, or run alone by ``otel-feedback capture``."""

import contextlib
import json
import re
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from typing import Final

from anyio.to_thread import run_sync
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import Lifespan, Receive, Scope, Send

from otel_feedback import _runtime, semconv
from otel_feedback._guard import failed, warn_once
from otel_feedback._record import default_recorder
from otel_feedback._recorder import Prepared, Receipt, Recorder
from otel_feedback._votes import Transition, VoteBook
from otel_feedback.capture.body import FeedbackBody, read_body, runs_asyncio
from otel_feedback.capture.description import description_route
from otel_feedback.capture.limits import Limiter, RateLimits
from otel_feedback.capture.problems import Problem, on_http_exception
from otel_feedback.capture.widget import widget_routes
from otel_feedback.exceptions import (
    ConfigurationError,
    DeliveryError,
    InvalidFeedbackError,
    InvalidHandleError,
    TooManyChangesError,
    VoteConflictError,
)
from otel_feedback.outbox import Outbox

RETRY_AFTER: Final = 5
"""Seconds after which a sender may try again."""

NO_HANDLE: Final = "There is no handle: it comes in the feedback-handle header of the answer that is judged."
"""Detail for who sends none. It tells a prober nothing, and whoever's script lost the header what to look for."""

PREFLIGHT_AGE: Final = 7_200
"""Seconds for which a browser may keep a preflight's answer: the longest that any of them does."""

_to_json: Final = json.JSONEncoder().encode

_ORIGIN: Final = re.compile(r"\*|https?://[^/?#\s]+")


def capture_app(
    *,
    recorder: Recorder | None = None,
    allow_origins: Sequence[str] = (),
    allow_origin_regex: str | None = None,
    limits: RateLimits | None = RateLimits(),  # noqa: B008 - it is frozen
    proxied: bool = False,
    lifespan: Lifespan[Starlette] | None = None,
) -> Starlette:
    """Make the application that takes feedback in at ``POST /v1/feedback``, and serves the widget beside it.

    Args:
        recorder: Takes the feedback; by default the one that ``record()`` uses in this process.
        allow_origins: Origins of pages that may send feedback from a browser, such as ``https://chat.example.com``;
            ``*`` for any. Pages of the application's own origin may without.
        allow_origin_regex: Origins that may as well: a regular expression that the whole origin matches.
        limits: How often one may send; ``None`` where something before it sees to that.
        proxied: Whether the server knows the addresses of clients behind proxies, as limits by address need.
        lifespan: Of the application; servers run it, a mount doesn't.

    Raises:
        ConfigurationError: An origin is none, or no handle key can be used.
    """
    for origin in allow_origins:
        if not _ORIGIN.fullmatch(origin):
            raise ConfigurationError("An allowed origin is scheme://host[:port] without a path, or *.")
    if recorder is None and _runtime.enabled():
        recorder = default_recorder()
    middleware = []
    if allow_origins or allow_origin_regex:
        middleware.append(
            Middleware(
                CORSMiddleware,
                allow_origins=allow_origins,
                allow_origin_regex=allow_origin_regex,
                allow_methods=["POST"],
                allow_headers=["content-type"],
                expose_headers=["retry-after"],
                max_age=PREFLIGHT_AGE,
            )
        )
    taking = _Taking(recorder, None if limits is None else Limiter(limits, proxied=proxied))
    app = Starlette(
        routes=[
            Route("/v1/feedback", taking, methods=["POST"], name="feedback"),
            *widget_routes(),
            description_route(),
            Route("/healthz", _healthy, methods=["GET"]),
        ],
        middleware=middleware,
        exception_handlers={HTTPException: on_http_exception},
        lifespan=lifespan,
    )
    # A redirect would repeat the caller's Host, and lead feedback away from HTTPS behind a proxy that ends it.
    app.router.redirect_slashes = False
    return app


async def _healthy(request: Request) -> JSONResponse:  # noqa: ARG001 - Starlette's signature
    return JSONResponse({"status": "ok"})


class _Taking:
    """``POST /v1/feedback``, as an ASGI application: Starlette's own wrapping costs as much as the vote does."""

    def __init__(self, recorder: Recorder | None, limiter: Limiter | None) -> None:
        self._recorder = recorder
        self._limiter = limiter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        try:
            receipt = await self._take(scope, receive)
        except Problem as problem:
            await problem.response()(scope, receive, send)
        except Exception as error:
            failed("capture", error)
            failure = Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "The feedback could not be taken in.")
            await failure.response()(scope, receive, send)
        else:
            body = b'{"id":%b}' % _to_json(receipt.id).encode()
            headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
            await send({"type": "http.response.start", "status": HTTPStatus.ACCEPTED.value, "headers": headers})
            await send({"type": "http.response.body", "body": body})

    async def _take(self, scope: Scope, receive: Receive) -> Receipt:
        if self._recorder is None:
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "Feedback is switched off here.")
        headers: dict[bytes, bytes] = dict(scope["headers"])
        if self._limiter is not None:
            client = scope.get("client")
            self._limiter.check_client(client[0] if client else None, forwarded=b"x-forwarded-for" in headers)
        body = await read_body(headers, receive)
        with _problems(body):
            prepared = _prepare(self._recorder, body)
            if self._limiter is not None:
                key = prepared.ballot.key
                self._limiter.check_handle(key.trace_id, key.span_id)
            return prepared.receipt(await _cast(self._recorder.votes, prepared))


def _prepare(recorder: Recorder, body: FeedbackBody) -> Prepared:
    return recorder.prepare(
        body.handle,
        body.signal,
        body.value,
        id=body.id,
        reasons=body.reasons,
        comment=body.comment,
        correction=body.pair(),
        confidence=body.confidence,
        nonce=body.nonce,
        source=semconv.SOURCE_CAPTURE,
    )


async def _cast(votes: VoteBook, prepared: Prepared) -> Transition:
    if isinstance(votes, Outbox) and runs_asyncio():
        return await votes.cast_soon(prepared.ballot, prepared.deliver)
    # In a thread: a vote book and a delivery that keep feedback elsewhere may wait for it.
    return await run_sync(votes.cast, prepared.ballot, prepared.deliver)


@contextlib.contextmanager
def _problems(body: FeedbackBody) -> Iterator[None]:
    """Say in HTTP's words why a feedback is not taken."""
    try:
        yield
    except InvalidHandleError as error:
        detail = NO_HANDLE if body.handle in (None, "") else str(error)
        raise Problem(HTTPStatus.UNAUTHORIZED, detail, headers={"WWW-Authenticate": "Handle"}) from None
    except InvalidFeedbackError as error:
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(error), field=error.field) from None
    except (VoteConflictError, TooManyChangesError) as error:
        raise Problem(HTTPStatus.CONFLICT, str(error)) from None
    except DeliveryError as error:
        # Why is the operator's business: it may name hosts and settings.
        warn_once("not-delivered", "otel-feedback: feedback is refused for now: %s", error)
        raise Problem(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "The feedback can't be kept safe now. Nothing of it was recorded; send it again.",
            headers={"Retry-After": str(RETRY_AFTER)},
        ) from None
