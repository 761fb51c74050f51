"""The README by its letter: a service that was never touched shows its first vote on the page."""

import os
import re
import shlex
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from stack.client import answers, wait_until
from stack.parts import REPOSITORY
from stack.ports import choose_free

SECTION = (REPOSITORY / "README.md").read_text().partition("## Your first vote\n")[2].partition("\n## ")[0]
PROSE = re.sub(r"```python\n.*?```", "", SECTION, flags=re.DOTALL)
BLOCKS = [
    re.sub("^    ", "", block, flags=re.MULTILINE) for block in re.findall(r"(?:^    .*\n)+", PROSE, re.MULTILINE)
]
OPTIONS = {"listen": "8484", "otlp-grpc": "4317", "otlp-http": "4318"}
WELL_KNOWN = ("8484", "4317", "4318", "8000", "8001")

Run = Callable[[str], subprocess.Popen[str]]


@pytest.fixture
def ports() -> dict[str, str]:
    """Free ports in place of those that the README names."""
    return dict(zip(WELL_KNOWN, map(str, choose_free(len(WELL_KNOWN))), strict=True))


@pytest.fixture
def moved(ports: dict[str, str]) -> Callable[[str], str]:
    """What the README says, with other ports, and with those said that it leaves to their defaults."""

    def move(text: str) -> str:
        text = text.replace("/path/to/this/clone", str(REPOSITORY))
        text = re.sub(r"\b(8484|8000|8001)\b", lambda port: ports[port[0]], text)
        own = [f"--{name} 127.0.0.1:{ports[port]}" for name, port in OPTIONS.items()]
        text = text.replace("otel-feedback up", " ".join(["otel-feedback up", *own]))
        return text.replace("uvicorn app:app", f"uvicorn app:app --port {ports['8000']}")

    return move


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Run]:
    """Runs what is typed in a folder of the reader's own; what still runs in the end is ended."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "OPENAI_", "MODEL"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {
        **kept,
        "PATH": path,
        "HOME": str(tmp_path),
        "XDG_DATA_HOME": str(tmp_path / "share"),
        "no_proxy": "127.0.0.1",
    }
    running: list[subprocess.Popen[str]] = []

    def run(typed: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            ["bash", "-ec", typed], cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        running.append(process)
        return process

    yield run
    for process in reversed(running):
        process.terminate()
        process.communicate(timeout=30)


def page(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        text: str = answer.read().decode()
        return text


def test_the_first_vote_is_on_the_page(
    tmp_path: Path, ports: dict[str, str], moved: Callable[[str], str], terminal: Run
) -> None:
    """Install, start, ask, judge: every command is the README's, and the page has the question with its vote."""
    install, without_a_key, start, judge = BLOCKS
    assert shlex.split(install)[:2] == ["pip", "install"]
    up, service = start.splitlines()
    provider, variables = without_a_key.splitlines()
    (tmp_path / "app.py").write_text(re.findall(r"```python\n(.*?)```", SECTION, flags=re.DOTALL)[0])
    url = f"http://127.0.0.1:{ports['8484']}"

    terminal(f"exec {moved(up)}")
    terminal(f"exec {moved(provider)}")
    wait_until(lambda: answers(f"{url}/healthz"), "otel-feedback up")
    wait_until(lambda: answers(f"http://127.0.0.1:{ports['8001']}/v1/models"), "the provider")
    terminal(f"{moved(variables)}\nexec {moved(service)}")
    wait_until(lambda: answers(f"http://127.0.0.1:{ports['8000']}/openapi.json"), "the service")
    judged = terminal(moved(judge))
    said, _ = judged.communicate(timeout=30)
    assert judged.returncode == 0, said

    bad = wait_until(lambda: "What is a generator?" in (html := page(f"{url}/answers")) and html, "the bad answer")
    assert "A generator is a function" in bad
    assert "thumbs" in bad
    assert "down" in bad
    assert "/ask" in page(url)
    status = page(f"{url}/api/status")
    assert '"feedback":1' in status.replace(" ", "")
