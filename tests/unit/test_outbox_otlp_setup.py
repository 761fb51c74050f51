"""The environment says where feedback goes: OTLP as the SDK's exporters read it, and any other exporter."""

import json
import socket
import ssl
import subprocess
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import add_TraceServiceServicer_to_server
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from tests.unit.drain_parts import (
    LATER,
    REJECTED,
    GrpcReceiver,
    HttpReceiver,
    Receiver,
    carrier,
    receiving,
    row,
    spans,
)

from otel_feedback._carrier import SpanDelivery
from otel_feedback.exceptions import ConfigurationError
from otel_feedback.outbox._encode import encode
from otel_feedback.outbox._otlp import GRPC, HTTP, OtlpOptions, transport_from_env
from otel_feedback.outbox._otlp_grpc import GrpcTransport
from otel_feedback.outbox._otlp_http import HttpTransport
from otel_feedback.outbox._rows import Row
from otel_feedback.outbox._spans import spans_of
from otel_feedback.outbox._transport import DELIVERED, REMEMBERED, ExporterTransport, Fate, Outcome, Several

PREFIX = "OTEL_EXPORTER_OTLP_"


class Ids(IdGenerator):
    def generate_trace_id(self):
        return 0xC1

    def generate_span_id(self):
        return 0xD1


@pytest.mark.parametrize("same_trace", [True, False])
@pytest.mark.parametrize("sampled", [True, False])
def test_a_row_is_the_span_that_a_direct_delivery_sends(same_trace, sampled):
    """To the last attribute, event, link, id and flag."""
    exporter = InMemorySpanExporter()
    delivery = SpanDelivery(exporter=exporter, resource=Resource({"service.name": "a"}), id_generator=Ids())
    one = carrier("f", interaction=0xC1, same_trace=same_trace, sampled=sampled, text="well")
    delivery.submit(one)
    delivery.flush()
    (direct,) = exporter.get_finished_spans()
    delivery.shutdown()
    (stored,) = spans_of([Row(1, 0, 0, 1, one, 0xC1, 0xD1, {"service.name": "a"})])
    assert json.loads(stored.to_json()) == json.loads(direct.to_json())
    assert encode([stored]) == encode_spans([direct])
    assert stored.context == direct.context
    assert stored.parent == direct.parent
    assert [link.context for link in stored.links] == [link.context for link in direct.links]
    assert stored.instrumentation_scope == direct.instrumentation_scope


def test_rows_of_one_resource_share_it():
    """The encoder groups spans by it; others keep theirs."""
    one, two = row("f", 1), row("g", 2)
    other = Row(3, 0, 0, 1, carrier("h"), 1, 2, {"service.name": "b"})
    first, second, third = spans_of([one, two, other])
    assert first.resource is second.resource
    assert third.resource.attributes == {"service.name": "b"}


def options(entry, **variables):
    return OtlpOptions.from_env(entry, {PREFIX + name: value for name, value in variables.items()})


@pytest.mark.parametrize(
    ("entry", "variables", "endpoint"),
    [
        (GRPC, {}, "http://localhost:4317"),
        (GRPC, {"ENDPOINT": "http://c:1"}, "http://c:1"),
        (GRPC, {"ENDPOINT": "http://c:1", "TRACES_ENDPOINT": "d:2"}, "d:2"),
        (GRPC, {"ENDPOINT": " "}, "http://localhost:4317"),
        (HTTP, {}, "http://localhost:4318/v1/traces"),
        (HTTP, {"ENDPOINT": "http://c:1"}, "http://c:1/v1/traces"),
        (HTTP, {"ENDPOINT": "http://c:1/x/"}, "http://c:1/x/v1/traces"),
        (HTTP, {"ENDPOINT": "http://c:1", "TRACES_ENDPOINT": "http://d:2/"}, "http://d:2/"),
    ],
)
def test_endpoint(entry, variables, endpoint):
    """That of traces as it is, before that of all signals, to which HTTP adds its path."""
    assert options(entry, **variables).endpoint == endpoint


@pytest.mark.parametrize(
    ("variables", "insecure"),
    [
        ({}, True),
        ({"ENDPOINT": "https://c:1"}, False),
        ({"ENDPOINT": "https://c:1", "INSECURE": "true"}, False),
        ({"ENDPOINT": "c:1"}, False),
        ({"ENDPOINT": "c:1", "INSECURE": "True"}, True),
        ({"ENDPOINT": "http://c:1", "INSECURE": "false"}, False),
        ({"ENDPOINT": "c:1", "INSECURE": "true", "TRACES_INSECURE": "false"}, False),
    ],
)
def test_insecure(variables, insecure):
    """The scheme of HTTPS decides, else the variable, else the scheme; without any of them TLS is used."""
    assert options(GRPC, **variables).insecure is insecure


@pytest.mark.parametrize(
    ("entry", "name", "value"),
    [
        (GRPC, "TIMEOUT", "soon"),
        (HTTP, "TIMEOUT", "-1"),
        (HTTP, "TIMEOUT", "nan"),
        (GRPC, "COMPRESSION", "deflate"),
        (HTTP, "COMPRESSION", "zstd"),
    ],
)
def test_a_value_that_cant_be_used(entry, name, value):
    """It is refused at the start, and not repeated."""
    with pytest.raises(ConfigurationError, match=PREFIX + name) as error:
        options(entry, **{name: value})
    assert value not in str(error.value)


def test_what_the_environment_names():
    """OTLP by either protocol or by its entry point, several at once, another exporter, or nothing."""
    assert isinstance(transport_from_env({}), GrpcTransport)
    assert isinstance(transport_from_env({PREFIX + "TRACES_PROTOCOL": "http/protobuf"}), HttpTransport)
    assert isinstance(transport_from_env({"OTEL_TRACES_EXPORTER": "otlp_proto_http"}), HttpTransport)
    assert isinstance(transport_from_env({"OTEL_TRACES_EXPORTER": "console"}), ExporterTransport)
    assert isinstance(transport_from_env({"OTEL_TRACES_EXPORTER": "otlp, console"}), Several)
    assert transport_from_env({"OTEL_TRACES_EXPORTER": "none"}) is None
    for wrong in ({"OTEL_TRACES_EXPORTER": "carrier-pigeon"}, {PREFIX + "PROTOCOL": "http/json"}):
        with pytest.raises(ConfigurationError):
            transport_from_env(wrong)


@pytest.mark.parametrize("kind", ["GRPC", "HTTP"])
def test_a_credential_provider_that_is_not_there(kind):
    """It is found at the start."""
    entry = f"otlp_proto_{kind.lower()}"
    variable = f"OTEL_PYTHON_EXPORTER_OTLP_{kind}_CREDENTIAL_PROVIDER"
    environ = {"OTEL_TRACES_EXPORTER": entry, variable: "nobody", PREFIX + "ENDPOINT": "https://c:1"}
    with pytest.raises(ConfigurationError, match="CREDENTIAL_PROVIDER"):
        transport_from_env(environ)


@pytest.mark.parametrize("kind", ["GRPC", "HTTP"])
def test_a_credential_provider_of_the_wrong_kind(kind, monkeypatch):
    """It is found at the start, too."""
    monkeypatch.setattr(OtlpOptions, "provided", lambda _: "a password")
    environ = {"OTEL_TRACES_EXPORTER": f"otlp_proto_{kind.lower()}", PREFIX + "ENDPOINT": "https://c:1"}
    environ[f"OTEL_PYTHON_EXPORTER_OTLP_{kind}_TRACES_CREDENTIAL_PROVIDER"] = "some"
    with pytest.raises(ConfigurationError, match="must give") as error:
        transport_from_env(environ)
    assert "password" not in str(error.value)


def test_a_certificate_that_cant_be_read():
    """It is found at the start, and its path is not repeated."""
    environ = {PREFIX + "ENDPOINT": "https://c:1", PREFIX + "CERTIFICATE": "/nowhere/ca.pem"}
    with pytest.raises(ConfigurationError, match="CERTIFICATE") as error:
        transport_from_env(environ)
    assert "nowhere" not in str(error.value)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate of this machine that signs itself, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    words = "openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=localhost"
    subprocess.run(
        [*words.split(), "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    return folder / "cert.pem", folder / "key.pem"


def own_certificate(certificate):
    cert, key = certificate
    return {
        PREFIX + "CERTIFICATE": str(cert),
        PREFIX + "CLIENT_KEY": str(key),
        PREFIX + "CLIENT_CERTIFICATE": str(cert),
    }


def test_http_with_certificates_of_both_sides(certificate):
    """The receiver is known by its certificate and asks for ours; without it, feedback waits."""
    cert, key = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    context.load_verify_locations(cert)
    context.verify_mode = ssl.CERT_REQUIRED
    with receiving(HttpReceiver) as receiver:
        receiver.server.handle_error = lambda *_: None
        receiver.server.socket = context.wrap_socket(receiver.server.socket, server_side=True)
        url = {"OTEL_TRACES_EXPORTER": HTTP, PREFIX + "ENDPOINT": receiver.url.replace("http:", "https:")}
        trusted = transport_from_env(url | own_certificate(certificate))
        assert trusted.send(spans("f")) is DELIVERED
        trusted.close()
        stranger = transport_from_env(url)
        assert stranger.send(spans("f")) == Outcome(Fate.LATER, "can't be reached")
        stranger.close()


def test_grpc_with_certificates_of_both_sides(certificate):
    """The same over gRPC."""
    cert, key = certificate
    server = grpc.server(ThreadPoolExecutor(2))
    receiver = GrpcReceiver.__new__(GrpcReceiver)
    receiver.answers, receiver.got, receiver.metadata = [], [], []
    add_TraceServiceServicer_to_server(receiver, server)
    credentials = grpc.ssl_server_credentials(
        [(key.read_bytes(), cert.read_bytes())], cert.read_bytes(), require_client_auth=True
    )
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    try:
        url = {PREFIX + "ENDPOINT": f"https://localhost:{port}", PREFIX + "TIMEOUT": "5"}
        trusted = transport_from_env(url | own_certificate(certificate))
        assert trusted.send(spans("f")) is DELIVERED
        trusted.close()
        assert transport_from_env(url).send(spans("f")) == Outcome(Fate.LATER, "gRPC UNAVAILABLE")
    finally:
        server.stop(None).wait()
    assert receiver.got == [["f"]]


class Exporter(InMemorySpanExporter):
    """An exporter that does what a test says first."""

    def __init__(self, *results):
        super().__init__()
        self.results = list(results)

    def export(self, sent):
        result = self.results.pop(0) if self.results else SpanExportResult.SUCCESS
        if isinstance(result, Exception):
            raise result
        return super().export(sent) if result is SpanExportResult.SUCCESS else result


def test_any_exporter():
    """One that fails, or raises, is tried again; its words are not repeated."""
    exporter = Exporter(SpanExportResult.FAILURE, ValueError("secret"))
    transport = ExporterTransport(lambda: exporter, "mine")
    assert transport.send(spans("f")) == Outcome(Fate.LATER, "exporter mine reported a failure")
    assert transport.send(spans("f")) == Outcome(Fate.LATER, "exporter mine raised ValueError")
    assert transport.send(spans("f")) is DELIVERED
    assert len(exporter.get_finished_spans()) == 1
    transport.close()
    transport.close()


def test_another_exporter_of_the_environment(monkeypatch):
    """It is tried out when it is named, made by the first batch, and made again after it was closed."""
    made = []

    def make(environ):
        made.append((environ["OTEL_TRACES_EXPORTER"], InMemorySpanExporter()))
        return [made[-1][1]]

    monkeypatch.setattr("otel_feedback.outbox._otlp.exporters_from_env", make)
    transport = transport_from_env({"OTEL_TRACES_EXPORTER": "console,none"})
    assert [name for name, _ in made] == ["console"]
    for _ in range(2):
        assert transport.send(spans("f")) is DELIVERED
        transport.close()
    assert [name for name, _ in made] == ["console"] * 3
    assert all(exporter._stopped for _, exporter in made)


def test_several_take_each_span_once():
    """What one of them has is not sent to it again while another is away, also in other batches."""
    one, two = Receiver(), Receiver(LATER, LATER)
    both = Several([one, two])
    assert both.send(spans("f", "g")) == LATER
    assert both.send(spans("f")) == LATER
    assert both.send(spans("f", "g", "h")) is DELIVERED
    assert one.batches == [["f", "g"], ["h"]]
    assert two.batches == [["f", "g"], ["f"], ["f", "g", "h"]]
    both.close()
    assert one.closed == two.closed == 1


def test_several_tell_the_worst():
    """Later goes before rejected, and the longest wait counts."""
    patient = Outcome(Fate.LATER, "HTTP 429", 9)
    assert Several([Receiver(REJECTED), Receiver(LATER), Receiver(patient)]).send(spans("f")) == patient
    assert Several([Receiver(), Receiver(REJECTED)]).send(spans("f")) == REJECTED


def test_several_forget():
    """However long one of them is away, what is remembered is bounded."""
    both = Several([Receiver(), Receiver(*[LATER] * 10)])
    rows = [row(f"f{number}", number) for number in range(1, REMEMBERED + 3)]
    both.send(spans_of(rows))
    assert len(both._taken[0]) == REMEMBERED


def test_nothing_is_connected_before_the_first_batch():
    """Not even by making the transport."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        for entry in (GRPC, HTTP):
            url = f"http://127.0.0.1:{server.getsockname()[1]}"
            transport_from_env({"OTEL_TRACES_EXPORTER": entry, PREFIX + "ENDPOINT": url})
        with pytest.raises(TimeoutError):
            server.accept()
