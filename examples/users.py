"""Simulated users of the example service: they ask, judge the answers by what they know, and tell.

    python -m examples.users --questions 1000 --capture http://127.0.0.1:8900

Nothing of the outcome is decided here: a vote is up if the fact that the user looked for is in the answer.
The seed decides who asks what and who bothers to vote; the same answers then give the same votes.
"""

import argparse
import asyncio
import json
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import httpx
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from examples.questions import QUESTIONS, Question

HANDLE_HEADER = "feedback-handle"
"""As ``docs/handle.md`` names it: the page finds its handle in this header of the answer."""

VOTES = {"/ask": ("thumbs", "up", "down"), "/ask/stream": ("helpful", "yes", "no")}
"""What each page offers: the signal, and its values for a right and a wrong answer."""

FAULTS = {
    "beside-the-point": "That's not what I asked.",
    "cut-off": "It stops before it says anything.",
}
"""Reasons for a vote against an answer, and the words of those who explain it."""

COPY_SHARE = 0.15
"""Of the right answers: copied."""
ASK_AGAIN_SHARE = 0.25
"""Of the wrong answers: the user asks again in other words, in the same conversation."""
CHANGE_SHARE, RETRACT_SHARE, COMMENT_SHARE = 0.12, 0.05, 0.15
"""Of the votes: turned round later, taken back later, explained later."""


@dataclass(frozen=True)
class Visit:
    """How the users come: where to, how many, how eager to vote."""

    url: str
    capture: str | None = None
    questions: int = 1000
    seed: int = 1
    concurrency: int = 8
    vote_rate: float = 0.1


@dataclass
class Row:
    """What the users know of one prompt of one page: counts."""

    answers: int = 0
    right: int = 0
    voted: int = 0
    """Answers that were voted on."""
    positive: int = 0
    """Opinions expressed, changes of mind included."""
    negative: int = 0
    standing_positive: int = 0
    """Votes as they stand in the end: each once, none that was taken back."""
    standing_negative: int = 0
    changed: int = 0
    retracted: int = 0
    explained: int = 0
    asked_again: int = 0
    """Answers after which the question was put once more, in other words: the users say nothing of it."""
    implicit: Counter[str] = field(default_factory=Counter)

    def express(self, *, up: bool) -> None:
        """Count one opinion: a vote that stands from now on."""
        self.positive += up
        self.negative += not up
        self.standing_positive += up
        self.standing_negative += not up

    def withdraw(self, *, up: bool) -> None:
        """Let a vote stand no longer."""
        self.standing_positive -= up
        self.standing_negative -= not up


COUNTED = tuple(each.name for each in fields(Row) if each.name != "implicit")
"""The plain counts of a row."""


@dataclass
class Truth:
    """What the users did: by page and prompt, and what went wrong."""

    rows: dict[tuple[str, str], Row] = field(default_factory=dict)
    failed: int = 0
    """Questions without an answer."""
    without_handle: int = 0
    """Answers on which nothing could be said, since no handle came with them."""
    refused: int = 0
    """Feedback that the capture service didn't accept."""

    def row(self, page: str, prompt: str) -> Row:
        """The row of a prompt; a new one at its first answer."""
        return self.rows.setdefault((page, prompt), Row())

    @property
    def asked_again(self) -> int:
        """Questions that were put once more, in other words."""
        return sum(row.asked_again for row in self.rows.values())

    def as_dict(self) -> dict[str, Any]:
        """Plain data, rows in a fixed order."""
        rows = [
            {"page": page, "prompt": prompt, **asdict(row), "implicit": dict(sorted(row.implicit.items()))}
            for (page, prompt), row in sorted(self.rows.items())
        ]
        trouble = {"failed": self.failed, "without_handle": self.without_handle, "refused": self.refused}
        return {"rows": rows, **trouble}


@dataclass(frozen=True)
class Answer:
    """What the user sees, and the handle that the page keeps."""

    text: str
    prompt: str
    handle: str | None


@dataclass(frozen=True)
class Outcome:
    """An answer as its user sees it: where it came, what it counts to, whether it was right."""

    page: str
    answer: Answer
    row: Row
    right: bool

    @property
    def fault(self) -> str:
        """What is wrong with a wrong answer, as far as its reader can see."""
        whole = self.answer.text.rstrip(" \n)\"'").endswith((".", "!", "?"))
        return "beside-the-point" if whole else "cut-off"

    def ballot(self, *, up: bool) -> tuple[str, str]:
        """The page's signal and its value for up or down."""
        signal, good, bad = VOTES[self.page]
        return signal, good if up else bad


async def ask(client: httpx.AsyncClient, page: str, question: str, conversation: str) -> Answer:
    """Ask on a page, plain or streamed.

    Raises:
        httpx.HTTPError: No answer came.
    """
    body = {"question": question, "conversation": conversation}
    async with client.stream("POST", page, json=body) as response:
        response.raise_for_status()
        handle = response.headers.get(HANDLE_HEADER)
        if not response.headers["content-type"].startswith("text/event-stream"):
            told = json.loads(await response.aread())
            return Answer(told["answer"], told["prompt"], handle)
        text, end = "", None
        async for name, data in _server_events(response):
            if name == "text":
                text += data
            else:
                end = data if name == "done" else None
    if end is None:
        raise httpx.RemoteProtocolError("The stream ended without its last event.")
    return Answer(text, end["prompt"], handle)


async def _server_events(response: httpx.Response) -> AsyncIterator[tuple[str, Any]]:
    name = ""
    async for line in response.aiter_lines():
        key, _, value = line.partition(": ")
        if key == "event":
            name = value
        elif key == "data":
            yield name, json.loads(value)


class Crowd:
    """All users of one run, and the truth about what they did."""

    def __init__(self, visit: Visit, service: httpx.AsyncClient, capture: httpx.AsyncClient | None) -> None:
        self.truth = Truth()
        self._visit = visit
        self._service = service
        self._capture = capture
        self._later: list[Callable[[], Awaitable[None]]] = []

    async def run(self, on_user: Callable[[], None] = lambda: None) -> Truth:
        """Everybody comes, a few at a time; ``on_user`` is called when one has left. Second thoughts come last."""
        numbers = iter(range(self._visit.questions))

        async def queue() -> None:
            for number in numbers:
                await self.come(number)
                on_user()

        await asyncio.gather(*(queue() for _ in range(self._visit.concurrency)))
        for second_thought in self._later:
            await second_thought()
        return self.truth

    async def come(self, number: int) -> None:
        """One user comes with one question. What the user does depends on the seed and the number alone."""
        dice = random.Random(f"{self._visit.seed}:{number}")
        question, page = dice.choice(QUESTIONS), dice.choice(sorted(VOTES))
        wordings = [question.text, question.again]
        dice.shuffle(wordings)
        conversation = f"{dice.getrandbits(64):016x}"
        outcome = await self._ask_and_judge(dice, question, page, wordings[0], conversation)
        if outcome and not outcome.right and dice.random() < ASK_AGAIN_SHARE:
            outcome.row.asked_again += 1
            await self._ask_and_judge(dice, question, page, wordings[1], conversation)

    async def _ask_and_judge(
        self, dice: random.Random, question: Question, page: str, wording: str, conversation: str
    ) -> Outcome | None:
        """Ask, vote or not, copy or not; ``None`` if no answer came."""
        try:
            answer = await ask(self._service, page, wording, conversation)
        except httpx.HTTPError:
            self.truth.failed += 1
            return None
        row = self.truth.row(page, answer.prompt)
        outcome = Outcome(page, answer, row, question.is_answered_by(answer.text))
        row.answers += 1
        row.right += outcome.right
        self.truth.without_handle += answer.handle is None
        if dice.random() < self._visit.vote_rate:
            await self._vote(dice, outcome)
        if outcome.right and dice.random() < COPY_SHARE:
            await self._tell(dice, outcome, "copy", True)
        return outcome

    async def _vote(self, dice: random.Random, outcome: Outcome) -> None:
        """Vote by whether the answer was right; sometimes a second thought will follow."""
        reasons = [] if outcome.right else [outcome.fault]
        if not await self._send(dice, outcome, *outcome.ballot(up=outcome.right), reasons=reasons):
            return
        outcome.row.voted += 1
        outcome.row.express(up=outcome.right)
        mood = dice.random()
        if mood < CHANGE_SHARE:
            self._later.append(lambda: self._change(dice, outcome))
        elif mood < CHANGE_SHARE + RETRACT_SHARE:
            self._later.append(lambda: self._retract(dice, outcome))
        elif mood < CHANGE_SHARE + RETRACT_SHARE + COMMENT_SHARE:
            self._later.append(lambda: self._explain(dice, outcome))

    async def _change(self, dice: random.Random, outcome: Outcome) -> None:
        if await self._send(dice, outcome, *outcome.ballot(up=not outcome.right)):
            outcome.row.changed += 1
            outcome.row.withdraw(up=outcome.right)
            outcome.row.express(up=not outcome.right)

    async def _retract(self, dice: random.Random, outcome: Outcome) -> None:
        signal, _ = outcome.ballot(up=outcome.right)
        if await self._send(dice, outcome, signal, None):
            outcome.row.retracted += 1
            outcome.row.withdraw(up=outcome.right)

    async def _explain(self, dice: random.Random, outcome: Outcome) -> None:
        comment = "Just what I needed." if outcome.right else FAULTS[outcome.fault]
        ballot = outcome.ballot(up=outcome.right)
        outcome.row.explained += await self._send(dice, outcome, *ballot, comment=comment)

    async def _tell(self, dice: random.Random, outcome: Outcome, signal: str, value: Any) -> None:
        """What the page notices without asking."""
        if await self._send(dice, outcome, signal, value):
            outcome.row.implicit[signal] += 1

    async def _send(self, dice: random.Random, outcome: Outcome, signal: str, value: Any, **details: Any) -> bool:
        """Post one feedback; whether it was accepted."""
        handle = outcome.answer.handle
        if handle is None or self._capture is None:
            return False
        body = {"handle": handle, "signal": signal, "value": value, "id": f"{dice.getrandbits(128):032x}"}
        try:
            response = await self._capture.post("/v1/feedback", json={**body, **details})
            accepted = response.status_code == httpx.codes.ACCEPTED
        except httpx.HTTPError:
            accepted = False
        self.truth.refused += not accepted
        return accepted


async def simulate(visit: Visit, on_user: Callable[[], None] = lambda: None) -> Truth:
    """Let all users come over HTTP; see ``Crowd.run``."""
    async with _client(visit.url) as service, _client(visit.capture or "http://unused") as capture:
        return await Crowd(visit, service, capture if visit.capture else None).run(on_user)


def _client(url: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=url, timeout=30, trust_env=False)


def show_truth(truth: Truth, console: Console) -> None:
    """Print what the users know as a table, and how its numbers hang together."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), collapse_padding=True, pad_edge=False)
    for name in ("page", "prompt"):
        table.add_column(name, no_wrap=True)
    for name in ("answers", "right", "voted on", "changed", "opinions", "up", "down"):
        table.add_column(name, justify="right", no_wrap=True)
    for (page, prompt), row in sorted(truth.rows.items()):
        table.add_row(Text(page), Text(prompt), *_cells(row))
    rows = truth.rows.values()
    table.add_section()
    total = Row(**{name: sum(getattr(row, name) for row in rows) for name in COUNTED})
    table.add_row("all", "", *_cells(total))
    console.print(table)
    console.print(Text(_explain(truth, total)))
    if truth.failed or truth.without_handle or truth.refused:
        console.print(
            f"{truth.failed} questions had no answer, {truth.without_handle} answers came without a handle, "
            f"{truth.refused} feedbacks were refused."
        )


def _cells(row: Row) -> list[str]:
    right = f"{row.right / row.answers:.0%}".replace("%", " %") if row.answers else ""
    opinions = row.positive + row.negative
    numbers = (row.voted, row.changed, opinions, row.positive, row.negative)
    return [str(row.answers), right, *map(str, numbers)]


def _explain(truth: Truth, total: Row) -> str:
    questions = total.answers + truth.failed - truth.asked_again
    return (
        f"{questions} questions, of which {truth.asked_again} were asked again in other words: {total.answers} "
        "answers.\nA changed vote counts again, as what it became:\n  voted on + changed = opinions = up + down\n"
        f"{total.retracted} votes were taken back, {total.explained} explained by a comment."
    )


def progress_bar(console: Console) -> Progress:
    """The bar that shows how far the users are."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
    )


def _read_arguments(arguments: list[str] | None) -> tuple[Visit, bool]:
    parser = argparse.ArgumentParser(description="Simulated users of the example service.")
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="the service [%(default)s]")
    parser.add_argument("--capture", help="the capture service; without it nobody votes")
    parser.add_argument("--questions", type=int, default=1000, help="how many to ask [%(default)s]")
    parser.add_argument("--seed", type=int, default=1, help="who asks what, who votes [%(default)s]")
    parser.add_argument("--concurrency", type=int, default=8, help="users at a time [%(default)s]")
    parser.add_argument("--vote-rate", type=float, default=0.1, help="answers voted on [%(default)s]")
    parser.add_argument("--json", action="store_true", help="print what the users did as JSON")
    chosen = vars(parser.parse_args(arguments))
    as_json = chosen.pop("json")
    return Visit(**chosen), as_json


def main(arguments: list[str] | None = None) -> int:
    """Run the users; 0 if every question was answered and all feedback accepted."""
    visit, as_json = _read_arguments(arguments)
    console = Console(stderr=True)
    with progress_bar(console) as progress:
        task = progress.add_task("Users ask", total=visit.questions)
        truth = asyncio.run(simulate(visit, lambda: progress.advance(task)))
    if as_json:
        print(json.dumps(truth.as_dict(), indent=2))
    else:
        show_truth(truth, Console())
    return 1 if truth.failed or truth.refused else 0


if __name__ == "__main__":
    sys.exit(main())
