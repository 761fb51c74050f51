"""The dashboard "Bad answers": negative feedback one by one, each a click from the trace of what it judges."""

from typing import Final

from dashboards import panels, queries
from dashboards.panels import SHARE, Line, Query, Variant
from grafana_foundation_sdk.builders import common as common_builder
from grafana_foundation_sdk.builders import dashboard as builder
from grafana_foundation_sdk.builders import stat, table, timeseries
from grafana_foundation_sdk.models import dashboard

from otel_feedback import semconv

SHOWN: Final = 100
"""Most traces in the list: the newest."""


def build(variant: Variant) -> builder.Dashboard:
    """Return the dashboard in one edition."""
    page = panels.page(
        variant,
        panels.BAD_ANSWERS,
        "Bad answers",
        "Negative feedback, one by one: what was asked, what answered, out of which documents, and what the user said.",
    )
    view = queries.BY_TEMPLATE
    labels = (queries.SERVICE, queries.NAMESPACE, queries.ENVIRONMENT, queries.TEMPLATE, queries.VERSION)
    for place, name in enumerate(labels):
        page.with_variable(panels.filter_variable(name, view, given=labels[: min(place, 3)]))
    page.with_variable(_sender(view)).with_variable(_tags())
    for panel in (_total(variant, view), _trend(variant, view), _list()):
        page.with_panel(panel)
    return page


def _total(variant: Variant, view: queries.View) -> stat.Panel:
    numbers = variant.numbers(view)
    return panels.stat_panel(
        "Negative opinions",
        "Negative opinions expressed in the range, cast or changed to, of everything that the first five filters let "
        "through; their share of positive and negative ones together (n), where there are at least "
        f"{queries.ENOUGH}. {variant.caveat}",
        [
            Query("negative", "Negative", numbers.negative()),
            Query("share", "Share", numbers.dissatisfaction(), SHARE),
            Query("n", "Opinions (n)", numbers.opinions()),
        ],
        width=24,
    )


def _trend(variant: Variant, view: queries.View) -> timeseries.Panel:
    numbers = variant.numbers(view, view.rows, window=queries.INTERVAL)
    total = variant.numbers(view, window=queries.INTERVAL)
    legend = " · ".join("{{" + name + "}}" for name in view.rows)
    return panels.trend_panel(
        "Negative opinions over time",
        "Each point counts the negative opinions (n) that were expressed in the window that ends there, one of "
        f"{panels.POINTS} that tile the range (at least 1 min each): by template and version, and all together. Dots "
        "are single negative votes: a click leads to the vote's trace, which holds the answer too if the vote came "
        "soon after it, and else a link to it; at most one a second of each kind has a dot. " + variant.caveat,
        [
            Line(Query("negative", legend, numbers.negative())),
            # Dots come from every counter that a query names: a total names none beside the negative votes.
            Line(Query("n", "All (n)", total.negative()), exemplars=True),
        ],
    )


def _list() -> table.Panel:
    """The list comes from Jaeger, which knows single votes; only its number of rows is a number."""
    panel: table.Panel = (
        table.Panel()
        .title("Negative feedback from $sender")
        .description(
            f"The newest {SHOWN} traces with explicit negative feedback that *Sent by* sent in the range, found in "
            "Jaeger by the feedback's attributes, and by more of them where *More tags* says so. A click on the trace "
            "opens it: feedback that came soon after its answer (60 s by default) is in the answer's own trace, which "
            "starts with the request; later feedback has a trace of its own, whose one reference leads to the answer. "
            "The number of rows (n) is below. Cannot be exact: Jaeger finds what was said, not what stands, so a "
            "vote that was later changed or retracted is in the list; several votes in one trace are one row; what "
            "Jaeger was not told, or has forgotten, is missing."
        )
        .datasource(panels.JAEGER)
        .unit("string")
        .no_value("none")
        .with_target(panels.Ready(panels.JaegerSearch(service="$sender", tags=_search_tags(), limit=SHOWN)))
        .footer(common_builder.TableFooterOptions().show(True).reducer(["count"]).count_rows(True))
        .height(16)
        .span(24)
    )
    panel.override_by_name(
        "Trace ID",
        [
            dashboard.DynamicConfigValue(
                id_val="links",
                value=[
                    {
                        "title": "Open the trace",
                        "url": "",
                        "internal": {
                            "datasourceUid": panels.JAEGER_UID,
                            "datasourceName": panels.JAEGER_NAME,
                            "query": {"query": "${__value.raw}"},
                        },
                    }
                ],
            )
        ],
    )
    panel.override_by_name("Duration", [dashboard.DynamicConfigValue(id_val="unit", value="µs")])
    return panel


def _search_tags() -> str:
    always = {semconv.FEEDBACK_KIND: semconv.EXPLICIT, semconv.FEEDBACK_SENTIMENT: semconv.NEGATIVE}
    return " ".join(f"{name}={value}" for name, value in always.items()) + " $tags"


def _sender(view: queries.View) -> builder.QueryVariable:
    query = f"label_values({queries.matchers({'__name__': f'=~{view.votes}|{view.interactions}'})}, {queries.SERVICE})"
    variable: builder.QueryVariable = (
        builder.QueryVariable("sender")
        .label("Sent by")
        .description(
            "Jaeger searches by the service that sent the feedback: the one that answered, or a capture service of "
            "its own, whose name you can type."
        )
        .datasource(panels.PROMETHEUS)
        .query({"query": query, "refId": "sender filter"})
        .definition(query)
        .refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(dashboard.VariableSort.ALPHABETICAL_ASC)
        .allow_custom_value(True)
    )
    return variable


def _tags() -> builder.TextBoxVariable:
    variable: builder.TextBoxVariable = (
        builder.TextBoxVariable("tags")
        .label("More tags")
        .description(
            f'More attributes that the feedback must have, in logfmt: {semconv.FEEDBACK_PROMPT_NAME}="answer". A click '
            "on a row of Satisfaction by template fills this in."
        )
        .default_value("")
    )
    return variable
