"""Where servers and folders are, and that a token goes to nobody but the server it belongs to."""

import json
import os
import socket
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
    assert _addresses._is_alive(1, is_mine=False)
    assert not _addresses._is_alive(1, is_mine=True)


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


@pytest.fixture
def names(monkeypatch):
    """This machine is called box; example.org is elsewhere, and answers at a number of documentation."""
    numbers = {"box": "127.0.1.1", "alias": "127.0.0.1", "example.org": "192.0.2.7", "other": "192.0.2.8"}

    def look_up(host, port, **_):
        if host in numbers or host.replace(".", "").isdigit() or ":" in host:
            return [(0, 0, 0, "", (numbers.get(host, host), 0))]
        raise OSError(host)

    monkeypatch.setattr(socket, "gethostname", lambda: "Nameless")
    monkeypatch.setattr(socket, "getaddrinfo", look_up)


@pytest.mark.parametrize("host", ["box", "alias", "nameless", "0.0.0.0", "127.0.0.1", "127.9.9.9"])
def test_a_name_of_this_machine_leads_to_the_server_of_the_folder(names, tmp_path, host):
    """With its port, and at the address that the folder gives: nobody else has that one."""
    server_file(tmp_path, "http://127.0.0.1:9100", os.getpid())
    assert _addresses.own_url(f"http://{host}:9100", tmp_path) == "http://127.0.0.1:9100"
    assert _addresses.is_server_of(tmp_path, f"http://{host}:9100")
    assert Place(f"http://{host}:9100", tmp_path).server().url == "http://127.0.0.1:9100"


@pytest.mark.parametrize(
    "url", ["http://box:9101", "https://box:9100", "http://example.org:9100", "http://none.invalid:9100", "http://box"]
)
def test_another_machine_or_port_is_another_server(names, tmp_path, url):
    """The same port isn't enough: each machine has it."""
    server_file(tmp_path, "http://127.0.0.1:9100", os.getpid())
    assert _addresses.own_url(url, tmp_path) == url
    assert not _addresses.is_server_of(tmp_path, url)
    server_file(tmp_path, "http://127.0.0.1:9100", ended_process())
    assert _addresses.own_url("http://box:9100", tmp_path) == "http://box:9100"


def test_a_server_at_one_number_isn_t_the_one_at_another(names, tmp_path):
    """Somebody else may have the same port there."""
    server_file(tmp_path, "http://192.0.2.7:9100", os.getpid())
    assert _addresses.own_url("http://example.org:9100", tmp_path) == "http://192.0.2.7:9100"
    for url in ("http://box:9100", "http://127.0.0.1:9100", "http://other:9100"):
        assert _addresses.own_url(url, tmp_path) == url


def test_a_note_that_another_user_wrote_isn_t_ours(tmp_path, monkeypatch):
    """A server may name any folder; only its owner's note shows whose it is."""
    url = "http://127.0.0.1:9100"
    assert not _addresses.is_ours(tmp_path, url)
    assert not _addresses.is_ours(Path("\0"), url)
    server_file(tmp_path, url, os.getpid())
    assert _addresses.is_ours(tmp_path, url)
    assert not _addresses.is_ours(tmp_path, "http://127.0.0.1:9101")
    monkeypatch.setattr(os, "getuid", lambda: tmp_path.stat().st_uid + 1)
    assert not _addresses.is_ours(tmp_path, url)


def test_the_server_of_the_folder_goes_before_who_has_the_usual_address(tmp_path, monkeypatch):
    """That may be anybody's on a machine of several users."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    with serving({"/api/status": {}}) as mine, serving({"/api/status": {}}) as usual:
        monkeypatch.setattr("otel_feedback.cli._source.DEFAULT_URL", usual.url)
        server_file(tmp_path / "otel-feedback", mine.url, os.getpid())
        assert Place(None, None).server().url == mine.url
        server_file(tmp_path / "otel-feedback", mine.url, ended_process())
        assert Place(None, None).server().url == usual.url


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
