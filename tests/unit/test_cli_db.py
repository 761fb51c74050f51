"""``otel-feedback db`` against the server's API: what is asked, shown and handed on as exit code."""

import json

import pytest
from tests.unit.cli_server import call, serving
from tests.unit.test_cli_http import lines, only_with_a_token

from otel_feedback.cli._progress import show_progress, show_waiting


def serve(**work):
    """A server whose long work is written down."""
    return serving(
        {"/api/status": {"data": "/data"}, **{f"/api/db/{name}": lines(*told) for name, told in work.items()}}
    )


def test_a_check_without_problems_ends_with_0():
    """In words, and as an empty list."""
    with serve(check=[{"done": 1, "all": 1}, {"result": []}]) as api:
        assert call("db", "check", "--url", api.url) == (0, "Nothing is wrong.\n", "")
        code, out, _ = call("db", "check", "--json", "--url", api.url)
        assert (code, json.loads(out)) == (0, {"problems": []})


def test_a_problem_ends_with_1():
    """Each on a line of its own."""
    with serve(check=[{"result": ["content/2026-W48.duckdb: block 3 can't be read.", "and \x1b[2J"]}]) as api:
        code, out, _ = call("db", "check", "--url", api.url)
        assert (code, out) == (1, "! content/2026-W48.duckdb: block 3 can't be read.\n! and ␛[2J\n")
        code, out, _ = call("db", "check", "--json", "--url", api.url)
        assert code == 1
        assert len(json.loads(out)["problems"]) == 2


def test_a_backup_goes_where_this_command_s_folder_is(tmp_path, monkeypatch):
    """The server's own working folder is another one."""
    monkeypatch.chdir(tmp_path)
    with serve(backup=[{"done": 1, "all": 2}, {"result": None}]) as api:
        code, out, _ = call("db", "backup", "copy", "--url", api.url)
        assert code == 0
        assert out.replace("\n", " ").strip() == f"Copied to {tmp_path / 'copy'}."
        assert json.loads(api.asked[-1][2]) == {"target": str(tmp_path / "copy")}
        _, out, _ = call("db", "backup", "copy", "--json", "--url", api.url)
        assert json.loads(out)["target"] == str(tmp_path / "copy")


def test_a_vacuum_says_when_it_is_done():
    """And hands on what the server says, for programs."""
    with serve(vacuum=[{"done": 1, "all": 1}, {"result": {"before": 2048, "after": 512}}]) as api:
        assert call("db", "vacuum", "--url", api.url) == (0, "2.0 KiB became 512 B.\n", "")
        assert json.loads(call("db", "vacuum", "--json", "--url", api.url)[1]) == {"before": 2048, "after": 512}


def test_a_vacuum_of_what_has_no_unused_room_says_so():
    """Files as large as before are no success to tell."""
    with serve(vacuum=[{"result": {"before": 2048, "after": 2048}}]) as api:
        assert call("db", "vacuum", "--url", api.url) == (0, "Nothing to give back; the files have 2.0 KiB.\n", "")


@pytest.mark.parametrize("command", ["check", "vacuum", "backup copy"])
def test_what_fails_ends_with_1(command):
    """With the server's sentence."""
    with serve(**{command.split()[0]: [{"error": "The disk is full."}]}) as api:
        code, out, err = call("db", *command.split(), "--url", api.url)
    assert (code, out, err) == (1, "", "otel-feedback: The disk is full.\n")


def test_the_token_is_read_from_the_folder_of_the_server(tmp_path):
    """Named with the address, or in the environment."""
    (tmp_path / "token").write_text("secret\n")
    with serving({"/api/status": {"data": "/data"}, "/api/db/info": (200, only_with_a_token)}) as api:
        assert call("db", "info", "--json", "--url", api.url, "--data", tmp_path)[0] == 0
        assert call("db", "info", "--json", "--url", api.url, OTEL_FEEDBACK_TOKEN="secret")[0] == 0
        code, _, err = call("db", "info", "--url", api.url)
        assert code == 1
        assert "OTEL_FEEDBACK_TOKEN" in err


def test_a_bar_is_shown_on_a_terminal_alone(monkeypatch, capsys):
    """On stderr, so that the result can be redirected; elsewhere there is nothing."""
    for show in (lambda: show_progress("Copying"), lambda: show_waiting("Opening")):
        with show() as tell:
            if tell:
                tell(1, 2)
        assert capsys.readouterr() == ("", "")
        monkeypatch.setenv("FORCE_COLOR", "1")
        with show() as tell:
            if tell:
                tell(1, 2)
        out, err = capsys.readouterr()
        assert out == ""
        assert "ing" in err
        monkeypatch.delenv("FORCE_COLOR")
