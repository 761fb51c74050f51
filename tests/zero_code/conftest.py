"""Real services under ``opentelemetry-instrument``, a stand-in for their model provider, and a sink for their spans."""

import contextlib
import gzip
import json
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from examples.servers import free_addresses, make_provider
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from stack.client import wait_until
from stack.ports import choose_free
from stack.processes import HOST, Process

from otel_feedback import semconv
from otel_feedback._handle import Handle, HandleCodec
from otel_feedback._keys import Keyring

APPS = Path(__file__).parent / "apps"
PROGRAMS = Path(sys.executable).parent
MODEL = "extract-1-2026-08-01"
OURS = ("feedback-handle", "access-control-expose-headers", "cache-control")


@dataclass(frozen=True)
class Span:
    """What a test looks at of a span that a service exported."""

    name: str
    kind: str
    trace_id: int
    span_id: int
    parent_id: int
    scope: str
    attributes: Mapping[str, Any]


class Sink:
    """An OTLP/HTTP receiver that keeps every span."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                data = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    data = gzip.decompress(data)
                sink.spans.extend(_spans(ExportTraceServiceRequest.FromString(data)))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer((HOST, 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://{HOST}:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def span(self, span_id: int) -> Span:
        """Wait for a span."""

        def found() -> Span | None:
            return next((span for span in list(self.spans) if span.span_id == span_id), None)

        span = wait_until(found, f"span {span_id:016x}", timeout=10, every=0.05)
        assert span is not None
        return span

    def trace(self, trace_id: int) -> list[Span]:
        """All spans of a trace that have come."""
        return [span for span in list(self.spans) if span.trace_id == trace_id]


def _spans(request: ExportTraceServiceRequest) -> Iterator[Span]:
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield Span(
                    span.name,
                    {1: "INTERNAL", 2: "SERVER", 3: "CLIENT", 4: "PRODUCER", 5: "CONSUMER"}[span.kind],
                    int.from_bytes(span.trace_id, "big"),
                    int.from_bytes(span.span_id, "big"),
                    int.from_bytes(span.parent_span_id, "big"),
                    scope.scope.name,
                    {pair.key: _value(pair.value) for pair in span.attributes},
                )


def _value(value: Any) -> Any:
    return getattr(value, value.WhichOneof("value")) if value.WhichOneof("value") else None


class Service:
    """A running service, and what its client needs."""

    def __init__(self, process: Process, port: int, state: Path, sink: Sink) -> None:
        self.process = process
        self.port = port
        self.url = f"http://{HOST}:{port}"
        self.state = state
        self.sink = sink
        # uvicorn closes a connection after an error of the application, at a moment when it may be in use again.
        once = httpx.Limits(max_keepalive_connections=0)
        self.client = httpx.Client(base_url=self.url, timeout=20, trust_env=False, limits=once)

    def get(self, path: str, **headers: str) -> httpx.Response:
        """Ask; header names with ``_`` for ``-``."""
        return self.client.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})

    def read(self, handle: str) -> Handle:
        """Check a handle with the key in the service's state folder."""
        return HandleCodec(Keyring.from_state_dir(self.state)).read(handle)

    def handle(self, path: str, **headers: str) -> Handle | None:
        """Ask, and check the one handle of the answer; None without any."""
        return self.handle_of(self.get(path, **headers))

    def handle_of(self, response: httpx.Response) -> Handle | None:
        """Check the one handle of an answer; None without any."""
        values = response.headers.get_list("feedback-handle")
        assert len(values) < 2, values
        return self.read(values[0]) if values else None

    def target(self, handle: Handle | None) -> Span:
        """The span that a handle points at, as the service exported it."""
        assert handle is not None
        return self.sink.span(handle.span_id)

    def warnings(self) -> list[str]:
        """What otel-feedback has written into the service's log."""
        return [line for line in self.process.log().splitlines() if "otel-feedback" in line]


@pytest.fixture(scope="session")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a model provider's stand-in."""
    addresses = free_addresses()
    process = make_provider(tmp_path_factory.mktemp("provider"), addresses)
    try:
        process.start()
        yield f"{addresses.provider_url}/v1"
    finally:
        process.stop()


@pytest.fixture(scope="session")
def sink() -> Iterator[Sink]:
    """Where all services send their spans."""
    sink = Sink()
    yield sink
    sink.close()


@pytest.fixture(scope="module")
def start(provider: str, sink: Sink, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Service]]:
    """A function that starts services; they end with the module.

    Its arguments: the command line with ``{port}``, ``instrument`` (whether by opentelemetry-instrument), ``state``
    (the state folder), ``ready`` (path of a page) and environment variables.
    """
    with contextlib.ExitStack() as running:

        def start(
            *command: str,
            instrument: bool = True,
            state: Path | None = None,
            ready: str = "/health",
            **env: str,
        ) -> Service:
            folder = tmp_path_factory.mktemp("service")
            [port] = choose_free(1)
            program, *arguments = (word.replace("{port}", str(port)) for word in command)
            words = [str(PROGRAMS / program), *arguments]
            if instrument:
                words.insert(0, str(PROGRAMS / "opentelemetry-instrument"))
            state = state or folder / "state"
            process = Process(
                "service",
                words,
                folder=folder,
                env={**environment(provider, sink.url), "OTEL_FEEDBACK_STATE_DIR": str(state), **env},
                ready_url=f"http://{HOST}:{port}{ready}",
            )
            running.callback(process.stop)
            process.start(timeout=60)
            service = Service(process, port, state, sink)
            running.callback(service.client.close)
            return service

        yield start


def environment(provider: str, sink: str) -> dict[str, str]:
    """The environment of a service that is instrumented; nothing of the caller's telemetry gets in."""
    inherited = [name for name in os.environ if name.startswith(("OTEL_", "OPENAI_", "FASTAPI_"))]
    return {
        **dict.fromkeys(inherited, ""),
        "NO_PROXY": HOST,
        "PYTHONPATH": str(APPS),
        "PYTHONWARNINGS": "ignore",
        "OPENAI_BASE_URL": provider,
        "OPENAI_API_KEY": "none",
        "OTEL_SERVICE_NAME": "zero-code",
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_ENDPOINT": sink,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        # The default of 100 ms is tested in virtual time; a busy machine may take longer to get a model call going.
        "OTEL_FEEDBACK_STREAM_WAIT_MS": "600",
    }


UVICORN = ("uvicorn", "--port", "{port}", "--log-level", "warning")


def uvicorn(app: str, *more: str) -> Sequence[str]:
    """The command line of uvicorn for an app of ``apps``."""
    return (*UVICORN, app, *more)


def without_ours(raw: bytes) -> bytes:
    """A response's bytes without the date and the headers that are ours."""
    head, _, rest = raw.partition(b"\r\n\r\n")
    names = "|".join(("date", *OURS)).encode()
    return re.sub(rb"\r\n(?i:" + names + rb"):[^\r]*", b"", head) + b"\r\n\r\n" + rest


def facts_of(span: Span) -> dict[str, Any]:
    """The facts on an interaction span, documents excepted."""
    return {
        name: value
        for name, value in span.attributes.items()
        if name.startswith("feedback.") and name not in (semconv.FEEDBACK_INTERACTION, semconv.FEEDBACK_DOCUMENTS)
    }


def json_of(response: httpx.Response) -> Any:
    """The JSON of a response that succeeded."""
    assert response.status_code == 200, response.text
    return json.loads(response.text)
