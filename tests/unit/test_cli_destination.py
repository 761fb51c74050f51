"""Where ``otel-feedback run`` sends to: to a server whose owner is known, and questions and answers nowhere else."""

import json
import os
import socket
import subprocess
import sys

import pytest
from tests.unit.cli_server import call, serving
from tests.unit.test_cli_addresses import server_file
from tests.unit.test_cli_http import only_with_a_token

from otel_feedback.cli import _addresses, _destination, _source

CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
KEYS = "OTEL_FEEDBACK_HANDLE_KEYS_FILE"


@pytest.fixture
def usual(monkeypatch):
    """Says which address is the usual one; a server that isn't there isn't waited for."""
    monkeypatch.setattr(_destination, "WAIT_SECONDS", 0.0)

    def move(url):
        for module in (_addresses, _destination, _source):
            monkeypatch.setattr(module, "DEFAULT_URL", url)

    move("http://127.0.0.1:9")
    return move


def variables(*words, **given):
    """What is set, and what is said beside."""
    code, out, err = call("run", *words, "--print-env", "--json", **given)
    assert code == 0, err
    return json.loads(out), err


def test_a_stranger_at_the_usual_address_gets_nothing(usual, tmp_path):
    """Not even where it names a folder; it says what to do, sets nothing, and makes no key."""
    server_file(tmp_path / "theirs", "http://127.0.0.1:9", os.getpid())
    for data in ({}, {"data": str(tmp_path / "theirs")}, {"data": str(tmp_path / "none")}):
        with serving({"/api/status": data}) as stranger:
            usual(stranger.url)
            code, out, err = call("run", "--print-env", XDG_DATA_HOME=str(tmp_path))
        assert (code, out) == (2, "")
        assert "nothing shows that it is yours, so questions and answers don't go there" in err
        assert f"If it is, say so: --url {stranger.url}" in err
    assert not (tmp_path / "otel-feedback").exists()


def test_a_stranger_that_asks_for_a_token_gets_nothing(usual, tmp_path):
    """Though nobody can read what it says of itself."""
    with serving({"/api/status": (200, only_with_a_token)}) as stranger:
        usual(stranger.url)
        code, out, err = call("run", "--print-env", XDG_DATA_HOME=str(tmp_path), OTEL_FEEDBACK_TOKEN="mine")
    assert (code, out) == (2, "")
    assert "nothing shows that it is yours" in err
    assert stranger.asked
    assert "mine" not in str(stranger.asked)


@pytest.mark.parametrize("folder", ["otel-feedback", "named"])
def test_a_program_at_the_usual_address_is_no_server_of_a_folder(usual, tmp_path, folder):
    """Neither of the usual folder nor of one that was named, whose server doesn't run."""
    words = ["--data", tmp_path / folder] if folder == "named" else []
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.MonkeyPatch.context() as patch:
        patch.setattr("otel_feedback.cli._http.LOOK_SECONDS", 0.1)
        usual(f"http://127.0.0.1:{taken.getsockname()[1]}")
        code, out, err = call("run", *words, "--print-env", XDG_DATA_HOME=str(tmp_path))
    assert (code, out) == (2, "")
    assert "otel-feedback: A program answers at" in err
    assert "otel-feedback up --listen 127.0.0.1:9000 --otlp-grpc off --otlp-http off" in err


def test_a_stranger_that_was_named_is_no_stranger(usual, tmp_path):
    """``--url`` and ``OTEL_FEEDBACK_URL`` are the user's word."""
    with serving({"/api/status": {"data": str(tmp_path), "content": "kept"}}) as server:
        usual(server.url)
        for words, given in ((["--url", server.url], {}), ([], {"OTEL_FEEDBACK_URL": server.url})):
            added, err = variables(*words, XDG_DATA_HOME=str(tmp_path), **given)
            assert added[CONTENT] == "span_only"
            assert err == f"otel-feedback: Spans, questions and answers go to {server.url} (data {tmp_path}).\n"


@pytest.mark.parametrize("folder", ["otel-feedback", "elsewhere"])
def test_a_server_of_this_user_s_needs_no_word(usual, tmp_path, folder):
    """On the usual folder, or on one that it names itself and that is this user's."""
    with serving({}) as server:
        server.answers["/api/status"] = {"data": str(tmp_path / folder), "content": "kept"}
        usual(server.url)
        server_file(tmp_path / folder, server.url, os.getpid())
        added, err = variables(XDG_DATA_HOME=str(tmp_path))
    assert added[KEYS] == str(tmp_path / folder / "handle-keys")
    assert added[CONTENT] == "span_only"
    assert "questions and answers go to" in err


def test_a_server_that_drops_content_is_told_so(usual, tmp_path):
    """In the line that is always there."""
    with serving({"/api/status": {"data": str(tmp_path), "content": "dropped"}}) as server:
        added, err = variables("--url", server.url)
        assert err == f"otel-feedback: Spans go to {server.url} (data {tmp_path}), without questions and answers.\n"
        assert CONTENT not in added
        _, err = variables("--url", server.url, **{CONTENT: "span_only"})
        assert f"questions and answers as {CONTENT}=span_only says." in err


def test_where_nobody_answers_yet_questions_and_answers_stay(usual, tmp_path):
    """Whoever takes the usual address first would get them; one that was named gets them."""
    added, err = variables(XDG_DATA_HOME=str(tmp_path))
    assert CONTENT not in added
    assert added["TRACELOOP_TRACE_CONTENT"] == "false"
    assert "yet, so spans will be lost until one does, and questions and answers are left out." in err
    assert err.endswith("otel-feedback: Spans go to http://127.0.0.1:9, without questions and answers.\n")
    added, err = variables("--url", "http://127.0.0.1:9", XDG_DATA_HOME=str(tmp_path))
    assert added[CONTENT] == "span_only"
    assert "until one does. Start it" in err


def test_where_the_user_says_where_spans_go_a_stranger_is_no_matter(usual, tmp_path):
    """Nothing goes to it, and nothing that it says is believed: not its folder, nor that it is the endpoint."""
    with serving({"/api/status": {"data": "/theirs", "otlp_http": "http://collector:4318"}}) as stranger:
        usual(stranger.url)
        added, _ = variables(XDG_DATA_HOME=str(tmp_path), OTEL_EXPORTER_OTLP_ENDPOINT="http://collector:4318")
    assert CONTENT not in added
    assert added[KEYS] == str(tmp_path / "otel-feedback" / "handle-keys")


def test_a_server_whose_token_is_not_known_gets_neither_key_nor_content(usual, tmp_path, monkeypatch):
    """It is said; variables that can't work aren't printed, and a service is started without them."""
    started = []

    def execute(file, words, environ):
        started.append(environ)
        raise SystemExit(0)

    monkeypatch.setattr(os, "execvpe", execute)
    with serving({"/api/status": (200, only_with_a_token)}) as api:
        code, out, err = call("run", "--url", api.url, "--print-env", XDG_DATA_HOME=str(tmp_path))
        assert (code, out) == (1, "")
        assert "asks for its token" in err
        code, _, err = call("run", "--url", api.url, "--", sys.executable, "app.py", XDG_DATA_HOME=str(tmp_path))
    assert "neither its key nor questions and answers are set" in err
    assert f"Spans go to {api.url}, without questions and answers." in err
    (environ,) = started
    assert not {CONTENT, KEYS, "OTEL_FEEDBACK_CAPTURE_TEXT"} & environ.keys()
    assert not (tmp_path / "otel-feedback").exists()


def test_the_token_of_a_folder_is_not_printed(usual, tmp_path):
    """The shell reads it from its file; JSON has it, and one that was given in the environment is given back."""
    folder = tmp_path / "it's here"
    folder.mkdir()
    (folder / "token").write_text("secret\n")
    with serving({"/api/status": (200, only_with_a_token)}) as api:
        server_file(folder, api.url, os.getpid())
        code, out, err = call("run", "--data", folder, "--print-env")
        assert code == 0
        assert "secret" not in out + err
        script = f'{out}\nprintf %s "$OTEL_EXPORTER_OTLP_HEADERS"'
        shown = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True)
        assert shown.stdout == "authorization=Bearer%20secret"
        assert variables("--data", folder)[0]["OTEL_EXPORTER_OTLP_HEADERS"] == "authorization=Bearer%20secret"
        _, out, _ = call("run", "--url", api.url, "--print-env", OTEL_FEEDBACK_TOKEN="secret", HOME=str(tmp_path))
        assert "authorization=Bearer%20secret" in out


def test_json_is_for_variables_alone(usual):
    """A service's output is its own."""
    code, out, err = call("run", "--json", "--", "no-such-command")
    assert (code, out) == (2, "")
    assert "--print-env" in err


def test_a_server_that_is_being_started_is_waited_for(usual, tmp_path, monkeypatch):
    """Nothing is said about starting one."""
    pauses = []
    monkeypatch.setattr(_destination, "WAIT_SECONDS", 60.0)
    with serving({"/api/status": {"data": str(tmp_path)}}) as api:

        def start(seconds):
            pauses.append(seconds)
            if len(pauses) == 2:
                server_file(tmp_path, api.url, os.getpid())

        monkeypatch.setattr(_destination.time, "sleep", start)
        _, err = variables("--data", tmp_path)
    assert len(pauses) == 2
    assert err == f"otel-feedback: Spans, questions and answers go to {api.url} (data {tmp_path}).\n"
