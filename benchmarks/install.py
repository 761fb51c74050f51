"""What it costs before it does anything: time to import the core, and room on the disk."""

import os
import statistics
import subprocess
import sys
import tempfile
import venv
from importlib import metadata
from pathlib import Path

_SDK = "import opentelemetry.trace, opentelemetry.sdk.trace, opentelemetry.sdk.trace.export"
_CORE = "import otel_feedback"
_ROUNDS = 15


def import_times() -> tuple[float, float]:
    """Return milliseconds to import the SDK and our core (which imports the SDK): medians over fresh interpreters."""
    times: dict[str, list[float]] = {_SDK: [], _CORE: []}
    for _ in range(_ROUNDS):
        for statement, found in times.items():
            found.append(_import_time(statement))
    return statistics.median(times[_SDK]), statistics.median(times[_CORE])


def _import_time(statement: str) -> float:
    program = f"import time; start = time.process_time(); {statement}; print((time.process_time() - start) * 1000)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return float(done.stdout)


def installed_mebibytes() -> float:
    """Return MiB that our core's own files and its dependencies beyond the SDK's take, as pip installs them."""
    ours, sdk = _closure("otel-feedback"), _closure("opentelemetry-sdk")
    source = Path(__file__).parent.parent / "src" / "otel_feedback"
    total = sum(path.stat().st_size for path in source.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    for name in ours - sdk - {"otel-feedback"}:
        files = metadata.files(name) or []
        total += sum(Path(str(path.locate())).stat().st_size for path in files if Path(str(path.locate())).is_file())
    return total / 2**20


def fresh_megabytes(extra: str) -> float:
    """Return MB (millions of bytes) of a fresh install with an extra, with the bytecode that pip makes, without pip."""
    root = Path(__file__).parent.parent
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        program = str(Path(folder, "bin", "python"))
        before = _bytes(folder)
        constraints = str(root / "requirements" / "dev.lock")
        command = [program, "-m", "pip", "install", "--quiet", "--constraint", constraints, f"{root}[{extra}]"]
        subprocess.run(command, check=True, env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"})
        return (_bytes(folder) - before) / 1e6


def _bytes(folder: str) -> int:
    return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file() and not path.is_symlink())


def _closure(name: str) -> set[str]:
    from packaging.requirements import Requirement

    found: set[str] = set()
    todo = [name]
    while todo:
        one = todo.pop().lower().replace("_", "-")
        if one in found:
            continue
        found.add(one)
        for line in metadata.requires(one) or ():
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                todo.append(requirement.name)
    return found
