"""An outbox over the real Collector: what waits arrives in Jaeger, and what it says of itself is in Prometheus."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from dashboards import collector_metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from stack.processes import Stack
from tests.stack import otlp
from tests.unit.drain_parts import carrier

from otel_feedback import semconv
from otel_feedback.outbox import Outbox
from otel_feedback.outbox._metrics import make_meter_provider, register_outbox_metrics
from otel_feedback.outbox._otlp import transport_from_env
from otel_feedback.outbox._sender import Sender

# As the panels of Pipeline health ask for them.
DEPTH = collector_metrics.outbox(f'{collector_metrics.OUTBOX_DEPTH}{{job="%s"}}')
AGE = collector_metrics.outbox(f'{collector_metrics.OUTBOX_AGE}{{job="%s"}}')
SET_ASIDE = collector_metrics.outbox(f'{collector_metrics.OUTBOX_SET_ASIDE}{{job="%s"}}')


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    made = Outbox(tmp_path / "outbox.db", resource=Resource({"service.name": "capture"}))
    yield made
    made.close()


def reporting(outbox: Outbox, stack: Stack, job: str, protocol: str = "grpc") -> MeterProvider:
    """A provider that reports of an outbox, and of a metric that nobody wants."""
    endpoint = f"http://{stack.otlp_grpc}" if protocol == "grpc" else stack.otlp_http
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        patched.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
        provider = make_meter_provider(Resource({"service.name": job, "host.name": "secret-host"}))
    assert provider is not None
    meter = provider.get_meter(semconv.SCOPE)
    register_outbox_metrics(outbox, meter)
    meter.create_up_down_counter("otel_feedback.outbox.other").add(5)
    meter.create_up_down_counter("nobodys").add(5)
    return provider


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_exactly_three_gauges_reach_prometheus(stack: Stack, outbox: Outbox, protocol: str) -> None:
    """Under the names that dashboards and alerts ask for; no other metric of the service, and nothing of its host."""
    job = f"outbox-{protocol[:4]}"
    for name in ("a", "b", "c"):
        outbox.submit(carrier(name))
    numbers = [row.number for row in outbox.oldest(most=9, most_bytes=1 << 20)]
    outbox.set_aside(numbers.pop(), "HTTP 400")
    provider = reporting(outbox, stack, job, protocol)
    provider.force_flush()
    stack.wait_until(lambda: stack.value(DEPTH % job) == 2, "the depth")
    assert stack.value(SET_ASIDE % job) == 1
    assert 0 <= (stack.value(AGE % job) or 0) < 60
    outbox.delivered(numbers)
    stack.wait_until(lambda: provider.force_flush() and stack.value(DEPTH % job) == 0, "the depth")
    assert stack.value(AGE % job) == 0
    provider.shutdown()
    assert stack.value(f'count({{job="{job}"}})') == 3
    assert stack.value('count({__name__=~"nobodys.*|otel_feedback_outbox_other.*"})') is None
    assert stack.value('count({host_name="secret-host"})') is None


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_what_waits_arrives(stack: Stack, outbox: Outbox, tmp_path: Path, protocol: str) -> None:
    """By either protocol, in the real Collector and then in Jaeger, each once."""
    trace = otlp.trace_id()
    for number in range(20):
        outbox.submit(carrier(f"{protocol}-{number}", interaction=int(trace, 16), same_trace=True))
    endpoint = f"http://{stack.otlp_grpc}" if protocol == "grpc" else stack.otlp_http
    transport = transport_from_env({"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol})
    assert transport is not None
    assert Sender(outbox, transport, lock_path=tmp_path / "lock").drain(30)
    stack.wait_until(lambda: len(stack.trace(trace)) == 20, "the carriers in Jaeger")


def test_a_collector_that_was_away(fresh_stack: Stack, outbox: Outbox, tmp_path: Path) -> None:
    """What came meanwhile arrives once it is back, and nothing twice: it never had it."""
    fresh_stack.collector.kill()
    trace = otlp.trace_id()
    for number in range(30):
        outbox.submit(carrier(f"away-{number}", interaction=int(trace, 16), same_trace=True))
    transport = transport_from_env({"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{fresh_stack.otlp_grpc}"})
    assert transport is not None
    sender = Sender(outbox, transport, lock_path=tmp_path / "lock", chance=lambda: 0.2)
    sender.start()
    fresh_stack.wait_until(lambda: sender._failures > 3, "trouble")
    assert outbox.counts().depth == 30
    fresh_stack.collector.start()
    fresh_stack.wait_until(lambda: outbox.counts().depth == 0, "an empty outbox", timeout=60)
    sender.stop(5)
    fresh_stack.wait_until(lambda: len(fresh_stack.trace(trace)) == 30, "the carriers in Jaeger")
