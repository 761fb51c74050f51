"""How carriers leave: through a provider that no setting of the host touches, and never silently lost."""

import json
import logging
import subprocess
import sys
import threading

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tests.unit.capture_process import environment, receiving, to
from tests.unit.feedback_parts import Parts

from otel_feedback import _carrier, _export, _guard, semconv
from otel_feedback._carrier import SpanDelivery
from otel_feedback._export import MAX_BATCH, MAX_PENDING, exporters_from_env
from otel_feedback._feedback import MAX_COMMENT, MAX_CORRECTION, MAX_ID, MAX_REASONS
from otel_feedback._settings import Settings
from otel_feedback.exceptions import ConfigurationError, DeliveryError, MissingExtraError
from otel_feedback.testing import TEST_KEYS

OTLP_OVER_GRPC = 4 * 1024 * 1024  # the most that a receiver takes by default


@pytest.fixture(autouse=True)
def every_warning_again():
    """Each test sees its own warnings."""
    _guard.forget_warnings()


@pytest.fixture
def make():
    """Make parts over a delivery; its thread ends with the test."""
    made = []

    def make(delivery=None, **settings):
        made.append(Parts(settings=Settings(handle_keys=TEST_KEYS, **settings), delivery=delivery))
        return made[-1]

    yield make
    for parts in made:
        parts.close()


VOTES = """
import os, signal, sys
from otel_feedback._handle import HandleCodec, Keyring
from otel_feedback._recorder import Recorder
from otel_feedback._settings import Settings
from otel_feedback.testing import TEST_KEYS

codec = HandleCodec(Keyring.from_text(TEST_KEYS))
recorder = Recorder(codec=codec, settings=Settings(capture_text=True))

def vote(span_id, **details):
    handle = codec.issue(trace_id=0xA1, span_id=span_id, sampled=False, facts={})
    recorder.submit(handle, "thumbs", "up", **details)
"""


def run(code, **variables):
    """Run code with ``vote()`` in a process of its own, and return the spans that it printed."""
    done = subprocess.run(
        [sys.executable, "-c", VOTES + code],
        env=environment(**{"OTEL_TRACES_EXPORTER": "console", "OTEL_SERVICE_NAME": "host", **variables}),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    decoder, text, spans = json.JSONDecoder(), done.stdout.strip(), []
    while text:
        span, end = decoder.raw_decode(text)
        spans.append(span)
        text = text[end:].strip()
    return spans, done.stderr


def test_a_process_that_ends_at_once_loses_nothing():
    """What was recorded is exported at exit, by the exporter and with the resource that the environment names."""
    (span,), _ = run("vote(0xB2)")
    assert span["name"] == "feedback thumbs"
    assert span["resource"]["attributes"]["service.name"] == "host"


def test_limits_and_sampler_of_the_host_do_not_touch_carriers():
    """Every limit 0 and a sampler that drops everything: link, attributes, events and text are whole."""
    limits = [
        *("OTEL_ATTRIBUTE_COUNT_LIMIT", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT"),
        *("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_SPAN_EVENT_COUNT_LIMIT", "OTEL_SPAN_LINK_COUNT_LIMIT"),
        *("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT"),
    ]
    (span,), _ = run("vote(0xB2, comment='good')", OTEL_TRACES_SAMPLER="always_off", **dict.fromkeys(limits, "0"))
    assert [link["context"]["span_id"] for link in span["links"]] == ["0x00000000000000b2"]
    assert span["attributes"][semconv.ANNOTATION_EXPLANATION] == "good"
    assert span["events"][0]["attributes"][semconv.GEN_AI_EVALUATION_SCORE_LABEL] == "up"


def test_a_batch_of_the_host_that_fits_no_queue_does_not_either():
    """Nor do the host's settings of batches, which could make the SDK refuse ours."""
    spans, _ = run("vote(0xB2)", OTEL_BSP_MAX_QUEUE_SIZE="1", OTEL_BSP_SCHEDULE_DELAY="3600000")
    assert len(spans) == 1


@pytest.mark.parametrize("variable", [{"OTEL_SDK_DISABLED": "true"}, {"OTEL_TRACES_EXPORTER": "none"}])
def test_switched_off_is_off_and_says_so_once(variable):
    """Nothing is sent and nothing raised; one line says which variable does it."""
    spans, log = run("vote(0xB2)\nvote(0xB3)", **variable)
    assert spans == []
    assert log.count("feedback goes nowhere") == 1
    assert next(iter(variable)) in log


FORK = """
import warnings
warnings.simplefilter("ignore")  # the parent's export thread is what this is about
if os.environ.get("PARENT_FIRST"):
    vote(0xB2)
recorder.delivery._lock.acquire()  # as if another thread were opening it
child = os.fork()
if child:
    recorder.delivery._lock.release()
else:
    signal.alarm(20)  # a deadlock ends the child
vote(0xC0 if child == 0 else 0xD0)
assert recorder.delivery.flush(), "what waited in the parent at the fork is not the child's to send"
sys.stdout.flush()
if child:
    assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.parametrize("first", ["", "1"])
def test_parent_and_child_send_what_is_theirs(first):
    """After a fork (gunicorn) each process exports its own carriers, whether or not the parent had sent any before."""
    spans, _ = run(FORK, PARENT_FIRST=first)
    targets = sorted(span["links"][0]["context"]["span_id"][-2:] for span in spans)
    assert targets == (["b2", "c0", "d0"] if first else ["c0", "d0"])


def test_carriers_go_where_opentelemetrys_variables_say():
    """Endpoint, protocol and headers are read as by the SDK, without any code of the service."""
    with receiving() as receiver:
        run("vote(0xB2)", OTEL_EXPORTER_OTLP_HEADERS="x-team=feedback", **to(receiver))
    ((path, headers, request),) = receiver.received
    (span,) = request.resource_spans[0].scope_spans[0].spans
    assert (path, headers["x-team"], span.name) == ("/v1/traces", "feedback", "feedback thumbs")
    assert [link.span_id.hex() for link in span.links] == ["00000000000000b2"]


def test_grpc_is_the_default_as_in_the_sdk():
    """Without a protocol, and with no exporter named, it is OTLP over gRPC."""
    (exporter,) = exporters_from_env({})
    assert type(exporter).__module__.startswith("opentelemetry.exporter.otlp.proto.grpc")
    exporter.shutdown()


@pytest.mark.parametrize(
    ("environment", "match"),
    [
        ({"OTEL_TRACES_EXPORTER": "pigeon"}, "OTEL_TRACES_EXPORTER"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "smoke"}, "grpc, http/protobuf"),
    ],
)
def test_an_environment_that_names_nothing_we_have_is_an_error(environment, match):
    """The message names the variable and does not repeat its value."""
    with pytest.raises(ConfigurationError, match=match) as caught:
        exporters_from_env(environment)
    assert not any(value in str(caught.value) for value in environment.values())


def test_without_the_exporter_a_carrier_is_refused_with_the_command_that_adds_it(make, monkeypatch):
    """A missing extra is no crash: the feedback isn't safe, and the message says what to install."""
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **selection: [])
    monkeypatch.delenv("OTEL_TRACES_EXPORTER", raising=False)
    parts = make(SpanDelivery())
    with pytest.raises(DeliveryError, match=r"pip install '.*\[otlp\]'"):
        parts.submit()
    with pytest.raises(MissingExtraError):
        parts.delivery.open()


def test_an_exporter_that_cannot_be_made_is_a_configuration_error(monkeypatch):
    """Whatever its constructor raises, the message names the exporter and the variables to look at."""

    class Entry:
        def load(self):
            raise ZeroDivisionError

    monkeypatch.setattr("importlib.metadata.entry_points", lambda **selection: [Entry()])
    with pytest.raises(ConfigurationError, match=r"ZeroDivisionError.*OTEL_EXPORTER_OTLP_ENDPOINT"):
        exporters_from_env({})


def test_the_senders_resource_is_that_of_the_host(make, monkeypatch):
    """Where the host has a provider, carriers come from the same service; a given resource wins."""
    host = TracerProvider(resource=Resource({"service.name": "host"}), shutdown_on_exit=False)
    monkeypatch.setattr(_carrier.trace, "get_tracer_provider", lambda: host)
    for given, name in ((None, "host"), (Resource({"service.name": "own"}), "own")):
        exporter = InMemorySpanExporter()
        parts = make(SpanDelivery(exporter=exporter, resource=given))
        parts.submit()
        parts.delivery.flush()
        (span,) = exporter.get_finished_spans()
        assert span.resource.attributes["service.name"] == name


class Slow(SpanExporter):
    """An exporter that waits for its turn, and then does as told."""

    def __init__(self, result=SpanExportResult.SUCCESS):
        self.go = threading.Event()
        self.result = result
        self.sizes = []

    def export(self, spans):
        self.go.wait(30)
        self.sizes.append(len(spans))
        if isinstance(self.result, Exception):
            raise self.result
        return self.result

    def shutdown(self):
        """Nothing to end."""


def test_what_finds_no_room_is_refused_and_what_was_accepted_is_kept(make):
    """With the Collector away the queue fills: the next feedback gets an error and its vote stays unchanged."""
    slow = Slow()
    parts = make(SpanDelivery(exporter=slow))
    handle = parts.handle()
    parts.submit(handle=handle)
    for number in range(1, MAX_PENDING):
        parts.submit(handle=parts.handle(span_id=1000 + number))
    with pytest.raises(DeliveryError, match="Collector"):
        parts.submit("thumbs", "down", handle=handle, id="refused")
    slow.go.set()
    assert parts.delivery.flush()
    assert sum(slow.sizes) == MAX_PENDING
    assert max(slow.sizes) <= MAX_BATCH
    assert parts.submit("thumbs", "down", handle=handle, id="refused").status == "recorded"


@pytest.mark.parametrize("result", [SpanExportResult.FAILURE, RuntimeError("secret detail")])
def test_a_failing_exporter_is_noticed_and_nobody_else_is_hurt(make, caplog, result):
    """Whether it reports or raises, the service goes on; one warning says what to check and repeats no message."""
    slow = Slow(result)
    slow.go.set()
    parts = make(SpanDelivery(exporter=slow))
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert parts.submit().status == "recorded"
            assert not parts.delivery.flush()
    assert caplog.text.count("feedback was lost") == 1
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in caplog.text
    assert "secret" not in caplog.text
    slow.result = SpanExportResult.SUCCESS
    parts.submit()
    assert parts.delivery.flush(), "what came after the failure has arrived"


def test_one_of_two_exporters_may_fail_without_stopping_the_other(monkeypatch, make):
    """Where the environment names two, each gets every carrier."""
    failing, working = Slow(RuntimeError()), InMemorySpanExporter()
    failing.go.set()
    monkeypatch.setattr(_carrier, "exporters_from_env", lambda: [failing, working])
    parts = make(SpanDelivery())
    parts.submit()
    assert not parts.delivery.flush()
    assert len(working.get_finished_spans()) == 1


def test_a_shutdown_does_not_wait_for_a_collector_that_is_away(make, monkeypatch, caplog):
    """Past its deadline it tries no further batch, and says how much is lost."""
    monkeypatch.setattr(_export, "SHUTDOWN_SECONDS", -1.0)
    slow = Slow()
    slow.go.set()
    parts = make(SpanDelivery(exporter=slow))
    parts.submit()
    parts.delivery.shutdown()
    assert slow.sizes == []
    assert "1 feedbacks could not be exported" in caplog.text


def test_after_its_shutdown_a_delivery_takes_nothing(make):
    """It raises, so that nobody is told that a carrier is safe; shutting down twice is harmless."""
    parts = make()
    parts.submit()
    parts.delivery.shutdown()
    parts.delivery.shutdown()
    assert len(parts.exporter.get_finished_spans()) == 1
    with pytest.raises(DeliveryError):
        parts.submit()
    assert parts.delivery.flush()


def test_carriers_leave_soon_without_a_flush(make, monkeypatch):
    """However long the host's own batches wait: a vote shows within seconds."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "3600000")
    exported = threading.Event()

    class Telling(InMemorySpanExporter):
        def export(self, spans):
            exported.set()
            return super().export(spans)

    make(SpanDelivery(exporter=Telling())).submit()
    assert exported.wait(30)


def test_nothing_is_opened_before_the_first_carrier():
    """A service that never gets feedback has no thread of ours and no connection."""
    before = threading.active_count()
    delivery = SpanDelivery()
    assert threading.active_count() == before
    assert delivery.flush()


def test_the_largest_batch_fits_into_one_message(make):
    """As many carriers as go out at once, each as large as one can be, stay below what a receiver takes over gRPC."""
    parts = make(capture_text=True)
    wide = "\N{OLD PERSIAN SIGN A}"
    parts.submit(
        "text",
        None,
        id="~" * MAX_ID,
        reasons=[f"{number:x<64}" for number in range(MAX_REASONS)],
        comment=wide * MAX_COMMENT,
        correction=(wide * MAX_CORRECTION, wide * MAX_CORRECTION),
    )
    parts.delivery.flush()
    (span,) = parts.exporter.get_finished_spans()
    assert encode_spans([span] * MAX_BATCH).ByteSize() < OTLP_OVER_GRPC
