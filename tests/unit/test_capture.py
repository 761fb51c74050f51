"""The capture endpoint over HTTP, as ``docs/capture.md`` describes it."""

import asyncio
import json
import secrets
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.capture_http import client, problem, send
from tests.unit.feedback_parts import BAD_HANDLES, SPAN, Outbox, Parts

from otel_feedback import semconv
from otel_feedback._settings import Settings
from otel_feedback.capture import capture_app
from otel_feedback.capture.body import MAX_BODY
from otel_feedback.testing import TEST_KEYS

SECRET = "secret" + secrets.token_hex(8)
pytestmark = pytest.mark.usefixtures("own_process")


@pytest.fixture
def parts():
    """A recorder over an outbox."""
    return Parts(delivery=Outbox(), settings=Settings(handle_keys=TEST_KEYS, capture_text=True))


async def test_a_vote_is_accepted_and_carried(http, parts):
    """202 with the id; the carrier names capture as its source."""
    response = await send(
        http, {"handle": parts.handle(), "signal": "thumbs", "value": "down", "reasons": ["outdated"]}
    )
    assert (response.status_code, response.json()) == (202, {"id": "f1"})
    (carrier,) = parts.delivery.carriers
    assert carrier.span_id == SPAN
    assert carrier.attributes[semconv.FEEDBACK_SOURCE] == "capture"
    assert carrier.attributes[semconv.FEEDBACK_REASONS] == ("outdated",)


async def test_a_change_a_repetition_and_a_retraction(http, parts):
    """A sender may change its mind, retry with an id, and take its vote back by null."""
    handle = parts.handle()
    for value, feedback_id in (("up", "a"), ("down", "b"), ("up", "a"), (None, "c")):
        body = {"handle": handle, "signal": "thumbs", "value": value, "id": feedback_id}
        response = await send(http, body)
        assert (response.status_code, response.json()) == (202, {"id": feedback_id})
    states = [c.attributes[semconv.FEEDBACK_SENTIMENT] for c in parts.delivery.carriers]
    assert states == ["positive", "negative", "retracted"]


async def test_a_correction_needs_no_value(http, parts):
    """Original and corrected text are enough; null beside them is no retraction."""
    for extra in ({}, {"value": None}):
        body = {"handle": parts.handle(), "signal": "text", "correction": {"original": "a", "corrected": "b"}, **extra}
        assert (await send(http, body)).status_code == 202
    assert [c.attributes[semconv.FEEDBACK_SENTIMENT] for c in parts.delivery.carriers] == ["negative", "negative"]
    assert parts.delivery.carriers[0].events[1][1][semconv.FEEDBACK_CORRECTION_CORRECTED] == "b"


async def test_a_forgotten_value_is_no_retraction(http, parts):
    """Without a value nothing is taken back: that takes a null."""
    detail = problem(await send(http, {"handle": parts.handle(), "signal": "thumbs"}), 422, field="value")
    assert "null" in detail
    assert parts.delivery.carriers == []


async def test_every_bad_handle_gets_one_and_the_same_answer(http, parts):
    """Forged, foreign, damaged, oversized, expired or of a wrong type: nobody learns which."""
    expired = parts.handle()
    parts.now = 31 * 86_400
    handles = [handle for handle in (*BAD_HANDLES, expired) if handle and not isinstance(handle, bytes)]
    bodies = [{"signal": "thumbs", "value": "up", "handle": handle} for handle in handles]
    answers = set()
    for body in bodies:
        if len(json.dumps(body)) < MAX_BODY:
            response = await send(http, body)
            problem(response, 401)
            answers.add((response.text, response.headers["www-authenticate"]))
    assert len(answers) == 1
    assert parts.delivery.carriers == []


@pytest.mark.parametrize("without", [{}, {"handle": None}, {"handle": ""}])
async def test_who_sends_no_handle_is_told_where_to_take_it_from(http, parts, without):
    """An empty one is what a shell makes of a header that wasn't there."""
    response = await send(http, {"signal": "thumbs", "value": "up", **without})
    problem(response, 401)
    assert "the feedback-handle header of the answer" in response.json()["detail"]
    assert parts.delivery.carriers == []


SHAPES = [
    ("signal", {"signal": 5}),
    ("signal", {"signal": None}),
    ("value", {"value": SECRET}),
    ("value", {"value": {"up": 1}}),
    ("value", {"value": ["up"]}),
    ("value", {"value": 1e308}),
    ("id", {"id": 5}),
    ("id", {"id": ""}),
    ("id", {"id": SECRET + " "}),
    ("id", {"id": "\ud800"}),
    ("reasons", {"reasons": SECRET}),
    ("reasons", {"reasons": [SECRET, 5]}),
    ("reasons", {"reasons": [SECRET.upper()]}),
    ("reasons", {"reasons": None}),
    ("comment", {"comment": 5}),
    ("comment", {"comment": SECRET * 200}),
    ("correction", {"correction": [SECRET, "b"]}),
    ("correction", {"correction": {"original": SECRET}}),
    ("correction", {"correction": {"original": SECRET, "corrected": "b", SECRET: 1}}),
    ("correction", {"correction": {"original": SECRET, "corrected": None}}),
    ("correction", {"correction": {"original": SECRET, "corrected": "b"}}),
    ("signal", {"signal": SECRET}),
    ("signal", {"signal": "\ud800"}),
    (None, {SECRET: 1}),
    (None, {"user": SECRET}),
    ("confidence", {"confidence": 1}),
    ("confidence", {"confidence": SECRET}),
    ("confidence", {"signal": "copy", "value": True, "confidence": 1.5}),
    ("confidence", {"signal": "copy", "value": True, "confidence": True}),
    ("nonce", {"nonce": 5}),
    ("nonce", {"nonce": SECRET[:15]}),
    ("nonce", {"nonce": SECRET + " " * 16}),
    (None, {"source": "record"}),
]


@pytest.mark.parametrize(("field", "changes"), SHAPES, ids=range(len(SHAPES)))
async def test_what_cannot_be_understood_names_the_part_and_repeats_nothing(http, parts, field, changes):
    """422 says which part is wrong and what it should be; unknown parts are refused, the identity of a user too."""
    response = await send(http, {"handle": parts.handle(), "signal": "thumbs", "value": "up", **changes})
    detail = problem(response, 422, field=field)
    assert SECRET not in response.text
    assert SECRET.upper() not in response.text
    assert len(detail) > 20
    assert parts.delivery.carriers == []


@pytest.mark.parametrize("body", [[], 5, "text", None, True, {}], ids=str)
async def test_a_body_that_is_no_feedback_object(http, body):
    """JSON of another shape is told what the body should be."""
    detail = problem(await send(http, json.dumps(body)), 422, field="signal" if body == {} else None)
    assert body == {} or "handle, signal, value" in detail


BROKEN = [
    b"",
    b"{",
    b"\xff\xfe",
    b'{"signal": "\xff"}',
    b"\xef\xbb\xbf{}",
    b'{"value": NaN}',
    b'{"value": Infinity}',
    b'{"value": -Infinity}',
    b'{"signal": "thumbs", "signal": "stars"}',
    b'{"correction": {"original": "a", "original": "b"}}',
    b'{"value": ' + b"9" * 5_000 + b"}",
    b"[" * 60_000,
    b'{"a":' * 12_000,
    b"[" * 30_000 + b"]" * 30_000,
    b"{} {}",
    b"{'signal': 'thumbs'}",
]


@pytest.mark.parametrize("body", BROKEN, ids=range(len(BROKEN)))
async def test_what_is_not_json_is_refused_before_anything_looks_at_it(http, body):
    """Not UTF-8, a key twice, NaN, endless digits, deep nesting: 400, whichever reader would have taken it."""
    assert "JSON" in problem(await send(http, body), 400)


async def test_a_text_cut_in_the_middle_of_an_emoji_is_kept(http, parts):
    """Browsers cut by UTF-16: the lone half becomes U+FFFD and the feedback counts."""
    body = {"handle": parts.handle(), "signal": "thumbs", "value": "up", "comment": "nice \ud83d"}
    assert (await send(http, body)).status_code == 202
    assert parts.delivery.carriers[0].attributes[semconv.ANNOTATION_EXPLANATION] == "nice \ufffd"


@pytest.mark.parametrize(
    ("content_type", "encoding"),
    [
        ("text/plain", None),
        ("application/x-www-form-urlencoded", None),
        ("multipart/form-data; boundary=x", None),
        ("application/jsonp", None),
        ("application/problem+json", None),
        ("", None),
        ("application/json", "gzip"),
        ("application/json", "identity"),
    ],
)
async def test_only_plain_json_is_taken(http, parts, content_type, encoding):
    """What a page of another origin could send without a preflight, and what would have to be unpacked, is 415."""
    headers = {"content-type": content_type} | ({"content-encoding": encoding} if encoding else {})
    response = await send(http, {"handle": parts.handle(), "signal": "thumbs", "value": "up"}, **headers)
    problem(response, 415)
    assert response.headers["accept-post"] == "application/json"
    assert parts.delivery.carriers == []


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON", "application/json;"])
async def test_a_json_type_may_be_spelled_in_any_way(http, parts, content_type):
    """Parameters and case of the media type make no difference."""
    body = {"handle": parts.handle(), "signal": "thumbs", "value": "up"}
    assert (await send(http, body, **{"content-type": content_type})).status_code == 202


async def test_a_body_of_the_largest_size_is_read(http, parts):
    """The cap itself is allowed; the byte after it isn't."""
    body = json.dumps({"handle": parts.handle(), "signal": "thumbs", "value": "up"})
    assert (await send(http, body.ljust(MAX_BODY))).status_code == 202
    assert f"{MAX_BODY:,}" in problem(await send(http, body.ljust(MAX_BODY + 1)), 413)


async def test_a_body_without_a_declared_length_is_cut_off_at_the_cap(parts):
    """A chunked body is read only as far as it may go, however much more would come."""
    sent = 0

    async def endless():
        nonlocal sent
        while sent < 100:
            sent += 1
            yield b" " * 4_096

    app = capture_app(recorder=parts.recorder)
    messages = endless()
    answers = []

    async def receive():
        return {"type": "http.request", "body": await anext(messages), "more_body": True}

    async def keep(message):
        answers.append(message)

    await app(scope_of(b"application/json"), receive, keep)
    assert answers[0]["status"] == 413
    assert sent == MAX_BODY // 4_096 + 1


@pytest.mark.parametrize("length", ["65537", "9" * 5_000])
async def test_a_declared_length_beyond_the_cap_is_refused_unread(parts, length):
    """Nobody waits for what would be thrown away."""
    answers = []

    async def receive():
        raise AssertionError("the body was read")

    async def keep(message):
        answers.append(message)

    app = capture_app(recorder=parts.recorder)
    await app(scope_of(b"application/json", (b"content-length", length.encode())), receive, keep)
    assert answers[0]["status"] == 413


async def test_a_sender_that_leaves_in_the_middle_is_no_error_of_ours(parts):
    """Half a body and a closed connection end the request without a traceback, and record nothing."""
    incoming = iter([{"type": "http.request", "body": b'{"handle"', "more_body": True}, {"type": "http.disconnect"}])

    async def receive():
        return next(incoming)

    async def keep(message):
        """Nobody is there to read it."""

    await capture_app(recorder=parts.recorder)(scope_of(b"application/json"), receive, keep)
    assert parts.delivery.carriers == []


def scope_of(content_type, *headers):
    """The scope of a POST to the endpoint."""
    return {
        "type": "http",
        "method": "POST",
        "path": "/v1/feedback",
        "root_path": "",
        "query_string": b"",
        "headers": [(b"content-type", content_type), *headers],
    }


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_feedback_is_only_ever_posted(http, method):
    """Other methods are told which one there is; feedback in a URL would land in logs."""
    response = await http.request(method, "/v1/feedback")
    assert "POST" in problem(response, 405)
    assert response.headers["allow"] == "POST"


@pytest.mark.parametrize("path", ["/v1/feedback/", "/v1/feedback/x", "/v1/Feedback", "/healthz/"])
async def test_nothing_is_redirected(http, path):
    """A redirect would name the host that the caller names, and leave HTTPS behind a proxy that ends it."""
    problem(await http.post(path, json={"handle": "x"}, headers={"host": "evil.example"}), 404)


async def test_an_unknown_path_says_where_feedback_goes(http):
    """404 in the same form, without the path."""
    response = await http.post(f"/{SECRET}")
    assert "/v1/feedback" in problem(response, 404)
    assert SECRET not in response.text


async def test_health_can_be_asked(http):
    """For a load balancer: the process answers."""
    response = await http.get("/healthz")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


async def test_a_delivery_that_refuses_asks_the_sender_to_come_again(http, parts, caplog):
    """503 with Retry-After; why stays in the log, the vote as it was, and the retry with the same id is recorded."""
    body = {"handle": parts.handle(), "signal": "thumbs", "value": "up", "id": "a"}
    parts.delivery.full = True
    for _ in range(2):
        response = await send(http, body)
        assert "again" in problem(response, 503)
        assert int(response.headers["retry-after"]) > 0
        assert "outbox" not in response.text
    assert caplog.text.count("The outbox is full.") == 1
    parts.delivery.full = False
    assert (await send(http, body)).status_code == 202
    assert [c.attributes[semconv.FEEDBACK_FIRST] for c in parts.delivery.carriers] == [True]


async def test_a_failure_of_our_own_is_a_problem_too(parts, monkeypatch, caplog, guarded):
    """500 without details, for the sender and in the log; the next request is served."""

    def broken(*args, **kwargs):
        raise ZeroDivisionError(SECRET)

    monkeypatch.setattr(parts.recorder, "prepare", broken)
    async with client(capture_app(recorder=parts.recorder)) as http:
        response = await send(http, {"handle": parts.handle(), "signal": "thumbs", "value": "up"})
        problem(response, 500)
        assert (await http.get("/healthz")).status_code == 200
    assert SECRET not in response.text + caplog.text
    assert "ZeroDivisionError" in caplog.text


async def test_a_slow_delivery_does_not_hold_the_others_up(parts):
    """While one feedback waits for a disk, the loop answers other requests."""
    entered, go = threading.Event(), threading.Event()

    class Disk(Outbox):
        def submit(self, carrier):
            entered.set()
            go.wait(30)
            super().submit(carrier)

    parts.recorder.delivery = Disk()
    async with client(capture_app(recorder=parts.recorder)) as http:
        slow = asyncio.create_task(send(http, {"handle": parts.handle(), "signal": "thumbs", "value": "up"}))
        await asyncio.to_thread(entered.wait, 30)
        assert (await http.get("/healthz")).status_code == 200
        assert not slow.done()
        go.set()
        assert (await slow).status_code == 202


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=()), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FIELDS = ("handle", "signal", "value", "id", "reasons", "comment", "correction", "more")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
@given(
    body=st.binary(max_size=50)
    | st.dictionaries(st.sampled_from(FIELDS), json_values, max_size=8).map(json.dumps).map(str.encode),
    good_handle=st.booleans(),
)
async def test_any_bytes_get_an_answer(http, parts, body, good_handle):
    """Whatever is sent, the answer is 202 or a problem of the sender's, and a carrier comes of 202 alone."""
    if good_handle and body.startswith(b'{"'):
        body = b'{"handle": "' + parts.handle().encode() + b'", ' + body[1:]
    before = len(parts.delivery.carriers)
    response = await send(http, body)
    assert response.status_code in (202, 400, 401, 422)
    assert len(parts.delivery.carriers) - before == (response.status_code == 202)
