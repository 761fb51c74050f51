"""How an outbox stands, as gauges: how much waits, for how long, and what was set aside."""

import os
import secrets
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, Resource

from otel_feedback import semconv
from otel_feedback._export import otlp_entry
from otel_feedback._guard import guarded
from otel_feedback._version import VERSION
from otel_feedback.exceptions import ConfigurationError, DeliveryError, MissingExtraError
from otel_feedback.outbox._rows import Counts

FRESH_SECONDS: Final = 0.5
"""For so long one look at the queue serves all gauges, so that they tell of one moment."""

_GROUP: Final = "opentelemetry_metrics_exporter"
_FEEDBACK: Final = "{feedback}"
_NANOSECONDS: Final = 1_000_000_000


class Counted(Protocol):
    """What can say how it stands."""

    def counts(self) -> Counts:
        """Say how the queue stands, or raise ``DeliveryError``."""


def register_outbox_metrics(
    queue: Counted, meter: Meter | None = None, *, clock: Callable[[], int] = time.time_ns
) -> None:
    """Make gauges of a queue, for as long as it is alive.

    Args:
        queue: The outbox.
        meter: Makes them; by default the global meter provider's, which may be set later.
        clock: Nanoseconds since 1970.
    """
    meter = meter or metrics.get_meter(semconv.SCOPE, VERSION, schema_url=semconv.SCHEMA_URL)
    view = _View(queue, clock)

    def age(counts: Counts) -> float:
        return 0.0 if counts.oldest_ns is None else max(0.0, (clock() - counts.oldest_ns) / _NANOSECONDS)

    for name, unit, description, value in (
        (semconv.METRIC_OUTBOX_DEPTH, _FEEDBACK, "Feedback that waits to be delivered.", lambda counts: counts.depth),
        (semconv.METRIC_OUTBOX_AGE, "s", "For how long the oldest has waited.", age),
        (semconv.METRIC_OUTBOX_SET_ASIDE, _FEEDBACK, "Rejected, and kept.", lambda counts: counts.set_aside),
    ):
        meter.create_observable_gauge(name, [view.observer(value)], unit, description)


class _View:
    """Looks at a queue that it doesn't keep alive: a gauge can't be taken back."""

    def __init__(self, queue: Counted, clock: Callable[[], int]) -> None:
        self._queue = weakref.ref(queue)
        self._clock = clock
        self._looking = threading.Lock()
        self._seen: Counts | None = None
        self._seen_ns = 0
        self._process: tuple[int, str] = (0, "")

    def observer(self, value: Callable[[Counts], float]) -> Callable[[CallbackOptions], Iterable[Observation]]:
        """Return the callback of one gauge; it observes nothing where the queue is gone or can't be read."""

        @guarded(())
        def observe(_: CallbackOptions) -> Iterable[Observation]:
            counts = self._look()
            if counts is None:
                return ()
            return (Observation(value(counts), {semconv.OUTBOX_PROCESS: self._process_id()}),)

        return observe

    def _look(self) -> Counts | None:
        queue = self._queue()
        if queue is None:
            return None
        now = self._clock()
        with self._looking:
            if self._seen is None or not 0 <= now - self._seen_ns < FRESH_SECONDS * _NANOSECONDS:
                try:
                    self._seen, self._seen_ns = queue.counts(), now
                except DeliveryError:
                    self._seen = None
            return self._seen

    def _process_id(self) -> str:
        if self._process[0] != os.getpid():
            self._process = os.getpid(), secrets.token_hex(4)
        return self._process[1]


def make_meter_provider(resource: Resource, environ: Mapping[str, str] = os.environ) -> MeterProvider | None:
    """Make a provider of our own that exports as ``OTEL_METRICS_EXPORTER`` says: OTLP where it is not set.

    Returns:
        The provider, which is never the global one; ``None`` for ``none``.

    Raises:
        ConfigurationError: A name or protocol can't be used.
        MissingExtraError: The OTLP exporter is not installed.
    """
    named = [name.strip() for name in (environ.get("OTEL_METRICS_EXPORTER") or "otlp").split(",")]
    readers = [_reader(name, environ) for name in named if name and name.lower() != "none"]
    if not readers:
        return None
    if SERVICE_INSTANCE_ID not in resource.attributes:
        resource = resource.merge(Resource({SERVICE_INSTANCE_ID: secrets.token_hex(8)}))
    return MeterProvider(readers, resource, shutdown_on_exit=False)


def _reader(name: str, environ: Mapping[str, str]) -> MetricReader:
    from importlib.metadata import entry_points

    protocol = environ.get("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL") or environ.get("OTEL_EXPORTER_OTLP_PROTOCOL") or ""
    entry = otlp_entry({"OTEL_EXPORTER_OTLP_PROTOCOL": protocol}) if name == "otlp" else name
    found = list(entry_points(group=_GROUP, name=entry))
    if not found and name == "otlp":
        raise MissingExtraError("otlp", "opentelemetry-exporter-otlp")
    if not found:
        raise ConfigurationError("OTEL_METRICS_EXPORTER names an exporter that is not installed.")
    try:
        made: Any = found[0].load()()
    except ImportError as error:
        raise MissingExtraError("otlp", error.name or name) from error
    except Exception as error:
        raise ConfigurationError(
            f"The exporter {name} of metrics can't be made ({type(error).__name__}). Check OTEL_EXPORTER_OTLP_ENDPOINT "
            "and the variables beside it, or set OTEL_METRICS_EXPORTER to none."
        ) from error
    return made if isinstance(made, MetricReader) else PeriodicExportingMetricReader(made)
