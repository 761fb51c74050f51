"""The whole loop in one process: the example service and its users before ``otel-feedback up``.

    python -m examples.demo            (make demo)
    python -m examples.demo --keep     (make demo KEEP=1)

Ends with the table *satisfaction by template* out of its API, compared with the votes that the users know they cast.
Exit code 0: all numbers equal; 1: they don't, or some users got no answer; 2: a part did not start.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from stack.processes import Process

from examples.embedded import find_bad_answer, read_lines
from examples.look import invite, judge_yourself
from examples.loop import Options, run_demo
from examples.satisfaction import Lines, agreement, standing
from examples.servers import (
    RESOURCE,
    SERVICE_NAME,
    Addresses,
    UpPorts,
    free_addresses,
    free_up_ports,
    make_provider,
    make_service,
    make_up,
    run_by,
)
from examples.trace_tree import Trace
from examples.users import Truth

KEEPS_TEXT: Final = (
    "On this machine alone, `otel-feedback up` keeps what arrives, and `otel-feedback run` has the service record "
    "questions, answers and comments. Elsewhere all of them are dropped by default (docs/settings.md).\n"
)


class Embedded:
    """The one process, on its own ports, or on free ones where somebody has them or it was asked for."""

    parts = "otel-feedback up"
    numbers_by = "the API"
    answers_by = "the API"
    words_kept = KEEPS_TEXT

    def __init__(self, folder: Path, options: Options) -> None:
        self._folder = folder
        self.addresses, self._ports = Addresses(), UpPorts()
        if options.free_ports or self.addresses.in_use() or self._ports.in_use():
            self.addresses, self._ports = free_addresses(), free_up_ports()
        self._up = make_up(folder, self._ports, data=folder / "data")

    @property
    def capture_url(self) -> str:
        """It takes votes on the port of its page."""
        return self._ports.url

    @property
    def processes(self) -> Sequence[Process]:
        """One."""
        return (self._up,)

    def start(self, running: ExitStack) -> None:
        """Start it; the key of the handles is in its data folder from then on."""
        running.callback(self._up.stop)
        self._up.start()

    def make_programs(self) -> Sequence[Process]:
        """The provider, and the service as ``otel-feedback run`` starts it: there is nothing else to set."""
        starter = run_by(self._ports)
        page = {"FEEDBACK_URL": self._ports.url, "DASHBOARD_URL": f"{self._ports.url}/"}
        return (
            make_provider(self._folder, self.addresses),
            make_service(self._folder, self.addresses, starter=starter, telemetry=RESOURCE, page=page),
        )

    def read_lines(self) -> Lines:
        """Ask its API."""
        return read_lines(self._ports.url, SERVICE_NAME)

    def agreement(self, truth: Truth, lines: Lines) -> str:
        """It knows how votes stand, too."""
        return f"{agreement(truth, 'The API', lines)}\n{standing(truth)}"

    def find_bad_answer(self) -> Trace | None:
        """Ask its API."""
        return find_bad_answer(self._ports.url, SERVICE_NAME)

    def stays(self, bad_answer: Trace | None) -> Iterator[str]:
        """The page first; the same in the terminal; a vote of one's own."""
        url = self._ports.url
        yield "The satisfaction page, with bad answers, and what to set in a service:"
        yield f"  {url}/"
        if bad_answer is not None and bad_answer.answer is not None:
            yield "The bad answer above, with all of its spans:"
            yield f"  {url}/answers/{bad_answer.id}-{bad_answer.answer.id}"
        yield "The same in a terminal, and votes as they come:"
        for command in ("templates", "answers", "tail"):
            yield f"  .venv/bin/otel-feedback {command} --url {url}"
        yield from judge_yourself(self.addresses.service_url, url, "the open satisfaction page shows it at once")

    def ends(self) -> Iterator[str]:
        """How to have it stay, and where it will be."""
        command = "make demo KEEP=1"
        yield from invite(
            command,
            "opens two pages to you: these numbers, with every bad answer and its trace, and a chat, to ask "
            "questions of your own and judge the answers",
            {"satisfaction": f"{UpPorts().url}/", "the chat page": f"{Addresses().service_url}/"},
        )

    def explain(self) -> str:
        """What comes next."""
        return "A service of your own: README.md, which begins with it. With the real parts: `make stack-demo`."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo and return the exit code."""
    return run_demo("examples.demo", (__doc__ or "").splitlines()[0], arguments, Embedded)


if __name__ == "__main__":
    sys.exit(main())
