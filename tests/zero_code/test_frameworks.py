"""Untouched services of other frameworks on the servers that people run them with."""

import stat
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.zero_code.conftest import MODEL, facts_of, uvicorn

from otel_feedback import semconv
from otel_feedback._prompts import fingerprint

VERSION = fingerprint("Answer in one sentence.")
GUNICORN = ("gunicorn", "--bind", "127.0.0.1:{port}", "--log-level", "warning")


@pytest.fixture(scope="module")
def starlette(start):
    return start(*uvicorn("starlette_app:app"))


@pytest.fixture(scope="module")
def flask(start):
    return start(*GUNICORN, "--workers", "2", "--preload", "flask_app:app")


@pytest.fixture(scope="module", params=["wsgi", "asgi"])
def django(request, start):
    command = {
        "wsgi": (*GUNICORN, "django_wsgi:application"),
        "asgi": uvicorn("django_wsgi:asgi_application"),
    }[request.param]
    return start(*command, DJANGO_SETTINGS_MODULE="django_settings")


def test_starlettes_plain_and_streamed_answers_have_handles(starlette):
    """Trap: its instrumentation is one of its own middlewares, with others around it; streams are held all the same."""
    for path, name in (("/ask/1", "/ask/{item}"), ("/direct", "/direct")):
        handle = starlette.handle(path)
        assert handle.facts[semconv.FEEDBACK_PROMPT_NAME] == name
        assert handle.facts[semconv.FEEDBACK_PROMPT_VERSION] == VERSION
        assert handle.facts == facts_of(starlette.target(handle))
    stream = starlette.handle("/stream")
    assert stream.facts[semconv.FEEDBACK_PROMPT_VERSION] == VERSION
    assert starlette.target(stream).attributes[semconv.FEEDBACK_MODEL] == MODEL
    assert starlette.handle("/health") is None


def test_flasks_answers_have_handles_from_every_worker(flask):
    """Trap: gunicorn with --preload forks after the plugin and the application were loaded."""
    seen = {}
    # Several at a time: of requests one after the other, a worker that is awake may take every single one.
    with ThreadPoolExecutor(4) as pool:
        for _ in range(40):
            for response in pool.map(flask.get, [f"/ask/{n}" for n in range(4)]):
                handle = flask.handle_of(response)
                assert handle.facts[semconv.FEEDBACK_PROMPT_NAME] == "/ask/<item>"
                assert handle.facts[semconv.FEEDBACK_PROMPT_VERSION] == VERSION
                assert handle.facts[semconv.FEEDBACK_MODEL] == MODEL
                seen.setdefault(response.json()["pid"], handle)
            if len(seen) == 2:
                break
    assert len(seen) == 2
    for handle in seen.values():
        assert flask.target(handle).attributes[semconv.FEEDBACK_INTERACTION] is True


def test_flasks_other_responses_have_none(flask):
    """No model, a cached object, a 304, a stream (trap: its server span has ended when the generator runs)."""
    assert flask.handle("/cached?ask=1") is not None
    for path in ("/health", "/cached", "/stream", "/nothing-there"):
        assert flask.handle(path) is None
    response = flask.get("/not-modified", if_none_match='"1"')
    assert (response.status_code, flask.handle_of(response)) == (304, None)


def test_djangos_answers_have_handles(django):
    """Sync views; by WSGI and by ASGI."""
    response = django.get("/ask/7")
    handle = django.handle_of(response)
    assert handle.facts[semconv.FEEDBACK_PROMPT_NAME] == "ask/<str:item>"
    assert handle.facts[semconv.FEEDBACK_PROMPT_VERSION] == VERSION
    assert django.target(handle).attributes[semconv.FEEDBACK_INTERACTION] is True
    assert response.headers["cache-control"] == "private"
    assert response.headers["access-control-expose-headers"] == "feedback-handle"
    assert response.headers["x-api-key"] == "1"
    assert django.handle("/async-ask").facts[semconv.FEEDBACK_MODEL] == MODEL


def test_djangos_other_responses_have_none(django):
    """No model, a cached object, a 304, a stream (trap: its header leaves before its generator runs)."""
    assert django.handle("/cached?ask=1") is not None
    for path in ("/health", "/cached", "/cached?ask=1", "/not-modified", "/stream", "/nothing-there"):
        assert django.handle(path) is None, path


def test_the_logs_have_no_complaint_but_the_key(starlette, flask, django):
    """One warning in each process that gave handles: where its key is."""
    for service in (starlette, flask, django):
        assert all("OTEL_FEEDBACK_HANDLE_KEYS is not set" in line for line in service.warnings())
        assert "Traceback" not in service.process.log()
        assert stat.S_IMODE((service.state / "handle-keys").stat().st_mode) == 0o600
