"""Runs a demo as its reader does, and finds what it leaves behind."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from examples.users import Truth, Visit, simulate
from stack.parts import REPOSITORY

from examples import loop


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Everything that the demo makes is below the folder."""
    return {**os.environ, "TMPDIR": str(folder), **more}


def left_running(folder: Path) -> list[str]:
    """Command lines of processes that work in the folder: all that the demo starts do."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended, or is not ours to look at
            if folder in process.joinpath("cwd").readlink().parents:
                found.append(process.joinpath("cmdline").read_text().replace("\0", " "))
    return found


def _command(demo: ModuleType, *options: str) -> list[str]:
    return [sys.executable, "-m", demo.__name__, "--free-ports", *options]


def run_whole(demo: ModuleType, folder: Path, *options: str) -> str:
    """Run a demo on an 80-column terminal, see that it succeeds and leaves nothing, and return what it said."""
    done = subprocess.run(
        _command(demo, *options),
        cwd=REPOSITORY,
        env=environment(folder, COLUMNS="80"),
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.returncode == loop.EQUAL, done.stdout + done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert str(folder) not in done.stdout.partition("Where to look")[2]  # a folder that is gone by now
    assert left_running(folder) == []
    assert list(folder.iterdir()) == []
    return done.stdout


def assert_one_difference_is_told(said: str, source: str) -> None:
    """The one count that differs is shown with both numbers."""
    assert f"{source} and the users DIFFER:" in said
    assert said.count(f": {source} ") == 1
    assert f", positive: {source} " in said


def assert_tables_and_tree(said: str, source: str) -> None:
    """What every demo shows: two tables that agree, uncut, and a bad answer's story in order."""
    numbers, _, rest = said.partition("One bad answer")
    tree = rest.partition("Where to look")[0].partition("\ntrace ")[2]
    assert f"{source} and the users agree on every count, row by row. In total:\n  " in numbers
    for prompt in ("thorough", "terse", "tutor", "frugal"):
        assert numbers.count(prompt) == 2  # what the users know, what the backend says
    assert "\N{HORIZONTAL ELLIPSIS}" not in numbers  # no cell is cut
    story = ["POST /ask", "prompt:", "retrieval python-reference", "documents:", "chat extract-1"]
    story += ["instruction:", "question:", "answer:", "feedback ", "reasons:", "as before", "comment:"]
    places = [tree.find(each) for each in story]
    assert places == sorted(places), tree
    assert min(places) >= 0, tree


def addresses_to_come(said: str) -> list[str]:
    """The ports that a demo which ends says things will be at; no others are named after it has ended."""
    look = said.partition("Where to look")[2]
    there = re.findall(r"127\.0\.0\.1:(\d+)", look.partition("While it is kept running")[2])
    assert re.findall(r"127\.0\.0\.1:(\d+)", look) == there
    return there


@contextlib.contextmanager
def kept_running(demo: ModuleType, folder: Path, how: signal.Signals, *, programs: int) -> Iterator[str]:
    """Run a demo with KEEP=1; gives what it said, ends it by a signal, and sees that nothing is left."""
    with subprocess.Popen(
        _command(demo, "--questions", "30", "--vote-rate", "1"),
        cwd=REPOSITORY,
        env=environment(folder, KEEP="1"),
        stdout=subprocess.PIPE,
        text=True,
    ) as running:
        try:
            assert running.stdout is not None
            said = "".join(iter(running.stdout.readline, "Ctrl-C ends everything.\n"))
            assert running.poll() is None, said
            assert len(left_running(folder)) == programs
            yield said
            running.send_signal(how)
            assert running.wait(timeout=60) == loop.EQUAL
        finally:
            running.kill()
    assert left_running(folder) == []


def run_here(demo: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run a demo in this process, where a part of it can be broken."""
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    code: int = demo.main(["--free-ports", "--questions", "20", "--vote-rate", "1"])
    return code


def claim_one_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the users claim a vote that they didn't cast."""

    async def claim(visit: Visit, on_user: object) -> Truth:
        truth = await simulate(visit)
        truth.rows[min(truth.rows)].positive += 1
        return truth

    monkeypatch.setattr(loop, "simulate", claim)
    monkeypatch.setattr(loop, "PATIENCE", 3)
