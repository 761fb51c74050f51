"""The HTTP API: what it answers, what it refuses, live events and the work on the data folder."""

import asyncio
import contextlib
import http.client
import json
import threading
import time
from collections import Counter

import pytest
from starlette.requests import Request
from tests.unit.server_parts import (
    JSON,
    SPAN,
    TRACE,
    ask,
    connect,
    export,
    get,
    post,
    request,
    serving,
    span,
    until,
    vote,
)

from otel_feedback import semconv
from otel_feedback._requirement import requirement
from otel_feedback._version import VERSION
from otel_feedback.exceptions import StoreError
from otel_feedback.intake import FeedbackRow
from otel_feedback.server import live
from otel_feedback.server.api import _Jobs
from otel_feedback.server.live import Live, TooManyError, vote_of
from otel_feedback.server.options import Address
from otel_feedback.store import Change, Store

ID = f"{TRACE}-{SPAN}"
PROBLEM = "application/problem+json"


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A server with one answer and one vote."""
    with serving(tmp_path_factory.mktemp("data") / "d") as server:
        export(server.otlp_grpc, request(span(interaction=True, **{semconv.FEEDBACK_SERVICE_NAME: "shop"})))
        vote(server, "down", comment="Bad.", reasons=["outdated"])
        yield server


@pytest.fixture
def server(tmp_path):
    """A server of the test's own."""
    with serving(tmp_path / "d") as server:
        yield server


def token(server):
    return {"authorization": f"Bearer {server.token}"}


def test_the_status_says_where_it_is_and_what_has_arrived(filled):
    """As the pages and the commands show it."""
    status = get(filled, "/api/status")
    data = filled.running.options.data
    assert status["version"] == VERSION
    assert status["data"] == str(data)
    assert (status["url"], status["otlp_grpc"]) == (filled.url, f"http://{filled.otlp_grpc}")
    assert status["otlp_http"] == filled.otlp_http
    assert status["content"] == "kept"
    assert status["counts"] == {"interactions": 1, "feedback": 1, "spans": 2}
    assert all(time.endswith("Z") for time in (status["started_at"], *status["last"].values()))
    assert "shop" in status["seen"]["services"]
    assert status["seen"]["instrumentations"] == ["test"]
    assert status["hints"] == []
    assert status["queue"] == {"batches": 0, "bytes": 0}


def test_answers_are_told_as_views(filled):
    """Satisfaction, trend, options, answers and one answer."""
    found = get(filled, "/api/satisfaction?by=template,%20version&since=7d&service=shop")
    assert found["filter"] == {"since": "7d", "service": "shop"}
    assert [row["key"] for row in found["rows"]] == [{"template": "qa", "version": "1"}]
    assert [point["negative"] for point in get(filled, "/api/trend?bucket=day&by=model")["points"]] == [1]
    assert get(filled, "/api/options")["service"] == ["shop"]
    (row,) = get(filled, "/api/answers?search=bad&reason=outdated&signal=thumbs&limit=10")["rows"]
    assert row["id"] == ID
    assert get(filled, "/api/answers?feedback=good")["rows"] == []
    detail = get(filled, f"/api/answers/{ID[:10]}")
    assert detail["id"] == ID


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/api/satisfaction?by=nonsense", "by"),
        ("/api/satisfaction?limit=many", "limit"),
        ("/api/satisfaction?limit=9999999999", "limit"),
        ("/api/trend?bucket=year", "bucket"),
        ("/api/answers?since=yesterday", "since"),
        ("/api/answers?after=x", "after"),
    ],
)
def test_questions_that_cannot_be_understood_are_named(filled, path, field):
    """400 with the part that is wrong."""
    answer = ask(filled.url, "GET", path)
    assert (answer.status, answer.headers["content-type"]) == (400, PROBLEM)
    assert answer.json()["field"] == field


def test_what_is_not_there_is_said(filled):
    """404 for answers and paths, 405 for methods; pages say it as a page."""
    for path in ("/api/answers/" + "0" * 32, "/api/nothing", "/v1/profiles"):
        answer = ask(filled.url, "GET", path)
        assert (answer.status, answer.headers["content-type"]) == (404, PROBLEM)
    answer = ask(filled.url, "POST", "/api/status")
    assert (answer.status, set(answer.headers["allow"].split(", "))) == (405, {"GET", "HEAD"})
    page = ask(filled.url, "GET", "/nothing")
    assert page.status == 404
    assert page.headers["content-type"].startswith("text/html")
    assert ask(filled.url, "POST", "/setup").status == 405


@pytest.mark.parametrize("path", ["/", "/answers", f"/answers/{ID}", "/setup", "/login", "/healthz"])
def test_pages_are_served(filled, path):
    """All of them by one process."""
    assert ask(filled.url, "GET", path).status == 200


def test_no_answer_of_the_api_is_kept_by_browsers(filled):
    """They are somebody's words, and soon old."""
    headers = ask(filled.url, "GET", "/api/answers").headers
    assert (headers["cache-control"], headers["x-content-type-options"]) == ("no-store", "nosniff")


def test_a_store_that_fails_is_said(server):
    """503 for what it knows, 500 for what it doesn't; nothing of the error is told."""
    server.store.close()
    answer = ask(server.url, "GET", "/api/answers")
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")


def test_an_error_that_nobody_expects_is_no_answer(server, monkeypatch):
    """500, without its text."""
    monkeypatch.setattr(server.store, "content_databases", lambda: 1 / 0)
    answer = ask(server.url, "GET", "/api/status")
    assert answer.status == 500
    assert b"division" not in answer.body


@contextlib.contextmanager
def listening(server, query="?votes=1"):
    """An open stream of events; gives what reads the next one."""
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=30)
    with contextlib.closing(connection):
        connection.request("GET", f"/api/live{query}")
        response = connection.getresponse()
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.readline() == b": listening\n"
        response.readline()

        def event():
            name, data = response.readline().decode(), response.readline().decode()
            response.readline()
            return name.removeprefix("event: ").strip(), json.loads(data.removeprefix("data: "))

        yield event


def test_votes_are_told_live(server):
    """Each vote, with what it changes, and that something changed."""
    export(server.otlp_grpc, request())
    with listening(server) as event:
        vote(server, "up")
        name, told = event()
        assert name == "vote"
        assert told.pop("at").endswith("Z")
        assert told == {
            "id": ID,
            "signal": "thumbs",
            "sentiment": "positive",
            "previous_sentiment": "unset",
            "label": "up",
            "template": "qa",
            "version": "1",
            "model": "m-1",
            "service": "unknown",
        }
        assert event() == ("change", {"feedback": 1, "interactions": 0})


def test_pages_are_told_of_changes_alone(server):
    """They fetch what they show, also where others hear of votes."""
    with listening(server), listening(server, "") as event:
        export(server.otlp_grpc, request())
        assert event() == ("change", {"feedback": 0, "interactions": 1})
        vote(server, "up")
        assert event() == ("change", {"feedback": 1, "interactions": 0})


def test_listeners_are_bounded(server, monkeypatch):
    """503 for one too many; one that has gone makes room."""
    monkeypatch.setattr(live, "MOST_LISTENERS", 1)
    with listening(server):
        answer = ask(server.url, "GET", "/api/live")
        assert (answer.status, answer.headers["retry-after"]) == (503, "10")
    until(lambda: ask_and_leave(server) == 200, "room")


def test_listeners_who_come_at_once_are_bounded(server, monkeypatch):
    """Each is counted before the next is asked, and not when it hears something."""
    monkeypatch.setattr(live, "MOST_LISTENERS", 10)
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(contextlib.closing(connect(server.url))) for _ in range(50)]
        for connection in connections:
            connection.sendall(b"GET /api/live HTTP/1.1\r\nhost: localhost\r\n\r\n")
        answers = Counter(connection.recv(12)[9:] for connection in connections)
    assert answers == {b"200": 10, b"503": 40}
    until(lambda: ask_and_leave(server) == 200, "room")


def ask_and_leave(server):
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=30)
    with contextlib.closing(connection):
        connection.request("GET", "/api/live")
        return connection.getresponse().status


ROW = FeedbackRow(
    *(TRACE, SPAN, "thumbs", "", "f", 1_790_000_000_123_456_789, "explicit", "positive", None, None, None, None),
    *(None, (), "capture", None, None, "", "", "shop", "unknown", "unknown", "qa", "1", "m", "unknown", None),
)


class FakeStore:
    """What a hub needs of a store."""

    def __init__(self):
        self.callbacks = []

    def subscribe(self, callback):
        self.callbacks.append(callback)
        return lambda: self.callbacks.remove(callback)


async def test_a_listener_that_does_not_listen_loses_its_connection(monkeypatch):
    """Memory is bounded; a page's changes become one, however many there are."""
    monkeypatch.setattr(live, "MOST_VOTES", 2)
    store = FakeStore()
    hub = Live(store, asyncio.get_running_loop())
    with hub.listening(votes=False) as page, hub.listening(votes=True) as tail:
        assert [await anext(page), await anext(tail)] == [": listening\n\n"] * 2
        for _ in range(3):
            store.callbacks[0](Change((ROW,), 2, 9))
        store.callbacks[0](Change((), 0, 9))
        assert await anext(page) == 'event: change\ndata: {"feedback": 3, "interactions": 6}\n\n'
        with pytest.raises(StopAsyncIteration):
            await anext(tail)
        hub.close()
        with pytest.raises(StopAsyncIteration):
            await anext(page)
    with pytest.raises(TooManyError), hub.listening(votes=False):
        raise AssertionError
    assert not store.callbacks


async def test_who_hears_nothing_for_long_hears_that(monkeypatch):
    """So that proxies and clients know that the connection stands."""
    monkeypatch.setattr(live, "HEARTBEAT_SECONDS", 0.01)
    hub = Live(FakeStore(), asyncio.get_running_loop())
    with hub.listening(votes=False) as stream:
        assert [await anext(stream), await anext(stream)] == [": listening\n\n", ": still here\n\n"]
    hub.close()


def test_a_vote_is_told_with_its_time():
    """To the microsecond, in UTC."""
    assert vote_of(ROW)["at"] == "2026-09-21T14:13:20.123456Z"


def lines(server, path, body=None, **headers):
    """The lines that work on the folder answers with."""
    answer = ask(server.url, "POST", path, json.dumps(body or {}), content_type=JSON, **token(server), **headers)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/x-ndjson"), answer.body
    return [json.loads(line) for line in answer.body.splitlines()]


def test_the_folder_is_looked_after(filled, tmp_path):
    """Info, check, vacuum and a backup that can be opened, each with its progress."""
    assert ask(filled.url, "GET", "/api/db/info").status == 401
    assert get(filled, "/api/db/info", **token(filled))
    *progress, end = lines(filled, "/api/db/check")
    assert end == {"result": []}
    assert all(0 <= line["done"] <= line["all"] for line in progress)
    assert "result" in lines(filled, "/api/db/vacuum")[-1]
    assert "result" in lines(filled, "/api/db/backup", {"target": str(tmp_path / "copy")})[-1]
    with contextlib.closing(Store.open(tmp_path / "copy")) as copy:
        assert copy.votes_of(TRACE, SPAN)


@pytest.mark.parametrize("target", [None, 1, "", "relative", "/a\0b"])
def test_a_backup_needs_the_path_of_a_folder(filled, target):
    """422, before anything is begun."""
    answer = ask(filled.url, "POST", "/api/db/backup", json.dumps({"target": target}), **token(filled))
    assert (answer.status, answer.json()["field"]) == (422, "target")


@pytest.mark.parametrize(("body", "status"), [("[]", 400), ("{", 400), ("[" * 60_000, 400), ("x" * 70_000, 413)])
def test_a_body_that_is_no_object_is_refused(filled, body, status):
    """400, or 413 where it is too large."""
    assert ask(filled.url, "POST", "/api/db/check", body, **token(filled)).status == status


def test_what_goes_wrong_with_the_folder_is_the_last_line(server, monkeypatch):
    """With the sentence that says what to do, and the next work can begin."""

    def fail(_):
        raise StoreError("Make room.")

    monkeypatch.setattr(server.store, "check", fail)
    assert lines(server, "/api/db/check") == [{"error": {"title": "Service Unavailable", "detail": "Make room."}}]
    assert "result" in lines(server, "/api/db/vacuum")[-1]


def test_one_work_at_a_time(server, monkeypatch):
    """409 for a second, and not a queue of them."""
    begun, go_on = threading.Event(), threading.Event()

    def slow(progress):
        begun.set()
        go_on.wait(30)
        progress(1, 1)
        return []

    monkeypatch.setattr(server.store, "check", slow)
    done = []
    first = threading.Thread(target=lambda: done.extend(lines(server, "/api/db/check")))
    first.start()
    assert begun.wait(30)
    assert ask(server.url, "POST", "/api/db/vacuum", "{}", **token(server)).status == 409
    go_on.set()
    first.join()
    assert done == [{"done": 1, "all": 1}, {"result": []}]


def hints(server):
    return get(server, "/api/status")["hints"]


def test_the_sign_in_says_where_no_token_is_asked_for(server, tmp_path):
    """On this machine; who comes through a proxy needs it all the same."""
    sentence = "On this machine no token is asked for"
    assert sentence in text(server, "/login")
    with serving(tmp_path / "open", listen=Address("0.0.0.0", 0)) as other:
        assert sentence not in text(other, "/login")


def test_setup_says_what_to_install_from_where_this_came(server):
    """By the bare name it would be whatever somebody has registered."""
    assert f"pip install '{requirement('otlp,capture')}' opentelemetry-" in text(server, "/setup")


def text(server, path):
    """A page's source, to whoever has the token."""
    port = server.url.rpartition(":")[2]
    return ask(f"http://127.0.0.1:{port}", "GET", path, **token(server)).body.decode()


def test_hints_follow_what_is_missing(server):
    """From nothing at all to the first vote."""
    (first,) = hints(server)
    run = f"otel-feedback run --data {server.running.options.data}"
    assert run in first
    assert get(server, "/api/status")["run"] == run
    post(server.otlp_http, b"", signal="metrics")
    assert "OTEL_TRACES_EXPORTER" in hints(server)[0]
    export(server.otlp_grpc, request(span("c1" * 16)))
    assert "none of a model call" in hints(server)[0]
    model = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"}
    export(server.otlp_grpc, request(span("c2" * 16, **model)))
    assert "no answer that can be judged" in hints(server)[0]
    start = f": {run} -- uvicorn app:app (or: -- python app.py)"
    assert hints(server)[0].endswith(start)
    export(server.otlp_grpc, request(span("c3" * 16, interaction=True)))
    assert f"{server.url}/v1/feedback" in hints(server)[0]
    vote(server, True, signal="copy")
    assert len(hints(server)) == 2
    assert "no person" in hints(server)[0]
    assert "none on an answer that has arrived" in hints(server)[1]
    export(server.otlp_grpc, request(span(interaction=True)))
    vote(server, "up")
    assert hints(server) == []


def test_votes_alone_say_that_their_answers_are_missing(server):
    """Also where nothing else has come."""
    vote(server, "up")
    assert "none on an answer that has arrived" in hints(server)[-1]


async def test_work_whose_caller_is_gone_before_its_first_line_ends_all_the_same():
    """A connection that breaks early doesn't leave the folder busy: the next may ask again."""
    jobs = _Jobs()
    begun, ended = threading.Event(), threading.Event()

    def work(_):
        begun.set()
        assert ended.wait(10)

    async def receive():
        return {"type": "http.request", "body": b"{}", "more_body": False}

    def asked():
        return Request({"type": "http", "method": "POST", "headers": [(b"content-type", b"application/json")]}, receive)

    assert (await jobs.run(lambda _: work, asked())).status_code == 200
    assert begun.wait(10), "it begins without anybody who reads"
    assert (await jobs.run(lambda _: work, asked())).status_code == 409
    ended.set()
    deadline = time.monotonic() + 10
    while (await jobs.run(lambda _: lambda _: None, asked())).status_code == 409:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
