"""The layers in pyproject.toml are about the whole package: import-linter passes over what they don't name."""

import ast
from pathlib import Path

import nox

REPOSITORY = Path(__file__).parents[2]
SOURCE = REPOSITORY / "src" / "otel_feedback"
LINTER = nox.project.load_toml(REPOSITORY / "pyproject.toml")["tool"]["importlinter"]


def submodules(package: Path) -> set[str]:
    found = {path.stem for path in package.glob("*.py")} | {path.parent.name for path in package.glob("*/__init__.py")}
    return found - {"__init__"}


def test_every_module_has_its_layer() -> None:
    """A module without a layer could import anything."""
    (contract,) = LINTER["contracts"]
    layered = [name.strip() for layer in contract["layers"] for name in layer.split("|")]
    assert sorted(layered) == sorted(f"otel_feedback.{name}" for name in submodules(SOURCE))


def test_nothing_inside_imports_the_facade() -> None:
    """Public names are put together at the top; below it each comes from the module that makes it."""
    inside = submodules(SOURCE)
    from_facade = {
        (file.name, alias.name)
        for file in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module == "otel_feedback"
        for alias in node.names
        if alias.name not in inside
    }
    assert not from_facade
