"""The lock file is in step with pyproject.toml: `make lock` was run after the last change."""

import re
from pathlib import Path

import nox
import pytest
from packaging.requirements import Requirement

REPOSITORY = Path(__file__).parents[2]
PYPROJECT = nox.project.load_toml(REPOSITORY / "pyproject.toml")
LOCKED = [
    Requirement(line.strip())
    for line in (REPOSITORY / "requirements" / "dev.lock").read_text().splitlines()
    if line.strip() and not line.lstrip().startswith("#")
]


def required() -> list[str]:
    """Return every requirement of the package, its extras and its development group."""
    project = PYPROJECT["project"]
    named = [*project["dependencies"], *nox.project.dependency_groups(PYPROJECT, "dev")]
    for extra in project["optional-dependencies"].values():
        named += extra
    return [one for one in named if not one.startswith(project["name"])]


@pytest.mark.parametrize("python", nox.project.python_versions(PYPROJECT))
def test_every_requirement_is_locked(python: str) -> None:
    """On each Python every requirement has exactly one locked version, and it is one that pyproject.toml allows."""
    environment = {"python_version": python, "python_full_version": f"{python}.5"}
    locked = {one.name: one for one in LOCKED if not one.marker or one.marker.evaluate(environment)}
    for requirement in map(Requirement, required()):
        if requirement.marker and not requirement.marker.evaluate(environment):
            continue
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        assert name in locked, f"{name} is not locked for Python {python}: make lock"
        (pin,) = locked[name].specifier
        assert requirement.specifier.contains(pin.version, prereleases=True), f"{name}: make lock"


def test_no_index_is_named() -> None:
    """The lock file works with whatever package index its reader has."""
    text = (REPOSITORY / "requirements" / "dev.lock").read_text()
    assert "://" not in text
    assert "--" not in re.sub("(?m)#.*$", "", text)
