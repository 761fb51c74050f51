"""Errors as problem details (RFC 9457). None of them repeats what was sent."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

from starlette.requests import Request
from starlette.responses import JSONResponse

if TYPE_CHECKING:
    from starlette.exceptions import HTTPException


class Problem(Exception):  # noqa: N818 - the RFC's word
    """What is wrong with a request, on its way to the response."""

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        *,
        field: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Describe a problem.

        Args:
            status: Of the response.
            detail: What the sender can do about it.
            field: Part of the body that is wrong.
            headers: More headers of the response.
        """
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.field = field
        self.headers = headers

    def response(self) -> JSONResponse:
        """Return the response that says it."""
        content: dict[str, str | int] = {
            "type": "about:blank",  # nothing beyond what the status says, as section 4.2.1 has it
            "title": self.status.phrase,
            "status": self.status.value,
            "detail": self.detail,
        }
        if self.field is not None:
            content["field"] = self.field
        return JSONResponse(content, self.status, self.headers, media_type="application/problem+json")


async def on_http_exception(request: Request, error: Exception) -> JSONResponse:  # noqa: ARG001 - Starlette's signature
    """Say in the same form what the router found, such as an unknown path or method."""
    refusal = cast("HTTPException", error)  # Starlette calls it for no other
    status = HTTPStatus(refusal.status_code)
    allowed = (refusal.headers or {}).get("Allow")
    detail = f"Allowed here: {allowed}." if allowed else "Feedback goes to POST /v1/feedback."
    return Problem(status, detail, headers=refusal.headers).response()
