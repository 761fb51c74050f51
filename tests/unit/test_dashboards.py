"""The committed dashboards: as their generator writes them, named by semconv, whole, and at home in provisioning."""

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from dashboards import queries

from otel_feedback import semconv

HERE = Path(__file__).resolve().parents[2] / "dashboards"
FOLDERS = ("grafana", "grafana-portable")
FILES = [file for folder in FOLDERS for file in sorted((HERE / folder).glob("*.json"))]
PAGES = {f"{file.parent.name}/{file.stem}": json.loads(file.read_text()) for file in FILES}

COUNTERS = {
    queries.counter(name)
    for name in (
        semconv.METRIC_VOTES_BY_TEMPLATE,
        semconv.METRIC_VOTES_BY_MODEL,
        semconv.METRIC_INTERACTIONS_BY_TEMPLATE,
        semconv.METRIC_INTERACTIONS_BY_MODEL,
    )
}
DIMENSIONS = {
    *semconv.SERVICE_DIMENSIONS,
    *semconv.TEMPLATE_DIMENSIONS,
    *semconv.MODEL_DIMENSIONS,
    *semconv.TRANSITION_DIMENSIONS,
}
VALUES = {
    semconv.FEEDBACK_KIND: set(semconv.KINDS),
    semconv.FEEDBACK_SENTIMENT: set(semconv.SENTIMENTS),
    semconv.FEEDBACK_PREVIOUS_SENTIMENT: {*semconv.SENTIMENTS, semconv.UNSET},
    semconv.FEEDBACK_FIRST: {"true", "false"},
    semconv.FEEDBACK_TARGET_SAMPLED: {"true", "false"},
}
GRAFANAS_OWN = {"__range", "__interval"}


def panels(page: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for panel in page["panels"]:
        yield from panels(panel) if panel["type"] == "row" else [panel]


PANELS = [
    pytest.param(name, panel, id=f"{name}/{panel['title']}") for name, page in PAGES.items() for panel in panels(page)
]


def texts(of: Any) -> Iterator[str]:
    """Every string in it, keys included, but for descriptions, which speak to people."""
    if isinstance(of, str):
        yield of
    elif isinstance(of, list):
        for one in of:
            yield from texts(one)
    elif isinstance(of, dict):
        for key, one in of.items():
            if key != "description":
                yield from texts(key)
                yield from texts(one)


needs_builder = pytest.mark.skipif(sys.version_info < (3, 11), reason="grafana-foundation-sdk needs Python 3.11")


# The older kind of dashboard, of which the builder warns, is meant: Grafana 13.0 does not load the newer from files.
classic = pytest.mark.filterwarnings("ignore:Prefer using dashboardv2:DeprecationWarning")


@needs_builder
@classic
def test_committed_files_are_what_the_generator_writes() -> None:
    """`python -m dashboards.generate` would change nothing, and nothing else lies beside the generated files."""
    from dashboards.generate import generate

    made = {str(path): text for path, text in generate()}
    committed = [*FILES, *(HERE / "rules").glob("*.yaml")]
    assert {str(file.relative_to(HERE)): file.read_text() for file in committed} == made


@needs_builder
@classic
@pytest.mark.parametrize("name", PAGES)
def test_the_builders_types_read_every_dashboard_and_lose_nothing(name: str) -> None:
    """What Grafana's own schema does not know would be lost on the way through its types."""
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.cog.plugins import register_default_plugins
    from grafana_foundation_sdk.models.dashboard import Dashboard

    register_default_plugins()
    assert json.loads(JSONEncoder().encode(Dashboard.from_json(PAGES[name]))) == PAGES[name]


def test_dashboards_have_stable_readable_uids() -> None:
    """Links from elsewhere name these uids: they do not change, and the two editions can stand side by side."""
    assert {name: page["uid"] for name, page in PAGES.items()} == {
        "grafana/satisfaction": "otel-feedback-satisfaction",
        "grafana/bad-answers": "otel-feedback-bad-answers",
        "grafana/pipeline-health": "otel-feedback-pipeline-health",
        "grafana-portable/satisfaction": "otel-feedback-satisfaction-portable",
        "grafana-portable/bad-answers": "otel-feedback-bad-answers-portable",
        "grafana-portable/pipeline-health": "otel-feedback-pipeline-health-portable",
    }


@pytest.mark.parametrize("name", PAGES)
def test_every_name_is_from_semconv(name: str) -> None:
    """No counter, label or attribute of ours is spelled here that semconv does not have."""
    known = COUNTERS | {queries.label(one) for one in DIMENSIONS} | {queries.label(semconv.SCOPE)}
    for text in texts(PAGES[name]):
        assert set(re.findall(r"\bfeedback_\w+", text)) <= known, text
        assert set(re.findall(r"\bfeedback\.[\w.]*\w", text)) <= DIMENSIONS, text


@pytest.mark.parametrize("name", PAGES)
def test_every_value_in_a_matcher_is_one_that_carriers_have(name: str) -> None:
    """A misspelled sentiment or kind would select nothing and read as zero."""
    found = set()
    for text in texts(PAGES[name]):
        for attribute, values in VALUES.items():
            for matched in re.findall(rf'\b{queries.label(attribute)}(?:=|!=|=~|!~)"([^"]*)"', text):
                assert set(matched.split("|")) <= values
                found.add(attribute)
            for matched in re.findall(rf"\b{re.escape(attribute)}=(\w+)", text):
                assert matched in values
    assert found or "pipeline" in name


@pytest.mark.parametrize(("name", "panel"), PANELS)
def test_every_panel_says_what_it_shows_how_and_what_cannot_be_exact(name: str, panel: dict[str, Any]) -> None:
    """Each description is whole sentences that say how the number comes about, and what it cannot know."""
    description = panel["description"]
    assert len(description) > 150
    assert description.endswith(".")
    if any(counter in text for text in texts(panel["targets"]) for counter in COUNTERS):
        assert re.search("[Cc]omputed|covers|[Ee]ach point", description)
        assert "repeated" in description
        assert "flush" in description
    elif panel["datasource"]["type"] == "jaeger":
        assert "Cannot be exact" in description
    else:
        assert re.search("[Cc]omputed|Read from", description)


@pytest.mark.parametrize(("name", "panel"), PANELS)
def test_only_the_exact_edition_claims_to_be_exact(name: str, panel: dict[str, Any]) -> None:
    """A panel says `anchored` where it uses it; plain `increase()` says that it extrapolates."""
    expressions = " ".join(target.get("expr", "") for target in panel["targets"])
    portable = name.startswith("grafana-portable")
    assert not (portable and "anchored" in expressions)
    if "increase(" in expressions:
        assert ("extrapolates" in panel["description"]) is portable
        assert ("exact to the vote" in panel["description"]) is not portable


@pytest.mark.parametrize(("name", "panel"), PANELS)
def test_every_panel_has_a_unit_and_n(name: str, panel: dict[str, Any]) -> None:
    """Each query has a unit, and the number of cases behind what is shown stands in the panel."""
    config = panel["fieldConfig"]
    assert config["defaults"]["unit"]
    shown = [panel["description"], *texts(panel["targets"]), *texts(panel.get("transformations", []))]
    assert any("(n)" in text for text in shown)
    if panel["datasource"]["type"] == "prometheus":
        assert any("(n)" in text for text in shown[1:])
        units = [one for one in config["overrides"] if any(p["id"] == "unit" for p in one["properties"])]
        assert len(units) == len(panel["targets"])


@pytest.mark.parametrize(("name", "panel"), PANELS)
def test_shares_of_too_few_read_as_not_enough(name: str, panel: dict[str, Any]) -> None:
    """A panel with a share asks for enough cases in its query, and says so in words where there are not."""
    shares = [
        target["expr"]
        for target in panel["targets"]
        if " / " in target.get("expr", "") and any(counter in target["expr"] for counter in COUNTERS)
    ]
    assert all(f">= {queries.ENOUGH}" in expr for expr in shares)
    if shares:
        assert panel["fieldConfig"]["defaults"]["noValue"] == "not enough"
        assert (
            "not enough" in panel["description"]
            or f"at least {queries.ENOUGH}" in panel["description"]
            or (f"fewer than {queries.ENOUGH}" in panel["description"])
        )
    if shares and panel["type"] in {"table", "stat"}:
        [mapping] = panel["fieldConfig"]["defaults"]["mappings"]
        assert mapping["options"] == {"match": "null+nan", "result": {"index": 0, "text": "not enough"}}


@pytest.mark.parametrize(("name", "panel"), PANELS)
def test_a_tables_columns_are_its_queries(name: str, panel: dict[str, Any]) -> None:
    """Sorting, order, names and formats speak of columns that there are; what is hidden is hidden."""
    if panel["type"] != "table" or panel["datasource"]["type"] != "prometheus":
        return
    steps = {one["id"]: one["options"] for one in panel["transformations"]}
    assert list(steps) == ["merge", "sortBy", "organize"]
    values = {f"Value #{target['refId']}" for target in panel["targets"]}
    renamed = steps["organize"]["renameByName"]
    assert values <= set(renamed)
    assert set(steps["organize"]["indexByName"]) == set(renamed)
    assert set(steps["organize"]["excludeByName"]) - {"Time"} <= values
    assert {one["field"] for one in steps["sortBy"]["sort"]} <= values
    assert {one["matcher"]["options"] for one in panel["fieldConfig"]["overrides"]} <= set(renamed.values())
    assert all(target["instant"] and target["format"] == "table" for target in panel["targets"])


@pytest.mark.parametrize("name", PAGES)
def test_every_variable_is_defined_and_every_link_leads_somewhere(name: str) -> None:
    """A query, title or link that names a variable or page that is not there would show text instead of numbers."""
    page = PAGES[name]
    own = {one["name"] for one in page["templating"].get("list", [])}
    by_uid = {one["uid"]: one for one in PAGES.values()}
    for text in texts(page):
        if text.startswith("/d/"):
            target = re.match(r"/d/([\w-]+)\?", text)
            assert target
            theirs = {one["name"] for one in by_uid[target[1]]["templating"]["list"]}
            set_there = set(re.findall(r"var-(\w+)=", text))
            assert {"service", "sender", "tags"} <= set_there
            assert set_there - theirs <= {"model", "query_type"}
        elif "$" in text and text != "$__all":
            used = set(re.findall(r"\$\{?(\w+)", text))
            assert used <= own | GRAFANAS_OWN | {"__value"}, text


@pytest.mark.parametrize("name", PAGES)
def test_panels_have_ids_of_their_own_and_do_not_overlap(name: str) -> None:
    """Grafana would move what overlaps; every place on the page belongs to one panel, within 24 columns."""
    shown = PAGES[name]["panels"]
    assert len({one["id"] for one in shown}) == len(shown)
    taken = [
        (x, y)
        for one in shown
        for x in range(one["gridPos"]["x"], one["gridPos"]["x"] + one["gridPos"]["w"])
        for y in range(one["gridPos"]["y"], one["gridPos"]["y"] + one["gridPos"]["h"])
    ]
    assert len(set(taken)) == len(taken)
    assert max(x for x, _ in taken) == 23


def test_provisioning_has_the_data_sources_that_dashboards_name() -> None:
    """Every query finds its data source by uid, and dots on a trend lead to Jaeger by the label that they carry."""
    given = yaml.safe_load((HERE / "provisioning/datasources/otel-feedback.yaml").read_text())["datasources"]
    sources = {one["uid"]: one for one in given}
    used = {
        (target["datasource"]["type"], target["datasource"]["uid"])
        for page in PAGES.values()
        for panel in panels(page)
        for target in [panel, *panel["targets"]]
    }
    assert used == {(one["type"], one["uid"]) for one in given}
    [destination] = sources["prometheus"]["jsonData"]["exemplarTraceIdDestinations"]
    assert (destination["name"], destination["datasourceUid"]) == ("trace_id", "jaeger")
    links = [text for text in texts(PAGES["grafana/bad-answers"]) if text in ("jaeger", "Jaeger")]
    assert sources["jaeger"]["name"] in links


def test_provisioning_loads_dashboards_from_a_folder_of_files() -> None:
    """One provider reads a folder; pages cannot be changed there, since their generator would undo it."""
    [provider] = yaml.safe_load((HERE / "provisioning/dashboards/otel-feedback.yaml").read_text())["providers"]
    assert provider["type"] == "file"
    assert provider["options"]["path"] == "/var/lib/grafana/dashboards/otel-feedback"
    assert provider["allowUiUpdates"] is False


def test_exemplars_are_asked_for_on_trends() -> None:
    """Dots that lead to traces are on the trend of each row and on that of bad answers, in both editions."""
    dotted = sorted(
        (name, panel["title"])
        for name, page in PAGES.items()
        for panel in panels(page)
        if any(target.get("exemplar") for target in panel["targets"])
    )
    assert dotted == sorted(
        (f"{folder}/{page}", title)
        for folder in FOLDERS
        for page, title in (
            ("satisfaction", "Satisfaction over time by template and version"),
            ("satisfaction", "Satisfaction over time by model and query type"),
            ("bad-answers", "Negative opinions over time"),
        )
    )


def test_rules_and_their_tests_spell_only_names_of_semconv() -> None:
    """The alert rules, and the series that their unit tests make up, use the counters and labels of semconv."""
    known = COUNTERS | {queries.label(one) for one in DIMENSIONS}
    files = [*(HERE / "rules").glob("*.yaml"), *(HERE / "rules/tests").glob("*.yaml")]
    assert len(files) == 3
    for file in files:
        assert set(re.findall(r"\bfeedback_\w+", file.read_text())) <= known


def test_every_alert_has_a_test_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    """An alert without both would be one that nobody has seen work."""
    rules = yaml.safe_load((HERE / "rules/feedback.yaml").read_text())
    names = {rule["alert"] for group in rules["groups"] for rule in group["rules"]}
    fires, quiet = set(), set()
    for file in (HERE / "rules/tests").glob("*.yaml"):
        for test in yaml.safe_load(file.read_text())["tests"]:
            for one in test["alert_rule_test"]:
                (fires if one["exp_alerts"] else quiet).add(one["alertname"])
    assert names == fires == quiet
