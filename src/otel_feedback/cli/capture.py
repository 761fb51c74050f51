"""``otel-feedback capture``: run the capture endpoint alone."""

import contextlib
import os
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated, Final

import typer
from opentelemetry.sdk.resources import SERVICE_NAME, Resource

from otel_feedback import _runtime
from otel_feedback._carrier import SpanDelivery
from otel_feedback._record import Recorder
from otel_feedback._settings import Settings
from otel_feedback.exceptions import ConfigurationError, MissingExtraError
from otel_feedback.server.listening import probe
from otel_feedback.server.options import Address

if TYPE_CHECKING:
    from starlette.applications import Starlette


GRACE_SECONDS: Final = 10
"""Time that requests under way get when the process is told to end."""


def capture(
    *,
    listen: Annotated[
        str, typer.Option(help="Address and port; port 0 takes a free one, which the log names.", metavar="HOST:PORT")
    ] = "127.0.0.1:8485",
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(help="Origin of pages that may send feedback from a browser; * for any. May be repeated."),
    ] = None,
) -> None:
    """Take users' feedback in over HTTP and send it on as telemetry.

    Feedback comes to POST /v1/feedback with the handle of an answer, so this needs the keys that handles are signed
    with, and goes where OpenTelemetry's variables say.

    \b
    Environment:
      OTEL_FEEDBACK_HANDLE_KEYS     keys of the services that answer; or ..._KEYS_FILE. Make one: otel-feedback key new
      OTEL_EXPORTER_OTLP_ENDPOINT   the Collector; by default on this machine

    \b
    Examples:
      otel-feedback capture --allow-origin https://chat.example.com
      otel-feedback capture --listen 0.0.0.0:8485
    """  # noqa: D301 - \b keeps the lines below it as they are
    address = _address(listen)
    settings = Settings.from_env()
    _require_somewhere_to_send(settings)
    _require_keys(settings)
    codec = _runtime.make_codec(settings, may_make_key=False)
    probe(address, "--listen")
    delivery = SpanDelivery(resource=_resource())
    delivery.open()
    recorder = Recorder(codec=codec, settings=settings, delivery=delivery)
    _serve(recorder, delivery, address, allow_origin or [])


def _serve(recorder: Recorder, delivery: SpanDelivery, address: Address, allow_origins: list[str]) -> None:
    from otel_feedback.capture import capture_app

    try:
        import uvicorn
        from anyio.to_thread import run_sync

        from otel_feedback.capture.connections import BoundedProtocol
    except ModuleNotFoundError:
        raise MissingExtraError("capture", "uvicorn") from None

    @contextlib.asynccontextmanager
    async def until_exported(_: "Starlette") -> AsyncIterator[None]:
        # Here and not after the server, which ends by the signal that told it to.
        yield
        await run_sync(delivery.shutdown)

    uvicorn.run(
        capture_app(recorder=recorder, allow_origins=allow_origins, lifespan=until_exported),
        host=address.host,
        port=address.port,
        http=BoundedProtocol,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )


def _address(listen: str) -> Address:
    try:
        return Address.parse(listen, option="--listen")
    except ConfigurationError:
        sentence = "It must be HOST:PORT, such as 127.0.0.1:8485 or [::1]:8485."
        raise typer.BadParameter(sentence, param_hint="--listen") from None


def _require_keys(settings: Settings) -> None:
    if settings.handle_keys is None and settings.handle_keys_file is None:
        raise ConfigurationError(
            "Set OTEL_FEEDBACK_HANDLE_KEYS to the keys of the services whose answers are judged: handles can't be "
            'checked without. To make one for all of them: export OTEL_FEEDBACK_HANDLE_KEYS="$(otel-feedback key new)"'
        )


def _resource() -> Resource:
    resource = Resource.create()
    if str(resource.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: "otel-feedback-capture"}))
    return resource


def _require_somewhere_to_send(settings: Settings) -> None:
    if settings.disabled:
        raise ConfigurationError("OTEL_SDK_DISABLED is true: feedback would be taken in and go nowhere.")
    if os.environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() == "none":
        raise ConfigurationError("OTEL_TRACES_EXPORTER is none: feedback would be taken in and go nowhere.")
