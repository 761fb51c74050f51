"""The capture endpoint as an ASGI application: mounted into a service, or run alone by ``otel-feedback capture``."""

import functools
import re
from collections.abc import Sequence
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
from starlette.types import Lifespan

from otel_feedback import _runtime, semconv
from otel_feedback._guard import failed, warn_once
from otel_feedback._record import Receipt, Recorder, default_recorder
from otel_feedback.capture.body import FeedbackBody, read_body
from otel_feedback.capture.problems import Problem, on_http_exception
from otel_feedback.exceptions import ConfigurationError, DeliveryError, InvalidFeedbackError, InvalidHandleError

RETRY_AFTER: Final = 5
"""Seconds after which a sender may try again."""

NO_HANDLE: Final = "There is no handle: it comes in the feedback-handle header of the answer that is judged."
"""Detail for who sends none. It tells a prober nothing, and whoever's script lost the header what to look for."""

PREFLIGHT_AGE: Final = 7_200
"""Seconds for which a browser may keep a preflight's answer: the longest that any of them does."""

_ORIGIN: Final = re.compile(r"\*|https?://[^/?#\s]+")


def capture_app(
    *,
    recorder: Recorder | None = None,
    allow_origins: Sequence[str] = (),
    allow_origin_regex: str | None = None,
    lifespan: Lifespan[Starlette] | None = None,
) -> Starlette:
    """Make the application that takes feedback in at ``POST /v1/feedback``.

    Args:
        recorder: Takes the feedback; by default the one that ``record()`` uses in this process.
        allow_origins: Origins of pages that may send feedback from a browser, such as ``https://chat.example.com``;
            ``*`` for any. Pages of the application's own origin may without.
        allow_origin_regex: Origins that may as well: a regular expression that the whole origin matches.
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
    app = Starlette(
        routes=[
            Route("/v1/feedback", functools.partial(_take, recorder), methods=["POST"], name="feedback"),
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


async def _take(recorder: Recorder | None, request: Request) -> JSONResponse:
    try:
        body = await read_body(request)
        # In a thread: a vote book and a delivery that keep feedback on disk wait for it.
        receipt = await run_sync(_submit, recorder, body)
    except Problem as problem:
        return problem.response()
    except Exception as error:
        failed("capture", error)
        return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "The feedback could not be taken in.").response()
    return JSONResponse({"id": receipt.id}, HTTPStatus.ACCEPTED)


def _submit(recorder: Recorder | None, body: FeedbackBody) -> Receipt:
    if recorder is None:
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "Feedback is switched off here.")
    try:
        return recorder.submit(
            body.handle,
            body.signal,
            body.value,
            id=body.id,
            reasons=body.reasons,
            comment=body.comment,
            correction=body.pair(),
            source=semconv.SOURCE_CAPTURE,
        )
    except InvalidHandleError as error:
        detail = str(error) if body.handle else NO_HANDLE
        raise Problem(HTTPStatus.UNAUTHORIZED, detail, headers={"WWW-Authenticate": "Handle"}) from None
    except InvalidFeedbackError as error:
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(error), field=error.field) from None
    except DeliveryError as error:
        # Why is the operator's business: it may name hosts and settings.
        warn_once("not-delivered", "otel-feedback: feedback is refused for now: %s", error)
        raise Problem(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "The feedback can't be kept safe now. Nothing of it was recorded; send it again.",
            headers={"Retry-After": str(RETRY_AFTER)},
        ) from None
