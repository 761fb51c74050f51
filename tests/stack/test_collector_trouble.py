"""The real Collector in trouble: Jaeger or Prometheus away, queues full, memory short, killed in between."""

import urllib.error
from pathlib import Path

import pytest
from stack.client import wait_until
from stack.parts import Parts
from stack.processes import Stack
from tests.stack import otlp

VOTES = 'sum(increase(feedback_template_calls_total{feedback_prompt_name="%s"}[10m] anchored))'
INTERACTIONS = 'sum(increase(feedback_interaction_template_calls_total{feedback_prompt_name="%s"}[10m] anchored))'


def wait_votes(stack: Stack, template: str, expected: int) -> None:
    stack.wait_until(lambda: stack.value(VOTES % template) == expected, f"{expected} votes of {template}")


def settled_votes(stack: Stack, template: str) -> float | None:
    """Return the votes of a template when everything sent before has been counted."""
    marker = f"marker {otlp.trace_id()}"
    otlp.send(stack.otlp_http, otlp.vote(marker))
    wait_votes(stack, marker, 1)
    return stack.value(VOTES % template)


def test_jaeger_dead_and_its_queue_full(parts: Parts, tmp_path: Path) -> None:
    """With Jaeger dead and its queue full nothing is refused; votes and interactions count exactly once each.

    Carriers wait in their own queue, and are in Jaeger once it is back.
    """
    with Stack(tmp_path, parts=parts, env={"OTEL_FEEDBACK_COLLECTOR_JAEGER_QUEUE": "3"}) as stack:
        stack.jaeger_process.kill()
        dropped = 'sum(otelcol_exporter_enqueue_failed_spans_total{exporter="otlp_grpc/jaeger"})'
        sent = 0

        def queue_full() -> bool:
            nonlocal sent
            otlp.send(stack.otlp_http, *(otlp.interaction("full") for _ in range(10)))
            sent += 10
            return (stack.value(dropped) or 0) > 0

        stack.wait_until(queue_full, "a full queue")
        trace = otlp.trace_id()
        for _ in range(20):
            otlp.send(stack.otlp_http, otlp.vote("full", trace=trace), otlp.interaction("full"), otlp.span({"x": 1}))
        assert settled_votes(stack, "full") == 20
        assert stack.value(INTERACTIONS % "full") == sent + 20
        stack.jaeger_process.start()
        stack.wait_until(lambda: len(stack.trace(trace)) == 20, "the carriers in Jaeger", timeout=60)


def test_killed_with_jaeger_away(fresh_stack: Stack) -> None:
    """What waits for Jaeger is on disk: it arrives after the Collector was killed and both are back.

    Votes that were flushed before the kill are neither lost nor doubled in Prometheus.
    """
    fresh_stack.jaeger_process.stop()
    trace = otlp.trace_id()
    for _ in range(12):
        otlp.send(fresh_stack.otlp_http, otlp.vote("killed", trace=trace), otlp.span({"x": 1}, trace=trace))
    wait_votes(fresh_stack, "killed", 12)
    fresh_stack.collector.kill()
    fresh_stack.collector.start()
    otlp.send(fresh_stack.otlp_http, *(otlp.vote("killed") for _ in range(5)))
    wait_votes(fresh_stack, "killed", 17)
    fresh_stack.jaeger_process.start()
    fresh_stack.wait_until(lambda: len(fresh_stack.trace(trace)) == 24, "all spans in Jaeger", timeout=60)
    assert settled_votes(fresh_stack, "killed") == 17


def test_prometheus_away(fresh_stack: Stack) -> None:
    """Votes that come while Prometheus is away are in the numbers once it is back, even if the Collector was killed."""
    otlp.send(fresh_stack.otlp_http, otlp.vote("away"))
    wait_votes(fresh_stack, "away", 1)
    fresh_stack.prometheus_process.stop()
    otlp.send(fresh_stack.otlp_http, *(otlp.vote("away") for _ in range(7)))
    queue = fresh_stack.collector.queue_folder / "exporter_otlp_http_prometheus_metrics"
    # The counters' next flush has to be on disk before the kill: the file then changes at every flush.
    seen = queue.stat().st_mtime_ns
    for _ in range(3):
        seen = wait_until(lambda seen=seen: _newer(queue, seen), "a flush on disk")
    fresh_stack.collector.kill()
    fresh_stack.prometheus_process.start()
    fresh_stack.collector.start()
    wait_votes(fresh_stack, "away", 8)
    assert settled_votes(fresh_stack, "away") == 8


def _newer(path: Path, seen: int) -> int:
    changed = path.stat().st_mtime_ns
    return changed if changed > seen else 0


def test_short_of_memory_it_refuses_before_it_counts(fresh_stack: Stack) -> None:
    """A Collector short of memory refuses a batch as something to repeat, and has counted none of it."""
    fresh_stack.collector.stop()
    fresh_stack.collector.start(OTEL_FEEDBACK_COLLECTOR_MEMORY_MIB="2")
    fresh_stack.wait_until(lambda: "Memory usage is above" in fresh_stack.collector.log(), "the limiter")
    with pytest.raises(urllib.error.HTTPError) as refusal:
        otlp.send(fresh_stack.otlp_http, otlp.vote("short"), otlp.interaction("short"))
    refusal.value.close()
    assert refusal.value.code == 503
    fresh_stack.collector.stop()
    fresh_stack.collector.start(OTEL_FEEDBACK_COLLECTOR_MEMORY_MIB="1024")
    otlp.send(fresh_stack.otlp_http, otlp.vote("short"), otlp.interaction("short"))
    wait_votes(fresh_stack, "short", 1)
    assert settled_votes(fresh_stack, "short") == 1
    assert fresh_stack.value(INTERACTIONS % "short") == 1
