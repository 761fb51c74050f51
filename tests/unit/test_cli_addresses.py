"""Where servers and folders are, and that a token goes to nobody but the server it belongs to."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.unit.cli_server import serving

from otel_feedback.cli import _addresses
from otel_feedback.cli._source import Place
from otel_feedback.server.options import is_loopback, usual_data

LOOPBACK = ["127.0.0.1", "127.8.9.1", "::1", "localhost", "page.localhost"]
ELSEWHERE = ["0.0.0.0", "10.0.0.1", "example.org", "localhost.example.org", "", None, "127.0.0.1.example.org"]


def server_file(folder, url, pid):
    """Write what a server writes into its folder."""
    folder.mkdir(exist_ok=True)
    (folder / "server.json").write_text(json.dumps({"url": url, "pid": pid}))
    return folder


def ended_process():
    """The id of a process that is no more."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


@pytest.mark.parametrize(
    ("host", "expected"), [*((one, True) for one in LOOPBACK), *((one, False) for one in ELSEWHERE)]
)
def test_what_this_machine_alone_sees_is_told_apart(host, expected):
    """Names that only look like it are elsewhere."""
    assert is_loopback(host) is expected


def test_an_address_that_is_none_is_no_loopback():
    """It is refused later, with a sentence."""
    assert not _addresses.is_loopback_url("http://[::1")


def test_the_default_folder_follows_the_desktop_s_rules(tmp_path):
    """``XDG_DATA_HOME`` where it is a full path, else the home folder."""
    assert usual_data({"XDG_DATA_HOME": str(tmp_path)}) == tmp_path / "otel-feedback"
    for odd in ({}, {"XDG_DATA_HOME": ""}, {"XDG_DATA_HOME": "relative"}):
        assert usual_data(odd).parts[-3:] == (".local", "share", "otel-feedback")


def test_a_running_server_is_found_by_its_folder(tmp_path):
    """By address and process; one whose process has ended isn't running."""
    assert _addresses.running_url(server_file(tmp_path, "http://127.0.0.1:9/", os.getpid())) == "http://127.0.0.1:9"
    assert _addresses.running_url(server_file(tmp_path, "http://127.0.0.1:9/", ended_process())) is None
    assert _addresses.running_url(server_file(tmp_path, "http://127.0.0.1:9/", 0)) is None


def test_a_process_of_somebody_else_is_alive(monkeypatch):
    """Its owner is another user, so that it can't be signalled; it is there all the same."""

    def refuse(pid, number):
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    assert _addresses._is_alive(1)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"url": "http://x"}', '{"pid": "x", "url": 1}', "null"])
def test_a_damaged_note_is_no_server(tmp_path, text):
    """Half-written or from something else: as if it weren't there."""
    (tmp_path / "server.json").write_text(text)
    assert _addresses.running_url(tmp_path) is None


def test_a_token_goes_only_to_the_server_of_its_folder(tmp_path):
    """Whoever else listens at a port of this machine gets none."""
    mine = server_file(tmp_path / "mine", "http://127.0.0.1:8484", os.getpid())
    (mine / "token").write_text("secret\n")
    assert _addresses.find_token("http://localhost:8484", [tmp_path / "none", mine]) == "secret"
    assert _addresses.find_token("http://127.0.0.1:8485", [mine]) is None
    assert _addresses.find_token("http://example.org:8484", [mine]) is None
    server_file(mine, "http://127.0.0.1:8484", ended_process())
    assert _addresses.find_token("http://127.0.0.1:8484", [mine]) is None


def test_a_folder_without_a_token_has_none(tmp_path):
    """Missing, empty or not text."""
    assert _addresses.read_token(tmp_path) is None
    for content in (b"", b" \n", b"\xff\xfe"):
        (tmp_path / "token").write_bytes(content)
        assert _addresses.read_token(tmp_path) is None


def test_the_token_of_the_environment_goes_first(tmp_path, monkeypatch):
    """Then that of the folder whose server it is, then the one that is named together with the address."""
    url = "http://127.0.0.1:8484"
    (tmp_path / "token").write_text("of the folder")
    monkeypatch.delenv("OTEL_FEEDBACK_TOKEN", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "none"))
    assert Place(url, tmp_path)._token(url, None) == "of the folder"
    assert Place(url, None)._token(url, tmp_path) is None, "a server that names a folder isn't thereby its server"
    server_file(tmp_path, url, os.getpid())
    assert Place(url, None)._token(url, tmp_path) == "of the folder"
    monkeypatch.setenv("OTEL_FEEDBACK_TOKEN", "mine")
    assert Place(url, tmp_path)._token(url, None) == "mine"


def test_the_server_of_a_folder_is_found(tmp_path):
    """At the address in its note, if it answers there."""
    with serving({"/api/status": {"version": "1"}}) as api:
        server_file(tmp_path, api.url, os.getpid())
        assert Place(None, tmp_path).server().url == api.url
        assert Place(None, tmp_path / "other").server() is None
    assert Place(None, tmp_path).server() is None


def test_options_are_before_the_environment(tmp_path):
    """One option is enough to leave the environment aside: it names another server."""
    environ = {"OTEL_FEEDBACK_URL": "http://a", "OTEL_FEEDBACK_DATA": str(tmp_path)}
    assert Place.choose(None, None, environ) == Place("http://a", tmp_path)
    assert Place.choose("http://b", None, environ) == Place("http://b", None)
    assert Place.choose(None, tmp_path / "x", environ) == Place(None, tmp_path / "x")
    assert Place.choose(None, None, {"OTEL_FEEDBACK_URL": " "}) == Place(None, None)


@pytest.mark.parametrize(
    ("url", "folder", "command"),
    [
        ("http://127.0.0.1:8484", None, "otel-feedback up"),
        ("http://127.0.0.1:8484/", None, "otel-feedback up"),
        ("http://127.0.0.1:9000", None, "otel-feedback up --listen 127.0.0.1:9000"),
        ("http://localhost", None, "otel-feedback up --listen localhost:80"),
        ("http://[::1]:9000", None, "otel-feedback up --listen '[::1]:9000'"),
        ("http://127.0.0.1:9000", "my data", "otel-feedback up --listen 127.0.0.1:9000 --data 'my data'"),
        ("http://stats.example.com:9000", None, "otel-feedback up"),
        ("https://127.0.0.1:9000", None, "otel-feedback up"),
    ],
)
def test_the_command_that_starts_a_server_is_for_the_address_that_was_said(url, folder, command):
    """One that another machine has, or that a proxy ends, isn't ours to listen on."""
    assert _addresses.start_command(url, None if folder is None else Path(folder)) == command
