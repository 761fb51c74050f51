"""Trouble around the plugin: the service behaves as before, and one warning says what is wrong and what mends it."""

import pytest
from stack.client import wait_until
from stack.ports import choose_free
from stack.processes import HOST
from tests.zero_code.conftest import APPS, uvicorn, without_ours
from tests.zero_code.test_fastapi import _raw as raw

from otel_feedback import semconv
from otel_feedback.testing import TEST_KEYS


@pytest.fixture(scope="module")
def bare(start):
    return start(*uvicorn("fastapi_app:app"), instrument=False)


def same_bytes(service, bare):
    """Compare some answers with the bare service's, byte for byte but for our three headers."""
    for path in ("/ask", "/stream", "/health-check", "/before-start"):
        assert without_ours(raw(service.port, path)) == without_ours(raw(bare.port, path)), path
    return service.get("/ask"), service.get("/stream")


def hide(distribution, folder):
    """A folder that, first on the path, makes Python take a distribution for one without entry points."""
    info = folder / f"{distribution}-0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 0\n")
    return f"{folder}:{APPS}"


def one_warning(service, *words):
    """The only line of ours in the log holds these words."""
    warnings = service.warnings()
    assert len(warnings) == 1, warnings
    for word in words:
        assert word in warnings[0]


def test_without_a_distro_there_is_no_provider(start, bare, tmp_path):
    """Trap: opentelemetry-instrument then sets no provider at all. The warning names the package."""
    service = start(*uvicorn("fastapi_app:app"), PYTHONPATH=hide("opentelemetry_distro", tmp_path))
    for response in same_bytes(service, bare):
        assert "feedback-handle" not in response.headers
    one_warning(service, "ProxyTracerProvider", "opentelemetry-distro", "otel-feedback[otlp]")


def test_with_the_sdk_disabled(start, bare):
    """OTEL_SDK_DISABLED switches all of it off."""
    service = start(*uvicorn("fastapi_app:app"), OTEL_SDK_DISABLED="true")
    for response in same_bytes(service, bare):
        assert "feedback-handle" not in response.headers
    one_warning(service, "OTEL_SDK_DISABLED")
    assert not service.state.exists()


def test_with_the_collector_away(start, bare):
    """Answers come with handles; nothing of ours complains, OpenTelemetry's exporter names the address."""
    [closed] = choose_free(1)
    service = start(
        *uvicorn("fastapi_app:app"),
        OTEL_EXPORTER_OTLP_ENDPOINT=f"http://{HOST}:{closed}",
        OTEL_FEEDBACK_HANDLE_KEYS=TEST_KEYS,
    )
    for response in same_bytes(service, bare):
        assert "feedback-handle" in response.headers
    wait_until(lambda: str(closed) in service.process.log(), "the exporter's own warning", timeout=20)
    assert service.warnings() == []


def test_without_a_key_one_is_made_and_said(start, bare):
    """The warning names the setting, the folder, and the command that prints a key."""
    service = start(*uvicorn("fastapi_app:app"))
    for response in same_bytes(service, bare):
        assert service.handle_of(response) is not None
    one_warning(service, "OTEL_FEEDBACK_HANDLE_KEYS", str(service.state), "secrets.token_urlsafe(32)")


def test_where_no_key_can_be_kept(start, bare, tmp_path):
    """A state folder that can't be made: no handles, the service as before."""
    (tmp_path / "file").touch()
    service = start(*uvicorn("fastapi_app:app"), state=tmp_path / "file" / "state")
    for response in same_bytes(service, bare):
        assert "feedback-handle" not in response.headers
    one_warning(service, "OTEL_FEEDBACK_HANDLE_KEYS", "OTEL_FEEDBACK_STATE_DIR")


def test_with_a_setting_that_cannot_be_used(start, bare):
    """It is named, with what it must be."""
    service = start(*uvicorn("fastapi_app:app"), OTEL_FEEDBACK_STREAM_WAIT_MS="a while")
    for response in same_bytes(service, bare):
        assert "feedback-handle" not in response.headers
    one_warning(service, "OTEL_FEEDBACK_STREAM_WAIT_MS", "a number of milliseconds from 0 to 10000")


def test_a_key_that_cannot_be_used_is_told_at_the_start(start, bare):
    """Nobody has to ask first: the log of a deployment says so before its first answer; answers come all the same."""
    service = start(*uvicorn("fastapi_app:app"), OTEL_FEEDBACK_HANDLE_KEYS="k1:HS256:...")
    [warning] = service.warnings()
    assert "OTEL_FEEDBACK_HANDLE_KEYS" in warning
    assert service.handle("/ask") is None
    assert len(service.warnings()) == 1


def test_left_out_by_opentelemetrys_own_switch(start, bare):
    """OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=otel_feedback: the service is traced, without us and without a word."""
    service = start(*uvicorn("fastapi_app:app"), OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="otel_feedback")
    parent = f"00-{0xD15AB1ED:032x}-{1:016x}-01"
    response = service.get("/ask", traceparent=parent)
    assert "feedback-handle" not in response.headers
    assert without_ours(raw(service.port, "/ask")) == without_ours(raw(bare.port, "/ask"))
    assert service.warnings() == []
    service.process.stop()  # flushes
    trace = service.sink.trace(0xD15AB1ED)
    assert [span.kind for span in trace].count("SERVER") == 1
    assert not any(name.startswith("feedback.") for span in trace for name in span.attributes)


def test_beside_an_instrumentor_that_breaks(start, bare, tmp_path):
    """Trap: one that raises stops those after it, in an order that nobody knows. We have joined before all of them."""
    info = tmp_path / "broken-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[opentelemetry_instrumentor]\nbroken = broken_instrumentation:Broken\n")
    service = start(
        *uvicorn("fastapi_app:app"),
        PYTHONPATH=f"{tmp_path}:{APPS}",
        OTEL_FEEDBACK_HANDLE_KEYS=TEST_KEYS,
        # FastAPI's own telemetry and no OpenAI: the model's span is the service's.
        OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="fastapi",
    )
    assert "Instrumenting of broken failed" in service.process.log()
    same_bytes(service, bare)
    assert service.warnings() == []


def test_with_the_new_names_of_http_spans(start):
    """OTEL_SEMCONV_STABILITY_OPT_IN=http: the server span has http.request.method instead of http.method."""
    service = start(*uvicorn("fastapi_app:app"), OTEL_SEMCONV_STABILITY_OPT_IN="http")
    handle = service.handle("/ask")
    span = service.target(handle)
    assert "http.request.method" in span.attributes
    assert "http.method" not in span.attributes
    assert handle.facts[semconv.FEEDBACK_PROMPT_NAME] == "/ask"


def test_with_content_on(start):
    """Trap: span_only writes messages at the call's end. They stay on the call's span; the handle has none of them."""
    service = start(*uvicorn("fastapi_app:app"), OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT="span_only")
    response = service.get("/ask")
    handle = service.handle_of(response)
    server = service.target(handle)
    [call] = [span for span in service.sink.trace(handle.trace_id) if span.kind == "CLIENT"]
    assert "Question: what is a generator?" in call.attributes[semconv.GEN_AI_INPUT_MESSAGES]
    assert "generator" not in str(server.attributes)
    assert "generator" not in str(handle)
    assert handle.facts[semconv.FEEDBACK_PROMPT_VERSION] == server.attributes[semconv.FEEDBACK_PROMPT_VERSION]


def test_with_span_limits_that_leave_nothing(start, bare):
    """No attribute may be set, so nobody can tell what a span is: no handle, no complaint, the service as before."""
    service = start(
        *uvicorn("fastapi_app:app"),
        OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT="0",
        OTEL_SPAN_LINK_COUNT_LIMIT="0",
        OTEL_SPAN_EVENT_COUNT_LIMIT="0",
        OTEL_FEEDBACK_HANDLE_KEYS=TEST_KEYS,
    )
    for response in same_bytes(service, bare):
        assert "feedback-handle" not in response.headers
    assert service.warnings() == []
