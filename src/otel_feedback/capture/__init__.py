"""The HTTP interface that pages and services of any language send feedback to; needs the extra ``[capture]``.

    from otel_feedback.capture import capture_app

    app.mount("/feedback", capture_app(allow_origins=["https://chat.example.com"]))

``docs/capture.md`` describes the interface.
"""

from otel_feedback.exceptions import MissingExtraError

try:
    from otel_feedback.capture.app import capture_app
    from otel_feedback.capture.limits import RateLimits
except ModuleNotFoundError as error:
    missing = (error.name or "").partition(".")[0]
    if missing not in ("anyio", "starlette", "pydantic", "limits"):  # the first comes with the second
        raise
    raise MissingExtraError("capture", missing) from error

__all__ = ["RateLimits", "capture_app"]
