"""Every query of every panel, run against the real servers, equals the truth computed from the list of votes."""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from dashboards import collector_metrics, queries
from stack.client import span_tags
from stack.parts import Parts
from stack.processes import Stack
from tests.stack import grafana, truth
from tests.stack.carriers import NEGATIVE, POSITIVE, trace_ids
from tests.stack.grafana import Look, Target
from tests.stack.story import STEP, Story, tell
from tests.stack.truth import Numbers, Window

from otel_feedback import semconv

PAGES = grafana.pages("grafana")
TARGETS = {one.name: one for one in grafana.targets("grafana")}

ATTRIBUTE = {
    queries.SERVICE: "service",
    queries.NAMESPACE: "namespace",
    queries.ENVIRONMENT: "environment",
    queries.TEMPLATE: "template",
    queries.VERSION: "version",
    queries.MODEL: "model",
    queries.QUERY_TYPE: "query_type",
}
"""Label to the fact that the list of votes knows it by."""

BY_TEMPLATE = ("service", "template", "version")
BY_MODEL = ("service", "model", "query_type")

TOTALS: Mapping[str, Mapping[str, Callable[..., Numbers]]] = {
    "Satisfaction, all": {
        "satisfaction": truth.satisfaction,
        "low": truth.bound(-1),
        "high": truth.bound(1),
        "n": truth.both,
    },
    "Response rate, all": {"rate": truth.response_rate, "n": truth.answers},
    "Beside it, all": {"neutral": truth.neutral, "changes": truth.changes},
}
BY_ROW: Mapping[str, Mapping[str, Callable[..., Numbers]]] = {
    "Satisfaction by": {
        "n": truth.both,
        "satisfaction": truth.satisfaction,
        "low": truth.bound(-1),
        "high": truth.bound(1),
        "neutral": truth.neutral,
        "changes": truth.changes,
        "answers": truth.answers,
        "rate": truth.response_rate,
        "rank": truth.rank,
    },
    "Implicit signals by": {
        "signals": truth.implicit,
        "share": truth.implicit_share,
        "n": truth.implicit_answers,
    },
}
NAMES = {"template and version": BY_TEMPLATE, "model and query type": BY_MODEL}

SATISFACTION = {
    ("satisfaction", f"{panel} by {word}", ref): (number, ())
    for panel, numbers in TOTALS.items()
    for word in ("template", "model")
    for ref, number in numbers.items()
} | {
    ("satisfaction", f"{panel} {own}", ref): (number, names)
    for panel, numbers in BY_ROW.items()
    for own, names in NAMES.items()
    for ref, number in numbers.items()
}
BAD_ANSWERS: Mapping[tuple[str, str, str], tuple[Callable[..., Numbers], tuple[str, ...]]] = {
    ("bad-answers", "Negative opinions", "negative"): (truth.negative, ()),
    ("bad-answers", "Negative opinions", "share"): (truth.dissatisfaction, ()),
    ("bad-answers", "Negative opinions", "n"): (truth.both, ()),
}
NUMBERS = SATISFACTION | BAD_ANSWERS
"""What is shown for the whole range: the query, to the truth and the facts that make its rows."""

TRENDS: Mapping[tuple[str, str, str], tuple[Callable[..., Numbers], tuple[str, ...]]] = {
    ("satisfaction", f"Satisfaction over time by {own}", ref): (number, by)
    for own, names in NAMES.items()
    for ref, number, by in (("satisfaction", truth.satisfaction, names), ("n", truth.both, ()))
} | {
    ("bad-answers", "Negative opinions over time", "negative"): (truth.negative, BY_TEMPLATE),
    ("bad-answers", "Negative opinions over time", "n"): (truth.negative, ()),
}

LIST = ("bad-answers", "Negative feedback from $sender", "traces")

PIPELINE = {
    ("pipeline-health", "Feedback acknowledged minus counted", "acknowledged"),
    ("pipeline-health", "Feedback acknowledged minus counted", "counted"),
    ("pipeline-health", "Feedback acknowledged minus counted", "difference"),
    ("pipeline-health", "Counted without facts (cardinality overflow)", "template"),
    ("pipeline-health", "Counted without facts (cardinality overflow)", "model"),
    ("pipeline-health", "Feedback acknowledged and counted over time", "acknowledged"),
    ("pipeline-health", "Feedback acknowledged and counted over time", "counted"),
    ("pipeline-health", "Late: seconds since each Collector's last report", "behind"),
    ("pipeline-health", "Late: seconds since each Collector's last report", "n"),
    ("pipeline-health", "Queued now, by exporter", "n"),
    ("pipeline-health", "Queued now, by exporter", "use"),
    ("pipeline-health", "Refused, by receiver", "n"),
    ("pipeline-health", "Refused, by receiver", "refused"),
    ("pipeline-health", "Refused, by receiver", "failed"),
    ("pipeline-health", "Dropped, by exporter", "n"),
    ("pipeline-health", "Dropped, by exporter", "full"),
    ("pipeline-health", "Dropped, by exporter", "rejected"),
    ("pipeline-health", "Queued over time", "n"),
    ("pipeline-health", "Waiting in outboxes", "n"),
    ("pipeline-health", "Waiting in outboxes", "set_aside"),
    ("pipeline-health", "Age of the oldest in outboxes", "age"),
    ("pipeline-health", "Age of the oldest in outboxes", "n"),
}


@pytest.fixture(scope="module")
def story(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """The votes, cast once for all tests here; Jaeger's bulk queue is small enough to fill."""
    env = {"OTEL_FEEDBACK_COLLECTOR_JAEGER_QUEUE": "2"}
    with Stack(tmp_path_factory.mktemp("story"), parts=parts, env=env) as stack:
        yield tell(stack)


def test_every_query_of_every_panel_has_a_truth_to_be_compared_with() -> None:
    """A panel that is added without a proof fails here."""
    assert set(TARGETS) == {*NUMBERS, *TRENDS, *PIPELINE, LIST}


@pytest.mark.parametrize("name", NUMBERS, ids="/".join)
def test_number_of_the_range_equals_the_truth(story: Story, name: tuple[str, str, str]) -> None:
    """Every number of the range, by row or in total, is the one counted in the list of votes."""
    number, names = NUMBERS[name]
    look = Look(story.start, story.end)
    assert_equal(shown(story, TARGETS[name], look, names), number(story.window, names))


def test_few_votes_are_not_a_number(story: Story) -> None:
    """A share with fewer than ten opinions behind it is no number: an empty cell, or NaN, and both read so in words."""
    look = Look(story.start, story.end, {"template": "rare"})
    for (page, panel, ref), target in TARGETS.items():
        if page != "satisfaction" or "template" not in panel or ref not in {"satisfaction", "low", "high", "rate"}:
            continue
        series = grafana.ask_prometheus(story.stack, target, PAGES[page], look)
        assert [one["value"][1] for one in series] == (["NaN"] if ", all by" in panel else [])
    n = TARGETS["satisfaction", "Satisfaction by template and version", "n"]
    assert shown(story, n, look, BY_TEMPLATE) == {("shop", "rare", "1"): 1}


@pytest.mark.parametrize(
    "chosen",
    [
        {"service": "billing"},
        {"namespace": "batch"},
        {"environment": "staging"},
        {"template": "POST /ask (streamed)"},
        {"template": ("loved", "POST /ask (streamed)"), "version": "1", "environment": ("production", "staging")},
        {"service": "shop", "version": "2"},
        {"template": "nobody"},
    ],
    ids=str,
)
@pytest.mark.parametrize("ref", ["n", "satisfaction", "low", "high", "changes", "answers", "rate", "rank"])
def test_filters_leave_what_they_say(story: Story, chosen: Mapping[str, str | tuple[str, ...]], ref: str) -> None:
    """Each filter, alone and together, leaves the numbers of the votes that it names, and of no others."""
    name = ("satisfaction", "Satisfaction by template and version", ref)
    number, names = NUMBERS[name]
    window = Window(story.truth.where(chosen), story.start, story.end)
    look = Look(story.start, story.end, chosen)
    assert_equal(shown(story, TARGETS[name], look, names), number(window, names))


@pytest.mark.parametrize("chosen", [{"model": "claude"}, {"query_type": ("debug", "smalltalk")}], ids=str)
def test_filters_by_model_and_query_type_leave_what_they_say(
    story: Story, chosen: Mapping[str, str | tuple[str, ...]]
) -> None:
    """The second row heeds filters of its own."""
    for ref in ("n", "satisfaction", "answers"):
        name = ("satisfaction", "Satisfaction by model and query type", ref)
        number, names = NUMBERS[name]
        window = Window(story.truth.where(chosen), story.start, story.end)
        look = Look(story.start, story.end, chosen)
        assert_equal(shown(story, TARGETS[name], look, names), number(window, names))


@pytest.mark.parametrize("name", TRENDS, ids="/".join)
def test_every_point_of_a_trend_equals_the_truth_of_its_window(story: Story, name: tuple[str, str, str]) -> None:
    """A point covers the window that ends there: both halves of the story, each by itself."""
    number, names = TRENDS[name]
    for start, end in ((story.start, story.middle), (story.middle, story.end)):
        expected = number(Window(story.truth, start, end), names)
        assert_equal(shown(story, TARGETS[name], Look(start, end), names), expected)


def test_points_of_a_trend_tile_the_range(story: Story) -> None:
    """The opinions of all points together are those of the range: no vote falls between two points or into both."""
    target = TARGETS["satisfaction", "Satisfaction over time by template and version", "n"]
    look = Look(story.start, story.end, interval=STEP)
    series = grafana.ask_prometheus_range(story.stack, target, PAGES[target.page], look)
    points = [float(value) for one in series for _, value in one["values"]]
    assert len(points) == round((story.end - story.start) / STEP)
    assert sum(points) == truth.both(story.window, ())[()]


def test_rows_are_sorted_worst_first_by_the_upper_bound(story: Story) -> None:
    """The panel sorts by its rank, ascending: the worst template is first, those with too few opinions are last."""
    panel = next(
        one for one in grafana.panels(PAGES["satisfaction"]) if one["title"] == "Satisfaction by template and version"
    )
    [sort] = next(one["options"]["sort"] for one in panel["transformations"] if one["id"] == "sortBy")
    assert sort == {"field": "Value #rank", "desc": False}
    ranks = truth.rank(story.window, BY_TEMPLATE)
    order = sorted(ranks, key=lambda row: ranks[row])
    assert order[0] == ("shop", "hated", "1")
    assert all(ranks[row] == 2 for row in order[-3:])


def test_list_of_bad_answers_is_the_negative_feedback_of_the_range(story: Story) -> None:
    """For each sender the list has the traces with negative feedback of the range, and no others."""
    votes = [one for one in story.window.votes if one.kind == semconv.EXPLICIT and one.sentiment == NEGATIVE]
    for sender in ("shop", "billing"):
        mine = [one for one in votes if one.sender == sender]
        assert listed(story, {"sender": sender}) == trace_ids(mine)
        hated = [one for one in mine if one.answer.facts.template == "hated"]
        tags = f'{semconv.FEEDBACK_PROMPT_NAME}="hated" {semconv.FEEDBACK_PROMPT_VERSION}="1"'
        assert listed(story, {"sender": sender, "tags": tags}) == trace_ids(hated)


def test_bad_answer_leads_to_the_trace_of_what_it_judges(story: Story) -> None:
    """The trace of early feedback holds the answer; that of late feedback holds the reference that leads to it."""
    for vote in story.traced:
        spans = story.stack.trace(vote.trace_id)
        [carrier] = [one for one in spans if semconv.FEEDBACK_SIGNAL in span_tags(one)]
        assert {one["traceID"] for one in carrier["references"]} == {vote.answer.trace_id}
        assert_whole_answer(story.stack.trace(vote.answer.trace_id))


DOTS = {
    ("satisfaction", "Satisfaction over time by template and version", "satisfaction"): (POSITIVE, NEGATIVE),
    ("satisfaction", "Satisfaction over time by model and query type", "satisfaction"): (POSITIVE, NEGATIVE),
    ("bad-answers", "Negative opinions over time", "n"): (NEGATIVE,),
}
"""The queries with exemplars, to the opinions that a dot may stand for."""


def test_queries_with_dots_are_those_that_are_checked() -> None:
    """Dots on another query need a test of their own."""
    assert {name for name, one in TARGETS.items() if one.json.get("exemplar")} == set(DOTS)


@pytest.mark.parametrize("name", DOTS, ids="/".join)
def test_dots_lead_to_traces_with_request_model_call_documents_and_vote(
    story: Story, name: tuple[str, str, str]
) -> None:
    """An exemplar's trace, fetched from Jaeger, holds the request, its model call, the documents and the vote."""
    target = TARGETS[name]
    look = Look(story.start, story.end, interval=STEP)
    dots = grafana.ask_exemplars(story.stack, target, PAGES[target.page], look)
    found = {one["labels"]["trace_id"] for one in dots}
    opinions = [one for one in story.window.votes if one.is_opinion and one.sentiment in DOTS[name]]
    # A vote on an answer that was sampled leads to the answer, however late it came; on another to the vote alone.
    assert found <= {one.answer.trace_id if one.answer.sampled else one.trace_id for one in opinions}
    traced = {one.answer.trace_id for one in story.traced}
    assert found & traced
    for trace_id in found & traced:
        spans = story.stack.trace(trace_id)
        assert_whole_answer(spans)
        assert [one for one in spans if span_tags(one).get(semconv.FEEDBACK_SENTIMENT) == NEGATIVE]


def test_pipeline_health_finds_nothing_lost(story: Story) -> None:
    """All feedback that was acknowledged was counted, through restarts, a kill, two Collectors and a dead Jaeger."""
    carriers = len(story.window.votes)
    for panel in ("Feedback acknowledged minus counted", "Feedback acknowledged and counted over time"):
        assert value(story, panel, "acknowledged") == carriers
        assert value(story, panel, "counted") == carriers
    assert value(story, "Feedback acknowledged minus counted", "difference") == 0
    assert value(story, "Counted without facts (cardinality overflow)", "template") == 0
    assert value(story, "Counted without facts (cardinality overflow)", "model") == 0


def test_pipeline_health_counts_what_receivers_took(story: Story) -> None:
    """Accepted are the spans that were sent, none was refused, none failed."""
    answers = story.truth.between(story.start, story.end).answers
    whole = {one.answer.context.span_id for one in story.traced}
    spans = len(story.window.votes)
    spans += sum(3 if one.context.span_id in whole else 1 for one in answers if one.sampled)
    labels = (collector_metrics.RECEIVER, collector_metrics.TRANSPORT)
    for ref, count in (("n", spans), ("refused", 0), ("failed", 0)):
        assert pipeline(story, "Refused, by receiver", ref, labels) == {("otlp", "grpc"): count}


def test_pipeline_health_shows_what_waits_while_jaeger_is_away(story: Story) -> None:
    """While Jaeger was away, its bulk queue was full and each batch of feedback waited; at the end none waits."""
    by = (collector_metrics.EXPORTER,)
    for panel in ("Queued now, by exporter", "Queued over time"):
        away = pipeline(story, panel, "n", by, end=story.jaeger_away)
        assert away[("otlp_grpc/jaeger_feedback",)] == story.batches_waiting
        assert away[("otlp_grpc/jaeger",)] == 2
        after = pipeline(story, panel, "n", by)
        assert after[("otlp_grpc/jaeger_feedback",)] == after[("otlp_grpc/jaeger",)] == 0
    use = pipeline(story, "Queued now, by exporter", "use", by, end=story.jaeger_away)
    assert use[("otlp_grpc/jaeger",)] == 1


def test_pipeline_health_shows_what_was_dropped_for_jaeger(story: Story) -> None:
    """Of the bulk, delivered and dropped are all that was sent; of feedback, all was delivered and nothing dropped."""
    by = (collector_metrics.EXPORTER,)
    delivered, full, rejected = (pipeline(story, "Dropped, by exporter", ref, by) for ref in ("n", "full", "rejected"))
    carriers = len(story.window.votes)
    accepted = pipeline(story, "Refused, by receiver", "n", (collector_metrics.RECEIVER, collector_metrics.TRANSPORT))[
        ("otlp", "grpc")
    ]
    bulk, feedback = ("otlp_grpc/jaeger",), ("otlp_grpc/jaeger_feedback",)
    assert delivered[feedback] == carriers
    assert full[feedback] == 0
    assert full[bulk] > 0
    assert delivered[bulk] + full[bulk] == accepted - carriers
    assert set(rejected.values()) == {0}


def test_pipeline_health_shows_how_late_each_collector_reports(story: Story) -> None:
    """Three Collectors have reported within five minutes: two live, and one that was killed since."""
    panel = "Late: seconds since each Collector's last report"
    behind = pipeline(story, panel, "behind", (collector_metrics.INSTANCE,))
    assert value(story, panel, "n") == len(behind) == 3
    live = sorted(behind.values())[:2]
    assert all(0 <= seconds < 8 for seconds in live)


def test_filters_offer_what_was_counted(story: Story) -> None:
    """Each filter's list has the values that answers and votes came with."""
    for page in ("satisfaction", "bad-answers"):
        for name, variable in grafana.variables(PAGES[page]).items():
            if name not in ATTRIBUTE.values():
                continue
            offered = grafana.ask_values(story.stack, variable, PAGES[page], Look(story.start, story.end))
            assert offered == {getattr(one.facts, name) for one in story.truth.answers}, (page, name)


def assert_equal(found: Numbers, expected: Numbers) -> None:
    """Counts are equal to the last one, shares to the precision of floating point."""
    assert found == {row: pytest.approx(number, rel=1e-9, abs=1e-12) for row, number in expected.items()}


def assert_whole_answer(spans: list[dict[str, Any]]) -> None:
    """The trace holds the request, the documents that were retrieved and the call of the model."""
    tags = [span_tags(one) for one in spans]
    assert [one for one in tags if one.get(semconv.FEEDBACK_INTERACTION) is True]
    assert [one for one in tags if semconv.GEN_AI_RETRIEVAL_DOCUMENTS in one]
    assert [one for one in tags if one.get(semconv.GEN_AI_OPERATION_NAME) == "chat"]


def shown(story: Story, target: Target, look: Look, names: tuple[str, ...]) -> Numbers:
    """Return what a query shows, by the facts that make its rows, and the signal where it has one."""
    labels = [label for name in names for label, attribute in ATTRIBUTE.items() if attribute == name]
    labels += [queries.SIGNAL] if "Implicit" in target.panel else []
    return by_labels(grafana.ask_prometheus(story.stack, target, PAGES[target.page], look), labels)


def by_labels(series: list[dict[str, Any]], labels: list[str] | tuple[str, ...]) -> Numbers:
    """Return the values by the labels, of which there are no others."""
    assert all(set(one["metric"]) == set(labels) for one in series)
    values = {tuple(one["metric"][label] for label in labels): float(one["value"][1]) for one in series}
    assert len(values) == len(series)
    assert not any(math.isnan(number) for number in values.values())
    return values


def pipeline(story: Story, panel: str, ref: str, labels: tuple[str, ...] = (), *, end: float | None = None) -> Numbers:
    """Return what a query of Pipeline health shows."""
    look = Look(story.start, end or story.end)
    target = TARGETS["pipeline-health", panel, ref]
    return by_labels(grafana.ask_prometheus(story.stack, target, PAGES[target.page], look), labels)


def value(story: Story, panel: str, ref: str) -> float:
    """Return the one number that a query of Pipeline health shows."""
    [number] = pipeline(story, panel, ref).values()
    return number


def listed(story: Story, chosen: Mapping[str, str]) -> set[str]:
    """Return the traces of the list of bad answers."""
    target = TARGETS[LIST]
    look = Look(story.start, story.end, chosen)
    return {one["traceID"] for one in grafana.ask_jaeger(story.stack, target, PAGES[target.page], look)}
