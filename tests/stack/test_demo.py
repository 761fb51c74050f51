"""``make demo``: the service, its users and the real parts together; the numbers equal, and nothing is left."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from examples.users import Truth, Visit, simulate
from rich.console import Console
from stack.parts import REPOSITORY, Parts, PartsMissing

from examples import demo, servers

DEMO = [sys.executable, "-m", "examples.demo", "--free-ports"]


def environment(folder: Path, **more: str) -> dict[str, str]:
    return {**os.environ, "TMPDIR": str(folder), **more}


def left_running(folder: Path) -> list[str]:
    """Command lines of processes that work in the folder: all that the demo starts do."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended, or is not ours to look at
            if folder in process.joinpath("cwd").readlink().parents:
                found.append(process.joinpath("cmdline").read_text().replace("\0", " "))
    return found


def test_a_thousand_questions_and_every_number_equals(parts: Parts, tmp_path: Path) -> None:
    """The table out of Prometheus agrees with the users, a bad answer's trace is shown, and nothing is left."""
    command = [*DEMO, "--questions", "1000", "--seed", "7"]
    done = subprocess.run(
        command,
        cwd=REPOSITORY,
        env=environment(tmp_path, COLUMNS="80"),
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    said = done.stdout
    assert done.returncode == demo.EQUAL, said + done.stderr
    numbers, _, rest = said.partition("One bad answer")
    tree, _, look = rest.partition("Where to look")
    assert "Prometheus and the users agree on every count, row by row. In total:\n  1" in numbers
    for prompt in ("thorough", "terse", "tutor", "frugal"):
        assert numbers.count(prompt) == 2  # what the users know, what Prometheus says
    story = ["trace ", "POST /ask", "prompt:", "retrieval python-reference", "documents:", "chat extract-1"]
    story += ["instruction:", "question:", "answer:", "feedback ", "reasons:", "as before", "comment:"]
    places = [tree.index(each) for each in story]
    assert places == sorted(places)
    assert "`make demo KEEP=1`" in look
    there = look.partition("While it is kept running")[2]
    assert re.findall(r"127\.0\.0\.1:(\d+)", there) == ["8000", "8002", "16686", "9090", "3000"]  # where it will be
    assert re.findall(r"127\.0\.0\.1:(\d+)", look) == re.findall(r"127\.0\.0\.1:(\d+)", there)
    assert str(tmp_path) not in look  # a folder that is gone by now
    assert max(map(len, said.splitlines())) <= 80
    assert "\N{HORIZONTAL ELLIPSIS}" not in numbers  # no cell is cut
    assert left_running(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def assert_commands_work(said: str) -> None:
    """Copied from the terminal into a shell, every command that only reads answers with what it promises."""
    look = said.partition("Where to look")[2]
    commands = [command for command in re.split(r"\n(?=\S)", look) if "\n  curl -s" in command]
    assert len(commands) == 3
    for command in commands:
        shell = command.partition("\n")[2]
        done = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=True, timeout=30)
        assert re.search(r'"feedback\.?_?sentiment"', done.stdout), shell


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_it_runs_on_until_it_is_told_to_end(parts: Parts, tmp_path: Path, how: signal.Signals) -> None:
    """With KEEP=1 everything stays there after the tables, and one signal ends all of it with the demo's result."""
    with subprocess.Popen(
        [*DEMO, "--questions", "30", "--vote-rate", "1"],
        cwd=REPOSITORY,
        env=environment(tmp_path, KEEP="1"),
        stdout=subprocess.PIPE,
        text=True,
    ) as running:
        try:
            assert running.stdout is not None
            said = "".join(iter(running.stdout.readline, "Ctrl-C ends everything.\n"))
            assert running.poll() is None, said
            assert len(left_running(tmp_path)) == 6
            assert_commands_work(said)
            running.send_signal(how)
            assert running.wait(timeout=60) == demo.EQUAL
        finally:
            running.kill()
    assert left_running(tmp_path) == []


def run_here(folder: Path, monkeypatch: pytest.MonkeyPatch, options: Sequence[str] = ()) -> int:
    """Run the demo in this process, where a part of it can be broken."""
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return demo.main(["--free-ports", "--questions", "20", "--vote-rate", "1", *options])


def test_one_vote_too_many_is_told_and_fails(
    parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """When the users claim a vote that Prometheus has not, both numbers are shown and the exit code says so."""

    async def claim(visit: Visit, on_user: object) -> Truth:
        truth = await simulate(visit)
        truth.rows[min(truth.rows)].positive += 1
        return truth

    monkeypatch.setattr(demo, "simulate", claim)
    monkeypatch.setattr(demo, "PATIENCE", 3)
    assert run_here(tmp_path, monkeypatch) == demo.UNEQUAL
    said = capsys.readouterr().out
    assert "Prometheus and the users DIFFER:" in said
    assert said.count(": Prometheus ") == 1
    assert ", positive: Prometheus " in said


def test_users_without_an_answer_fail_the_demo_even_if_numbers_agree(
    parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Equal counts don't hide that somebody was not answered."""

    async def one_fails(visit: Visit, on_user: object) -> Truth:
        truth = await simulate(visit)
        truth.failed += 1
        return truth

    monkeypatch.setattr(demo, "simulate", one_fails)
    assert run_here(tmp_path, monkeypatch) == demo.UNEQUAL


def test_a_program_that_does_not_start_is_named_and_the_others_end(
    parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The end of its log says why, the exit code is another one, and nothing is left."""
    monkeypatch.setattr(demo, "telemetry_environment", lambda *_, **__: {"OTEL_FEEDBACK_HANDLE_KEYS": "no key"})
    assert run_here(tmp_path, monkeypatch) == demo.NOT_STARTED
    said = capsys.readouterr().out
    assert "capture ended at its start" in said
    assert "OTEL_FEEDBACK_HANDLE_KEYS" in said
    assert left_running(tmp_path) == []


def test_missing_parts_are_told_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without the real programs there is one sentence about `make parts`, no traceback."""

    def none_there(*_: object, **__: object) -> None:
        raise PartsMissing("run `make parts`")

    monkeypatch.setattr(demo, "Stack", none_there)
    assert run_here(tmp_path, monkeypatch) == demo.NOT_STARTED
    assert "run `make parts`" in capsys.readouterr().out


def test_well_known_ports_are_used_only_if_all_are_free(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One port that somebody has, and the demo goes elsewhere with all of it."""
    run = demo.Demo(demo.Options(), Console(), tmp_path)
    monkeypatch.setattr(demo, "ports_in_use", lambda _: {})
    monkeypatch.setattr(servers, "is_taken", lambda _: False)
    assert run._choose_ports()[1] == servers.Addresses()
    monkeypatch.setattr(servers, "is_taken", lambda port: port == 8001)
    ports, addresses = run._choose_ports()
    assert addresses != servers.Addresses()
    assert ports.jaeger != 16686
