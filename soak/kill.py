"""Kills capture and the Collector at random moments under load: nothing acknowledged is lost, nothing is there twice.

``python -m soak kill --rounds 100`` kills each of them a hundred times, in four runs: one endpoint; two endpoints that
share an outbox; the Collector; everything at once. Its end is the store. ``--starts`` is another run, in which the
Collector is killed while it starts, too: what it loses then has left the outbox long before.
"""

import argparse
import contextlib
import random
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stack.client import NotYet, wait_until
from stack.parts import Parts

from soak.compare import Comparison, compare
from soak.line import Line, running
from soak.voters import Voters

SETTLED_SECONDS: Final = 3.0
"""For which the number in Prometheus has to stay: the Collector counts on every second."""


@dataclass(frozen=True, slots=True)
class Run:
    """What one run is.

    Attributes:
        title: In words.
        captures: Endpoints that share the outbox.
        kills_capture: How often endpoints are killed; two at once count once.
        kills_collector: How often the Collector is.
        starts: Whether the Collector is killed in the middle of a start, too, as the endpoints always are. What it was
            sending when it was killed before it takes out of its queue then, to put it in again, one by one.
        seed: Of what the users do, and of the moments.
    """

    title: str
    captures: int = 1
    kills_capture: int = 0
    kills_collector: int = 0
    starts: bool = False
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a run.

    Attributes:
        run: Which it was.
        seconds: That it took.
        broken: Connections that broke or could not be made.
        refused: Answers 503.
        quiet: By how much Prometheus differed from the store before anybody was killed.
        counted: Carriers that Prometheus counted by the end.
        compared: What was acknowledged, and what the store has.
    """

    run: Run
    seconds: float
    broken: int
    refused: int
    quiet: float
    counted: float
    compared: Comparison

    def lines(self) -> list[str]:
        """Return it in words."""
        run, found = self.run, self.compared
        more = self.counted - found.stored
        kills = f"{run.kills_capture} kills of capture, {run.kills_collector} of the Collector"
        stored = f"{found.stored} in the store, {found.unanswered} given up without an answer"
        wrong = f"{len(found.twice)} twice, {len(found.unknown)} unknown, {len(found.wrong)} votes wrong"
        quiet = f"before the first kill {self.quiet:+.0f}"
        return [
            f"{run.title}: {kills}, {self.seconds:.0f} s",
            f"  {found.acknowledged} acknowledged, {stored}; {self.broken} broken connections, {self.refused} 503s",
            f"  {len(found.lost)} lost, {wrong}",
            f"  counted in Prometheus {self.counted:.0f}: {more:+.0f} ({more / max(1, found.stored):+.2%}), {quiet}",
            *(f"  {what}" for all_of_them in _troubles(found) for what in all_of_them[:5]),
        ]


def runs(rounds: int) -> list[Run]:
    """Return the runs in which each is killed so many times; at least four."""
    both = rounds // 5
    one = (rounds - both) // 2
    return [
        Run("one endpoint", kills_capture=one, seed=1),
        Run("two endpoints, one outbox", captures=2, kills_capture=rounds - both - one, seed=2),
        Run("the Collector", kills_collector=rounds - both, seed=3),
        Run("all at once", captures=2, kills_capture=both, kills_collector=both, seed=4),
    ]


def kill(run: Run, folder: Path, *, parts: Parts | None = None, senders: int = 6, pause: float = 0.01) -> Result:
    """Do one run, in a folder that is empty."""
    begun = time.monotonic()
    moment = random.Random(run.seed)
    with running(folder, captures=run.captures, parts=parts) as line:
        voters = Voters(line.store.handle, line.ports, senders=senders, pause=pause, seed=run.seed)
        with voters.voting():
            wait_until(lambda: voters.acknowledged > 50, "feedback that is acknowledged", timeout=60, every=0.01)
        line.drain(voters.acknowledged)
        quiet = _settled(line.counted) - line.stored()
        with voters.voting():
            for number in range(max(run.kills_capture, run.kills_collector)):
                _wait_for_more(voters, moment)
                _kill_once(run, line, number, moment)
            _wait_for_more(voters, moment)
        with contextlib.suppress(NotYet):  # what is missing is shown one by one
            line.drain(voters.acknowledged, timeout=60)
        counted = _settled(line.counted)
        said = line.said()
        compared = compare(voters.votes, line.rows())
    assert "Traceback" not in said, said[-4_000:]
    return Result(run, time.monotonic() - begun, voters.broken, voters.refused, quiet, counted, compared)


def _wait_for_more(voters: Voters, moment: random.Random) -> None:
    before = voters.acknowledged
    wait_until(lambda: voters.acknowledged > before + 20, "feedback that is acknowledged", timeout=60, every=0.01)
    time.sleep(moment.uniform(0, 0.5))


def _kill_once(run: Run, line: Line, number: int, moment: random.Random) -> None:
    some = line.captures if number % 3 == 2 else [moment.choice(line.captures)]
    killed = [
        *(some if run.kills_capture > number else []),
        *([line.stack.collector] if run.kills_collector > number else []),
    ]
    for process in killed:
        process.kill()
    if number % 6 == 5:
        again = [process for process in killed if run.starts or process is not line.stack.collector]
        for process in again:
            process.launch()
        time.sleep(moment.uniform(0.1, 1.0))
        for process in again:
            process.kill()
    time.sleep(moment.choice([0, 0, moment.uniform(0, 1)]))
    for process in killed:
        process.launch()
    for process in killed:
        process.await_ready()


def _settled(ask: Callable[[], float]) -> float:
    """Ask until the answer stays the same."""
    last, since = ask(), time.monotonic()
    while time.monotonic() - since < SETTLED_SECONDS:
        time.sleep(0.25)
        now = ask()
        if now != last:
            last, since = now, time.monotonic()
    return last


def _troubles(found: Comparison) -> list[list[str]]:
    return [
        [f"lost: {one}" for one in found.lost],
        [f"twice: {one}" for one in found.twice],
        [f"unknown: {one}" for one in found.unknown],
        [f"wrong: {one}" for one in found.wrong],
    ]


def main(arguments: list[str]) -> int:
    """Do all runs; 0 where each of them held."""
    parser = argparse.ArgumentParser(prog="python -m soak kill", description=__doc__)
    parser.add_argument("--rounds", type=int, default=100, help="how often each is killed (100)")
    parser.add_argument("--only", type=int, metavar="NUMBER", help="only this run, from 1 on")
    parser.add_argument("--starts", action="store_true", help="instead: kill the Collector while it starts, too")
    parser.add_argument("--folder", type=Path, help="logs and data stay here; a temporary folder without it")
    chosen = parser.parse_args(arguments)
    held = True
    chosen_runs = runs(chosen.rounds)
    if chosen.starts:
        chosen_runs = [Run("the Collector, while it starts, too", kills_collector=chosen.rounds, starts=True, seed=5)]
    for number, run in enumerate(chosen_runs, start=1):
        if chosen.only not in (None, number):
            continue
        with tempfile.TemporaryDirectory(prefix="otel-feedback-soak-") as temporary:
            folder = (chosen.folder or Path(temporary)) / f"run-{number}"
            folder.mkdir(parents=True)
            result = kill(run, folder)
        print(*result.lines(), sep="\n", flush=True)
        held &= result.compared.held
    return 0 if held else 1
