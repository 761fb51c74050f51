"""The public names, and what importing them must not do."""

import subprocess
import sys

import pytest

import otel_feedback


def test_the_public_names_are_these_and_all_of_them_exist() -> None:
    """A name that comes or goes is a decision, not an accident."""
    assert otel_feedback.__all__ == [
        "ConfigurationError",
        "Correction",
        "DeliveryError",
        "FeedbackInstrumentor",
        "InvalidFeedbackError",
        "InvalidHandleError",
        "MissingExtraError",
        "OtelFeedbackError",
        "PromptError",
        "PromptTemplate",
        "Receipt",
        "Settings",
        "__version__",
        "configure",
        "interaction",
        "record",
        "replace_signals",
    ]
    for name in otel_feedback.__all__:
        assert getattr(otel_feedback, name) is not None


def test_importing_has_no_side_effects() -> None:
    """No provider is set, no propagator, no thread started, no file made, and nothing heavy loaded."""
    program = """
import os, sys, threading
os.environ["XDG_STATE_HOME"] = os.environ["HOME"] = "/nonexistent"
meta_path = list(sys.meta_path)
import otel_feedback
from opentelemetry import trace
from opentelemetry.trace import ProxyTracerProvider
assert type(trace.get_tracer_provider()) is ProxyTracerProvider
assert threading.active_count() == 1
assert sys.meta_path == meta_path
heavy = {"jwt", "cryptography", "pydantic", "starlette", "grpc", "wrapt", "openai", "fastapi", "typer"}
assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    """The lazy import of the instrumentor hides no typing errors."""
    with pytest.raises(AttributeError, match="FeedbackInstrumenter"):
        otel_feedback.FeedbackInstrumenter  # type: ignore[attr-defined] # noqa: B018 - misspelt on purpose
