"""The simulated users: they vote by what they know, the seed decides the rest, and their own count is right."""

import contextlib
import json
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import count
from typing import Any

import httpx
import pytest
from examples.rag_service import app as service
from examples.servers import Addresses
from examples.users import FAULTS, VOTES, Crowd, Truth, Visit
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from examples import users

VISIT = Visit("http://service", "http://capture", questions=400)


class WithHandles:
    """The service, each of whose answers brings a handle that names its page."""

    def __init__(self) -> None:
        self._numbers = count()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def send_with_handle(message: Any) -> None:
            if message["type"] == "http.response.start":
                handle = f"{scope['path']}:{next(self._numbers)}"
                message["headers"] = [*message["headers"], (b"feedback-handle", handle.encode())]
            await send(message)

        await service.app(scope, receive, send_with_handle)


class Inbox:
    """Takes feedback like the capture service and keeps it."""

    def __init__(self, status: int = 202) -> None:
        self.bodies: list[dict[str, Any]] = []
        self._status = status
        self.app = Starlette(routes=[Route("/v1/feedback", self._take, methods=["POST"])])

    async def _take(self, request: Request) -> Response:
        self.bodies.append(await request.json())
        return JSONResponse({}, self._status)


@pytest.fixture(autouse=True)
def provider(bare: Addresses, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", f"{bare.provider_url}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "none")


@contextlib.asynccontextmanager
async def clients(inbox: Inbox) -> AsyncIterator[tuple[httpx.AsyncClient, httpx.AsyncClient]]:
    asgi = [httpx.ASGITransport(app=app) for app in (WithHandles(), inbox.app)]
    async with (
        service.app.router.lifespan_context(service.app),
        httpx.AsyncClient(transport=asgi[0], base_url="http://service") as asked,
        httpx.AsyncClient(transport=asgi[1], base_url="http://capture") as told,
    ):
        yield asked, told


async def run(visit: Visit, inbox: Inbox) -> Truth:
    async with clients(inbox) as (asked, told):
        return await Crowd(visit, asked, told).run()


async def test_the_users_count_equals_what_they_sent() -> None:
    """Opinions, answers voted on, changes, retractions, explanations and implicit signals, told from the posts."""
    inbox = Inbox()
    truth = await run(replace(VISIT, vote_rate=0.5), inbox)
    told: dict[str, Counter[str]] = defaultdict(Counter)
    previous: dict[str, Any] = {}
    for body in inbox.bodies:
        page = body["handle"].partition(":")[0]
        signal, good, _ = VOTES[page]
        if body["signal"] != signal:
            told[page][body["signal"]] += 1
            continue
        before, value = previous.get(body["handle"]), body["value"]
        previous[body["handle"]] = value
        told[page]["voted"] += before is None
        told[page]["changed"] += before is not None and value is not None and value != before
        told[page]["retracted"] += value is None
        told[page]["explained"] += "comment" in body
        if value is not None and value != before:
            told[page]["positive" if value == good else "negative"] += 1
    for page in VOTES:
        rows = [row for (its_page, _), row in truth.rows.items() if its_page == page]
        for handle, value in previous.items():
            if value is not None and handle.startswith(f"{page}:"):
                told[page]["standing_positive" if value == VOTES[page][1] else "standing_negative"] += 1
        standing = ("standing_positive", "standing_negative")
        for name in ("voted", "changed", "retracted", "explained", "positive", "negative", *standing):
            counted = sum(getattr(row, name) for row in rows)
            assert counted == told[page][name] > 0, (page, name)
        assert sum(row.implicit["copy"] for row in rows) == told[page]["copy"] > 0, page
    assert len({body["id"] for body in inbox.bodies}) == len(inbox.bodies)
    assert (truth.failed, truth.refused, truth.without_handle) == (0, 0, 0)


async def test_a_first_vote_says_whether_the_fact_is_in_the_answer() -> None:
    """When everybody votes, those who are content at first are those with a right answer."""
    truth = await run(replace(VISIT, questions=100, vote_rate=1), inbox := Inbox())
    firsts = {
        body["handle"]: body["value"] for body in reversed(inbox.bodies) if body["signal"] in {"thumbs", "helpful"}
    }
    rows = truth.rows.values()
    assert Counter(value in {"up", "yes"} for value in firsts.values()) == {
        True: sum(row.right for row in rows),
        False: sum(row.answers - row.right for row in rows),
    }


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("Instances are true.", "beside-the-point"),
        ('(To create one, use parentheses: "()".)\n', "beside-the-point"),
        ("Which one?", "beside-the-point"),
        ("If a class defines neither, all its", "cut-off"),
        ("The base class, as in:", "cut-off"),
        ("", "cut-off"),
    ],
)
def test_a_reader_sees_whether_an_answer_ends_with_its_sentence(text: str, fault: str) -> None:
    """What stops within a sentence is cut off; another wrong answer is beside the point."""
    assert users.Outcome("/ask", users.Answer(text, "terse", None), users.Row(), right=False).fault == fault


async def test_who_votes_against_an_answer_says_what_is_wrong_with_it() -> None:
    """The first vote gives the reason, and the words of who explains it later say the same; praise has none."""
    truth = await run(replace(VISIT, vote_rate=1), inbox := Inbox())
    firsts = [body for body in inbox.bodies if "reasons" in body]
    against = {body["handle"]: body["reasons"] for body in firsts if body["value"] in {"down", "no"}}
    assert sum(len(body["reasons"]) for body in firsts) == len(against)
    assert len(against) == sum(row.answers - row.right for row in truth.rows.values())
    comments = [(body["handle"], body["comment"]) for body in inbox.bodies if "comment" in body]
    assert {(*against[handle], said) for handle, said in comments if handle in against} == set(FAULTS.items())


async def test_the_seed_decides_and_not_who_comes_first() -> None:
    """The same seed gives the same truth, however many come at a time; another seed gives another."""
    one = await run(VISIT, Inbox())
    again = await run(replace(VISIT, concurrency=1), Inbox())
    other = await run(replace(VISIT, seed=2), Inbox())
    assert one.as_dict() == again.as_dict() != other.as_dict()


async def test_about_one_in_ten_is_voted_on_and_wrong_answers_are_asked_again() -> None:
    """The default share of votes is a tenth, and some come back with another wording."""
    truth = await run(VISIT, Inbox())
    answers, voted = (sum(getattr(row, name) for row in truth.rows.values()) for name in ("answers", "voted"))
    assert 0.06 < voted / answers < 0.14
    assert answers == VISIT.questions + truth.asked_again > VISIT.questions


async def test_a_worse_prompt_answers_worse_by_itself() -> None:
    """On each page the first prompt gives more right answers than the second."""
    rows = (await run(VISIT, Inbox())).rows
    share = {prompt: row.right / row.answers for (_, prompt), row in rows.items()}
    assert share["thorough"] > share["terse"] + 0.3
    assert share["tutor"] > share["frugal"]


async def test_refused_feedback_is_no_vote() -> None:
    """What the capture service doesn't accept is counted as refused, and nowhere else."""
    truth = await run(VISIT, inbox := Inbox(status=503))
    assert truth.refused == len(inbox.bodies) > 0
    assert all(
        (row.voted, row.positive, row.negative, row.implicit.total()) == (0, 0, 0, 0) for row in truth.rows.values()
    )


async def test_a_bare_service_gives_no_handles_and_gets_no_votes(bare: Addresses) -> None:
    """Without otel-feedback the users are answered as well, and nothing is said about any answer."""
    truth = await users.simulate(Visit(bare.service_url, "http://127.0.0.1:9", questions=50))
    assert truth.without_handle == sum(row.answers for row in truth.rows.values()) >= 50
    assert truth.refused == 0


async def test_a_question_without_an_answer_has_failed() -> None:
    """Nobody there: every question is counted as failed, none as wrong."""
    truth = await users.simulate(Visit("http://127.0.0.1:9", questions=3))
    assert (truth.failed, truth.rows) == (3, {})


def test_the_command_prints_the_truth_as_json_or_as_a_table(
    bare: Addresses, capsys: pytest.CaptureFixture[str]
) -> None:
    """``--json`` is for programs, the table for people; failures give a non-zero exit code."""
    url = ["--url", bare.service_url, "--questions", "20", "--seed", "3"]
    assert users.main([*url, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert {(row["page"], row["prompt"]) for row in rows} >= {("/ask", "terse"), ("/ask/stream", "tutor")}
    assert users.main(url) == 0
    assert "thorough" in capsys.readouterr().out
    assert users.main(["--url", "http://127.0.0.1:9", "--questions", "2"]) == 1
