"""``make stack-demo``: the service, its users and the real parts; the numbers equal, and nothing is left."""

import re
import signal
import subprocess
from pathlib import Path

import pytest
from examples.users import Truth, Visit, simulate
from stack.parts import Parts, PartsMissing
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

from examples import loop, servers, stack_demo


def test_a_thousand_questions_and_every_number_equals(parts: Parts, tmp_path: Path) -> None:
    """The table out of Prometheus agrees with the users, a bad answer's trace is shown, and nothing is left."""
    said = run_whole(stack_demo, tmp_path, "--questions", "1000", "--seed", "7")
    assert_tables_and_tree(said, "Prometheus")
    assert "`make stack-demo KEEP=1`" in said
    assert addresses_to_come(said) == ["8000", "8002", "16686", "9090", "3000"]


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
    with kept_running(stack_demo, tmp_path, how, programs=6) as said:
        assert_commands_work(said)


def test_one_vote_too_many_is_told_and_fails(
    parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """When the users claim a vote that Prometheus has not, both numbers are shown and the exit code says so."""
    claim_one_more(monkeypatch)
    assert run_here(stack_demo, tmp_path, monkeypatch) == loop.UNEQUAL
    assert_one_difference_is_told(capsys.readouterr().out, "Prometheus")


def test_users_without_an_answer_fail_the_demo_even_if_numbers_agree(
    parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Equal counts don't hide that somebody was not answered."""

    async def one_fails(visit: Visit, on_user: object) -> Truth:
        truth = await simulate(visit)
        truth.failed += 1
        return truth

    monkeypatch.setattr(loop, "simulate", one_fails)
    assert run_here(stack_demo, tmp_path, monkeypatch) == loop.UNEQUAL


def test_a_program_that_does_not_start_is_named_and_the_others_end(
    parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The end of its log says why, the exit code is another one, and nothing is left."""
    monkeypatch.setattr(stack_demo, "telemetry_environment", lambda *_, **__: {"OTEL_FEEDBACK_HANDLE_KEYS": "no key"})
    assert run_here(stack_demo, tmp_path, monkeypatch) == loop.NOT_STARTED
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

    monkeypatch.setattr(stack_demo, "Stack", none_there)
    assert run_here(stack_demo, tmp_path, monkeypatch) == loop.NOT_STARTED
    assert "run `make parts`" in capsys.readouterr().out


def test_well_known_ports_are_used_only_if_all_are_free(
    parts: Parts, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One port that somebody has, and the demo goes elsewhere with all of it."""
    monkeypatch.setattr(stack_demo, "ports_in_use", lambda _: {})
    monkeypatch.setattr(servers, "is_taken", lambda _: False)
    assert stack_demo.RealParts(tmp_path, loop.Options()).addresses == servers.Addresses()
    monkeypatch.setattr(servers, "is_taken", lambda port: port == 8001)
    moved = stack_demo.RealParts(tmp_path, loop.Options())
    assert moved.addresses != servers.Addresses()
    assert not any(address.endswith(":16686") for address in [moved._stack.jaeger])
