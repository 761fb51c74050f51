"""The capture endpoint as an application: which pages may send, where it can be mounted, when it refuses to start."""

import asyncio

import pytest
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.routing import Mount
from tests.unit.capture_http import client, problem, send
from tests.unit.feedback_parts import Outbox, Parts

from otel_feedback import _runtime, semconv
from otel_feedback._record import record, recorder_in_use
from otel_feedback._settings import Settings
from otel_feedback.capture import body, capture_app
from otel_feedback.exceptions import ConfigurationError
from otel_feedback.testing import TEST_KEYS

PAGE = "https://chat.example.com"
pytestmark = pytest.mark.usefixtures("own_process")


@pytest.fixture
def parts():
    """A recorder over an outbox."""
    return Parts(delivery=Outbox())


async def test_pages_of_allowed_origins_may_ask_and_send(parts):
    """A preflight and the answers carry the origin, errors too, so that the page can read them."""
    app = capture_app(recorder=parts.recorder, allow_origins=[PAGE])
    asks = {
        "origin": PAGE,
        "access-control-request-method": "POST",
        "access-control-request-headers": "content-type",
    }
    async with client(app) as http:
        preflight = await http.options("/v1/feedback", headers=asks)
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-origin"] == PAGE
        assert preflight.headers["access-control-allow-methods"] == "POST"
        assert "content-type" in preflight.headers["access-control-allow-headers"].lower()
        assert "access-control-allow-credentials" not in preflight.headers
        body = {"handle": parts.handle(), "signal": "thumbs", "value": "up"}
        for response in (
            await send(http, body, origin=PAGE),
            await send(http, {**body, "handle": "x"}, origin=PAGE),
            await send(http, "{", origin=PAGE),
        ):
            assert response.headers["access-control-allow-origin"] == PAGE
            assert response.headers["access-control-expose-headers"] == "retry-after"
            assert "origin" in response.headers["vary"].lower()


@pytest.mark.parametrize("origin", ["https://evil.example", PAGE + ".evil.example", "http://chat.example.com", "null"])
async def test_pages_of_other_origins_may_not(parts, origin):
    """No preflight of theirs is answered with leave, and without one a browser sends no JSON."""
    async with client(capture_app(recorder=parts.recorder, allow_origins=[PAGE])) as http:
        asks = {"origin": origin, "access-control-request-method": "POST"}
        preflight = await http.options("/v1/feedback", headers=asks)
        assert preflight.status_code == 400
        assert "access-control-allow-origin" not in preflight.headers


async def test_without_allowed_origins_no_page_elsewhere_may(http):
    """The default is the application's own origin only."""
    asks = {"origin": PAGE, "access-control-request-method": "POST"}
    response = await http.options("/v1/feedback", headers=asks)
    problem(response, 405)
    assert not [name for name in response.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    "origin", ["chat.example.com", "https://chat.example.com/", PAGE + "/path", "", "ftp://x", "* "]
)
def test_an_origin_that_no_browser_would_send_is_found_at_the_start(parts, origin):
    """A trailing slash or a missing scheme never matches: that is said when the application is made."""
    with pytest.raises(ConfigurationError, match="scheme://host"):
        capture_app(recorder=parts.recorder, allow_origins=[origin])


async def test_it_can_be_mounted_into_a_service_and_shares_its_votes(parts):
    """Below any path; what the service records itself and what comes over HTTP are one vote."""
    handle = parts.handle()
    with recorder_in_use(parts.recorder):
        app = Starlette(routes=[Mount("/feedback", capture_app(allow_origins=["*"]))])
        async with client(app) as http:
            record(handle, "thumbs", "up")
            response = await http.post(
                "/feedback/v1/feedback", json={"handle": handle, "signal": "thumbs", "value": "down"}
            )
            assert response.status_code == 202
            problem(await http.get("/feedback/v1/feedback"), 405)
    states = [c.attributes[semconv.FEEDBACK_PREVIOUS_SENTIMENT] for c in parts.delivery.carriers]
    assert states == ["unset", "positive"]


async def test_with_opentelemetry_off_the_service_runs_and_feedback_is_refused():
    """Mounting raises nothing; a sender hears that nothing was recorded."""
    _runtime.configure(Settings(handle_keys=TEST_KEYS, disabled=True))
    async with client(capture_app()) as http:
        problem(await send(http, {"handle": "x", "signal": "thumbs", "value": "up"}), 503)
        assert (await http.get("/healthz")).status_code == 200


def test_without_a_usable_key_it_refuses_to_start():
    """An endpoint that could check no handle is a mistake that shows at once."""
    _runtime.configure(Settings(handle_keys="k1:HS256:c2hvcnQ"))
    with pytest.raises(ConfigurationError, match="OTEL_FEEDBACK_HANDLE_KEYS"):
        capture_app()


async def test_a_body_that_never_ends_holds_no_connection(parts, monkeypatch):
    """After its time the sender is told so, and the connection is closed; nothing is recorded."""
    monkeypatch.setattr(body, "BODY_SECONDS", 0.01)
    messages = iter([{"type": "http.request", "body": b'{"handle": "', "more_body": True}])
    answers = []

    async def receive():
        return next(messages, None) or await asyncio.Event().wait()

    async def keep(message):
        answers.append(message)

    headers = [(b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/v1/feedback", "root_path": "", "headers": headers}
    await capture_app(recorder=parts.recorder)(scope, receive, keep)
    assert answers[0]["status"] == 408
    assert (b"connection", b"close") in answers[0]["headers"]
    assert parts.delivery.carriers == []


def test_the_first_wrong_reason_ends_the_check():
    """Tens of thousands of wrong ones make one error, not as many."""
    with pytest.raises(ValidationError) as caught:
        body.FeedbackBody(handle="x", signal="thumbs", reasons=[1] * 1_000)
    assert caught.value.error_count() == 1


@pytest.mark.parametrize(("origin", "allowed"), [("http://localhost:5173", True), ("http://localhost.evil", False)])
async def test_origins_may_be_allowed_by_a_pattern(parts, origin, allowed):
    """The whole origin has to match; those of the list may as well."""
    app = capture_app(recorder=parts.recorder, allow_origins=[PAGE], allow_origin_regex=r"http://localhost(:\d+)?")
    async with client(app) as http:
        for one, expected in ((origin, allowed), (PAGE, True)):
            asks = {"origin": one, "access-control-request-method": "POST"}
            preflight = await http.options("/v1/feedback", headers=asks)
            assert ("access-control-allow-origin" in preflight.headers) is expected
