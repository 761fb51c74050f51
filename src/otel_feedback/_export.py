"""Exporters for carriers: made from the environment as the SDK would, and watched for what they lose."""

import math
import os
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Final

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from otel_feedback._guard import warn_once
from otel_feedback.exceptions import ConfigurationError, MissingExtraError

MAX_PENDING: Final = 2_048
"""Carriers that may wait for export. More are refused, so that none that was accepted is dropped."""

MAX_BATCH: Final = 32
"""Carriers in one export. The longest has some 100 KiB of UTF-8 (a comment twice and a correction), and a
receiver of OTLP takes 4 MiB over gRPC."""

SHUTDOWN_SECONDS: Final = 5.0
"""Time after which no further batch is tried when a process ends: its end must not wait for a Collector."""


_GROUP: Final = "opentelemetry_traces_exporter"
_OTLP_BY_PROTOCOL: Final = {"grpc": "otlp_proto_grpc", "http/protobuf": "otlp_proto_http"}


def exporters_from_env(environ: Mapping[str, str] = os.environ) -> list[SpanExporter]:
    """Make what ``OTEL_TRACES_EXPORTER`` names: ``otlp`` where it is not set, no exporter for ``none``.

    ``OTEL_EXPORTER_OTLP_TRACES_PROTOCOL`` and ``OTEL_EXPORTER_OTLP_PROTOCOL`` choose between gRPC (as default)
    and HTTP. The exporters read the other variables themselves.

    Raises:
        ConfigurationError: A name or protocol is unknown.
        MissingExtraError: The OTLP exporter is not installed.
    """
    names = [name.strip() for name in (environ.get("OTEL_TRACES_EXPORTER") or "otlp").split(",")]
    return [_make(name, environ) for name in names if name and name.lower() != "none"]


def _make(name: str, environ: Mapping[str, str]) -> SpanExporter:
    entry = otlp_entry(environ) if name == "otlp" else name
    from importlib.metadata import entry_points  # takes 10 ms, and only a process that records feedback needs it

    found = list(entry_points(group=_GROUP, name=entry))
    if not found and entry in _OTLP_BY_PROTOCOL.values():
        raise MissingExtraError("otlp", "opentelemetry-exporter-otlp")
    if not found:
        raise ConfigurationError("OTEL_TRACES_EXPORTER names an exporter that is not installed.")
    try:
        exporter: SpanExporter = found[0].load()()
    except ImportError as error:
        raise MissingExtraError("otlp", error.name or name) from error
    except Exception as error:
        raise ConfigurationError(
            f"The exporter {name} can't be made ({type(error).__name__}). Check OTEL_EXPORTER_OTLP_ENDPOINT "
            "and the variables beside it."
        ) from error
    return exporter


def otlp_entry(environ: Mapping[str, str]) -> str:
    """Return the entry point of the OTLP exporter for the protocol that the environment names.

    Raises:
        ConfigurationError: The protocol is unknown.
    """
    protocol = environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or environ.get("OTEL_EXPORTER_OTLP_PROTOCOL") or "grpc"
    try:
        return _OTLP_BY_PROTOCOL[protocol.strip()]
    except KeyError:
        raise ConfigurationError(
            f"OTEL_EXPORTER_OTLP_PROTOCOL must be one of {', '.join(_OTLP_BY_PROTOCOL)}."
        ) from None


class WatchedExporter(SpanExporter):
    """Passes spans on to exporters and counts what waits for export and what did not arrive.

    A batch processor drops the oldest span when its queue is full, and reports success whatever its exporter
    says, so it can't be asked.
    """

    def __init__(self, exporters: Sequence[SpanExporter]) -> None:
        self._exporters = tuple(exporters)
        self._lock = threading.Lock()
        self._deadline = math.inf
        self.pending = 0
        """Spans that were admitted and are not yet exported."""
        self.lost = 0
        """Spans whose export failed."""

    def admit(self) -> bool:
        """Count one more span as waiting; ``False`` where too many wait."""
        with self._lock:
            if self.pending >= MAX_PENDING:
                return False
            self.pending += 1
            return True

    def hurry(self) -> None:
        """Give up on what isn't exported within ``SHUTDOWN_SECONDS`` from now."""
        self._deadline = time.monotonic() + SHUTDOWN_SECONDS

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export a batch through every exporter; a failure of one is a failure."""
        failed = 0
        for exporter in self._exporters:
            failed += time.monotonic() > self._deadline or not _export(exporter, spans)
        with self._lock:
            self.pending -= len(spans)
            self.lost += len(spans) if failed else 0
        return SpanExportResult.FAILURE if failed else SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Shut every exporter down."""
        for exporter in self._exporters:
            exporter.shutdown()


def _export(exporter: SpanExporter, spans: Sequence[ReadableSpan]) -> bool:
    try:
        if exporter.export(spans) is SpanExportResult.SUCCESS:
            return True
        why = "reported a failure"
    except Exception as error:
        why = f"raised {type(error).__name__}"
    warn_once(
        "carriers-lost",
        "otel-feedback: feedback was lost, since its exporter (%s) %s. Check OTEL_EXPORTER_OTLP_ENDPOINT, "
        "and whether the Collector runs.",
        type(exporter).__name__,
        why,
    )
    return False
