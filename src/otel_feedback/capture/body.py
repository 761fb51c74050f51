"""The body of a feedback request: read within bounds, parsed strictly, checked for its shape.

What the parts mean is checked by the recorder, the same for every way in.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from http import HTTPStatus
from typing import Annotated, Any, Final

from anyio import fail_after
from pydantic import BaseModel, ConfigDict, FailFast, ValidationError
from starlette.types import Receive

from otel_feedback._signals import Correction
from otel_feedback.capture.problems import Problem

MAX_BODY: Final = 65_536
"""Bytes of a request's body."""

BODY_SECONDS: Final = 30.0
"""Time that a body may take to arrive: whoever sends a byte now and then holds no connection for longer."""

_SHAPES: Final = {
    "signal": "The signal must be a text.",
    "id": "The id must be a text.",
    "reasons": "The reasons must be a list of texts.",
    "comment": "The comment must be a text.",
    "nonce": "The nonce must be a text.",
    "confidence": "The confidence must be a number from 0 to 1.",
    "correction": "The correction must be an object with two texts: original and corrected.",
}


class CorrectionBody(BaseModel):
    """What the system gave and what the user made of it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    original: str
    corrected: str


class FeedbackBody(BaseModel):
    """One feedback as it comes in."""

    model_config = ConfigDict(extra="forbid", strict=True)

    handle: Any = None
    """Whatever is wrong with it, a missing one too, the answer is the same: the codec judges."""
    signal: str
    value: Any = None
    id: str | None = None
    reasons: Annotated[list[str], FailFast()] = []
    """At the first wrong one it ends: a body may hold 30,000."""
    comment: str | None = None
    correction: CorrectionBody | None = None
    nonce: str | None = None
    confidence: float | None = None

    def pair(self) -> Correction | None:
        """Return the correction as the recorder takes it."""
        return Correction(self.correction.original, self.correction.corrected) if self.correction else None


async def read_body(headers: Mapping[bytes, bytes], receive: Receive) -> FeedbackBody:
    """Read and check a request's body.

    Args:
        headers: Of the request, by name in lower case; of several of one name any.
        receive: Gives the body, as ASGI does.

    Raises:
        Problem: It is too large, not JSON, or not of the right shape.
    """
    _require_json(headers)
    return _shaped(_parsed(await _bytes(headers, receive)))


def _require_json(headers: Mapping[bytes, bytes]) -> None:
    # A page of another origin can send other types without asking first; JSON needs a preflight.
    media_type = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if media_type != b"application/json" or b"content-encoding" in headers:
        raise Problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "The body must be application/json, without a content encoding.",
            headers={"Accept-Post": "application/json"},
        )


async def _bytes(headers: Mapping[bytes, bytes], receive: Receive) -> bytes:
    too_large = Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body may have at most {MAX_BODY:,} bytes.")
    declared = headers.get(b"content-length", b"")
    if declared.isdigit() and (len(declared) > len(str(MAX_BODY)) or int(declared) > MAX_BODY):
        raise too_large
    body = bytearray()
    try:
        async with _within(BODY_SECONDS):
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Problem(HTTPStatus.BAD_REQUEST, "The body is not complete.")
                body += message.get("body", b"")
                if len(body) > MAX_BODY:
                    raise too_large
                more = message.get("more_body", False)
    except TimeoutError:
        detail = f"The body must arrive within {BODY_SECONDS:g} seconds."
        raise Problem(HTTPStatus.REQUEST_TIMEOUT, detail, headers={"Connection": "close"}) from None
    return bytes(body)


def _within(seconds: float) -> AbstractAsyncContextManager[object]:
    """Bound a block; asyncio's own bound costs a third of anyio's, which serves every loop and Python."""
    if sys.version_info >= (3, 11) and runs_asyncio():
        return asyncio.timeout(seconds)
    return _within_any_loop(seconds)


@asynccontextmanager
async def _within_any_loop(seconds: float) -> AsyncIterator[None]:
    with fail_after(seconds):
        yield


def runs_asyncio() -> bool:
    """Whether the running event loop is asyncio's."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _parsed(body: bytes) -> object:
    try:
        return json.loads(body.decode(), parse_constant=_refuse, object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError):
        raise Problem(
            HTTPStatus.BAD_REQUEST,
            "The body is not JSON: UTF-8, no NaN or Infinity, no key twice in an object, not nested deeply.",
        ) from None


def _refuse(constant: str) -> None:  # noqa: ARG001 - json's signature
    raise ValueError


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError
    return found


def _shaped(content: object) -> FeedbackBody:
    try:
        body = FeedbackBody.model_validate(content)
    except ValidationError as error:
        raise _problem_of(error) from None
    if "value" not in body.model_fields_set and body.correction is None:
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY, "There must be a value; null takes the feedback back.", field="value"
        )
    return body


def _problem_of(error: ValidationError) -> Problem:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    field = first["loc"][0] if first["loc"] else None
    if field not in _SHAPES:  # not an object, or with a name that isn't ours and isn't repeated
        detail = f"The body must be an object with {', '.join(FeedbackBody.model_fields)} and nothing else."
        return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail)
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, _SHAPES[str(field)], field=str(field))
