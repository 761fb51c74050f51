"""The body of a feedback request: read within bounds, parsed strictly, checked for its shape.

What the parts mean is checked by the recorder, the same for every way in.
"""

import json
from http import HTTPStatus
from typing import Annotated, Any, Final

from anyio import fail_after
from pydantic import BaseModel, ConfigDict, FailFast, ValidationError
from starlette.requests import ClientDisconnect, Request

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


async def read_body(request: Request) -> FeedbackBody:
    """Read and check a request's body.

    Raises:
        Problem: It is too large, not JSON, or not of the right shape.
    """
    _require_json(request)
    return _shaped(_parsed(await _bytes(request)))


def _require_json(request: Request) -> None:
    # A page of another origin can send other types without asking first; JSON needs a preflight.
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json" or "content-encoding" in request.headers:
        raise Problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "The body must be application/json, without a content encoding.",
            headers={"Accept-Post": "application/json"},
        )


async def _bytes(request: Request) -> bytes:
    too_large = Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body may have at most {MAX_BODY:,} bytes.")
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and (len(declared) > len(str(MAX_BODY)) or int(declared) > MAX_BODY):
        raise too_large
    body = bytearray()
    try:
        with fail_after(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_BODY:
                    raise too_large
    except TimeoutError:
        detail = f"The body must arrive within {BODY_SECONDS:g} seconds."
        raise Problem(HTTPStatus.REQUEST_TIMEOUT, detail, headers={"Connection": "close"}) from None
    except ClientDisconnect:
        raise Problem(HTTPStatus.BAD_REQUEST, "The body is not complete.") from None
    return bytes(body)


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
