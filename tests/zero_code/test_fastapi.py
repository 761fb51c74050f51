"""An untouched FastAPI service, by the contrib instrumentation and by FastAPI's own telemetry: every kind of answer."""

import json
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.zero_code.conftest import MODEL, facts_of, uvicorn, without_ours

from otel_feedback import semconv
from otel_feedback._prompts import fingerprint

SYSTEM = "Answer in one sentence."
FACTS = {
    semconv.FEEDBACK_SERVICE_NAME: "zero-code",
    semconv.FEEDBACK_PROMPT_VERSION: fingerprint(SYSTEM),
    semconv.FEEDBACK_PROMPT_FINGERPRINT: fingerprint(SYSTEM),
    semconv.FEEDBACK_PROVIDER: "openai",
}


@pytest.fixture(scope="module", params=["contrib", "native"])
def service(request, start):
    native = {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "fastapi,starlette"} if request.param == "native" else {}
    service = start(*uvicorn("fastapi_app:app"), **native)
    service.kind = request.param
    return service


@pytest.fixture(scope="module")
def bare(start):
    return start(*uvicorn("fastapi_app:app"), instrument=False)


@pytest.mark.parametrize(
    ("path", "route"),
    [("/ask", "/ask"), ("/sync", "/sync"), ("/two-calls", "/two-calls"), ("/sub/ask/7", "/sub")],
)
def test_every_plain_answer_returns_one_handle_with_all_its_facts(service, path, route):
    """Async, sync, several calls, a mounted application: the model that answered, template by route and fingerprint."""
    handle = service.handle(path)
    span = service.target(handle)
    assert span.kind == "SERVER"
    assert span.attributes[semconv.FEEDBACK_INTERACTION] is True
    facts = dict(handle.facts)
    assert facts.pop(semconv.FEEDBACK_RESPONSE_ID).startswith("chatcmpl-")
    name = facts.pop(semconv.FEEDBACK_PROMPT_NAME)
    assert name.startswith(route)
    assert facts == {**FACTS, semconv.FEEDBACK_MODEL: MODEL}
    assert handle.facts == facts_of(span)


@pytest.mark.parametrize("path", ["/stream", "/sync-stream", "/slow-first"])
def test_every_streamed_answer_returns_a_handle_with_what_was_known(service, path):
    """Trap: the header leaves before the generator runs. Async and sync generators; the model is known by its call."""
    handle = service.handle(path)
    facts = {**FACTS, semconv.FEEDBACK_PROMPT_NAME: path}
    assert {**handle.facts, semconv.FEEDBACK_MODEL: "-"} == {**facts, semconv.FEEDBACK_MODEL: "-"}
    assert handle.facts[semconv.FEEDBACK_MODEL].startswith("extract-1")
    span = service.target(handle)
    assert span.attributes[semconv.FEEDBACK_MODEL] == MODEL
    assert span.attributes[semconv.FEEDBACK_RESPONSE_ID].startswith("chatcmpl-")
    assert span.kind == "SERVER"


@pytest.mark.parametrize("path", ["/sse", "/slow-retrieval"])
def test_a_model_that_is_called_late_has_its_handle_from_the_second_answer_on(service, path):
    """Trap: progress first, or retrieval longer than the wait: once a route has answered, it is expected to."""
    assert service.handle(path) is None
    handle = service.handle(path)
    assert handle.facts[semconv.FEEDBACK_PROMPT_NAME] == path
    assert service.target(handle).attributes[semconv.FEEDBACK_MODEL] == MODEL


def test_several_calls_are_one_interaction(service):
    """A rewrite and an answer: one marked span in the trace, two inferences below it, the facts of the last."""
    handle = service.handle("/two-calls")
    service.target(handle)
    trace = service.sink.trace(handle.trace_id)
    assert [span.span_id for span in trace if semconv.FEEDBACK_INTERACTION in span.attributes] == [handle.span_id]
    calls = [span for span in trace if span.attributes.get("gen_ai.operation.name") == "chat"]
    assert [span.attributes[semconv.GEN_AI_PROMPT_VERSION] for span in calls] == [
        fingerprint("Rewrite the question."),
        fingerprint(SYSTEM),
    ]


@pytest.mark.parametrize(
    "path", ["/health", "/no-model-stream", "/background-only", "/file", "/openapi.json", "/docs", "/nothing-there"]
)
def test_what_calls_no_model_for_its_answer_returns_no_handle(service, path):
    """Nor any other header of ours, at the first request and later."""
    for _ in range(2):
        headers = service.get(path).headers
        assert "feedback-handle" not in headers
        assert "access-control-expose-headers" not in headers
        assert "cache-control" not in headers


@pytest.mark.parametrize("path", ["/refused", "/before-start", "/public"])
def test_errors_and_what_is_meant_for_shared_caches_return_no_handle(service, path):
    """Though a model was called."""
    assert service.handle(path) is None


def test_a_304_returns_no_handle(service):
    """A 304 would renew the headers that somebody's browser stored."""
    assert service.handle("/not-modified") is not None
    response = service.get("/not-modified", if_none_match='"1"')
    assert response.status_code == 304
    assert "feedback-handle" not in response.headers
    assert "cache-control" not in response.headers


def test_a_cached_response_object_never_carries_an_earlier_callers_handle(service):
    """Trap: headers set on a live Response object would reach everybody who is answered by it."""
    first, second = service.handle("/cached?ask=1"), service.handle("/cached?ask=1")
    assert first.span_id != second.span_id
    assert service.handle("/cached") is None


def test_the_handle_can_be_read_by_the_page(service):
    """Trap: nobody else exposes it. Beside CORS, GZip and a BaseHTTPMiddleware it is added to what is exposed."""
    assert service.get("/ask").headers["access-control-expose-headers"] == "feedback-handle"
    for path in ("/dressed/ask", "/dressed/stream"):
        response = service.get(path, origin="http://page.example", accept_encoding="gzip")
        assert response.headers["access-control-expose-headers"] == "x-total, feedback-handle"
        assert response.headers["content-encoding"] == "gzip"
        assert response.headers["x-stamp"] == "1"
        assert service.handle_of(response).facts[semconv.FEEDBACK_MODEL].startswith("extract-1")


def test_an_answer_is_private_to_its_reader(service):
    """What a shared cache may keep is marked as private."""
    assert service.get("/ask").headers["cache-control"] == "private"
    assert service.get("/not-modified").headers["cache-control"] == "max-age=60, private"


def test_a_background_task_is_another_interaction(service):
    """Trap: its server span has ended. The handle keeps the facts of the answer."""
    handle = service.handle("/background")
    assert handle.facts[semconv.FEEDBACK_PROMPT_FINGERPRINT] == fingerprint(SYSTEM)
    assert service.target(handle).attributes[semconv.FEEDBACK_PROMPT_FINGERPRINT] == fingerprint(SYSTEM)


def test_a_call_in_an_executor_loses_its_request(service):
    """Trap, and a limit: run_in_executor drops the context; the call is an interaction of its own, without a header."""
    assert service.handle("/executor") is None


def test_a_plain_span_of_the_services_own_tells_what_was_retrieved(service):
    """Trap: official retrieval spans write documents with content on only; a span of the service's own is enough."""
    span = service.target(service.handle("/retrieve"))
    assert json.loads(span.attributes[semconv.FEEDBACK_DOCUMENTS]) == [
        {"id": "generators", "score": 0.75},
        {"id": "lists", "score": 0.25},
    ]


def test_no_content_is_exported(service):
    """Content isn't asked for: neither question, instruction nor answer stands on any span."""
    handle = service.handle("/ask")
    service.target(handle)
    told = str([span.attributes for span in service.sink.trace(handle.trace_id)])
    assert "gen_ai.request.model" in told
    assert not any(text in told for text in ("generator", "one sentence"))


def test_a_reader_that_leaves_does_no_harm(service):
    """A client that closes in the middle of a stream: the service goes on, nothing of ours is in its log."""
    with service.client.stream("GET", "/slow-retrieval") as response:
        assert response.status_code == 200
    assert service.get("/health").status_code == 200
    assert not [line for line in service.process.log().splitlines() if "failed with" in line]


def test_requests_at_once_never_mix_even_under_one_traceparent(service):
    """Sixty at a time, each with an instruction of its own, all under one traceparent: every handle has its own."""
    parent = f"00-{0xABC:032x}-{0xDEF:016x}-01"

    def one(n):
        return service.handle(f"/concurrent/{n}", traceparent=parent)

    with ThreadPoolExecutor(60) as pool:
        handles = list(pool.map(one, range(60)))
    assert len({handle.span_id for handle in handles}) == 60
    for n, handle in enumerate(handles):
        assert handle.trace_id == 0xABC
        own = handle.facts[semconv.FEEDBACK_PROMPT_FINGERPRINT]
        assert own == fingerprint(f"System {n}.")
    target = service.target(handles[7])
    assert target.attributes[semconv.FEEDBACK_PROMPT_FINGERPRINT] == fingerprint("System 7.")


def test_an_instruction_that_changes_with_each_call_has_the_version_varies(service):
    """After fifty fingerprints of one route a version would be no label any more; a warning says what to do."""
    handles = [service.handle(f"/items/{n}") for n in range(55)]
    versions = [handle.facts[semconv.FEEDBACK_PROMPT_VERSION] for handle in handles]
    assert versions[:50] == [fingerprint(f"Answer about {n}.") for n in range(50)]
    assert set(versions[50:]) == {semconv.VARIES}
    assert {handle.facts[semconv.FEEDBACK_PROMPT_NAME] for handle in handles} == {"/items/{item}"}


def _raw(port, path, **headers):
    lines = [f"GET {path} HTTP/1.1", "Host: x", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    with socket.create_connection(("127.0.0.1", port), timeout=10) as wire:
        wire.sendall("\r\n".join([*lines, "", ""]).encode())
        reply = b""
        while part := wire.recv(65536):
            reply += part
    return reply


PAGES = """
/ask /sync /stream /sync-stream /sse /slow-first /cached /refused /before-start /after-start /file /not-modified
/dressed/stream /nothing-there /sub/ask/1 /no-model-stream
"""


@pytest.mark.parametrize("path", PAGES.split())
def test_the_bytes_are_the_services_own(service, bare, path):
    """But for the three headers a response is what the service sends without instrumentation, chunk by chunk."""
    headers = {"origin": "http://page.example", "accept_encoding": "identity"}
    expected = without_ours(_raw(bare.port, path, **headers))
    assert without_ours(_raw(service.port, path, **headers)) == expected
    assert expected.startswith(b"HTTP/1.1 ")


def test_its_log_has_no_complaint_of_ours_but_the_key(service):
    """After all of this: the one warning that handles are signed with this machine's key, and the one on varying."""
    assert service.handle("/ask") is not None
    warnings = service.warnings()
    assert sum("OTEL_FEEDBACK_HANDLE_KEYS is not set" in line for line in warnings) == 1
    rest = [line for line in warnings if "OTEL_FEEDBACK_HANDLE_KEYS is not set" not in line]
    assert all("differs from call to call" in line or "shared caches" in line for line in rest), rest
