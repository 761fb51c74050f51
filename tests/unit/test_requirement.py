"""What a command to install otel-feedback names: where this one came from, so that nobody else's is installed."""

import json
import shlex
from importlib.metadata import PackageNotFoundError
from types import SimpleNamespace

import pytest

from otel_feedback import _requirement
from otel_feedback._requirement import requirement

GIT = {"url": "https://example.org/f.git", "vcs_info": {"vcs": "git", "commit_id": "4bf9"}}


def installed(monkeypatch, text):
    """Have it installed from somewhere."""
    monkeypatch.setattr(_requirement, "distribution", lambda _: SimpleNamespace(read_text=lambda _: text))


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ({"url": "file:///home/me/a%20clone", "dir_info": {"editable": True}}, "/home/me/a clone[otlp,capture]"),
        ({"url": "file:///w/f-1.whl", "archive_info": {}}, "/w/f-1.whl[otlp,capture]"),
        (GIT, "otel-feedback[otlp,capture] @ git+https://example.org/f.git@4bf9"),
        (
            {"url": "https://example.org/f.whl", "archive_info": {}},
            "otel-feedback[otlp,capture] @ https://example.org/f.whl",
        ),
        ({"url": "ftp://example.org/f.whl"}, "otel-feedback[otlp,capture]"),
        ({"url": "x", "vcs_info": {}}, "otel-feedback[otlp,capture]"),
        ([], "otel-feedback[otlp,capture]"),
    ],
)
def test_the_place_that_it_came_from_is_named(monkeypatch, origin, expected):
    """A path, a repository or a file; what isn't understood gives the name."""
    installed(monkeypatch, json.dumps(origin))
    assert requirement("otlp,capture") == expected


@pytest.mark.parametrize("text", [None, "{"])
def test_what_came_from_an_index_is_named_by_its_name(monkeypatch, text):
    """There is no such file then."""
    installed(monkeypatch, text)
    assert requirement("otlp") == "otel-feedback[otlp]"


def test_what_is_not_installed_at_all_has_its_name(monkeypatch):
    """Sources on the path."""

    def missing(_):
        raise PackageNotFoundError

    monkeypatch.setattr(_requirement, "distribution", missing)
    assert requirement("otlp") == "otel-feedback[otlp]"
    assert shlex.quote(requirement("otlp")) == "'otel-feedback[otlp]'"
