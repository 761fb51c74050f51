"""An outbox and its sender, as a process uses them together."""

import atexit
from pathlib import Path
from typing import Final

from opentelemetry.sdk.resources import Resource

from otel_feedback._guard import warn_once
from otel_feedback.exceptions import OtelFeedbackError
from otel_feedback.outbox._otlp import transport_from_env
from otel_feedback.outbox._outbox import Outbox
from otel_feedback.outbox._sender import Sender
from otel_feedback.outbox._transport import Transport

LAST_SECONDS: Final = 2.0
"""Time in which the sender of a process that ends still sends; the rest waits in the file."""


class Posting:
    """Keeps feedback on disk, and sends it from the first one on."""

    def __init__(
        self, path: Path, *, most_mib: int, resource: Resource | None = None, transport: Transport | None = None
    ) -> None:
        """Prepare it; nothing is opened, and no thread runs, before the first feedback.

        Args:
            path: File of the outbox.
            most_mib: MiB of feedback that may wait.
            resource: Who sends it; by default the global tracer provider's, else the environment's.
            transport: How it is sent; by default as OpenTelemetry's variables say.
        """
        self.outbox = Outbox(path, most_bytes=most_mib * 2**20, resource=resource, on_change=self.start)
        self._transport = transport
        self._sender: Sender | None = None

    def open(self) -> None:
        """Find out now whether the file can be used, and whether there is a way to send.

        Raises:
            ConfigurationError: One of them can't.
            MissingExtraError: The OTLP exporter is not installed.
        """
        self.outbox.open(whole=True)
        self._prepare()

    def start(self) -> None:
        """Let the sender run from now on. Never raises: what can't be sent waits, and a warning says why."""
        try:
            sender = self._prepare()
        except OtelFeedbackError as error:
            warn_once("outbox-unsent", "otel-feedback: feedback waits in the outbox and is not sent: %s", error)
            return
        if sender is not None:
            sender.start()

    def shutdown(self, seconds: float = LAST_SECONDS) -> None:
        """Send for so many seconds at most, and take no more. Can be repeated."""
        atexit.unregister(self.shutdown)
        if self._sender is not None:
            self._sender.stop(seconds)
        self.outbox.close()

    def _prepare(self) -> Sender | None:
        if self._sender is None:
            if self._transport is None:
                self._transport = transport_from_env()
            if self._transport is None:
                warn_once(
                    "outbox-nowhere",
                    "otel-feedback: feedback waits in the outbox and goes nowhere, since OTEL_TRACES_EXPORTER is none.",
                )
                return None
            self._sender = Sender(
                self.outbox, self._transport, lock_path=self.outbox.lock_path, courtesy=self.outbox.courtesy
            )
            atexit.register(self.shutdown)
        return self._sender
