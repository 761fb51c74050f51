"""The Collector's configuration spells names of telemetry; this holds each of them against semconv."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from otel_feedback import semconv
from stack import versions

REPOSITORY = Path(__file__).parents[2]
TEXT = (REPOSITORY / "collector" / "config.yaml").read_text()
CONFIG: dict[str, Any] = yaml.safe_load(TEXT)

COUNTERS = {
    "span_metrics/template": semconv.METRIC_VOTES_BY_TEMPLATE,
    "span_metrics/model": semconv.METRIC_VOTES_BY_MODEL,
    "span_metrics/interaction_template": semconv.METRIC_INTERACTIONS_BY_TEMPLATE,
    "span_metrics/interaction_model": semconv.METRIC_INTERACTIONS_BY_MODEL,
}
FACTS = {
    "span_metrics/template": semconv.TEMPLATE_DIMENSIONS,
    "span_metrics/model": semconv.MODEL_DIMENSIONS,
    "span_metrics/interaction_template": semconv.TEMPLATE_DIMENSIONS,
    "span_metrics/interaction_model": semconv.MODEL_DIMENSIONS,
}


def ottl_strings(statement: str) -> list[str]:
    """Return the string literals of an OTTL statement, as OTTL understands them behind the Collector's `$$`."""
    literals = re.findall(r'"((?:[^"\\]|\\.)*)"', statement)
    return [re.sub(r"\\(.)", r"\1", literal).replace("$$", "$") for literal in literals]


def deleted_patterns(target: str) -> list[str]:
    statements = [
        statement
        for group in CONFIG["processors"]["transform/content"]["trace_statements"]
        for statement in group["statements"]
        if statement.startswith(f"delete_matching_keys({target}.attributes")
    ]
    return [ottl_strings(statement)[0] for statement in statements]


def test_counters_are_the_connectors() -> None:
    """The Collector derives exactly the counters that semconv names."""
    connectors = {name: held for name, held in CONFIG["connectors"].items() if name.startswith("span_metrics/")}
    assert {name: f"{held['namespace']}.calls" for name, held in connectors.items()} == COUNTERS


@pytest.mark.parametrize("connector", COUNTERS)
def test_labels(connector: str) -> None:
    """Each counter has exactly semconv's labels; facts that are missing read `unknown`, as on carriers."""
    facts = (*semconv.SERVICE_DIMENSIONS, *FACTS[connector])
    transition = () if "interaction" in connector else semconv.TRANSITION_DIMENSIONS
    expected = [{"name": name, "default": semconv.UNKNOWN} for name in facts]
    expected += [{"name": name} for name in transition]
    assert CONFIG["connectors"][connector]["dimensions"] == expected


@pytest.mark.parametrize("connector", COUNTERS)
def test_counting(connector: str) -> None:
    """Counters never expire, lead to one trace each, are bounded, and tell Collectors and their restarts apart."""
    held = CONFIG["connectors"][connector]
    assert held["exemplars"] == {"enabled": True, "max_per_data_point": 1}
    assert held["aggregation_cardinality_limit"]
    assert held["metrics_expiration"] == "0s"
    assert "collector.instance.id" not in held["exclude_dimensions"]


def test_content_attributes_of_spans() -> None:
    """The attributes that are dropped from spans are semconv's content, no more and no less."""
    assert deleted_patterns("span") == [f"^(?s:{pattern})$" for pattern in semconv.CONTENT_ATTRIBUTES]


def test_content_attributes_of_events() -> None:
    """Events lose the same attributes, and lists of documents as a whole."""
    documents = "|".join(map(re.escape, (semconv.FEEDBACK_DOCUMENTS, semconv.GEN_AI_RETRIEVAL_DOCUMENTS)))
    patterns = (*semconv.CONTENT_ATTRIBUTES, documents)
    assert deleted_patterns("spanevent") == [f"^(?s:{pattern})$" for pattern in patterns]


def test_content_events() -> None:
    """The events that are dropped are semconv's."""
    conditions = CONFIG["processors"]["filter/content_events"]["trace_conditions"]
    assert [ottl_strings(condition)[-1] for condition in conditions] == [
        f"^(?s:{pattern})$" for pattern in semconv.CONTENT_EVENTS
    ]


def test_documents_are_cleaned_alike() -> None:
    """Both attributes that hold retrieved documents go through the same statements."""
    statements = CONFIG["processors"]["transform/content"]["trace_statements"][0]["statements"]

    def of(attribute: str) -> list[str]:
        return [text.replace(attribute, "*") for text in statements if f'"{attribute}"' in text]

    assert of(semconv.FEEDBACK_DOCUMENTS)
    assert of(semconv.FEEDBACK_DOCUMENTS) == of(semconv.GEN_AI_RETRIEVAL_DOCUMENTS)


def test_of_services_metrics_only_the_outboxes_go_on() -> None:
    """The filter lets exactly semconv's gauges through, and the resource keeps nothing but who it is."""
    pipelines, processors = CONFIG["service"]["pipelines"], CONFIG["processors"]
    receiving = {
        name: held for name, held in pipelines.items() if held["receivers"] == ["otlp"] and "traces" not in name
    }
    assert {name: held["exporters"] for name, held in receiving.items()} == {
        "metrics/outbox": ["otlp_http/prometheus"],
        "metrics/unused": ["nop"],
        "logs/unused": ["nop"],
    }
    assert receiving["metrics/outbox"]["processors"] == ["filter/outbox", "transform/outbox"]
    (condition,) = processors["filter/outbox"]["metric_conditions"]
    assert condition == " and ".join(f'metric.name != "{name}"' for name in semconv.OUTBOX_METRICS)
    (statement,) = processors["transform/outbox"]["metric_statements"]
    assert ottl_strings(statement) == ["service.name", "service.namespace", "service.instance.id"]


def test_every_name_is_known() -> None:
    """No name of ours stands in the configuration that semconv doesn't have."""
    known = {value for value in vars(semconv).values() if isinstance(value, str)}
    known |= {f"{name.removesuffix('.calls')}" for name in COUNTERS.values()}
    names = set(re.findall(r"(?<![\w/.\\-])(?:otel_)?feedback\.[a-z_.]+[a-z]", TEXT))
    assert names
    assert names <= known


def test_what_may_refuse_stands_before_the_counters() -> None:
    """Only the first pipeline takes spans in, the memory limiter is its first step, and nothing is counted in it."""
    pipelines = CONFIG["service"]["pipelines"]
    receiving = [name for name, held in pipelines.items() if name.startswith("traces") and "otlp" in held["receivers"]]
    assert receiving == ["traces/in"]
    assert pipelines["traces/in"]["processors"][0] == "memory_limiter"
    assert pipelines["traces/in"]["exporters"] == ["forward/in"]
    elsewhere = [step for name, held in pipelines.items() if name != "traces/in" for step in held.get("processors", ())]
    assert "memory_limiter" not in elsewhere


@pytest.mark.parametrize("exporter", [name for name in CONFIG["exporters"] if name != "nop"])
def test_queues_never_give_up(exporter: str) -> None:
    """Every exporter has a queue on disk and tries for ever."""
    held = CONFIG["exporters"][exporter]
    assert held["sending_queue"]["storage"] == "file_storage"
    assert held["retry_on_failure"]["max_elapsed_time"] == "0s"
    assert CONFIG["extensions"]["file_storage"]["fsync"] is True


MODULES = {
    "otlp": "receiver/otlpreceiver",
    "batch": "processor/batchprocessor",
    "memory_limiter": "processor/memorylimiterprocessor",
    "filter": "processor/filterprocessor",
    "transform": "processor/transformprocessor",
    "nop": "exporter/nopexporter",
    "otlp_grpc": "exporter/otlpexporter",
    "otlp_http": "exporter/otlphttpexporter",
    "forward": "connector/forwardconnector",
    "span_metrics": "connector/spanmetricsconnector",
    "health_check": "extension/healthcheckextension",
    "file_storage": "extension/storage/filestorage",
}


def test_everything_built_is_used_and_the_other_way_round() -> None:
    """The distribution's manifest has the components that the configuration uses, all of one version."""
    manifest = yaml.safe_load((REPOSITORY / "collector" / "builder.yaml").read_text())
    kinds = ("receivers", "processors", "exporters", "connectors", "extensions")
    used = {MODULES[name.split("/")[0]] for kind in kinds for name in CONFIG[kind]}
    built = [part["gomod"].split(" v") for kind in kinds for part in manifest[kind]]
    assert sorted(module.split("/", 2)[2].removeprefix("opentelemetry-collector-contrib/") for module, _ in built) == (
        sorted(used)
    )
    assert {version for _, version in built} == {manifest["dist"]["version"]} == {versions.COLLECTOR}


def test_the_page_names_every_setting_with_its_default() -> None:
    """The table of settings is exactly the variables that the configuration reads, with their defaults."""
    page = (REPOSITORY / "collector" / "README.md").read_text()
    documented = re.findall(r"^\| `(OTEL_FEEDBACK_\w+)` \| `([^`]*)` \|", page, re.MULTILINE)
    assert sorted(documented) == sorted(set(re.findall(r"\$\{env:(\w+):-([^}]*)\}", TEXT)))
