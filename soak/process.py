"""A real ``otel-feedback capture`` process: started, measured, and ended; and handles that it accepts."""

import contextlib
import itertools
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from otel_feedback._handle import HandleCodec, Keyring

KEYS: Final = "soak:HS256:c29hay1rZXktZm9yLWxvbmctcnVucy1vbmx5LS0tLS0"
"""Everybody may know this key."""

NO_LIMITS: Final = ("--rate-handle", "none", "--rate-address", "none", "--rate-overall", "none")
"""Options for senders that all have one address, where it isn't the limits that are tried."""

_COMMAND: Final = (sys.executable, "-c", "from otel_feedback.cli import main; main()")
_START_SECONDS: Final = 60


class Capture:
    """The process, with the port that it listens on and its log."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.process = process
        self.log = log
        self.port = self._port()

    def said(self) -> str:
        """Return its log so far."""
        return self.log.read_text(errors="replace")

    def memory(self) -> float:
        """Return its resident memory in MiB."""
        return self._status("VmRSS")

    def most_memory(self) -> float:
        """Return the most of it since the start, or since ``forget_memory``, in MiB."""
        return self._status("VmHWM")

    def forget_memory(self) -> None:
        """Begin to measure the most of it anew."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def stop(self) -> int:
        """End it as an operator does, and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=120)

    def _status(self, name: str) -> float:
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(rf"{name}:\s+(\d+) kB", text)
        return int(found[1]) / 1024 if found else 0.0

    def _port(self) -> int:
        until = time.monotonic() + _START_SECONDS
        while time.monotonic() < until and self.process.poll() is None:
            if found := re.search(r"running on http://127\.0\.0\.1:(\d+)", self.said()):
                return int(found[1])
            time.sleep(0.05)
        raise AssertionError(f"capture did not start:\n{self.said()}")


@contextlib.contextmanager
def capturing(*arguments: str, port: int = 0, **variables: str) -> Iterator[Capture]:
    """Run ``otel-feedback capture`` with a state folder of its own; it is killed at the end.

    Args:
        arguments: More options.
        port: To listen on; 0 for a free one.
        variables: More of its environment.
    """
    with tempfile.TemporaryDirectory(prefix="otel-feedback-soak-") as folder:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
        own = {"OTEL_FEEDBACK_HANDLE_KEYS": KEYS, "OTEL_FEEDBACK_STATE_DIR": folder, "COLUMNS": "120"}
        log = Path(folder, "log")
        with (
            log.open("wb") as file,
            subprocess.Popen(
                [*_COMMAND, "capture", "--listen", f"127.0.0.1:{port}", *arguments],
                env=kept | own | variables,
                stdout=file,
                stderr=file,
            ) as process,
        ):
            try:
                yield Capture(process, log)
            finally:
                process.kill()


def handles(first: int = 1) -> Iterator[str]:
    """Make handles of ever new interactions, numbered from the first on."""
    codec = HandleCodec(Keyring.from_text(KEYS))
    for number in itertools.count(first):
        yield codec.issue(trace_id=number << 64 | 1, span_id=number, sampled=True, facts={})
