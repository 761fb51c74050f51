"""Finds the real programs at the pinned versions; builds from their Go modules those that are not there."""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stack import versions

REPOSITORY: Final = Path(__file__).resolve().parent.parent
BUILDER_FILE: Final = REPOSITORY / "collector" / "builder.yaml"

FOLDER_VARIABLE: Final = "OTEL_FEEDBACK_PARTS"
"""Environment variable: a folder to look for the programs in, before PATH."""


class PartsMissing(Exception):  # noqa: N818 - reads as what it says: parts are missing
    """A program is not there in its pinned version and could not be built; the text says what to do."""


@dataclass(frozen=True)
class Parts:
    """Paths of the programs, all of the versions in ``stack.versions``."""

    collector: Path
    jaeger: Path
    prometheus: Path
    promtool: Path


@dataclass(frozen=True)
class _Part:
    """One download: the programs in it, how to ask for its version and how to build it into a folder."""

    title: str
    version: str
    programs: tuple[str, ...]
    aliases: Mapping[str, str]
    version_command: tuple[str, ...]
    minutes: int
    cache_name: str
    build: "Callable[[_Build], None]"


def find_parts(*, build: bool) -> Parts:
    """Return the programs, from the first place that has them in the pinned version.

    Places: the folder named by ``OTEL_FEEDBACK_PARTS``, PATH, the user's cache folder
    (``$XDG_CACHE_HOME/otel-feedback/parts/<name>-<version>``).

    Args:
        build: build into the cache folder what no place has; takes minutes and needs Go.

    Raises:
        PartsMissing: a program is nowhere and was not, or could not be, built.
    """
    collector = _find(_collector(), build=build)
    prometheus = _find(_prometheus(), build=build)
    jaeger = _find(_jaeger(), build=build)
    return Parts(
        collector=collector["otelcol-feedback"],
        jaeger=jaeger["jaeger"],
        prometheus=prometheus["prometheus"],
        promtool=prometheus["promtool"],
    )


def cache_folder() -> Path:
    """Return the folder that keeps built programs, shared by every clone of this user."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "otel-feedback" / "parts"


def _collector() -> _Part:
    # What was built in depends on the manifest, hence its digest in the folder's name.
    digest = hashlib.sha256(BUILDER_FILE.read_bytes()).hexdigest()[:8]
    return _Part(
        title="OpenTelemetry Collector",
        version=versions.COLLECTOR,
        programs=("otelcol-feedback",),
        aliases={"otelcol-feedback": "otelcol-contrib"},
        version_command=("--version",),
        minutes=3,
        cache_name=f"collector-{versions.COLLECTOR}-{digest}",
        build=_build_collector,
    )


def _jaeger() -> _Part:
    return _Part(
        title="Jaeger",
        version=versions.JAEGER,
        programs=("jaeger",),
        aliases={},
        version_command=("version",),
        minutes=4,
        cache_name=f"jaeger-{versions.JAEGER}",
        build=_build_jaeger,
    )


def _prometheus() -> _Part:
    return _Part(
        title="Prometheus",
        version=versions.PROMETHEUS,
        programs=("prometheus", "promtool"),
        aliases={},
        version_command=("--version",),
        minutes=5,
        cache_name=f"prometheus-{versions.PROMETHEUS}",
        build=_build_prometheus,
    )


def _find(part: _Part, *, build: bool) -> dict[str, Path]:
    cached = cache_folder() / part.cache_name
    found = _in_places(part) or _in_folder(part, cached)
    if found:
        return found
    if not build:
        raise PartsMissing(
            f"{part.title} {part.version} is neither in ${FOLDER_VARIABLE}, nor on PATH, nor in {cached}: "
            "run `make parts` (once, about 11 minutes)."
        )
    go = shutil.which("go")
    if go is None:
        raise PartsMissing(
            f"{part.title} {part.version} has to be built, and there is no `go` on PATH. Install Go "
            "(https://go.dev/dl, or your system's package `golang`; 1.21 or later, it fetches the rest), "
            f"or put {' and '.join(part.programs)} on PATH or into a folder named by ${FOLDER_VARIABLE}."
        )
    _build_into(part, cached, go)
    return {program: cached / program for program in part.programs}


def _in_places(part: _Part) -> dict[str, Path] | None:
    """Look in the named folder, then along PATH, for programs that say the right version themselves."""
    named = os.environ.get(FOLDER_VARIABLE)
    search = [named] if named else []
    for path in [*search, None]:
        found: dict[str, Path] = {}
        for program in part.programs:
            at = shutil.which(program, path=path) or shutil.which(part.aliases.get(program, program), path=path)
            if at and _has_version(Path(at), part):
                found[program] = Path(at).resolve()
        if len(found) == len(part.programs):
            return found
    return None


def _in_folder(part: _Part, folder: Path) -> dict[str, Path] | None:
    """The cache folder is written whole, or not at all, by version: nothing to ask the programs."""
    paths = {program: folder / program for program in part.programs}
    return paths if all(path.is_file() for path in paths.values()) else None


def _has_version(program: Path, part: _Part) -> bool:
    try:
        done = subprocess.run([program, *part.version_command], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return re.search(rf"(?<![\d.]){re.escape(part.version)}(?![\d.])", done.stdout + done.stderr) is not None


# --- Building -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Build:
    """One build under way: where Go is, where to work, where the programs go, and the log."""

    go: str
    work: Path
    out: Path
    log: Path

    def run(self, *command: str, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> None:
        """Run a step into the log, saying every 20 seconds that it still runs."""
        started = time.monotonic()
        with (
            self.log.open("ab") as log,
            subprocess.Popen(
                command, cwd=cwd or self.work, env={**os.environ, **(env or {})}, stdout=log, stderr=log
            ) as process,
        ):
            while (code := _wait(process, seconds=20)) is None:
                _say(f"  still building, {time.monotonic() - started:.0f} s")
        if code:
            tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])
            raise PartsMissing(f"`{' '.join(command)}` failed with {code}; the end of its log:\n{tail}")

    def module(self, module: str) -> Path:
        """Download a Go module and return the folder of its source."""
        done = subprocess.run(
            [self.go, "mod", "download", "-json", module],
            cwd=self.work,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise PartsMissing(f"Go could not download {module}:\n{done.stdout}{done.stderr}")
        return Path(json.loads(done.stdout)["Dir"])

    def build(self, source: Path, *packages: str, flags: str) -> None:
        """Build packages of a downloaded module; the programs are told their version by the linker."""
        command = [self.go, "build", "-trimpath", "-ldflags", flags, "-o", f"{self.out}/", *packages]
        self.run(*command, cwd=source, env={"GOWORK": "off"})


def _build_collector(build: _Build) -> None:
    build.run(build.go, "install", "-trimpath", versions.COLLECTOR_BUILDER_MODULE, env={"GOBIN": str(build.work)})
    shutil.copy(BUILDER_FILE, build.work / "builder.yaml")
    build.run(str(build.work / "builder"), "--config", "builder.yaml", env={"GOFLAGS": "-trimpath"})
    shutil.move(build.work / "dist" / "otelcol-feedback", build.out / "otelcol-feedback")


def _build_jaeger(build: _Build) -> None:
    source = build.module(versions.JAEGER_MODULE)
    variable = "github.com/jaegertracing/jaeger/internal/version.latestVersion"
    build.build(source, "./cmd/jaeger", flags=f"-s -w -X {variable}=v{versions.JAEGER}")


def _build_prometheus(build: _Build) -> None:
    source = build.module(versions.PROMETHEUS_MODULE)
    variable = "github.com/prometheus/common/version.Version"
    build.build(source, "./cmd/prometheus", "./cmd/promtool", flags=f"-s -w -X {variable}={versions.PROMETHEUS}")


def _build_into(part: _Part, cached: Path, go: str) -> None:
    """Build into a folder beside the final one and rename it, so that nobody ever sees half a build."""
    cached.parent.mkdir(parents=True, exist_ok=True)
    with _locked(cached.parent / ".lock"):
        if _in_folder(part, cached):
            return
        _say(f"{part.title} {part.version}: building from its Go modules, once, about {part.minutes} minutes")
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix=".build-", dir=cached.parent) as work:
            out = Path(work) / "out"
            out.mkdir()
            part.build(_Build(go, Path(work), out, Path(work) / "build.log"))
            out.rename(cached)
        _say(f"{part.title} {part.version}: built in {time.monotonic() - started:.0f} s, kept in {cached}")


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let one process build at a time: two clones that start together share the result."""
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("another process is building the parts: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _wait(process: "subprocess.Popen[bytes]", *, seconds: float) -> int | None:
    """Return the exit code of a process that ends within that time; end it where we are interrupted meanwhile."""
    try:
        return process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        return None
    except BaseException:
        process.kill()
        raise


def _say(text: str) -> None:
    print(f"[parts] {text}", file=sys.stderr, flush=True)
