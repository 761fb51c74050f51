"""``make system``: a program that a few tests use and that can't be had is told, and in CI a failure."""

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "stack" / "apt.sh"


def run(folder: Path, program: str, *, apt_get: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the script as root, with an ``apt-get`` of the test's own."""
    for name, body in (("id", "echo 0"), ("apt-get", apt_get)):
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)
    inherited = {name: value for name, value in os.environ.items() if name != "CI"}
    env = {**inherited, "PATH": f"{folder}:{os.environ['PATH']}", **env}
    return subprocess.run(["/bin/sh", SCRIPT, program], env=env, capture_output=True, text=True, check=False)


def test_what_is_there_is_not_installed(tmp_path: Path) -> None:
    """Nothing is asked for, and nothing is said."""
    done = run(tmp_path, "sh", apt_get="exit 1", CI="true")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_what_is_missing_is_installed(tmp_path: Path) -> None:
    """By root, by its name."""
    done = run(tmp_path, "a-program", apt_get=f'echo "$@" >> {tmp_path}/asked')
    assert done.returncode == 0
    assert (
        (tmp_path / "asked")
        .read_text()
        .splitlines()[-1]
        .endswith("install -qq --yes --no-install-recommends a-program")
    )


@pytest.mark.parametrize(("env", "code"), [({}, 0), ({"CI": "true"}, 1)])
def test_what_cannot_be_installed_is_told_and_fails_in_ci(tmp_path: Path, env: dict[str, str], code: int) -> None:
    """A person goes on without a few tests; CI would pass without having run them."""
    done = run(tmp_path, "a-program", apt_get="exit 100", **env)
    assert done.returncode == code
    assert "a-program" in done.stderr
