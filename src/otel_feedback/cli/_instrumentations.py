"""What a service's environment has, and which instrumentations it lacks for it."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from typing import Final

from otel_feedback._requirement import requirement

EXTRAS: Final = "otlp,capture"
"""What a service's environment is told to have: what sends spans, and this command."""

INSTRUMENT: Final = "opentelemetry-instrument"
"""The command that instruments a service without a change in it."""

WEB: Final = {
    "fastapi": "opentelemetry-instrumentation-fastapi",
    "flask": "opentelemetry-instrumentation-flask",
    "django": "opentelemetry-instrumentation-django",
    "starlette": "opentelemetry-instrumentation-starlette",
}
"""Frameworks and what makes spans of their requests."""

FASTAPI_TELLS: Final = (0, 165)
"""From this version on FastAPI makes spans of requests itself."""

_OFFICIAL: Final = "opentelemetry-instrumentation-genai-"
_OPENLLMETRY: Final = "opentelemetry-instrumentation-"
_OPENINFERENCE: Final = "openinference-instrumentation-"

MODELS: Final = {
    "openai": (f"{_OFFICIAL}openai", f"{_OPENLLMETRY}openai", f"{_OPENLLMETRY}openai-v2", f"{_OPENINFERENCE}openai"),
    "anthropic": (f"{_OFFICIAL}anthropic", f"{_OPENLLMETRY}anthropic", f"{_OPENINFERENCE}anthropic"),
    "langchain-core": (f"{_OFFICIAL}langchain", f"{_OPENLLMETRY}langchain", f"{_OPENINFERENCE}langchain"),
    "llama-index-core": (f"{_OFFICIAL}llama-index", f"{_OPENLLMETRY}llamaindex", f"{_OPENINFERENCE}llama-index"),
    "openai-agents": (f"{_OFFICIAL}openai-agents", f"{_OPENLLMETRY}openai-agents", f"{_OPENINFERENCE}openai-agents"),
    "dspy": (f"{_OFFICIAL}dspy", f"{_OPENINFERENCE}dspy"),
    "google-genai": (f"{_OPENLLMETRY}google-genai", f"{_OPENINFERENCE}google-genai"),
    "google-cloud-aiplatform": (f"{_OPENLLMETRY}vertexai", f"{_OPENINFERENCE}vertexai"),
    "mistralai": (f"{_OPENLLMETRY}mistralai", f"{_OPENINFERENCE}mistralai"),
    "cohere": (f"{_OPENLLMETRY}cohere", f"{_OPENINFERENCE}cohere"),
    "groq": (f"{_OPENLLMETRY}groq", f"{_OPENINFERENCE}groq"),
    "ollama": (f"{_OPENLLMETRY}ollama", f"{_OPENINFERENCE}ollama"),
    "litellm": (f"{_OPENLLMETRY}litellm", f"{_OPENINFERENCE}litellm"),
    "haystack-ai": (f"{_OPENLLMETRY}haystack", f"{_OPENINFERENCE}haystack"),
}
"""Libraries that call models and what makes spans of their calls: one is enough, the first is proposed."""

TESTED: Final = {f"{_OFFICIAL}openai": "1.3b0"}
"""Versions that are named because there are only early ones."""

_ASK: Final = (
    "import json; from importlib.metadata import distributions; "
    "print(json.dumps({d.metadata['Name']: d.version for d in distributions() if d.metadata['Name']}))"
)
_ASK_SECONDS: Final = 60


@dataclass(frozen=True)
class Target:
    """A service's command on this machine.

    Attributes:
        python: Its interpreter; ``None`` where the command isn't a Python program.
        instrument: ``opentelemetry-instrument`` of the same environment; ``None`` where it has none.
    """

    python: Path | None
    instrument: Path | None


def find_target(command: str) -> Target | None:
    """Find the environment that a command runs in; ``None`` where there is no such command."""
    found = shutil.which(command)
    if found is None:
        return None
    program = Path(found)
    python = program if re.fullmatch(r"python[0-9.]*(\.exe)?", program.name) else _shebang(program)
    if python is None:
        return Target(None, _beside(program) or _beside(Path(sys.executable)))
    return Target(python, _beside(python) or _beside(program) or _users_own(python))


def find_installed(python: Path | None) -> dict[str, str]:
    """Return the distributions that an interpreter sees, by normalised name, with their versions.

    Args:
        python: The interpreter; ``None`` for this one. What can't be asked has none.
    """
    if python is None or python == Path(sys.executable):
        return {_normalised(each.metadata["Name"]): each.version for each in distributions() if each.metadata["Name"]}
    try:
        done = subprocess.run(  # noqa: S603 - the interpreter that the user is about to start
            [str(python), "-c", _ASK], capture_output=True, timeout=_ASK_SECONDS, check=True
        )
        return {_normalised(name): version for name, version in json.loads(done.stdout).items()}
    except (OSError, ValueError, subprocess.SubprocessError):
        return {}


def find_missing(installed: Mapping[str, str]) -> list[str]:
    """Return what to install, as pip takes it: our own part, then what makes spans of requests and of model calls."""
    missing = []
    if not {"otel-feedback", "opentelemetry-distro", "opentelemetry-exporter-otlp-proto-http"} <= set(installed):
        missing.append(requirement(EXTRAS))
    missing += [WEB[framework] for framework in _frameworks(installed) if WEB[framework] not in installed]
    for library, ways in MODELS.items():
        if library in installed and not any(way in installed for way in ways):
            missing.append(f"{ways[0]}=={TESTED[ways[0]]}" if ways[0] in TESTED else ways[0])
    return missing


def _frameworks(installed: Mapping[str, str]) -> list[str]:
    found = [framework for framework in WEB if framework in installed]
    if "starlette" in found and len(found) > 1:
        found.remove("starlette")  # it is there because of FastAPI or of us
    if "fastapi" in found and _version(installed["fastapi"]) >= FASTAPI_TELLS:
        found.remove("fastapi")
    return found


def _version(text: str) -> tuple[int, ...]:
    match = re.match(r"([0-9]+)\.([0-9]+)", text)
    return (int(match[1]), int(match[2])) if match else (0,)


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _shebang(program: Path) -> Path | None:
    """Return the interpreter that a script names in its first line, if it is a Python by its full path."""
    try:
        with program.open("rb") as file:
            line = file.readline(512)
            more = file.readline(512)
    except OSError:
        return None
    words = os.fsdecode(line[2:]).split() if line.startswith(b"#!") else []
    if words[:1] == ["/bin/sh"] and b"exec" in more:  # how pip writes a path that is too long for a first line
        words = os.fsdecode(more).replace("'''exec'", "").replace('"', " ").replace("'", " ").split()
    if words and Path(words[0]).is_absolute() and "python" in Path(words[0]).name:
        return Path(words[0])
    return None


def _beside(program: Path) -> Path | None:
    found = shutil.which(INSTRUMENT, path=str(program.parent))
    return Path(found) if found else None


def _users_own(python: Path) -> Path | None:
    """Return the one on the PATH if it belongs to this interpreter: ``pip install --user`` puts it elsewhere."""
    found = shutil.which(INSTRUMENT)
    owner = _shebang(Path(found)) if found else None
    if found and owner and owner.parent.exists() and owner.parent.samefile(python.parent):
        return Path(found)
    return None
