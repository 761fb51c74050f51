"""Unit tests on every Python that the package supports: ``make unit``."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import nox

PYPROJECT = nox.project.load_toml("pyproject.toml")
LOCK = Path("requirements/dev.lock")

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
    _install_locked(session)
    session.run("pytest", "tests/unit", *session.posargs)


def _install_locked(session: nox.Session) -> None:
    """Install lock file and package, unless this environment has them already."""
    stamp = Path(session.virtualenv.location, "in-step")
    want = hashlib.sha256(LOCK.read_bytes() + Path("pyproject.toml").read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == want:
        return
    session.install("-r", str(LOCK))
    session.install("--no-deps", "--editable", ".")
    stamp.write_text(want)
