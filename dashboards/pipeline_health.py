"""The dashboard "Pipeline health": whether the numbers of the other two can be trusted."""

from dashboards import collector_metrics as collector
from dashboards import panels, queries
from dashboards.panels import SECONDS, SHARE, Line, Query, Variant
from grafana_foundation_sdk.builders import dashboard as builder
from grafana_foundation_sdk.builders import stat, table, timeseries


def build(variant: Variant) -> builder.Dashboard:
    """Return the dashboard in one edition."""
    page = panels.page(
        variant,
        panels.PIPELINE_HEALTH,
        "Pipeline health",
        "What the Collectors took, queued, refused and dropped, and whether all of it was counted.",
    )
    shown = (
        _uncounted(variant),
        _overflow(variant),
        _uncounted_trend(variant),
        _late(),
        _queues(),
        _refused(),
        _dropped(),
        _queue_trend(),
        _outbox_depth(),
        _outbox_age(),
    )
    for panel in shown:
        page.with_panel(panel)
    return page


_UNCOUNTED = (
    "*Acknowledged* (n) is the feedback that Collectors took and told its senders so; *counted* is what the counter by "
    "template got. Above zero, feedback was taken but not counted: a Collector was stopped within a flush (1 s) of "
    "it, or its numbers have not reached Prometheus yet. Below zero, the Collector has not reported of itself yet (it "
    "does every 5 s), or crashed before it did. Computed by subtracting each series' value at the start of the window "
    "from its value at the end; feedback beyond the cardinality limit (next panel) cannot be told so: {way} "
    "Cannot be seen here: what a Collector took within a second before a crash is in neither number, and a repeated "
    "delivery is in both; the store tells those."
)


def _uncounted(variant: Variant) -> stat.Panel:
    window = variant.increase(queries.RANGE)
    return panels.stat_panel(
        "Feedback acknowledged minus counted",
        f"In the range. {_UNCOUNTED.format(way=variant.way)}",
        [
            Query("acknowledged", "Acknowledged (n)", collector.acknowledged(window.window)),
            Query("counted", "Counted", collector.counted(window)),
            Query("difference", "Acknowledged minus counted", collector.uncounted(window)),
        ],
        width=12,
    )


def _overflow(variant: Variant) -> stat.Panel:
    window = variant.increase(queries.RANGE)
    return panels.stat_panel(
        "Counted without facts (cardinality overflow)",
        "Feedback and answers (n) in the range that came after a counter had reached its limit of label combinations "
        "(`OTEL_FEEDBACK_COLLECTOR_CARDINALITY`): they are counted together, with empty labels, and no template or "
        "model can be told. Computed from the series with `otel_metric_overflow`. Cannot be exact where several "
        f"Collectors are beyond their limit: they share that series. {variant.caveat}",
        [
            Query("template", "By template (n)", collector.overflow(queries.BY_TEMPLATE, window)),
            Query("model", "By model (n)", collector.overflow(queries.BY_MODEL, window)),
        ],
        width=12,
    )


def _uncounted_trend(variant: Variant) -> timeseries.Panel:
    window = variant.increase(queries.INTERVAL)
    return panels.trend_panel(
        "Feedback acknowledged and counted over time",
        f"Each point covers the window that ends there; the windows tile the range. "
        f"{_UNCOUNTED.format(way=variant.way)}",
        [
            Line(Query("acknowledged", "Acknowledged (n)", collector.acknowledged(window.window))),
            Line(Query("counted", "Counted", collector.counted(window))),
        ],
        width=12,
    )


def _late() -> timeseries.Panel:
    return panels.trend_panel(
        "Late: seconds since each Collector's last report",
        "How old each Collector's newest number in Prometheus is, and how many Collectors (n, bars) there are. Below "
        "6 s is normal: they report every 5 s. It grows while Prometheus cannot be reached, whose numbers then come "
        "later, or after a Collector has ended: it is forgotten after 5 min. Computed as time minus the time of the "
        "newest sample; exact to a second.",
        [
            Line(Query("behind", "{{" + collector.INSTANCE + "}}", collector.behind(), SECONDS)),
            Line(Query("n", "Collectors (n)", collector.collectors()), bars=True),
        ],
        width=12,
    )


def _queues() -> table.Panel:
    return panels.table_panel(
        "Queued now, by exporter",
        "Batches (n) that wait on the Collectors' disks at the end of the range, and how full the fullest queue is. A "
        "full queue of `otlp_grpc/jaeger` drops spans for Jaeger only; a full one of `otlp_grpc/jaeger_feedback` "
        "refuses feedback, which its senders repeat and which is then counted again. Read from the Collectors' own "
        "gauges; as old as their last report (5 s).",
        (collector.EXPORTER,),
        [
            Query("n", "Queued (n)", collector.queued()),
            Query("use", "Fullest queue", collector.queue_use(), SHARE),
        ],
        sort_by="use",
        descending=True,
        missing="none",
        width=8,
        height=8,
    )


def _refused() -> table.Panel:
    window = queries.RANGE
    return panels.table_panel(
        "Refused, by receiver",
        "Spans in the range that receivers took (n), that a component behind them refused (memory was short, a queue "
        "full), and that failed within. Senders repeat what is refused. Computed from the Collectors' own counters by "
        "subtraction; a Collector that crashes takes up to 5 s of them with it.",
        (collector.RECEIVER, collector.TRANSPORT),
        [
            Query("n", "Accepted (n)", collector.by_receiver(collector.ACCEPTED, window)),
            Query("refused", "Refused", collector.by_receiver(collector.REFUSED, window)),
            Query("failed", "Failed", collector.by_receiver(collector.FAILED, window)),
        ],
        sort_by="refused",
        descending=True,
        missing="none",
        width=8,
        height=8,
    )


def _dropped() -> table.Panel:
    window = queries.RANGE
    return panels.table_panel(
        "Dropped, by exporter",
        "Spans and metric points in the range that were delivered (n), that found the queue full, and that the other "
        "side rejected for good. For Jaeger's bulk both are dropped; feedback that finds its queue full is refused "
        "instead; counts are cumulative, so that a dropped point is made up for by the next. Computed from the "
        "Collectors' own counters by subtraction; a Collector that crashes takes up to 5 s of them with it.",
        (collector.EXPORTER,),
        [
            Query("n", "Delivered (n)", collector.by_exporter(collector.SENT_SPANS, collector.SENT_POINTS, window)),
            Query(
                "full",
                "Queue full",
                collector.by_exporter(collector.NOT_QUEUED_SPANS, collector.NOT_QUEUED_POINTS, window),
            ),
            Query(
                "rejected",
                "Rejected",
                collector.by_exporter(collector.NOT_SENT_SPANS, collector.NOT_SENT_POINTS, window),
            ),
        ],
        sort_by="full",
        descending=True,
        missing="none",
        width=8,
        height=8,
    )


def _queue_trend() -> timeseries.Panel:
    return panels.trend_panel(
        "Queued over time",
        "Batches (n) that wait on the Collectors' disks, by exporter, over all Collectors. Zero or a few is normal. "
        "Read from the Collectors' own gauges; a Collector that has ended is in it for 5 min more.",
        [Line(Query("n", "{{" + collector.EXPORTER + "}} (n)", collector.queued()))],
    )


def _outbox_depth() -> timeseries.Panel:
    job = "{{" + collector.JOB + "}}"
    return panels.trend_panel(
        "Waiting in outboxes",
        "Feedback (n) that capture services and services have acknowledged and not yet delivered, by service, and what "
        "receivers rejected and is kept (set aside). Zero or a few is normal. Read from the gauges of the processes "
        "themselves, every 60 s (`OTEL_METRIC_EXPORT_INTERVAL`); they come by the Collector, so while it is away "
        "nothing new is seen here: `otel-feedback outbox` looks into the file.",
        [
            Line(Query("n", f"{job} (n)", collector.outbox(collector.OUTBOX_DEPTH))),
            Line(Query("set_aside", f"{job}, set aside", collector.outbox(collector.OUTBOX_SET_ASIDE))),
        ],
        width=12,
    )


def _outbox_age() -> timeseries.Panel:
    return panels.trend_panel(
        "Age of the oldest in outboxes",
        "For how long the oldest feedback that is not yet delivered has waited, by service, and how much waits (n, "
        "bars). A few seconds are normal. Read from the gauges of the processes, as in the panel beside; a process "
        "that has ended is in it for 5 min more, and a clock that was set back makes it younger.",
        [
            Line(
                Query("age", "{{" + collector.JOB + "}}", collector.outbox(collector.OUTBOX_AGE), SECONDS),
            ),
            Line(Query("n", "{{" + collector.JOB + "}} (n)", collector.outbox(collector.OUTBOX_DEPTH)), bars=True),
        ],
        width=12,
    )
