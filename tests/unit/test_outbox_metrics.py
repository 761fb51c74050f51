"""Gauges of an outbox: what they say, of whom, and that they never trouble their host."""

import gc

import pytest
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, InMemoryMetricReader, MetricExportResult
from opentelemetry.sdk.resources import Resource
from tests.unit.drain_parts import filled

from otel_feedback import semconv
from otel_feedback.exceptions import ConfigurationError, DeliveryError
from otel_feedback.outbox._metrics import make_meter_provider, register_outbox_metrics
from otel_feedback.outbox._rows import Counts

SECOND = 10**9


class Queue:
    """Stands as a test says, and counts how often it is asked."""

    def __init__(self, counts=None):
        self.stands, self.asked = counts or Counts(3, 300, 100 * SECOND, 2, {}), 0

    def counts(self):
        self.asked += 1
        if isinstance(self.stands, Exception):
            raise self.stands
        return self.stands


class Watch:
    """A clock that a test sets."""

    now = 160 * SECOND

    def __call__(self):
        return self.now


@pytest.fixture
def read():
    """Register a queue, and read what its gauges say, by name."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)

    def register(queue, clock):
        register_outbox_metrics(queue, provider.get_meter("test"), clock=clock)

        def observed():
            data = reader.get_metrics_data()
            scopes = [scope for each in data.resource_metrics for scope in each.scope_metrics] if data else []
            return {one.name: (one.unit, one.data.data_points) for scope in scopes for one in scope.metrics}

        return observed

    yield register
    provider.shutdown()


def values(observed):
    return {name: points[0].value for name, (_, points) in observed().items() if points}


def test_what_they_say(read, own_process):
    """Depth, age of the oldest in seconds, and what was set aside, by one look, with the id of this process."""
    queue = Queue()
    found = read(queue, Watch())()
    assert {name: (unit, points[0].value) for name, (unit, points) in found.items()} == {
        semconv.METRIC_OUTBOX_DEPTH: ("{feedback}", 3),
        semconv.METRIC_OUTBOX_AGE: ("s", 60.0),
        semconv.METRIC_OUTBOX_SET_ASIDE: ("{feedback}", 2),
    }
    assert tuple(found) == semconv.OUTBOX_METRICS
    assert queue.asked == 1
    ids = {points[0].attributes[semconv.OUTBOX_PROCESS] for _, points in found.values()}
    assert len(ids) == 1
    assert [list(points[0].attributes) for _, points in found.values()] == [[semconv.OUTBOX_PROCESS]] * 3


def test_each_reading_looks_again(read, own_process):
    """And an empty queue has no age, nor has one whose clock was set back."""
    queue, watch = Queue(), Watch()
    observed = read(queue, watch)
    assert values(observed)[semconv.METRIC_OUTBOX_DEPTH] == 3
    queue.stands = Counts(0, 0, None, 0, {})
    watch.now += SECOND
    assert list(values(observed).values()) == [0, 0.0, 0]
    queue.stands, watch.now = Counts(1, 1, 500 * SECOND, 0, {}), 0
    assert values(observed)[semconv.METRIC_OUTBOX_AGE] == 0.0


def test_a_file_that_cant_be_read(read, own_process):
    """It has no numbers, rather than wrong or old ones, and raises nothing into its host."""
    queue, watch = Queue(), Watch()
    observed = read(queue, watch)
    assert len(values(observed)) == 3
    queue.stands = DeliveryError("The outbox can't be read.")
    watch.now += SECOND
    assert values(observed) == {}


def test_an_outbox_that_is_gone(read, own_process):
    """Its gauges don't keep it alive, and say nothing more."""
    queue = Queue()
    observed = read(queue, Watch())
    del queue
    gc.collect()
    assert values(observed) == {}


def test_a_real_outbox(tmp_path, read, own_process):
    """Its own counts are what is read."""
    outbox = filled(tmp_path, "a", "b", clock=lambda: 100 * SECOND)
    observed = read(outbox, Watch())
    assert list(values(observed).values()) == [2, 60.0, 0]
    outbox.close()


def test_a_forked_process_has_an_id_of_its_own(read, own_process, monkeypatch):
    """The numbers of several workers don't overwrite each other."""
    queue, watch = Queue(), Watch()
    observed = read(queue, watch)
    (_, (first,)) = observed()[semconv.METRIC_OUTBOX_DEPTH]
    monkeypatch.setattr("os.getpid", lambda: 1)
    points = observed()[semconv.METRIC_OUTBOX_DEPTH][1]
    assert first.attributes not in [point.attributes for point in points]


def test_the_global_meter(own_process):
    """It is used where none is given, without a provider being set."""
    queue, before = Queue(), metrics.get_meter_provider()
    register_outbox_metrics(queue)
    assert metrics.get_meter_provider() is before
    assert queue.asked == 0


@pytest.mark.parametrize("names", ["none", "NONE", "none,none", " , "])
def test_no_exporter(names):
    """Nothing is made, so that nothing is sent."""
    assert make_meter_provider(Resource({}), {"OTEL_METRICS_EXPORTER": names}) is None


def test_an_exporter_that_is_not_there():
    """It is found at the start."""
    with pytest.raises(ConfigurationError, match="OTEL_METRICS_EXPORTER"):
        make_meter_provider(Resource({}), {"OTEL_METRICS_EXPORTER": "carrier-pigeon"})
    with pytest.raises(ConfigurationError, match="PROTOCOL"):
        make_meter_provider(Resource({}), {"OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "smoke"})


def test_a_provider_of_our_own(monkeypatch):
    """It exports where it is told, under an id of its own, and is not the global one."""
    sent = []

    def export(_, data, **__):
        sent.extend(data.resource_metrics)
        return MetricExportResult.SUCCESS

    monkeypatch.setattr(ConsoleMetricExporter, "export", export)
    provider = make_meter_provider(Resource({"service.name": "c"}), {"OTEL_METRICS_EXPORTER": "console"})
    queue = Queue()
    register_outbox_metrics(queue, provider.get_meter("test"))
    provider.force_flush()
    provider.shutdown()
    assert metrics.get_meter_provider() is not provider
    attributes = sent[0].resource.attributes
    assert attributes["service.name"] == "c"
    assert len(attributes["service.instance.id"]) == 16
