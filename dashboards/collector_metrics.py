"""PromQL over the Collector's own metrics: what came in, waits, was refused, was lost, and what was not counted.

The names are the Collector's (0.161.0) as Prometheus' OTLP receiver spells them, components are named as in
``collector/config.yaml``. A Collector has a new ``instance`` at each start, so its counters start at zero and never
fall; their growth is therefore asked for by subtraction, which also sees the value that a series begins with: the
Collector writes no zero before it, as ``span_metrics`` does.
"""

from collections.abc import Mapping
from typing import Final

from dashboards import queries
from dashboards.queries import How, Increase

from otel_feedback import semconv

EXPORTER: Final = "exporter"
RECEIVER: Final = "receiver"
TRANSPORT: Final = "transport"
INSTANCE: Final = "instance"

CARRIERS_FILTER: Final = "filter/rest"
"""The filter that takes the carriers, and nothing else, out of Jaeger's bulk pipeline: what it takes out is what all
components that may refuse have let through."""

ACCEPTED: Final = "otelcol_receiver_accepted_spans_total"
REFUSED: Final = "otelcol_receiver_refused_spans_total"
FAILED: Final = "otelcol_receiver_failed_spans_total"
FILTERED: Final = "otelcol_processor_filter_spans_filtered_total"
QUEUE_SIZE: Final = "otelcol_exporter_queue_size"
QUEUE_CAPACITY: Final = "otelcol_exporter_queue_capacity"
SENT_SPANS: Final = "otelcol_exporter_sent_spans_total"
SENT_POINTS: Final = "otelcol_exporter_sent_metric_points_total"
NOT_QUEUED_SPANS: Final = "otelcol_exporter_enqueue_failed_spans_total"
NOT_QUEUED_POINTS: Final = "otelcol_exporter_enqueue_failed_metric_points_total"
NOT_SENT_SPANS: Final = "otelcol_exporter_send_failed_spans_total"
NOT_SENT_POINTS: Final = "otelcol_exporter_send_failed_metric_points_total"
OUTBOX_DEPTH: Final = queries.label(semconv.METRIC_OUTBOX_DEPTH)
OUTBOX_AGE: Final = f"{queries.label(semconv.METRIC_OUTBOX_AGE)}_seconds"
OUTBOX_SET_ASIDE: Final = queries.label(semconv.METRIC_OUTBOX_SET_ASIDE)
JOB: Final = "job"
UPTIME: Final = "otelcol_process_uptime_seconds_total"


def growth(metric: str, window: str, wanted: Mapping[str, str] | None = None, *, by: tuple[str, ...] = ()) -> str:
    """Return by how much a counter grew in a window, exact to the last report; without labels, 0 for no series."""
    total = Increase(window, How.DIFFERENCE).of(metric, wanted or {}, by)
    return total if by else f"({total} or vector(0))"


def acknowledged(window: str) -> str:
    """Carriers that Collectors took, repeated deliveries included."""
    return growth(FILTERED, window, {"filter": CARRIERS_FILTER})


def counted(increase: Increase) -> str:
    """Carriers that the counter by template holds, with their facts or, beyond its limit, without.

    Args:
        increase: how the series beyond the limit is asked for; see ``overflow``.
    """
    votes = queries.BY_TEMPLATE.votes
    return f"{growth(votes, increase.window, {queries.OVERFLOW_LABEL: ''})} + {_overflow(votes, increase)}"


def uncounted(increase: Increase) -> str:
    """Carriers that were taken but not counted; ``increase`` as in ``counted``."""
    return f"{acknowledged(increase.window)} - ({counted(increase)})"


def overflow(view: queries.View, increase: Increase) -> str:
    """Carriers and interactions that a pair of counters counts without their facts, beyond the cardinality limit.

    Args:
        view: the pair of counters.
        increase: how to ask for it. Not by difference: this one series goes on where a Collector starts again.
    """
    return f"{_overflow(view.votes, increase)} + {_overflow(view.interactions, increase)}"


def _overflow(metric: str, increase: Increase) -> str:
    return f"({increase.of(metric, {queries.OVERFLOW_LABEL: 'true'})} or vector(0))"


def by_exporter(spans: str, points: str, window: str) -> str:
    """Growth of a pair of counters, spans and metric points, by exporter; 0 for an exporter that has neither."""
    both = f"{growth(spans, window, by=(EXPORTER,))} or {growth(points, window, by=(EXPORTER,))}"
    return f"{both} or 0 * max{queries.grouping((EXPORTER,))}(last_over_time({QUEUE_CAPACITY}[{window}]))"


def by_receiver(metric: str, window: str) -> str:
    """Growth of one of the receiver's counters by receiver and transport."""
    return growth(metric, window, by=(RECEIVER, TRANSPORT))


def queued() -> str:
    """Batches that wait, by exporter, over all Collectors."""
    return f"sum{queries.grouping((EXPORTER,))}({QUEUE_SIZE})"


def queue_use() -> str:
    """How full the fullest queue of each exporter is."""
    return f"max{queries.grouping((EXPORTER,))}({QUEUE_SIZE} / {QUEUE_CAPACITY})"


def outbox(metric: str) -> str:
    """One of the gauges of outboxes, by who has it: processes that share one say the same of it."""
    return f"max{queries.grouping((JOB,))}({metric})"


def behind(by: tuple[str, ...] = (INSTANCE,)) -> str:
    """Seconds since each Collector's last report."""
    return f"time() - max{queries.grouping(by)}(timestamp({UPTIME}))"


def collectors() -> str:
    """Collectors that have reported within the last five minutes."""
    return f"count({UPTIME}) or vector(0)"
