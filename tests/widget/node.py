"""Node and the packages that build the widget: CI has them; elsewhere their tests are skipped loudly."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

WIDGET = Path(__file__).parents[2] / "widget"


def run(*command, cwd=WIDGET):
    """Run a command of Node's; gives what it said where it failed."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def packages():
    """The folder of the widget, with the packages of its lock file."""
    if not (shutil.which("node") and shutil.which("npm")):
        assert not os.environ.get("CI"), "CI needs Node 20 and npm"
        pytest.skip("Node is not installed: whether the committed widget is what its source gives is not tested")
    installed, lock = WIDGET / "node_modules/.package-lock.json", WIDGET / "package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        done = subprocess.run(["npm", "ci"], cwd=WIDGET, capture_output=True, text=True, check=False, timeout=300)
        if done.returncode:
            assert not os.environ.get("CI"), done.stderr
            pytest.skip(f"npm ci in {WIDGET} failed: what needs its packages is not tested\n{done.stderr}")
    return WIDGET
