"""The few kinds of panel and variable that our dashboards are made of, on top of Grafana's builder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from dashboards import collector_metrics, queries
from grafana_foundation_sdk.builders import common as common_builder
from grafana_foundation_sdk.builders import dashboard as builder
from grafana_foundation_sdk.builders import prometheus, stat, table, timeseries
from grafana_foundation_sdk.cog import builder as cog
from grafana_foundation_sdk.cog import variants
from grafana_foundation_sdk.models import common, dashboard
from grafana_foundation_sdk.models.prometheus import PromQueryFormat, QueryEditorMode

PROMETHEUS_UID: Final = "prometheus"
JAEGER_UID: Final = "jaeger"
JAEGER_NAME: Final = "Jaeger"
"""Uids of the data sources; ``provisioning/datasources`` gives them."""

PROMETHEUS: Final = common.DataSourceRef(type_val="prometheus", uid=PROMETHEUS_UID)
JAEGER: Final = common.DataSourceRef(type_val="jaeger", uid=JAEGER_UID)

SATISFACTION: Final = "satisfaction"
BAD_ANSWERS: Final = "bad-answers"
PIPELINE_HEALTH: Final = "pipeline-health"
"""Names of the dashboards; ``Variant.uid`` makes their uids."""

NOT_ENOUGH: Final = "not enough"
"""What a share reads as where fewer than ``queries.ENOUGH`` stand behind it."""

POINTS: Final = 24
"""Points of a trend: few, so that each has enough votes behind it."""

COUNT: Final = "short"
SHARE: Final = "percentunit"
SECONDS: Final = "s"

WORDS: Final = {
    queries.SERVICE: "Service",
    queries.NAMESPACE: "Namespace",
    queries.ENVIRONMENT: "Environment",
    queries.TEMPLATE: "Template",
    queries.VERSION: "Version",
    queries.MODEL: "Model",
    queries.QUERY_TYPE: "Query type",
    queries.SIGNAL: "Signal",
    collector_metrics.EXPORTER: "Exporter",
    collector_metrics.RECEIVER: "Receiver",
    collector_metrics.TRANSPORT: "Transport",
}
"""Labels in a reader's words."""


@dataclass(frozen=True)
class Variant:
    """The two editions of every dashboard: exact, and portable to a Prometheus without ``anchored``."""

    exact: bool
    folder: str
    """Where the JSON goes, beside this file."""

    def uid(self, name: str) -> str:
        """Return the stable uid of a dashboard."""
        return f"otel-feedback-{name}" + ("" if self.exact else "-portable")

    def title(self, name: str) -> str:
        """Return the title of a dashboard."""
        return name if self.exact else f"{name} (portable)"

    def numbers(self, view: queries.View, by: tuple[str, ...] = (), *, window: str = queries.RANGE) -> queries.Numbers:
        """Return the numbers of a view in this edition."""
        return queries.Numbers(view, by, self.increase(window))

    def increase(self, window: str) -> queries.Increase:
        """Return how this edition asks for the growth of a counter."""
        return queries.Increase(window, queries.How.ANCHORED if self.exact else queries.How.PLAIN)

    @property
    def way(self) -> str:
        """How this edition's counts come about, for descriptions."""
        if self.exact:
            return "Computed by `increase(... anchored)`, exact to the vote."
        return (
            "Computed by plain `increase()`, which extrapolates to the edges of the range: 101 votes read as about "
            "103, and counts need not be whole."
        )

    @property
    def caveat(self) -> str:
        """How counts come about and what none can know: it stands in the description of every panel that has them."""
        return (
            f"{self.way} Cannot be exact: a delivery that was repeated counts again, and what a Collector was told "
            "within a flush (1 s) of its stop is not counted; *Pipeline health* shows the difference, the store is "
            "the truth. Facts that were not known when the handle left read as `unknown`."
        )


EXACT: Final = Variant(exact=True, folder="grafana")
PORTABLE: Final = Variant(exact=False, folder="grafana-portable")
VARIANTS: Final = (EXACT, PORTABLE)


@dataclass(frozen=True)
class Query:
    """One PromQL query of a panel and how its number reads."""

    ref: str
    """Grafana's refId: what the tests call the number by."""

    name: str
    expr: str
    unit: str = COUNT
    hidden: bool = False
    """Computed for the order of rows only."""


class JaegerSearch(variants.Dataquery):
    """A search of Grafana's Jaeger data source, which the builder has no type for."""

    def __init__(self, *, service: str, tags: str, limit: int) -> None:
        self.ref_id = "traces"
        self.service = service
        self.tags = tags
        self.limit = limit

    def to_json(self) -> dict[str, object]:
        """Return the query as the data source reads it; tags are in logfmt."""
        return {
            "refId": self.ref_id,
            "datasource": JAEGER,
            "queryType": "search",
            "service": self.service,
            "tags": self.tags,
            "limit": self.limit,
        }


class Ready(cog.Builder[variants.Dataquery]):
    """A query that is built already, for builders that want a builder."""

    def __init__(self, query: variants.Dataquery) -> None:
        self._query = query

    def build(self) -> variants.Dataquery:
        """Return the query."""
        return self._query


def stat_panel(title: str, description: str, shown: Sequence[Query], *, width: int = 6) -> stat.Panel:
    """Return big numbers side by side, each with its unit; a share of too few stays in its place, in words."""
    panel: stat.Panel = (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(PROMETHEUS)
        .unit(shown[0].unit)
        .no_value(NOT_ENOUGH)
        .mappings([_null_reads(NOT_ENOUGH)])
        .graph_mode(common.BigValueGraphMode.NONE)
        .color_mode(common.BigValueColorMode.NONE)
        .text_mode(common.BigValueTextMode.VALUE_AND_NAME)
        .reduce_options(common_builder.ReduceDataOptions().calcs(["lastNotNull"]))
        .height(4)
        .span(width)
    )
    for query in shown:
        # Without a series a number would vanish from among the others.
        expr = f"{query.expr} or vector(NaN)" if query.unit == SHARE else query.expr
        panel.with_target(_instant(query).expr(expr).legend_format(query.name))
        panel.override_by_query(query.ref, [_set("unit", query.unit)])
    return panel


def table_panel(
    title: str,
    description: str,
    rows: Sequence[str],
    shown: Sequence[Query],
    *,
    sort_by: str,
    descending: bool = False,
    links: Sequence[Mapping[str, str]] = (),
    missing: str = NOT_ENOUGH,
    width: int = 24,
    height: int = 10,
) -> table.Panel:
    """Return a table with a row for each set of labels and a column for each query, sorted by one of the queries.

    Args:
        title: the panel's.
        description: what it shows, how it is computed, what cannot be exact.
        rows: the labels; the first column of links is the second of them.
        shown: the columns.
        sort_by: ``ref`` of the query that orders the rows.
        descending: largest first.
        links: where a click on a row leads.
        missing: how a number that is not there reads.
        width: in grid units, of which the page has 24.
        height: in grid units.
    """
    panel: table.Panel = (
        table.Panel()
        .title(title)
        .description(description)
        .datasource(PROMETHEUS)
        .unit(COUNT)
        .no_value(missing)
        .mappings([_null_reads(missing)])
        .height(height)
        .span(width)
    )
    names = {f"Value #{query.ref}": query.name for query in shown}
    order = [*rows, *names]
    for query in shown:
        panel.with_target(_instant(query).format(PromQueryFormat("table")))
        panel.override_by_name(query.name, [_set("unit", query.unit), *_decimals(query.unit)])
    panel.with_transformation(dashboard.DataTransformerConfig(id_val="merge", options={}))
    panel.with_transformation(
        dashboard.DataTransformerConfig(
            id_val="sortBy", options={"sort": [{"field": f"Value #{sort_by}", "desc": descending}]}
        )
    )
    panel.with_transformation(
        dashboard.DataTransformerConfig(
            id_val="organize",
            options={
                "excludeByName": {"Time": True} | {f"Value #{q.ref}": True for q in shown if q.hidden},
                "indexByName": {name: place for place, name in enumerate(order)},
                "renameByName": {name: WORDS[name] for name in rows} | names,
            },
        )
    )
    if links:
        panel.override_by_name(WORDS[rows[1]], [_set("links", list(links))])
    return panel


@dataclass(frozen=True)
class Line:
    """One query of a trend."""

    query: Query
    bars: bool = False
    """Drawn as bars on an axis of their own: the n behind the lines."""

    exemplars: bool = False
    """Dots that lead to the traces behind the number."""


def trend_panel(
    title: str, description: str, lines: Sequence[Line], *, width: int = 24, highest: float | None = None
) -> timeseries.Panel:
    """Return a chart of ``POINTS`` windows that tile the range: each point is one window, none overlap."""
    panel: timeseries.Panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(PROMETHEUS)
        .unit(lines[0].query.unit)
        .no_value(NOT_ENOUGH)
        .min(0)
        .max_data_points(POINTS)
        .interval("1m")
        .show_points(common.VisibilityMode.ALWAYS)
        .span_nulls(False)
        .height(9)
        .span(width)
    )
    if highest is not None:
        panel.max(highest)
    for line in lines:
        query = line.query
        target = _query(query).range().legend_format(query.name)
        panel.with_target(target.exemplar(True) if line.exemplars else target)
        properties = [_set("unit", query.unit)]
        if line.bars:
            properties += [
                _set("custom.drawStyle", "bars"),
                _set("custom.fillOpacity", 15),
                _set("custom.axisPlacement", "right"),
                _set("custom.axisLabel", query.name),
                _set("max", None),
            ]
        panel.override_by_query(query.ref, properties)
    return panel


def filter_variable(name: str, view: queries.View, *, given: Sequence[str] = ()) -> builder.QueryVariable:
    """Return a filter by a label: all by default, several may be chosen, narrowed by the filters before it."""
    wanted = {"__name__": f"=~{view.votes}|{view.interactions}"}
    wanted |= {one: view.filters[one] for one in given}
    query = f"label_values({queries.matchers(wanted)}, {name})"
    variable: builder.QueryVariable = (
        builder.QueryVariable(queries.VARIABLES[name])
        .label(WORDS[name])
        .datasource(PROMETHEUS)
        .query({"query": query, "refId": f"{queries.VARIABLES[name]} filter"})
        .definition(query)
        .refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(dashboard.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(dashboard.VariableOption(selected=True, text="All", value="$__all"))
    )
    return variable


def page(variant: Variant, name: str, title: str, description: str) -> builder.Dashboard:
    """Return an empty dashboard with what all of ours share: links to each other, UTC offsets of the reader, 6 h."""
    made: builder.Dashboard = (
        builder.Dashboard(variant.title(title))
        .uid(variant.uid(name))
        .description(description)
        .tags(["otel-feedback", "exact" if variant.exact else "portable"])
        .readonly()
        .timezone("browser")
        .time("now-6h", "now")
        .refresh("1m")
        .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
        .link(
            builder.DashboardLink("Feedback")
            .type(dashboard.DashboardLinkType("dashboards"))
            .tags(["otel-feedback", "exact" if variant.exact else "portable"])
            .include_vars(True)
            .keep_time(True)
        )
    )
    return made


def _query(query: Query) -> prometheus.Dataquery:
    made: prometheus.Dataquery = (
        prometheus.Dataquery()
        .ref_id(query.ref)
        .expr(query.expr)
        .datasource(PROMETHEUS)
        .editor_mode(QueryEditorMode("code"))
    )
    return made


def _instant(query: Query) -> prometheus.Dataquery:
    made: prometheus.Dataquery = _query(query).instant()
    return made


def _set(key: str, value: object) -> dashboard.DynamicConfigValue:
    return dashboard.DynamicConfigValue(id_val=key, value=value)


def _decimals(unit: str) -> list[dashboard.DynamicConfigValue]:
    return [_set("decimals", 1)] if unit == SHARE else []


def _null_reads(text: str) -> dashboard.SpecialValueMap:
    return dashboard.SpecialValueMap(
        options=dashboard.DashboardSpecialValueMapOptions(
            match=dashboard.SpecialValueMatch("null+nan"),
            result=dashboard.ValueMappingResult(text=text, index=0),
        )
    )
