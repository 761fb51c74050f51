"""What is installed with what: each library that is imported comes with the core or with the extra that is named."""

import ast
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import nox
import pytest
from packaging.requirements import Requirement

from otel_feedback import exceptions
from otel_feedback.cli._instrumentations import EXTRAS as EXTRAS_OF_A_SERVICE
from otel_feedback.cli._instrumentations import find_missing

REPOSITORY = Path(__file__).parents[2]
SOURCE = REPOSITORY / "src" / "otel_feedback"
PROJECT = nox.project.load_toml(REPOSITORY / "pyproject.toml")["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]

OF_THE_HOST = {"django", "fastapi", "flask", "openai"}
"""Libraries that are looked at only where the host has loaded them."""

LATER = {"compression"}
"""Modules of Python itself that the oldest one doesn't have; an extra has what does the same there."""

BROUGHT_BY = {
    "wrapt": "opentelemetry-instrumentation",
    "anyio": "starlette",
    "markupsafe": "jinja2",
    "typing-extensions": "opentelemetry-sdk",
}
"""Libraries that come with one of ours, whose interface is made of them."""

SIBLINGS = {"opentelemetry-exporter-otlp-proto-grpc", "opentelemetry-exporter-otlp-proto-http"}
"""Parts that opentelemetry-exporter-otlp is only a bundle of."""


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def names(requirements: list[str]) -> set[str]:
    return {normalised(Requirement(one).name) for one in requirements}


def imported(file: Path) -> set[str]:
    """Return the full names of what a module imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def distributions_of(module: str) -> set[str]:
    """Return what brings a module; OpenTelemetry's parts share their first name and are told apart by the second."""
    first, _, rest = module.partition(".")
    if first == "opentelemetry":
        part = rest.partition(".")[0]
        if part in ("sdk", "instrumentation"):
            return {f"opentelemetry-{part}"}
        return SIBLINGS if part == "exporter" else {"opentelemetry-proto" if part == "proto" else "opentelemetry-api"}
    return {normalised(name) for name in packages_distributions().get(first, [first])}


def test_every_import_is_a_requirement() -> None:
    """No module needs what neither the core nor an extra brings, nor what only development has."""
    brought = names(PROJECT["dependencies"]) | OF_THE_HOST | SIBLINGS | set(BROUGHT_BY)
    for requirements in EXTRAS.values():
        brought |= names(requirements)
    unknown = {}
    for file in sorted(SOURCE.rglob("*.py")):
        for module in imported(file):
            if module.partition(".")[0] in sys.stdlib_module_names | LATER | {"otel_feedback"}:
                continue
            if not distributions_of(module) & brought:
                unknown[module] = file.name
    assert not unknown


@pytest.mark.parametrize(("library", "parent"), [*BROUGHT_BY.items()])
def test_what_another_library_brings_it_always_brings(library: str, parent: str) -> None:
    """A library that isn't ours to require is an unconditional requirement of one that is."""
    unconditional = [one for one in requires(parent) or [] if "extra ==" not in one]
    assert library in names(unconditional)


def test_an_extra_exists_for_what_exists() -> None:
    """The extras are those whose code is here, `all` is all of them, and a part that comes later brings its own."""
    assert set(EXTRAS) == {"otlp", "capture", "server", "crypto", "all"}
    (everything,) = map(Requirement, EXTRAS["all"])
    assert everything.name == PROJECT["name"]
    assert everything.extras == set(EXTRAS) - {"all"}


RUN = """
import sys
from importlib.metadata import packages_distributions

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {0!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
sys.argv = ["otel-feedback", "run", "--url", "http://127.0.0.1:9", "--print-env"]
from otel_feedback.cli import main
main()
"""


def brought(extras: set[str]) -> set[str]:
    """All that pip installs for otel-feedback with some extras, as far as it is installed here."""
    found: set[str] = set()
    wanted = [(normalised(PROJECT["name"]), frozenset(extras))]
    while wanted:
        name, with_extras = wanted.pop()
        found.add(name)
        own = PROJECT["name"] == name
        lines = [*PROJECT["dependencies"], *(one for extra in extras for one in EXTRAS[extra])] if own else None
        try:
            needed = [Requirement(one) for one in (lines or requires(name) or [])]
        except PackageNotFoundError:  # of another system
            continue
        for one in needed:
            applies = one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in with_extras or {""})
            if applies and normalised(one.name) not in found:
                wanted.append((normalised(one.name), frozenset(one.extras)))
    return found


@pytest.mark.parametrize("page", ["docs/zero-code.md", "src/otel_feedback/web/context.py"])
def test_what_a_service_s_environment_is_told_to_have_is_what_the_command_there_imports(
    page: str, tmp_path: Path
) -> None:
    """`otel-feedback run` with the named extras alone: all else of this environment can't be imported."""
    named = re.search(r"otel-feedback\[([a-z,]+)\]", (REPOSITORY / page).read_text())
    assert named is not None
    assert named[1] == EXTRAS_OF_A_SERVICE
    there = brought(set(named[1].split(",")))
    assert not [one for one in find_missing(dict.fromkeys(there, "1")) if "otel-feedback" in one]
    assert {"duckdb", "jinja2"}.isdisjoint(there)
    hidden = {
        module
        for module, owners in packages_distributions().items()
        if there.isdisjoint(map(normalised, owners)) and module != "otel_feedback"
    }
    done = subprocess.run(
        [sys.executable, "-c", RUN.format(hidden)],
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "export OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:9\n" in done.stdout


def test_every_command_that_is_named_names_extras_that_exist() -> None:
    """`pip install 'otel-feedback[...]'`, in messages and on pages: pip would pass over a misspelled extra."""
    files = [*SOURCE.rglob("*.py"), *(REPOSITORY / "docs").glob("*.md"), *REPOSITORY.glob("*.md")]
    for folder in ("collector", "dashboards", "examples"):
        files += (REPOSITORY / folder).glob("*.md")
    named = {name for file in files for name in re.findall(r"otel-feedback\[([a-z,]+)\]", file.read_text())}
    assert named, "nothing is named any more"
    assert {one for name in named for one in name.split(",")} <= set(EXTRAS)
    calls = {
        (call.args[0].value, file.name)
        for file in SOURCE.rglob("*.py")
        for call in ast.walk(ast.parse(file.read_text()))
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") == exceptions.MissingExtraError.__name__
    }
    assert {extra for extra, _ in calls} == set(EXTRAS) - {"all"}, "each extra is asked for by its name"
