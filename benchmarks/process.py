"""``otel-feedback up`` as a process of its own, on free ports, and what it takes of the machine."""

import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from stack.ports import choose_free

from otel_feedback import semconv
from otel_feedback._handle import HandleCodec, Keyring

KEYS: Final = "bench:HS256:YmVuY2hlcy1rZXktZm9yLWJlbmNobWFya3Mtb25seS0"
"""What its handles are signed with."""

COMMAND: Final = [sys.executable, "-c", "from otel_feedback.cli import main; main()"]

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_START_SECONDS: Final = 60
_END_SECONDS: Final = 30


class ServerEndedError(AssertionError):
    """The server ended while it was starting; the text is what it said."""


def environment(**variables: str) -> dict[str, str]:
    """Return this process's environment without what concerns us, and with what is given."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    return kept | {"COLUMNS": "120", "PYTHONUNBUFFERED": "1", "OTEL_FEEDBACK_HANDLE_KEYS": KEYS} | variables


class Server:
    """One server on one data folder; it keeps its ports from start to start.

    Args:
        data: The folder.
        core: The one core that it may use; any by default.
        arguments: More options of ``otel-feedback up``.
        variables: More of its environment.
        prefix: A command that runs it, such as ``prlimit``.
    """

    def __init__(
        self,
        data: Path,
        *,
        core: int | None = None,
        arguments: Iterable[str] = (),
        variables: Mapping[str, str] | None = None,
        prefix: Iterable[str] = (),
    ) -> None:
        self.data = data
        self.main, self.grpc, self.http = (f"127.0.0.1:{port}" for port in choose_free(3))
        self.url = f"http://{self.main}"
        self.log = data.with_name(f"{data.name}.log")
        self._core = core
        self._arguments = list(arguments)
        self._variables = dict(variables or {})
        self._prefix = list(prefix)
        self._process: subprocess.Popen[bytes] | None = None
        self.codec = HandleCodec(Keyring.from_text(KEYS))

    def __enter__(self) -> "Server":  # noqa: PYI034 - Self is of Python 3.11
        """Start it and wait until it answers."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    @property
    def command(self) -> list[str]:
        """What starts it."""
        addresses = ["--listen", self.main, "--otlp-grpc", self.grpc, "--otlp-http", self.http]
        return [*self._prefix, *COMMAND, "up", "--data", str(self.data), *addresses, *self._arguments]

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The running process."""
        assert self._process is not None
        return self._process

    def launch(self) -> None:
        """Start it, and don't wait."""
        with self.log.open("ab") as log, _on(self._core):
            self._process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment(**self._variables)
            )

    def start(self) -> float:
        """Start it and return the seconds until it answered.

        Raises:
            ServerEndedError: It ended before it answered.
        """
        begun = time.monotonic()
        self.launch()
        while not self.answers():
            if self.process.poll() is not None:
                raise ServerEndedError(self.said())
            if time.monotonic() - begun > _START_SECONDS:
                self.kill()
                raise ServerEndedError(f"It does not answer. It said:\n{self.said()}")
            time.sleep(0.01)
        return time.monotonic() - begun

    def said(self) -> str:
        """Return what it wrote to its terminal since the first start."""
        return self.log.read_text(errors="replace")

    def answers(self) -> bool:
        """Return whether it answers."""
        try:
            with urllib.request.urlopen(f"{self.url}/healthz", timeout=5) as answer:
                return bool(answer.status == 200)
        except (OSError, urllib.error.URLError):
            return False

    def kill(self) -> None:
        """End it as a power cut of the process would."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> float:
        """Ask it to end, wait, and return the seconds that it took."""
        begun = time.monotonic()
        self.process.terminate()
        self.process.wait(_END_SECONDS)
        return time.monotonic() - begun

    def get(self, path: str) -> Any:
        """Return the JSON answer of a path, such as ``/api/status``."""
        with urllib.request.urlopen(self.url + path, timeout=60) as answer:
            return json.loads(answer.read())

    def handle(self, trace_id: str, span_id: str, facts: Mapping[str, str] | None = None) -> str:
        """Return the handle of an answer; ids as hex digits."""
        known = {semconv.FEEDBACK_PROMPT_NAME: "answer", semconv.FEEDBACK_PROMPT_VERSION: "1"} | dict(facts or {})
        return self.codec.issue(trace_id=int(trace_id, 16), span_id=int(span_id, 16), sampled=True, facts=known)

    def memory(self) -> float:
        """Return MiB that it has in memory (RSS)."""
        return self._status("VmRSS")

    def most_memory(self) -> float:
        """Return the most MiB that it had in memory since its start, or since ``forget_memory``."""
        return self._status("VmHWM")

    def forget_memory(self) -> None:
        """Let ``most_memory`` count from now on."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def _status(self, field: str) -> float:
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) / 1024
        raise ProcessLookupError(self.process.pid)

    def cpu(self) -> float:
        """Return seconds of CPU that it has used, all its threads together."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS


@contextlib.contextmanager
def _on(core: int | None) -> Iterator[None]:
    """Start processes on one core: a child has its parent's."""
    before = os.sched_getaffinity(0)
    try:
        if core is not None:
            os.sched_setaffinity(0, {core})
        yield
    finally:
        os.sched_setaffinity(0, before)
