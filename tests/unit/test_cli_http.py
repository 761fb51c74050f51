"""The server's API over HTTP: what the client asks, whom it tells its token, and what it makes of odd answers."""

import http.client
import json
import socket
import threading

import pytest
from tests.unit.cli_server import serving

from otel_feedback.cli._http import HttpSource, RefusedError, UnreachableError
from otel_feedback.exceptions import ConfigurationError, InvalidQueryError, NotFoundError, StoreError


def source_of(api, token=None):
    """A client of a stand-in."""
    return HttpSource(api.url, lambda folder: token)


def problem(status, detail, **more):
    """A refusal as the API makes it."""
    return status, {"type": "about:blank", "title": "No", "status": status, "detail": detail, **more}


def test_questions_are_the_api_s():
    """Paths and parameters are those of the documentation; ids are quoted."""
    answers = {
        path: {"rows": []} for path in ("/api/satisfaction", "/api/answers", "/api/answers/a%2Fb", "/api/status")
    }
    with serving(answers) as api:
        source = source_of(api)
        source.status()
        source.satisfaction({"by": "model", "since": "7d"})
        source.answers({"search": "ä b"})
        source.answer("a/b")
        assert [(method, path, query) for method, path, query, _ in api.asked] == [
            ("GET", "/api/status", ""),
            ("GET", "/api/satisfaction", "by=model&since=7d"),
            ("GET", "/api/answers", "search=%C3%A4+b"),
            ("GET", "/api/answers/a%2Fb", ""),
        ]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:8484",
        "file:///etc/passwd",
        "http://",
        "ftp://a",
        "http://[::1",
        "http://a:x",
        "http://a?b",
        "http://a#b",
    ],
)
def test_what_is_no_address_is_refused(url):
    """Before anything is opened."""
    with pytest.raises(ConfigurationError, match="like http://127"):
        HttpSource(url, lambda folder: None)


def test_nobody_there_is_said_with_what_to_do():
    """The sentence names the address and the command."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    source = HttpSource(url, lambda folder: None)
    with pytest.raises(UnreachableError, match=f"Nobody answers at {url} .*otel-feedback up --listen {url[7:]}$"):
        source.status()
    assert not source.is_there()


@pytest.mark.parametrize("answer", [b"<html>", b"[1]", b'"x"', b"\xff"])
def test_somebody_else_at_the_address_is_no_server(answer):
    """A page of something else isn't taken for ours."""
    with serving({"/api/status": (200, answer)}) as api:
        with pytest.raises(UnreachableError, match="Something else"):
            source_of(api).status()
        assert not source_of(api).is_there()


def test_half_a_response_is_no_answer():
    """A connection that breaks in the middle ends with a sentence."""

    def break_off(handler):
        handler.send_response(200)
        handler.send_header("content-length", "1000")
        handler.end_headers()
        handler.wfile.write(b'{"a":')

    with serving({"/api/status": (200, break_off)}) as api, pytest.raises(UnreachableError):
        source_of(api).status()


REFUSALS = [
    (problem(404, "No such answer."), NotFoundError, "No such answer"),
    (problem(400, "It must be a time.", field="since"), InvalidQueryError, "It must be a time"),
    (problem(422, "It must be a time.", field="since"), InvalidQueryError, "It must be a time"),
    (problem(507, "The disk is full."), StoreError, "The disk is full"),
    ((500, b"Internal Server Error"), UnreachableError, "answers with 500"),
    ((502, {"error": "proxy"}), UnreachableError, "answers with 502"),
    ((302, {"title": "moved"}), StoreError, "moved"),
]


@pytest.mark.parametrize(("answer", "kind", "says"), REFUSALS, ids=[answer[0] for answer, *_ in REFUSALS])
def test_a_refusal_becomes_the_error_that_the_library_has_for_it(answer, kind, says):
    """With the server's own sentence, where it has one."""
    with serving({"/api/answers": answer}) as api, pytest.raises(kind, match=says):
        source_of(api).answers({})


def only_with_a_token(handler):
    """Answer as a server that asks for its token."""
    known = handler.headers.get("authorization") == "Bearer secret"
    data = json.dumps({"rows": []} if known else {"title": "Unauthorized", "status": 401, "detail": "Token."}).encode()
    handler.send_response(200 if known else 401)
    handler.send_header("content-length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data)


def test_the_token_is_sent_only_when_it_is_asked_for():
    """First without; after a 401 with, and from then on at once."""
    with serving({"/api/status": {"rows": []}, "/api/answers": (200, only_with_a_token)}) as api:
        source = source_of(api, "secret")
        source.status()
        source.answers({})
        source.answers({})
        assert [headers.get("Authorization") for *_, headers in api.asked] == [
            None,
            None,
            "Bearer secret",
            "Bearer secret",
        ]


@pytest.mark.parametrize("token", [None, "wrong"])
def test_without_the_right_token_it_says_where_that_is(token):
    """The server is there; the sentence names the folder and the variable, and no token."""
    with serving({"/api/status": (200, only_with_a_token), "/api/answers": (200, only_with_a_token)}) as api:
        with pytest.raises(RefusedError, match="OTEL_FEEDBACK_TOKEN") as caught:
            source_of(api, token).answers({})
        assert "wrong" not in str(caught.value)
        assert source_of(api, token).is_there()


def test_what_may_back_up_or_erase_always_says_who_it_is():
    """The token is that of the folder which the server says it has."""
    folders = []

    def token(folder):
        folders.append(folder)
        return "secret"

    with serving({"/api/status": {"data": "/data/feedback"}, "/api/db/info": (200, only_with_a_token)}) as api:
        assert HttpSource(api.url, token).db_info() == {"rows": []}
        assert [str(folder) for folder in folders] == ["/data/feedback"]
        assert len(api.asked) == 2


def test_a_redirect_is_not_followed():
    """It would take the token along."""
    with serving({}) as other:

        def redirect(handler):
            handler.send_response(302)
            handler.send_header("location", f"{other.url}/api/db/info")
            handler.send_header("content-length", "0")
            handler.end_headers()

        with serving({"/api/status": {}, "/api/db/info": (200, redirect)}) as api, pytest.raises(UnreachableError):
            source_of(api, "secret").db_info()
        assert other.asked == []


def test_a_proxy_is_not_asked_for_this_machine(monkeypatch):
    """A proxy can't reach it, and would read what is said."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with serving({"/api/status": {"version": "1"}}) as api:
        assert source_of(api).status() == {"version": "1"}


# --- What takes long -----------------------------------------------------------------------------------------------


def lines(*values):
    """A body of NDJSON."""
    return 200, "".join(f"{json.dumps(value)}\n" for value in values).encode(), "application/x-ndjson"


def test_progress_is_told_and_the_result_given():
    """Line by line, as the server goes on."""
    told = []
    work = lines({"done": 1, "all": 2}, {"done": 2, "all": 2}, {"result": ["a problem"]})
    sizes = lines({"result": {"before": 2, "after": 1}})
    with serving({"/api/status": {}, "/api/db/check": work, "/api/db/vacuum": sizes, "/api/db/backup": work}) as api:
        source = source_of(api, "secret")
        assert source.check(lambda done, everything: told.append((done, everything))) == ["a problem"]
        assert source.vacuum(lambda *_: None) == {"before": 2, "after": 1}
        source.backup("/backups/a", lambda *_: None)
        assert told == [(1, 2), (2, 2)]
        assert api.asked[-1][:3] == ("POST", "/api/db/backup", '{"target": "/backups/a"}')


@pytest.mark.parametrize("error", ["The disk is full.", {"detail": "The disk is full."}])
def test_work_that_fails_says_why(error):
    """The server's sentence."""
    with serving({"/api/status": {}, "/api/db/check": lines({"done": 1, "all": 2}, {"error": error})}) as api:
        source = source_of(api, "secret")
        with pytest.raises(StoreError, match="The disk is full"):
            source.check(lambda *_: None)


def test_work_whose_connection_breaks_is_not_taken_for_done():
    """The end without a result is no end."""
    with serving({"/api/status": {}, "/api/db/vacuum": lines({"done": 1, "all": 2})}) as api:
        source = source_of(api, "secret")
        with pytest.raises(UnreachableError, match="before it was done"):
            source.vacuum(lambda *_: None)


# --- Votes as they come --------------------------------------------------------------------------------------------


def test_votes_are_read_from_the_stream_of_events():
    """Other events and comments between them are passed over; a value may be on several lines."""
    stream = (
        b': hello\n\nevent: change\ndata: {"feedback": 1}\n\nevent: vote\ndata: {"id":\ndata: "a"}\n\n'
        b'event: vote\r\ndata: {"id": "b"}\r\n\r\nevent: vote\n\n'
    )
    opened = []
    with serving({"/api/live": (200, stream, "text/event-stream")}) as api:
        votes = list(source_of(api).votes(on_open=lambda: opened.append(True)))
        assert votes == [{"id": "a"}, {"id": "b"}]
        assert opened == [True]
        assert api.asked[0][2] == "votes=1"


def test_a_vote_is_given_before_the_stream_goes_on():
    """A person waits for it."""
    seen = threading.Event()

    def stream(handler):
        handler.send_response(200)
        handler.send_header("content-type", "text/event-stream")
        handler.end_headers()
        handler.wfile.write(b'event: vote\ndata: {"id": "a"}\n\n')
        handler.wfile.flush()
        assert seen.wait(30)

    with serving({"/api/live": (200, stream)}) as api:
        votes = source_of(api).votes()
        assert next(votes) == {"id": "a"}
        seen.set()
        assert list(votes) == []


@pytest.mark.parametrize(
    "answer", [(200, b"<html>", "text/html"), (200, b"event: vote\ndata: {\n\n", "text/event-stream")]
)
def test_a_stream_of_something_else_is_said(answer):
    """Instead of waiting for votes that can't come."""
    with serving({"/api/live": answer}) as api, pytest.raises(UnreachableError, match="Something else"):
        list(source_of(api).votes())


def test_a_stream_that_breaks_ends(monkeypatch):
    """Whoever follows decides whether to come again."""

    def fail(self, *_):
        raise http.client.IncompleteRead(b"")

    with serving({"/api/live": (200, b"", "text/event-stream")}) as api:
        monkeypatch.setattr(http.client.HTTPResponse, "__next__", fail, raising=False)
        monkeypatch.setattr(http.client.HTTPResponse, "readline", fail)
        assert list(source_of(api).votes()) == []
