"""Joining a process of its own: a provider that comes late or never, a fork, settings that cannot be used."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from otel_feedback.testing import TEST_KEYS

PATH = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])


def in_a_new_process(script, **env):
    """Run a script that prints; returns what it printed and what it logged."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "OTEL_FEEDBACK_HANDLE_KEYS": TEST_KEYS, "PYTHONPATH": PATH, **env},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines(), done.stderr.splitlines()


ONE_REQUEST = """
    from tests.unit.asgi_client import *
    from tests.unit.joined_host import served
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
    from opentelemetry import trace
    from otel_feedback.instrumentation import FeedbackInstrumentor
"""


def test_a_provider_that_comes_late_is_joined_when_it_comes():
    """Trap: a service may set it after it was instrumented. Its first request has a handle, an unsampled one too."""
    script = """
    FeedbackInstrumentor().instrument()
    tracer = trace.get_tracer("early")
    trace.set_tracer_provider(TracerProvider(sampler=ALWAYS_OFF))
    app = served(trace.get_tracer_provider())
    print(run(ask(app)).handle.sampled, type(tracer._tracer.sampler).__name__)
    """
    printed, logged = in_a_new_process(ONE_REQUEST + script)
    assert printed == ["False KeepForFeedback"]
    assert len(logged) == 1
    assert "no handles until one is set" in logged[0]


def test_a_provider_that_comes_unseen_is_joined_at_the_next_request():
    """Set through a function that was imported before us: from the second request on there are handles."""
    script = """
    def set_unseen(provider):
        trace._TRACER_PROVIDER = provider
    FeedbackInstrumentor().instrument()
    set_unseen(TracerProvider())
    app = served(trace.get_tracer_provider())
    print([run(ask(app)).handle is not None for _ in range(2)])
    """
    printed, _ = in_a_new_process(ONE_REQUEST + script)
    assert printed == ["[False, True]"]


def test_without_any_provider_the_service_runs_as_before():
    """Requests pass, forever; the one warning was given at the start."""
    script = """
    FeedbackInstrumentor().instrument()
    app = served(trace.get_tracer_provider())
    print([run(ask(app)).types for _ in range(2)])
    """
    printed, logged = in_a_new_process(ONE_REQUEST + script)
    assert printed == ["[['start', 'body'], ['start', 'body']]"]
    assert len(logged) == 1
    assert "opentelemetry-distro" in logged[0]


def test_a_fork_after_the_start_goes_on_in_parent_and_child():
    """Trap: gunicorn forks after the plugin has loaded. No thread or lock of ours is there to break."""
    script = """
    import os, threading
    before = threading.active_count()
    provider = TracerProvider(shutdown_on_exit=False)
    FeedbackInstrumentor().instrument(tracer_provider=provider)
    app = served(provider)
    first = run(ask(app)).handle
    assert threading.active_count() == before
    child = os.fork()
    handle = run(ask(app)).handle
    assert handle.facts == {**first.facts}
    if child:
        _, status = os.waitpid(child, 0)
        print("parent", status)
    """
    printed, logged = in_a_new_process(ONE_REQUEST + script)
    assert printed == ["parent 0"]
    assert logged == []


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"OTEL_FEEDBACK_HANDLE_TTL": "soon"}, "OTEL_FEEDBACK_HANDLE_TTL"),
        ({"OTEL_FEEDBACK_HANDLE_KEYS": "k:HS256:c2hvcnQ"}, "OTEL_FEEDBACK_HANDLE_KEYS"),
        ({"OTEL_FEEDBACK_HANDLE_KEYS": "k:none:" + "a" * 43}, "OTEL_FEEDBACK_HANDLE_KEYS"),
        ({"OTEL_FEEDBACK_HANDLE_KEYS": "", "OTEL_FEEDBACK_STATE_DIR": "/dev/null/x"}, "OTEL_FEEDBACK_HANDLE_KEYS"),
        (
            {"OTEL_FEEDBACK_HANDLE_KEYS": "", "OTEL_FEEDBACK_HANDLE_KEYS_FILE": "/nowhere"},
            "OTEL_FEEDBACK_HANDLE_KEYS_FILE",
        ),
        ({"OTEL_SDK_DISABLED": "true"}, "OTEL_SDK_DISABLED"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named_in_one_warning(env, said):
    """The service answers as before, without handles; the setting's value, which may be a key, is not repeated."""
    script = """
    provider = TracerProvider()
    FeedbackInstrumentor().instrument(tracer_provider=provider)
    app = served(provider)
    print([run(ask(app)).headers("feedback-handle") for _ in range(2)])
    """
    printed, logged = in_a_new_process(ONE_REQUEST + script, **env)
    assert printed == ["[[], []]"]
    assert len(logged) == 1, logged
    assert said in logged[0]
    assert not any(
        value and value != "true" and value in logged[0] for value in (env.get("OTEL_FEEDBACK_HANDLE_KEYS"),)
    )
