"""Where the real programs are looked for, in which order, and what is said where one is missing."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from stack.parts import PartsMissing, find_parts

from stack import parts, versions

SAID = {
    "otelcol-feedback": f"otelcol-feedback version {versions.COLLECTOR}",
    "jaeger": f'{{"gitVersion":"v{versions.JAEGER}"}}',
    "prometheus": f"prometheus, version {versions.PROMETHEUS} (branch: , revision: unknown)",
    "promtool": f"promtool, version {versions.PROMETHEUS} (branch: , revision: unknown)",
}

FAKE_GO = """#!/bin/sh
# Stands in for Go: "downloads" a module and "builds" programs that say their version.
case "$1 $2" in
    "mod download") mkdir -p source && echo "{\\"Dir\\": \\"$PWD/source\\"}" ;;
    "install -trimpath")
        printf '#!/bin/sh\\nmkdir -p dist && echo "the Collector" > dist/otelcol-feedback\\n' > "$GOBIN/builder"
        chmod +x "$GOBIN/builder" ;;
    *)
        [ -z "$BROKEN" ] || { echo "undefined: everything" >&2; exit 2; }
        while [ "$1" != -o ]; do shift; done
        out=$2; shift 2
        for package in "$@"; do echo built > "$out/$(basename "$package")"; done ;;
esac
"""


def write_program(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    program = folder / name
    program.write_text(text)
    program.chmod(0o755)
    return program


def write_programs(folder: Path, **said: str) -> None:
    """Write programs that say a version, the pinned one unless told otherwise."""
    for name, text in (SAID | said).items():
        write_program(folder, name, f"#!/bin/sh\necho '{text}'\n")


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing in the environment leads to a program: an empty cache, no folder, and a PATH of the system's tools."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(parts.FOLDER_VARIABLE, raising=False)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")


@pytest.fixture
def add_to_path(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    return lambda folder: monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_a_named_folder_comes_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, add_to_path: Callable[[Path], None]
) -> None:
    """Programs in the folder that OTEL_FEEDBACK_PARTS names are taken before those on PATH."""
    write_programs(tmp_path / "path")
    write_programs(tmp_path / "named")
    add_to_path(tmp_path / "path")
    monkeypatch.setenv(parts.FOLDER_VARIABLE, str(tmp_path / "named"))
    assert find_parts(build=False).jaeger == tmp_path / "named" / "jaeger"


def test_the_path_is_searched(tmp_path: Path, add_to_path: Callable[[Path], None]) -> None:
    """Programs of the right version on PATH are taken; the stock Collector serves as well as our own."""
    write_programs(tmp_path / "path")
    (tmp_path / "path" / "otelcol-feedback").rename(tmp_path / "path" / "otelcol-contrib")
    add_to_path(tmp_path / "path")
    found = find_parts(build=False)
    assert found.collector == tmp_path / "path" / "otelcol-contrib"
    assert found.promtool == tmp_path / "path" / "promtool"


@pytest.mark.parametrize("wrong", ["1" + versions.PROMETHEUS, versions.PROMETHEUS + "0", "2.42.0"])
def test_another_version_is_not_taken(tmp_path: Path, add_to_path: Callable[[Path], None], wrong: str) -> None:
    """A program of another version, however alike it looks, is as good as missing; the text says what to do."""
    write_programs(tmp_path / "path", prometheus=f"prometheus, version {wrong} (branch: )")
    add_to_path(tmp_path / "path")
    with pytest.raises(PartsMissing, match=rf"Prometheus {versions.PROMETHEUS} is neither .* run `make parts`"):
        find_parts(build=False)


def test_what_the_cache_has_is_taken(tmp_path: Path) -> None:
    """Built programs are taken from the user's cache folder, by version."""
    for part in (parts._collector(), parts._jaeger(), parts._prometheus()):
        folder = tmp_path / "cache" / "otel-feedback" / "parts" / part.cache_name
        folder.mkdir(parents=True)
        for program in part.programs:
            (folder / program).touch()
    found = find_parts(build=True)
    assert found.prometheus.parent.name == f"prometheus-{versions.PROMETHEUS}"


def test_without_go_it_says_what_to_install() -> None:
    """Where nothing can be built, the text names Go and the folder variable."""
    with pytest.raises(PartsMissing, match=r"Install Go .*OTEL_FEEDBACK_PARTS"):
        find_parts(build=True)


def test_missing_programs_are_built_once(
    tmp_path: Path, add_to_path: Callable[[Path], None], capfd: pytest.CaptureFixture[str]
) -> None:
    """What is missing is built into the cache folder, saying how long that takes; the next time it is there."""
    write_program(tmp_path / "bin", "go", FAKE_GO)
    add_to_path(tmp_path / "bin")
    built = find_parts(build=True)
    assert "building from its Go modules, once, about 3 minutes" in capfd.readouterr().err
    assert built.promtool.read_text() == "built\n"
    (tmp_path / "bin" / "go").unlink()
    assert find_parts(build=True) == built
    assert capfd.readouterr().err == ""
    left = {path.name for path in parts.cache_folder().iterdir()}
    assert not [name for name in left if name.startswith(".build")]


def test_a_failed_build_says_why_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, add_to_path: Callable[[Path], None]
) -> None:
    """A build that fails ends with the end of its log, and no half of it stays in the cache folder."""
    write_program(tmp_path / "bin", "go", FAKE_GO)
    add_to_path(tmp_path / "bin")
    monkeypatch.setenv("BROKEN", "1")
    with pytest.raises(PartsMissing, match="undefined: everything"):
        find_parts(build=True)
    assert not list(parts.cache_folder().glob("prometheus-*"))
    assert not list(parts.cache_folder().glob(".build-*"))
