"""The lock files are in step with pyproject.toml: `make lock` was run after the last change."""

import re
from pathlib import Path

import nox
import pytest
from packaging.requirements import Requirement

REPOSITORY = Path(__file__).parents[2]
PYPROJECT = nox.project.load_toml(REPOSITORY / "pyproject.toml")
LOCKS = ("dev", "openllmetry", "openinference")
"""Each is of the dependency group of its name; dev's has all extras."""


def locked_in(lock: str) -> list[Requirement]:
    """Return what a lock file pins."""
    lines = (REPOSITORY / "requirements" / f"{lock}.lock").read_text().splitlines()
    return [Requirement(line.strip()) for line in lines if line.strip() and not line.lstrip().startswith("#")]


def required(lock: str) -> list[str]:
    """Return every requirement of the package and of a group, with all extras for development."""
    project = PYPROJECT["project"]
    named = [*project["dependencies"], *nox.project.dependency_groups(PYPROJECT, lock)]
    for extra in project["optional-dependencies"].values():
        named += extra if lock == "dev" else []
    return [one for one in named if not one.startswith(project["name"])]


@pytest.mark.parametrize("lock", LOCKS)
@pytest.mark.parametrize("python", nox.project.python_versions(PYPROJECT))
def test_every_requirement_is_locked(python: str, lock: str) -> None:
    """On each Python every requirement has exactly one locked version, and it is one that pyproject.toml allows."""
    environment = {"python_version": python, "python_full_version": f"{python}.5"}
    locked = {one.name: one for one in locked_in(lock) if not one.marker or one.marker.evaluate(environment)}
    for requirement in map(Requirement, required(lock)):
        if requirement.marker and not requirement.marker.evaluate(environment):
            continue
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        assert name in locked, f"{name} is not locked for Python {python}: make lock"
        (pin,) = locked[name].specifier
        assert requirement.specifier.contains(pin.version, prereleases=True), f"{name}: make lock"


@pytest.mark.parametrize("lock", LOCKS)
def test_no_index_is_named(lock: str) -> None:
    """The lock file works with whatever package index its reader has."""
    text = (REPOSITORY / "requirements" / f"{lock}.lock").read_text()
    assert "://" not in text
    assert "--" not in re.sub("(?m)#.*$", "", text)
