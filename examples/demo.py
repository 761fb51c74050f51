"""The whole loop in a minute: the example service and its users against the real Collector, Jaeger and Prometheus.

    python -m examples.demo            (make demo)
    python -m examples.demo --keep     (make demo KEEP=1)

Ends with the table *satisfaction by template* out of Prometheus, compared with the votes that the users know they
cast. Exit code 0: all numbers equal; 1: they don't, or some users got no answer; 2: a part did not start.
"""

import argparse
import asyncio
import base64
import json
import os
import secrets
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from rich.console import Console
from rich.text import Text
from stack.client import NotYet, span_tags, wait_until
from stack.parts import PartsMissing
from stack.ports import Ports, free_ports, ports_in_use
from stack.processes import Process, Stack, StackError

from examples.satisfaction import COUNTS, Lines, expected, feedback_query, find_differences, read_lines, show_lines
from examples.servers import (
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

GRAFANA: Final = "http://127.0.0.1:3000"


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
            self._stack = running.enter_context(Stack(self._folder / "stack", ports=ports))
            started = time.monotonic()
            self._say("Starting the example service, its model provider and the capture service")
            self._processes = self._start_programs(running)
            truth = self._let_users_in()
            lines, differences = self._await_numbers(truth)
            self._show(truth, lines, differences)
            self._say(f"All of this took {time.monotonic() - started:.0f} s.")
            self._show_addresses()
            if self._options.keep:
                self._keep_running()
        return EQUAL if not differences and _went_well(truth) else UNEQUAL

    def _say(self, text: str) -> None:
        self._console.print(Text(text), soft_wrap=True)  # an address is never broken

    def _choose_ports(self) -> tuple[Ports, Addresses]:
        """The well-known ports, or free ones where somebody has them or it was asked for."""
        ports, addresses = Ports(), Addresses()
        if self._options.free_ports or ports_in_use(ports) or addresses.in_use():
            return free_ports(), free_addresses()
        return ports, addresses

    def _start_programs(self, running: ExitStack) -> Sequence[Process]:
        keys = f"demo:HS256:{base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip('=')}"
        telemetry = telemetry_environment(self._stack.otlp_grpc, keys)
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
        self._console.rule("What the users know")
        show_truth(truth, self._console)
        self._console.rule("What Prometheus says")
        self._console.print(show_lines(lines))
        if differences:
            self._console.print(Text("Prometheus and the users DIFFER:", style="bold red"))
            for difference in differences:
                self._console.print(Text(f"  {difference}", style="red"))
            self._show_logs()
        else:
            total = {name: sum(counts[name] for counts in expected(truth).values()) for name in COUNTS}
            self._console.print(Text(_agreement(total), style="bold green"))
        if any(row.negative for row in truth.rows.values()):
            self._console.rule("One bad answer, out of Jaeger")
            self._show_bad_answer()

    def _show_logs(self) -> None:
        """What the programs complained of, since the folder with their logs goes with the run."""
        for process in (self._stack.collector, *self._processes):
            complaints = [line for line in process.log().splitlines() if "info" not in line.lower()][-LOG_LINES:]
            if complaints:
                self._console.print(Text(f"{process.name} says:", style="bold"))
                self._say("\n".join(complaints))

    def _show_bad_answer(self) -> None:
        """The newest answer that a user judged bad and whose trace holds the judgement too."""
        try:
            spans = wait_until(self._find_bad_answer, "a bad answer in Jaeger", timeout=PATIENCE)
        except NotYet:
            self._say("No bad answer has reached Jaeger.")
            return
        self._console.print(build_tree(spans))
        self._say("What was asked and answered is not recorded unless it is asked for: docs/settings.md.")

    def _find_bad_answer(self) -> Sequence[dict[str, Any]]:
        wanted = {"feedback.sentiment": "negative", "feedback.kind": "explicit"}
        for trace in self._stack.jaeger_client.search(SERVICE_NAME, tags=wanted, limit=20):
            if any(span_tags(span).get("feedback.interaction") for span in trace["spans"]):
                spans: Sequence[dict[str, Any]] = trace["spans"]
                return spans
        return ()

    def _show_addresses(self) -> None:
        kept = self._options.keep
        self._console.rule("Where to look" if kept else "Where to look while it runs: make demo KEEP=1")
        judged_bad = quote(json.dumps({"feedback.sentiment": "negative"}))
        look = {
            "Jaeger": self._stack.jaeger,
            "bad answers": f"{self._stack.jaeger}/api/traces?service={SERVICE_NAME}&tags={judged_bad}",
            "Prometheus": self._stack.prometheus,
            "feedback": f"{self._stack.prometheus}/api/v1/query?query={quote(feedback_query())}",
            "the service": f"{self._addresses.service_url}/docs",
            "capture": f"{self._addresses.capture_url}/v1/feedback",
            "Grafana": f"{GRAFANA}, no part of this run: docker compose --profile example up",
            "logs": str(self._folder),
        }
        for name, where in look.items():
            self._say(f"  {name:<12} {where}")
        self._say("Programs that `make parts` built have no pages of their own, only what pages ask them.")

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
        ask = f"{self._addresses.service_url}/ask -H 'content-type: application/json'"
        never = threading.Event()
        try:
            self._say("\nAsk, and look for the handle among the headers:")
            self._say(f'  curl -i {ask} -d \'{{"question": "What is del?"}}\'')
            self._say("Ctrl-C ends everything.")
            while not never.wait(timeout=1):
                for process in everything:
                    if not process.running:
                        raise StackError(f"{process.name} has ended:\n{process.log_tail()}")
        except KeyboardInterrupt:
            self._say("\nEnding.")


def _agreement(total: dict[str, int]) -> str:
    return (
        f"Prometheus and the users agree on every count: {total['answers']} answers, {total['voted']} voted on, "
        f"{total['positive']} opinions for and {total['negative']} against, {total['changes']} changes of mind, "
        f"{total['copy']} copied, {total['rephrase']} asked again."
    )


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
    if not console.is_terminal:
        console = Console(width=110)
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
