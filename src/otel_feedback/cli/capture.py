"""``otel-feedback capture``: run the capture endpoint alone."""

import contextlib
import dataclasses
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from opentelemetry.sdk.resources import SERVICE_NAME, Resource

from otel_feedback import _runtime, semconv
from otel_feedback._recorder import Recorder
from otel_feedback._settings import Settings, outbox_path
from otel_feedback._version import VERSION
from otel_feedback.exceptions import ConfigurationError, MissingExtraError
from otel_feedback.outbox._metrics import make_meter_provider, register_outbox_metrics
from otel_feedback.outbox._posting import Posting
from otel_feedback.server.listening import probe
from otel_feedback.server.options import Address

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from otel_feedback.capture.limits import RateLimits

SWITCH_SECONDS: Final = 0.001
"""After which a thread of this process lets another one go on; Python's own 5 ms add up for each vote."""

METRICS_MS: Final = 1_000
"""Milliseconds that the last export of the outbox's gauges may take."""

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
    outbox: Annotated[
        Path | None,
        typer.Option(
            help="File in which feedback waits until it is delivered, and which remembers votes; several processes of "
            "one machine may share it. By default OTEL_FEEDBACK_OUTBOX, else outbox.db in the state folder.",
            metavar="FILE",
        ),
    ] = None,
    trusted_proxy: Annotated[
        list[str] | None,
        typer.Option(help="Address or network of a proxy before this that says who the client is. May be repeated."),
    ] = None,
    rate_address: Annotated[
        str | None,
        typer.Option(
            help="Requests of one client address; none for any number. [default: 600/minute]", metavar="N/UNIT"
        ),
    ] = None,
    rate_handle: Annotated[
        str | None,
        typer.Option(help="Feedback on one answer; none for any number. [default: 30/minute]", metavar="N/UNIT"),
    ] = None,
    rate_overall: Annotated[
        str | None,
        typer.Option(help="Requests of all together; none for any number. [default: 10000/second]", metavar="N/UNIT"),
    ] = None,
) -> None:
    """Take users' feedback in over HTTP, and send it on.

    Feedback comes to POST /v1/feedback with the handle of an answer, so this needs the keys that handles are signed
    with, and goes as telemetry where OpenTelemetry's variables say. It is acknowledged when it is on the disk, and is
    sent until it arrives. The widget for pages is at /v1/widget.js.

    \b
    Environment:
      OTEL_FEEDBACK_HANDLE_KEYS     keys of the services that answer; or ..._KEYS_FILE. Make one: otel-feedback key new
      OTEL_EXPORTER_OTLP_ENDPOINT   the Collector; by default on this machine
      OTEL_FEEDBACK_OUTBOX          as --outbox; OTEL_FEEDBACK_OUTBOX_MIB bounds what may wait

    \b
    Examples:
      otel-feedback capture --allow-origin https://chat.example.com
      otel-feedback capture --listen 0.0.0.0:8485 --trusted-proxy 10.0.0.0/8
    """  # noqa: D301 - \b keeps the lines below it as they are
    address = _address(listen)
    settings = Settings.from_env(outbox=outbox)
    _require_somewhere_to_send(settings)
    _require_keys(settings)
    codec = _runtime.make_codec(settings, may_make_key=False)
    try:
        from otel_feedback.capture.limits import RateLimits, proxy_options

        proxies = proxy_options(trusted_proxy or [])
        limits = _limits(RateLimits(), handle=rate_handle, address=rate_address, overall=rate_overall)
    except ModuleNotFoundError as error:
        raise MissingExtraError("capture", error.name or "uvicorn") from None
    probe(address, "--listen")
    resource = _resource()
    posting = Posting(outbox_path(settings), most_mib=settings.outbox_mib, resource=resource)
    recorder = Recorder(codec=codec, settings=settings, votes=posting.outbox, delivery=posting.outbox)
    _serve(
        recorder, posting, address, resource=resource, allow_origins=allow_origin or [], limits=limits, proxies=proxies
    )


def _limits(defaults: "RateLimits", **given: str | None) -> "RateLimits":
    chosen = {name: None if text.strip().lower() == "none" else text for name, text in given.items() if text}
    return dataclasses.replace(defaults, **chosen)


def _serve(
    recorder: Recorder,
    posting: Posting,
    address: Address,
    *,
    resource: Resource,
    allow_origins: list[str],
    limits: "RateLimits",
    proxies: dict[str, Any],
) -> None:
    from otel_feedback.capture import capture_app

    try:
        import uvicorn
        from anyio.to_thread import run_sync

        from otel_feedback.capture.connections import BoundedProtocol, SharedProtocol
    except ModuleNotFoundError:
        raise MissingExtraError("capture", "uvicorn") from None

    meters = make_meter_provider(resource)

    @contextlib.asynccontextmanager
    async def sending(_: "Starlette") -> AsyncIterator[None]:
        posting.start()  # what an earlier process left is sent at once
        if meters is not None:
            register_outbox_metrics(posting.outbox, meters.get_meter(semconv.SCOPE, VERSION, semconv.SCHEMA_URL))
        yield
        # Here and not after the server, which ends by the signal that told it to.
        await run_sync(posting.shutdown)
        if meters is not None:
            await run_sync(meters.shutdown, METRICS_MS)

    app = capture_app(
        recorder=recorder,
        allow_origins=allow_origins,
        limits=limits,
        proxied=proxies["proxy_headers"],
        lifespan=sending,
    )
    posting.open()
    # Requests, commits and sending take turns: a thread that computes lets the others go on after a millisecond.
    sys.setswitchinterval(SWITCH_SECONDS)
    uvicorn.run(
        app,
        host=address.host,
        port=address.port,
        http=BoundedProtocol if proxies["proxy_headers"] else SharedProtocol,  # a proxy's are everybody's
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
        **proxies,
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
