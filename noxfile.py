"""Unit tests on every Python that the package supports, and the other instrumentation families: ``make unit``."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import nox

PYPROJECT = nox.project.load_toml("pyproject.toml")
LOCKS = Path("requirements")

nox.needs_version = ">=2025.5"
nox.options.default_venv_backend = "uv|venv"
nox.options.reuse_venv = "yes"
nox.options.download_python = "never"
# A person may lack an interpreter: its session is skipped, in yellow. CI may not.
nox.options.error_on_missing_interpreters = "CI" in os.environ


def _offer_pyenvs() -> None:
    """List pyenv's interpreters in PYENV_VERSION: its `python3.12` runs only if that names a 3.12."""
    pyenv = shutil.which("pyenv")
    if pyenv is None or "PYENV_VERSION" in os.environ:
        return
    listed = subprocess.run([pyenv, "versions", "--bare"], capture_output=True, text=True, check=False)  # noqa: S603 - found on PATH
    supported = tuple(f"{version}." for version in nox.project.python_versions(PYPROJECT))
    fitting = [line.strip() for line in listed.stdout.splitlines() if line.strip().startswith(supported)]
    if fitting:
        os.environ["PYENV_VERSION"] = ":".join(fitting)


_offer_pyenvs()


@nox.session(python=nox.project.python_versions(PYPROJECT))
def unit(session: nox.Session) -> None:
    """Run the unit tests with the locked versions."""
    _install_locked(session, LOCKS / "dev.lock")
    session.run("pytest", "tests/unit", *session.posargs)


@nox.session
@nox.parametrize("family", ["openllmetry", "openinference"])
def families(session: nox.Session, family: str) -> None:
    """Run the tests of one instrumentation family that can't share an environment with the official one."""
    _install_locked(session, LOCKS / f"{family}.lock")
    for first in ("family", "ours"):
        session.run("pytest", "tests/families", *session.posargs, env={"FAMILY": family, "FIRST": first})


def _install_locked(session: nox.Session, lock: Path) -> None:
    """Install lock file and package, unless this environment has them already."""
    stamp = Path(session.virtualenv.location, "in-step")
    want = hashlib.sha256(lock.read_bytes() + Path("pyproject.toml").read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == want:
        return
    session.install("-r", str(lock))
    session.install("--no-deps", "--editable", ".")
    stamp.write_text(want)
