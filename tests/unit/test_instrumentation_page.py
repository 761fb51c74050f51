"""docs/zero-code.md against the code: its warnings, its settings, its names."""

import ast
import dataclasses
import re
from pathlib import Path

import pytest

from otel_feedback import _facts, _ledger, instrumentation, semconv
from otel_feedback._settings import Settings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "zero-code.md").read_text()
SOURCES = ROOT / "src" / "otel_feedback"
MODULES = [
    "_facts.py",
    "_guard.py",
    "_keys.py",
    "_ledger.py",
    "_runtime.py",
    "_scope.py",
    "instrumentation/_headers.py",
]


def warnings(path):
    """The messages of all warnings that a module gives, up to what is filled in."""
    for node in ast.walk(ast.parse((SOURCES / path).read_text())):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == "warn_once":
            message = node.args[1]
            if isinstance(message, ast.Constant):
                yield message.value


def in_words(message):
    """A warning as the page writes it: without our name and with ``...`` for what is filled in."""
    return message.removeprefix("otel-feedback: ").replace("%s", "...")


@pytest.mark.parametrize("path", MODULES)
def test_every_warning_is_explained(path):
    """Its first words stand in the page's table, as one finds them in a log."""
    table = re.findall(r"^\| `(.+?)` \|", PAGE, re.MULTILINE)
    found = [in_words(message) for message in warnings(path) if "user.hash" not in message]
    assert found
    for message in found:
        assert any(message.startswith(row.removesuffix("...").rstrip()) for row in table), message


def test_the_warning_on_a_missing_provider_is_explained():
    """It is a constant of its own, since it is given in two places."""
    assert "there is no OpenTelemetry SDK tracer provider (found ...)" in PAGE
    assert "there is no OpenTelemetry SDK tracer provider (found %s)" in instrumentation._attach._NO_PROVIDER


def test_its_settings_are_there():
    """Each variable of ours that the page names is a setting."""
    known = {field.metadata["variable"] for field in dataclasses.fields(Settings)}
    assert set(re.findall(r"OTEL_FEEDBACK_[A-Z_]+", PAGE)) <= known


def test_its_names_are_there():
    """Header, attribute, classes."""
    assert f"`{semconv.HANDLE_HEADER}`" in PAGE
    assert f"`{semconv.FEEDBACK_INTERACTION}=true`" in PAGE
    for name in ("FeedbackInstrumentor", "FeedbackMiddleware"):
        assert name in PAGE
        assert name in instrumentation.__all__


def test_its_limits_are_those_of_the_code():
    """The numbers that it names."""
    assert f"after {_facts.MAX_PATHS} paths" in PAGE
    assert f"at most {Settings().stream_wait_ms:g} ms" in PAGE
    assert f"after {_ledger.MAX_VERSIONS} of one route" in PAGE
