"""What the command line costs before it does anything, and that shells complete it."""

import subprocess
import sys

import pytest
from tests.unit.capture_process import COMMAND, environment

HEAVY = ("duckdb", "grpc", "starlette", "uvicorn", "jinja2", "pygal", "google.protobuf", "numpy")
"""What only some commands need. (typer itself takes pydantic to read options.)"""

LIGHT = ["--help", "db --help", "up --help"]


@pytest.mark.parametrize("words", LIGHT)
def test_help_loads_nothing_heavy(words):
    """A person who asks for help, or a shell that completes, doesn't wait for a database."""
    code = (
        "import sys\nfrom otel_feedback.cli import main\ntry:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print('loaded', [name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words.split()], env=environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "loaded []"


def complete(line, shell="bash"):
    """What a shell is offered, as its own script asks for it."""
    words = line.split(" ")
    asks = {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    if shell != "bash":
        asks = {"_TYPER_COMPLETE_ARGS": line}
    done = subprocess.run(
        [sys.executable, "-c", "import sys; sys.argv[0] = 'otel-feedback'\n" + COMMAND[2]],
        env=environment(_OTEL_FEEDBACK_COMPLETE=f"complete_{shell}", **asks),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_shell_completes_commands_and_options(shell):
    """Of the root, of a group, and of a command."""
    for line, offered in [
        ("otel-feedback stat", "status"),
        ("otel-feedback db ba", "backup"),
        ("otel-feedback templates --si", "--since"),
        ("otel-feedback answers --feedback g", "good"),
    ]:
        assert offered in complete(line, shell)


def test_the_script_for_a_shell_is_shown():
    """``--show-completion`` prints what the shell's own start-up file takes."""
    done = subprocess.run(
        [sys.executable, "-c", "import sys; sys.argv[0] = 'otel-feedback'\n" + COMMAND[2]],
        env=environment(_OTEL_FEEDBACK_COMPLETE="source_bash"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "complete -o" in done.stdout
    assert "otel-feedback" in done.stdout
