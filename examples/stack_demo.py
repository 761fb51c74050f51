"""The whole loop with the real parts: the example service and its users before Collector, Jaeger and Prometheus.

    python -m examples.stack_demo            (make stack-demo)
    python -m examples.stack_demo --keep     (make stack-demo KEEP=1)

Ends with the table *satisfaction by template* out of Prometheus, compared with the votes that the users know they
cast. Exit code 0: all numbers equal; 1: they don't, or some users got no answer; 2: a part did not start.
"""

import base64
import secrets
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from stack.ports import Ports, free_ports, ports_in_use
from stack.processes import Process, Stack

from examples.jaeger import find_bad_answer
from examples.look import Sights
from examples.loop import Options, run_demo
from examples.prometheus import read_lines
from examples.satisfaction import Lines, agreement
from examples.servers import (
    COLLECTOR_KEEPS_TEXT,
    INSTRUMENT,
    SERVICE_NAME,
    Addresses,
    free_addresses,
    make_capture,
    make_provider,
    make_service,
    telemetry_environment,
)
from examples.trace_tree import Trace
from examples.users import Truth

KEEPS_TEXT: Final = (
    "This demo has switched on that questions, answers and comments are kept. By default all of them are dropped, "
    "by the service and once more by the Collector (docs/settings.md).\n"
)


class RealParts:
    """The stack on its well-known ports, or on free ones where somebody has them or it was asked for."""

    parts = "Collector, Jaeger and Prometheus"
    numbers_by = "Prometheus"
    answers_by = "Jaeger"
    words_kept = KEEPS_TEXT

    def __init__(self, folder: Path, options: Options) -> None:
        self._folder = folder
        self.addresses, self._ports = Addresses(), Ports()
        if options.free_ports or self.addresses.in_use() or ports_in_use(self._ports):
            self.addresses, self._ports = free_addresses(), free_ports()
        self._stack = Stack(folder / "stack", ports=self._ports, env=COLLECTOR_KEEPS_TEXT)

    @property
    def capture_url(self) -> str:
        """The capture service is a process of its own."""
        return self.addresses.capture_url

    @property
    def processes(self) -> Sequence[Process]:
        """Three."""
        return self._stack.collector, self._stack.jaeger_process, self._stack.prometheus_process

    def start(self, running: ExitStack) -> None:
        """Start all three."""
        running.enter_context(self._stack)

    def make_programs(self) -> Sequence[Process]:
        """The provider, the service, and the capture service with the same key."""
        keys = f"demo:HS256:{base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip('=')}"
        telemetry = telemetry_environment(self._stack.otlp_grpc, keys, keep_text=True)
        page = {"FEEDBACK_URL": self.capture_url}
        return (
            make_provider(self._folder, self.addresses),
            make_service(self._folder, self.addresses, starter=INSTRUMENT, telemetry=telemetry, page=page),
            make_capture(self._folder, self.addresses, telemetry=telemetry),
        )

    def read_lines(self) -> Lines:
        """Ask Prometheus."""
        return read_lines(self._stack.prometheus_client, SERVICE_NAME)

    def agreement(self, truth: Truth, lines: Lines) -> str:
        """Prometheus counts what was delivered, not how votes stand."""
        return agreement(truth, self.numbers_by, lines)

    def find_bad_answer(self) -> Trace | None:
        """Ask Jaeger."""
        return find_bad_answer(self._stack.jaeger_client, SERVICE_NAME)

    def stays(self, bad_answer: Trace | None) -> Iterator[str]:
        """Links to pages that are there, else commands to copy."""
        return self._sights().show(bad_answer)

    def ends(self) -> Iterator[str]:
        """How to have it stay, and where it will be."""
        return self._sights().leave()

    def explain(self) -> str:
        """Which parts have web pages."""
        return self._sights().explain_pages()

    def _sights(self) -> Sights:
        return Sights(self._stack.jaeger, self._stack.prometheus, self.addresses)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo and return the exit code."""
    return run_demo("examples.stack_demo", (__doc__ or "").splitlines()[0], arguments, RealParts)


if __name__ == "__main__":
    sys.exit(main())
