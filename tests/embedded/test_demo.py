"""``make demo``: the service, its users and ``otel-feedback up``; the numbers equal, and nothing is left."""

import json
import re
import shlex
import signal
import subprocess
import urllib.request
from pathlib import Path

import pytest
from stack.parts import REPOSITORY
from tests.examples.demo_process import (
    addresses_to_come,
    assert_one_difference_is_told,
    assert_tables_and_tree,
    claim_one_more,
    kept_running,
    left_running,
    run_here,
    run_whole,
)

from examples import demo, loop, servers


def test_a_thousand_questions_and_every_number_equals(tmp_path: Path) -> None:
    """The table out of the API agrees with the users, how votes stand too, and a bad answer's trace is shown."""
    said = run_whole(demo, tmp_path, "--questions", "1000", "--seed", "7")
    assert_tables_and_tree(said, "The API")
    opinions, changes, standing = (
        int(re.findall(pattern, said)[0])
        for pattern in (r"(\d+) opinions,", r"(\d+) votes changed", r"(\d+) votes as they stand")
    )
    assert opinions - changes == standing  # a vote that was changed, and one that was taken back, count once less
    assert "`make demo KEEP=1`" in said
    assert addresses_to_come(said) == ["8484", "8000"]


def ask(url: str, body: dict[str, str] | None = None) -> tuple[str, str | None]:
    """Get or post; the text, and the handle if there is one."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read().decode(), answer.headers.get("feedback-handle")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_it_runs_on_until_it_is_told_to_end(tmp_path: Path, how: signal.Signals) -> None:
    """With KEEP=1 its page stays open after the tables, its commands work, and one signal ends all of it."""
    with kept_running(demo, tmp_path, how, programs=3) as said:
        look = said.partition("Where to look")[2]
        page, bad_answer, chat = re.findall(r"^  (http://\S+)$", look, re.MULTILINE)
        assert f'src="{page}v1/widget.js"' in ask(chat)[0]
        assert "/ask/stream" in ask(page)[0]
        assert "extract-1" in ask(bad_answer)[0]
        for command in re.findall(r"^  (\.venv/bin/otel-feedback (?:templates|answers) .*)$", look, re.MULTILINE):
            done = subprocess.run(shlex.split(command), cwd=REPOSITORY, capture_output=True, text=True, check=True)
            assert "/ask" in done.stdout
        service, capture = re.findall(r"curl (?:-i )?(http://\S+)", look)
        _, handle = ask(service, {"question": "What does the del statement do?"})
        assert handle is not None
        before = json.loads(ask(f"{page}api/status")[0])["counts"]["feedback"]
        ask(capture, {"handle": handle, "signal": "thumbs", "value": "down"})
        assert (
            json.loads(ask(f"{page}api/status")[0])["counts"]["feedback"] == before + 1
        )  # what is acknowledged is kept


def test_one_vote_too_many_is_told_and_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """When the users claim a vote that the API has not, both numbers are shown and the exit code says so."""
    claim_one_more(monkeypatch)
    assert run_here(demo, tmp_path, monkeypatch) == loop.UNEQUAL
    assert_one_difference_is_told(capsys.readouterr().out, "the API")


def test_a_program_that_does_not_start_is_named_and_the_others_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The end of its log says why, the exit code is another one, and nothing is left."""
    monkeypatch.setattr(demo, "run_by", lambda _: ("otel-feedback", "no-such-command"))
    assert run_here(demo, tmp_path, monkeypatch) == loop.NOT_STARTED
    said = capsys.readouterr().out
    assert "service ended at its start" in said
    assert "no-such-command" in said
    assert left_running(tmp_path) == []


def test_well_known_ports_are_used_only_if_all_are_free(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One port that somebody has, and the demo goes elsewhere with all of it."""
    monkeypatch.setattr(servers, "is_taken", lambda _: False)
    assert demo.Embedded(tmp_path, loop.Options()).capture_url == "http://127.0.0.1:8484"
    for taken in (8001, 4318):
        monkeypatch.setattr(servers, "is_taken", lambda port, taken=taken: port == taken)
        moved = demo.Embedded(tmp_path, loop.Options())
        assert moved.addresses != servers.Addresses()
        assert moved.capture_url != "http://127.0.0.1:8484"
