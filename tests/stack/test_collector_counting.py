"""What the real Collector counts, and that whatever it counts or not reaches Jaeger."""

import time
from pathlib import Path

from stack.client import span_tags
from stack.parts import Parts
from stack.processes import Stack
from tests.stack import otlp

from otel_feedback import semconv

COUNTERS = {
    "template": "feedback_template_calls_total",
    "model": "feedback_model_calls_total",
    "interaction_template": "feedback_interaction_template_calls_total",
    "interaction_model": "feedback_interaction_model_calls_total",
}


def counted(stack: Stack, template: str) -> dict[str, float]:
    """Return by counter how often a template was counted."""
    label = {
        name: f'feedback_model="model of {template}"' if "model" in name else f'feedback_prompt_name="{template}"'
        for name in COUNTERS
    }
    return {
        name: value
        for name, metric in COUNTERS.items()
        if (value := stack.value(f"sum({metric}{{{label[name]}}})")) is not None
    }


def wait_counted(stack: Stack, template: str, expected: dict[str, float]) -> None:
    stack.wait_until(lambda: counted(stack, template) == expected, f"{template} counted as {expected}")


def settle(stack: Stack) -> None:
    """Return when everything that was sent before has been counted: a vote that is sent now is counted after it."""
    marker = f"marker {otlp.trace_id()}"
    otlp.send(stack.otlp_http, otlp.vote(marker), otlp.interaction(marker))
    wait_counted(stack, marker, dict.fromkeys(COUNTERS, 1))


def test_a_vote_is_counted_and_leads_to_its_trace(stack: Stack) -> None:
    """One carrier is one in both vote counters, with every label, an exemplar of its trace, and it is in Jaeger."""
    before = time.time()
    carrier = otlp.vote("one vote")
    otlp.send(stack.otlp_http, carrier)
    wait_counted(stack, "one vote", {"template": 1, "model": 1})

    (series,) = stack.query(f'{COUNTERS["template"]}{{feedback_prompt_name="one vote"}}')
    assert series["metric"].pop("collector_instance_id")
    assert series["metric"] == {
        "__name__": COUNTERS["template"],
        "job": "otel-feedback",
        "feedback_prompt_name": "one vote",
        "feedback_prompt_version": "1",
        "feedback_service_name": "shop",
        "feedback_service_namespace": "web",
        "feedback_environment": "test",
        "feedback_kind": "explicit",
        "feedback_signal": "thumbs",
        "feedback_sentiment": "positive",
        "feedback_previous_sentiment": "unset",
        "feedback_first": "true",
        "feedback_target_sampled": "true",
    }
    (by_model,) = stack.query(f'{COUNTERS["model"]}{{feedback_model="model of one vote"}}')
    assert by_model["metric"]["feedback_query_type"] == "how-to"

    (found,) = stack.prometheus_client.exemplars(
        f'{COUNTERS["template"]}{{feedback_prompt_name="one vote"}}', start=before - 60, end=time.time() + 60
    )
    assert [one["labels"] for one in found["exemplars"]] == [
        {"trace_id": carrier["traceId"], "span_id": carrier["spanId"]}
    ]
    (span,) = stack.wait_until(lambda: stack.trace(carrier["traceId"]), "the vote in Jaeger")
    assert span_tags(span)[semconv.FEEDBACK_SENTIMENT] == semconv.POSITIVE


def test_the_exemplar_of_a_late_vote_leads_to_its_answer(stack: Stack) -> None:
    """A carrier in a trace of its own has the answer's ids as exemplar; its own, where the answer was not sampled."""
    before = time.time()
    answer = {
        semconv.FEEDBACK_TARGET_TRACE_ID: "0af7651916cd43dd8448eb211c80319c",
        semconv.FEEDBACK_TARGET_SPAN_ID: "b7ad6b7169203331",
    }
    late = otlp.vote("late vote", attributes=answer)
    unsampled = otlp.vote("late vote, unsampled", attributes={**answer, semconv.FEEDBACK_TARGET_SAMPLED: False})
    otlp.send(stack.otlp_http, late, unsampled)
    for name, ids in (
        (
            "late vote",
            {"trace_id": answer[semconv.FEEDBACK_TARGET_TRACE_ID], "span_id": answer[semconv.FEEDBACK_TARGET_SPAN_ID]},
        ),
        ("late vote, unsampled", {"trace_id": unsampled["traceId"], "span_id": unsampled["spanId"]}),
    ):
        wait_counted(stack, name, {"template": 1, "model": 1})
        (found,) = stack.prometheus_client.exemplars(
            f'{COUNTERS["template"]}{{feedback_prompt_name="{name}"}}', start=before - 60, end=time.time() + 60
        )
        assert [one["labels"] for one in found["exemplars"]] == [ids]
    assert stack.wait_until(lambda: stack.trace(late["traceId"]), "the carrier in Jaeger, in its own trace")


def test_the_first_vote_of_a_template_is_an_increase(stack: Stack) -> None:
    """A new series starts at zero, so that `increase(... anchored)` sees its first vote, to the vote."""
    otlp.send(stack.otlp_http, *(otlp.vote("first votes") for _ in range(3)))
    query = f'sum(increase({COUNTERS["template"]}{{feedback_prompt_name="first votes"}}[5m] anchored))'
    assert stack.wait_until(lambda: stack.value(query), "the increase") == 3


def test_an_interaction_is_counted(stack: Stack) -> None:
    """A span that says it can be judged is one in both interaction counters; facts it lacks read `unknown`."""
    otlp.send(stack.otlp_http, otlp.interaction("asked"))
    wait_counted(stack, "asked", {"interaction_template": 1, "interaction_model": 1})
    (series,) = stack.query(f'{COUNTERS["interaction_model"]}{{feedback_model="model of asked"}}')
    assert series["metric"]["feedback_query_type"] == semconv.UNKNOWN
    assert series["metric"]["feedback_service_name"] == semconv.UNKNOWN


def test_a_bare_inference_is_counted_by_the_model_that_answered(stack: Stack) -> None:
    """An inference that is itself the interaction has its response's exact model, as the votes on it have."""
    answered = {semconv.FEEDBACK_MODEL: "asked-for", semconv.GEN_AI_RESPONSE_MODEL: "model of bare"}
    otlp.send(stack.otlp_http, otlp.interaction("bare", attributes=answered))
    wait_counted(stack, "bare", {"interaction_template": 1, "interaction_model": 1})


def test_other_spans_are_not_counted_and_reach_jaeger(stack: Stack) -> None:
    """A span that is neither interaction nor carrier is in Jaeger and in no counter, whatever facts it has."""
    other = otlp.span({semconv.FEEDBACK_PROMPT_NAME: "plain", semconv.FEEDBACK_MODEL: "model of plain"})
    denied = otlp.interaction("plain", attributes={semconv.FEEDBACK_INTERACTION: False})
    otlp.send(stack.otlp_http, other, denied)
    for span in (other, denied):
        assert stack.wait_until(lambda span=span: stack.trace(span["traceId"]), "the span in Jaeger")
    settle(stack)
    assert counted(stack, "plain") == {}


def test_a_mixed_batch(stack: Stack) -> None:
    """A batch may mix carriers, interactions and others: each is counted as what it is, all are in Jaeger once."""
    trace = otlp.trace_id()
    spans = [
        otlp.interaction("mixed", trace=trace),
        otlp.vote("mixed", trace=trace),
        otlp.span({"x": 1}, trace=trace),
        otlp.vote("mixed", semconv.NEGATIVE, semconv.POSITIVE, trace=trace),
    ]
    otlp.send(stack.otlp_http, *spans)
    wait_counted(stack, "mixed", {"template": 2, "model": 2, "interaction_template": 1, "interaction_model": 1})
    stack.wait_until(lambda: len(stack.trace(trace)) == 4, "four spans in Jaeger")


def test_a_hostile_tracestate_counts_as_one(stack: Stack) -> None:
    """A sampling threshold that a caller writes into its tracestate multiplies nothing."""
    otlp.send(
        stack.otlp_http,
        otlp.interaction("hostile", traceState="ot=th:ffffffffff"),
        otlp.vote("hostile", traceState="ot=th:ffffffffff"),
    )
    wait_counted(stack, "hostile", dict.fromkeys(COUNTERS, 1))


def test_resources_make_no_series(stack: Stack) -> None:
    """A restarted process, another host and a resource without a service name are one series, not four."""
    for resource in (
        {"service.name": "capture", "service.instance.id": "a"},
        {"service.name": "capture", "service.instance.id": "b"},
        {"service.name": "shop", "host.name": "h"},
        {},
    ):
        otlp.send(stack.otlp_http, otlp.vote("restarted"), resource=resource)
    wait_counted(stack, "restarted", {"template": 4, "model": 4})
    assert len(stack.query(f'{COUNTERS["template"]}{{feedback_prompt_name="restarted"}}')) == 1


def test_a_huge_value_is_a_label_of_bounded_length(stack: Stack) -> None:
    """A fact of a megabyte is counted, under its first 256 bytes."""
    otlp.send(stack.otlp_http, otlp.vote("h" * 1_000_000))
    wait_counted(stack, "h" * 256, {"template": 1})


def test_overflow_shows(parts: Parts, tmp_path: Path) -> None:
    """Beyond the limit every combination still counts, in one series whose label says that the limit was reached."""
    with Stack(tmp_path, parts=parts, env={"OTEL_FEEDBACK_COLLECTOR_CARDINALITY": "5"}) as stack:
        otlp.send(stack.otlp_http, *(otlp.vote(f"template {number}") for number in range(20)))
        overflow = f'{COUNTERS["template"]}{{otel_metric_overflow="true"}}'
        assert stack.wait_until(lambda: stack.value(overflow), "the overflow") == 15
        assert stack.value(f"sum({COUNTERS['template']})") == 20


def test_two_collectors_count_apart(fresh_stack: Stack) -> None:
    """Two Collectors before one Prometheus write series of their own: the sum is the truth."""
    second = fresh_stack.add_collector("second")
    for number in range(30):
        otlp.send(fresh_stack.otlp_http if number % 2 else second.otlp_http, otlp.vote("twice"))
    wait_counted(fresh_stack, "twice", {"template": 30, "model": 30})
    assert len(fresh_stack.query(f'{COUNTERS["template"]}{{feedback_prompt_name="twice"}}')) == 2


def test_metrics_and_logs_of_a_service_are_accepted(stack: Stack) -> None:
    """A service's SDK that also sends metrics and logs, as it does by default, gets no error; neither is kept."""
    attributes = [{"key": "service.name", "value": {"stringValue": "shop"}}]
    point = {"timeUnixNano": str(time.time_ns()), "asInt": "1"}
    metric = {"name": "unwanted", "gauge": {"dataPoints": [point]}}
    scope_metrics = [{"scope": {"name": "test"}, "metrics": [metric]}]
    otlp.post(
        f"{stack.otlp_http}/v1/metrics",
        {"resourceMetrics": [{"resource": {"attributes": attributes}, "scopeMetrics": scope_metrics}]},
    )
    record = {"timeUnixNano": str(time.time_ns()), "body": {"stringValue": "unwanted"}}
    otlp.post(
        f"{stack.otlp_http}/v1/logs",
        {"resourceLogs": [{"resource": {"attributes": attributes}, "scopeLogs": [{"logRecords": [record]}]}]},
    )
    settle(stack)
    assert stack.query("unwanted") == []


def test_the_collectors_own_metrics_are_in_prometheus(stack: Stack) -> None:
    """What the Collector queues, refuses and drops is where the dashboards are."""
    otlp.send(stack.otlp_http, otlp.vote("own metrics"))
    for metric in ("otelcol_exporter_queue_size", "otelcol_processor_outgoing_items_total"):
        query = f'{metric}{{job="otel-feedback-collector"}}'
        assert stack.wait_until(lambda query=query: stack.query(query), metric)
