"""The whole loop once: the example service and its users before a backend, and what came of it.

Two backends show the same from the same votes: ``examples.demo`` has the one process, ``examples.stack_demo`` the real
Collector, Jaeger and Prometheus.
"""

import argparse
import asyncio
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from rich.console import Console
from rich.text import Text
from stack.client import NotYet, wait_until
from stack.parts import PartsMissing
from stack.processes import Process, StackError

from examples.satisfaction import Lines, find_differences, prompt_names, show_lines
from examples.servers import Addresses
from examples.trace_tree import Trace, build_tree
from examples.users import Truth, Visit, progress_bar, show_truth, simulate

EQUAL, UNEQUAL, NOT_STARTED, INTERRUPTED = 0, 1, 2, 130
PATIENCE: Final = 20.0
"""Seconds in which the last vote must have reached the backend."""

LOG_LINES: Final = 10
"""Of each program, shown when something went wrong."""

WHO_THEY_ARE: Final = (
    "Simulated users asked a small service about Python, on two pages with two prompts each. They know which fact a "
    "right answer holds, and about one in ten votes by that."
)


@dataclass(frozen=True)
class Options:
    """What the command line says."""

    questions: int = 1000
    seed: int = 1
    vote_rate: float = 0.1
    concurrency: int = 8
    keep: bool = False
    free_ports: bool = False


class Backend(Protocol):
    """What takes the example's spans and votes, and has the numbers."""

    addresses: Addresses
    """Of the example's programs."""

    @property
    def parts(self) -> str:
        """What it consists of, for the line that says that it starts."""

    @property
    def numbers_by(self) -> str:
        """Who is asked for the table."""

    @property
    def answers_by(self) -> str:
        """Who is asked for a bad answer."""

    @property
    def words_kept(self) -> str:
        """Why questions, answers and comments are there to be shown."""

    @property
    def capture_url(self) -> str:
        """Where votes go."""

    @property
    def processes(self) -> Sequence[Process]:
        """What runs, the example's programs aside."""

    def start(self, running: ExitStack) -> None:
        """Start it; it ends with ``running``."""

    def make_programs(self) -> Sequence[Process]:
        """The example's programs, set up for it, not started yet."""

    def read_lines(self) -> Lines:
        """Ask for the table *satisfaction by template*."""

    def agreement(self, truth: Truth, lines: Lines) -> str:
        """What to say when all its counts equal what the users know."""

    def find_bad_answer(self) -> Trace | None:
        """Ask for an answer that its user judged bad; ``None`` if none is there."""

    def stays(self, bad_answer: Trace | None) -> Iterator[str]:
        """Lines for a run that is kept: where to look, and what to copy."""

    def ends(self) -> Iterator[str]:
        """Lines for a run that ends now: where everything is while it is kept."""

    def explain(self) -> str:
        """A paragraph below those lines; empty for none."""


MakeBackend = Callable[[Path, Options], Backend]


class Demo:
    """One run, from starting everything to ending it."""

    def __init__(self, options: Options, console: Console, folder: Path, make_backend: MakeBackend) -> None:
        self._options = options
        self._console = console
        self._folder = folder
        self._backend = make_backend(folder, options)

    def run(self) -> int:
        """Run it all.

        Raises:
            PartsMissing: A program is not there.
            StackError: One did not start.
        """
        backend = self._backend
        with ExitStack() as running:
            started = time.monotonic()
            self._say(f"Starting {backend.parts}")
            backend.start(running)
            self._say("Starting the example service and the stand-in for its model provider")
            programs = self._start_programs(running)
            truth = self._let_users_in()
            lines, differences = self._await_numbers(truth)
            self._show(truth, lines, differences)
            if differences:
                self._show_logs([*backend.processes, *programs])
            judged_bad = any(row.negative for row in truth.rows.values())
            bad_answer = self._show_bad_answer() if judged_bad else None
            self._say(f"\nAll of this took {time.monotonic() - started:.0f} s.")
            self._show_where_to_look(bad_answer)
            if self._options.keep:
                self._keep_running([*backend.processes, *programs])
        return EQUAL if not differences and _went_well(truth) else UNEQUAL

    def _say(self, text: str) -> None:
        self._console.print(Text(text), soft_wrap=True)  # an address is never broken

    def _explain(self, text: str) -> None:
        self._console.print(Text(text))

    def _open(self, title: str) -> None:
        self._console.print()
        self._console.rule(title)

    def _start_programs(self, running: ExitStack) -> Sequence[Process]:
        programs = self._backend.make_programs()
        for program in programs:
            running.callback(program.stop)
            program.launch()
        for program in programs:
            program.await_ready()
        return programs

    def _let_users_in(self) -> Truth:
        visit = Visit(
            self._backend.addresses.service_url,
            self._backend.capture_url,
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
        read: list[Lines] = []

        def find() -> list[str]:
            read[:] = [self._backend.read_lines()]
            return find_differences(read[0], truth, self._backend.numbers_by)

        with suppress(NotYet):
            wait_until(lambda: not find(), "equal numbers", timeout=PATIENCE, every=0.5)
        return read[0], find()

    def _show(self, truth: Truth, lines: Lines, differences: list[str]) -> None:
        self._open("What the users know")
        self._explain(WHO_THEY_ARE)
        show_truth(truth, self._console)
        self._open(f"Satisfaction by template, out of {self._backend.numbers_by}")
        self._console.print(show_lines(lines))
        if differences:
            self._console.print(Text(f"{self._backend.numbers_by} and the users DIFFER:", style="bold red"))
            for difference in differences:
                self._console.print(Text(f"  {difference}", style="red"))
        else:
            self._console.print(Text(self._backend.agreement(truth, lines), style="bold green"))

    def _show_logs(self, processes: Sequence[Process]) -> None:
        """What the programs complained of, since the folder with their logs goes with the run."""
        for process in processes:
            complaints = [line for line in process.log().splitlines() if "info" not in line.lower()][-LOG_LINES:]
            if complaints:
                self._console.print(Text(f"{process.name} says:", style="bold"))
                self._say("\n".join(complaints))

    def _show_bad_answer(self) -> Trace | None:
        """Show an answer that a user judged bad."""
        source = self._backend.answers_by
        self._open(f"One bad answer, out of {source}")
        try:
            trace = wait_until(self._backend.find_bad_answer, f"a bad answer in {source}", timeout=PATIENCE)
        except NotYet:
            self._say(f"No bad answer has reached {source}.")
            return None
        assert trace is not None
        self._explain(self._backend.words_kept)
        self._console.print(build_tree(trace, prompt_names()))
        return trace

    def _show_where_to_look(self, bad_answer: Trace | None) -> None:
        self._open("Where to look")
        for line in self._backend.stays(bad_answer) if self._options.keep else self._backend.ends():
            show = self._say if line.startswith("  ") else self._explain  # what is copied is never broken
            show(line)
        if self._options.keep:
            self._explain("What the programs say (the folder goes when the demo ends):")
            self._say(f"  {self._folder}")
        if explained := self._backend.explain():
            self._explain(explained)

    def _keep_running(self, everything: Sequence[Process]) -> None:
        """Until Ctrl-C, or until a program ends.

        Raises:
            StackError: One ended.
        """
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


def _read_arguments(program: str, about: str, arguments: Sequence[str] | None) -> Options:
    parser = argparse.ArgumentParser(prog=f"python -m {program}", description=about)
    default = Options()
    parser.add_argument("--questions", type=int, default=default.questions, help="[%(default)s]")
    parser.add_argument("--seed", type=int, default=default.seed, help="who asks what, who votes [%(default)s]")
    parser.add_argument("--vote-rate", type=float, default=default.vote_rate, help="[%(default)s]")
    parser.add_argument("--concurrency", type=int, default=default.concurrency, help="users at a time [%(default)s]")
    keep = os.environ.get("KEEP", "") not in {"", "0"}
    parser.add_argument("--keep", action="store_true", default=keep, help="run on until Ctrl-C [KEEP=1]")
    parser.add_argument("--free-ports", action="store_true", help="leave the well-known ports alone")
    return Options(**vars(parser.parse_args(arguments)))


def run_demo(program: str, about: str, arguments: Sequence[str] | None, make_backend: MakeBackend) -> int:
    """Run one demo and return the exit code.

    Args:
        program: Name of its module.
        about: What it is, in a sentence.
        arguments: Of its command line; those of this process by default.
        make_backend: Makes what it runs before.
    """
    options = _read_arguments(program, about, arguments)
    console = Console()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends like Ctrl-C: nothing is left running
    try:
        with tempfile.TemporaryDirectory(prefix="otel-feedback-demo-") as folder:
            return Demo(options, console, Path(folder), make_backend).run()
    except (PartsMissing, StackError) as trouble:
        console.print(Text(str(trouble), style="red"))
        return NOT_STARTED
    except KeyboardInterrupt:
        return INTERRUPTED
