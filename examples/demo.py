"""The whole loop in a minute: the example service and its users against the real Collector, Jaeger and Prometheus.

    python -m examples.demo            (make demo)
    python -m examples.demo --keep     (make demo KEEP=1)

Ends with the table *satisfaction by template* out of Prometheus, compared with the votes that the users know they
cast. Exit code 0: all numbers equal; 1: they don't, or some users got no answer; 2: a part did not start.
"""

import argparse
import asyncio
import base64
import os
import secrets
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.text import Text
from stack.client import NotYet, wait_until
from stack.parts import PartsMissing
from stack.ports import Ports, free_ports, ports_in_use
from stack.processes import Process, Stack, StackError

from examples.bad_answer import Trace, find_bad_answer, interaction_of
from examples.look import Sights
from examples.satisfaction import Lines, agreement, find_differences, prompt_names, read_lines, show_lines
from examples.servers import (
    COLLECTOR_KEEPS_TEXT,
    SERVICE_NAME,
    Addresses,
    free_addresses,
    make_capture,
    make_provider,
    make_service,
    telemetry_environment,
)
from examples.trace_tree import build_tree
from examples.users import Truth, Visit, progress_bar, show_truth, simulate

EQUAL, UNEQUAL, NOT_STARTED, INTERRUPTED = 0, 1, 2, 130
PATIENCE: Final = 20.0
"""Seconds in which the last vote must have reached Prometheus and Jaeger."""

LOG_LINES: Final = 10
"""Of each program, shown when something went wrong."""

WHO_THEY_ARE: Final = (
    "Simulated users asked a small service about Python, on two pages with two prompts each. They know which fact a "
    "right answer holds, and about one in ten votes by that."
)

KEEPS_TEXT: Final = (
    "This demo has switched on that questions, answers and comments are kept. By default all of them are dropped, "
    "by the service and once more by the Collector (docs/settings.md).\n"
)


@dataclass(frozen=True)
class Options:
    """What the command line says."""

    questions: int = 1500
    seed: int = 1
    vote_rate: float = 0.1
    concurrency: int = 8
    keep: bool = False
    free_ports: bool = False


class Demo:
    """One run, from starting the parts to ending them."""

    def __init__(self, options: Options, console: Console, folder: Path) -> None:
        self._options = options
        self._console = console
        self._folder = folder

    def run(self) -> int:
        """Run it all.

        Raises:
            PartsMissing: A program is not there.
            StackError: One did not start.
        """
        ports, self._addresses = self._choose_ports()
        with ExitStack() as running:
            self._say("Starting Collector, Jaeger and Prometheus")
            self._stack = running.enter_context(Stack(self._folder / "stack", ports=ports, env=COLLECTOR_KEEPS_TEXT))
            started = time.monotonic()
            self._say("Starting the example service, its model provider and the capture service")
            self._processes = self._start_programs(running)
            truth = self._let_users_in()
            lines, differences = self._await_numbers(truth)
            self._show(truth, lines, differences)
            judged_bad = any(row.negative for row in truth.rows.values())
            bad_answer = self._show_bad_answer() if judged_bad else None
            self._say(f"All of this took {time.monotonic() - started:.0f} s.")
            self._show_where_to_look(bad_answer)
            if self._options.keep:
                self._keep_running()
        return EQUAL if not differences and _went_well(truth) else UNEQUAL

    def _say(self, text: str) -> None:
        self._console.print(Text(text), soft_wrap=True)  # an address is never broken

    def _explain(self, text: str) -> None:
        self._console.print(Text(text))

    def _open(self, title: str) -> None:
        self._console.print()
        self._console.rule(title)

    def _choose_ports(self) -> tuple[Ports, Addresses]:
        """The well-known ports, or free ones where somebody has them or it was asked for."""
        ports, addresses = Ports(), Addresses()
        if self._options.free_ports or ports_in_use(ports) or addresses.in_use():
            return free_ports(), free_addresses()
        return ports, addresses

    def _start_programs(self, running: ExitStack) -> Sequence[Process]:
        keys = f"demo:HS256:{base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip('=')}"
        telemetry = telemetry_environment(self._stack.otlp_grpc, keys, keep_text=True)
        programs = (
            make_provider(self._folder, self._addresses),
            make_service(self._folder, self._addresses, telemetry=telemetry),
            make_capture(self._folder, self._addresses, telemetry=telemetry),
        )
        for program in programs:
            running.callback(program.stop)
            program.launch()
        for program in programs:
            program.await_ready()
        return programs

    def _let_users_in(self) -> Truth:
        visit = Visit(
            self._addresses.service_url,
            self._addresses.capture_url,
            questions=self._options.questions,
            seed=self._options.seed,
            concurrency=self._options.concurrency,
            vote_rate=self._options.vote_rate,
        )
        with progress_bar(self._console) as progress:
            task = progress.add_task("Users ask and judge", total=visit.questions)
            return asyncio.run(simulate(visit, lambda: progress.advance(task)))

    def _await_numbers(self, truth: Truth) -> tuple[Lines, list[str]]:
        """Read the table until it equals the truth, or patience is at its end."""

        def read() -> Lines:
            return read_lines(self._stack.prometheus_client, SERVICE_NAME)

        def equal() -> bool:
            return not find_differences(read(), truth)

        with suppress(NotYet):
            wait_until(equal, "equal numbers", timeout=PATIENCE, every=0.5)
        lines = read()
        return lines, find_differences(lines, truth)

    def _show(self, truth: Truth, lines: Lines, differences: list[str]) -> None:
        self._open("What the users know")
        self._explain(WHO_THEY_ARE)
        show_truth(truth, self._console)
        self._open("Satisfaction by template, out of Prometheus")
        self._console.print(show_lines(lines))
        if differences:
            self._console.print(Text("Prometheus and the users DIFFER:", style="bold red"))
            for difference in differences:
                self._console.print(Text(f"  {difference}", style="red"))
            self._show_logs()
        else:
            self._console.print(Text(agreement(truth), style="bold green"))

    def _show_logs(self) -> None:
        """What the programs complained of, since the folder with their logs goes with the run."""
        for process in (self._stack.collector, *self._processes):
            complaints = [line for line in process.log().splitlines() if "info" not in line.lower()][-LOG_LINES:]
            if complaints:
                self._console.print(Text(f"{process.name} says:", style="bold"))
                self._say("\n".join(complaints))

    def _show_bad_answer(self) -> Mapping[str, Any] | None:
        """Show an answer that a user judged bad, and return its span."""
        self._open("One bad answer, out of Jaeger")

        def find() -> Trace:
            return find_bad_answer(self._stack.jaeger_client, SERVICE_NAME)

        try:
            spans = wait_until(find, "a bad answer in Jaeger", timeout=PATIENCE)
        except NotYet:
            self._say("No bad answer has reached Jaeger.")
            return None
        self._explain(KEEPS_TEXT)
        self._console.print(build_tree(spans, prompt_names()))
        return interaction_of(spans)

    def _show_where_to_look(self, bad_answer: Mapping[str, Any] | None) -> None:
        self._open("Where to look")
        sights = Sights(
            jaeger=self._stack.jaeger,
            prometheus=self._stack.prometheus,
            addresses=self._addresses,
            bad_answer=bad_answer,
            logs=str(self._folder),
        )
        if self._options.keep:
            for line in sights.show():
                self._say(line)
        else:
            self._explain(sights.invite())
            for line in sights.then():
                self._say(line)
        self._explain(sights.explain_pages())

    def _keep_running(self) -> None:
        """Until Ctrl-C, or until a program ends.

        Raises:
            StackError: One ended.
        """
        everything = (
            self._stack.collector,
            self._stack.jaeger_process,
            self._stack.prometheus_process,
            *self._processes,
        )
        never = threading.Event()
        try:
            self._say("Ctrl-C ends everything.")
            while not never.wait(timeout=1):
                for process in everything:
                    if not process.running:
                        raise StackError(f"{process.name} has ended:\n{process.log_tail()}")
        except KeyboardInterrupt:
            self._say("\nEnding.")


def _went_well(truth: Truth) -> bool:
    return not (truth.failed or truth.refused or truth.without_handle)


def _read_arguments(arguments: Sequence[str] | None) -> Options:
    parser = argparse.ArgumentParser(prog="python -m examples.demo", description=__doc__.splitlines()[0])
    default = Options()
    parser.add_argument("--questions", type=int, default=default.questions, help="[%(default)s]")
    parser.add_argument("--seed", type=int, default=default.seed, help="who asks what, who votes [%(default)s]")
    parser.add_argument("--vote-rate", type=float, default=default.vote_rate, help="[%(default)s]")
    parser.add_argument("--concurrency", type=int, default=default.concurrency, help="users at a time [%(default)s]")
    keep = os.environ.get("KEEP", "") not in {"", "0"}
    parser.add_argument("--keep", action="store_true", default=keep, help="run on until Ctrl-C [KEEP=1]")
    parser.add_argument("--free-ports", action="store_true", help="leave the well-known ports alone")
    return Options(**vars(parser.parse_args(arguments)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo and return the exit code."""
    options = _read_arguments(arguments)
    console = Console()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends like Ctrl-C: nothing is left running
    try:
        with tempfile.TemporaryDirectory(prefix="otel-feedback-demo-") as folder:
            return Demo(options, console, Path(folder)).run()
    except (PartsMissing, StackError) as trouble:
        console.print(Text(str(trouble), style="red"))
        return NOT_STARTED
    except KeyboardInterrupt:
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
