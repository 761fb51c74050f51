"""Malformed requests by the thousand; ``python -m soak fuzz`` sends a million to the real process.

Each answer is 202 or a problem of the sender's, the number of different ones is small, and none repeats what was sent.
"""

import itertools
import json
import logging
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from soak.bodies import HEADERS, SECRET, Sent, many, seeds, sent
from soak.inside import Watched
from soak.process import handles
from soak.watch import MOST_ANSWERS, Watch, echoes
from soak.wire import Answer

pytestmark = pytest.mark.usefixtures("own_process")
HANDLE = next(handles())
PROBLEM = (("content-type", "application/problem+json"),)


@pytest.fixture
def watched():
    """The application, each answer of which is looked at; a failure of ours is raised."""
    one = Watched()
    yield one
    one.close()


@settings(max_examples=500, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(request=sent(HANDLE))
def test_requests_of_any_form_get_an_answer_that_repeats_nothing(watched, request):
    """Bytes, JSON of any shape, strange and doubled parts, surrogates, deep nesting, other types and encodings."""
    watched.send(request)


def test_changed_requests_get_an_answer_that_repeats_nothing(watched, caplog):
    """What the long form sends; nothing of it is logged either."""
    caplog.set_level(logging.DEBUG)
    for one in itertools.islice(many(seeds(HANDLE)), 4_000):
        watched.send(one)
    assert {202, 400, 401, 415, 422} <= set(watched.watch.statuses), "all ways through the endpoint are tried"
    assert SECRET not in caplog.text
    assert "Traceback" not in caplog.text


def test_the_notorious_ones_get_an_answer_that_repeats_nothing(watched):
    """Each seed with each further header."""
    for body, more in itertools.product(seeds(HANDLE)[::3], HEADERS[3:]):
        watched.send(Sent(body, more=more))


@pytest.mark.skipif(sys.version_info < (3, 11), reason="schemathesis needs Python 3.11")
def test_the_description_is_what_the_application_does():
    """What fits it is taken or refused for its handle, what doesn't is refused, and each answer fits it, too."""
    from soak import described

    assert "422" in described.run(60)


def answer(status=422, headers=PROBLEM, **said):
    """A refusal."""
    return Answer(
        status, headers, json.dumps({"type": "a", "title": "b", "status": status, "detail": "c", **said}).encode()
    )


BROKEN = {
    "a failure": answer(500),
    "a redirect": answer(307),
    "another success": Answer(200, (), b""),
    "no problem": answer(headers=(("content-type", "text/plain"),)),
    "another status inside": Answer(400, PROBLEM, answer(422).body),
    "a further member": answer(input="x"),
    "an echo": answer(detail=f"Not {SECRET}"),
    "an echo in a header": answer(headers=(*PROBLEM, ("x-a", SECRET))),
}


@pytest.mark.parametrize("bad", BROKEN.values(), ids=BROKEN)
def test_who_watches_sees_what_should_not_be(bad):
    """The watch itself is tried: each of these ends a run."""
    watch = Watch()
    watch.see(SECRET.encode(), answer())
    with pytest.raises(AssertionError):
        watch.see(b"{" + SECRET.encode() + b"}", bad)


def test_who_watches_sees_that_answers_differ_without_end():
    """A part that is too short to be told for an echo makes many different answers."""
    watch = Watch()
    for number in range(MOST_ANSWERS):
        watch.see(b"%d" % number, answer(detail=str(number)))
    with pytest.raises(AssertionError, match="no end"):
        watch.see(b"x", answer(detail="x"))


@pytest.mark.parametrize("said", ["Traceback (most recent call last)", f"refused: {SECRET}", "x" * 20_000])
def test_who_watches_reads_the_log(said):
    """A traceback, input in it, and growth."""
    with pytest.raises(AssertionError):
        Watch().look_at_log(said)
    Watch().look_at_log("INFO: Started")


def test_an_echo_is_longer_than_eight_characters_and_no_word_of_ours():
    """Short words are in both by chance."""
    assert echoes("12345678", "x12345678x") == []
    assert echoes("123456789", "x123456789x") == ["123456789"]
    assert echoes('{"correction": 1}', "The correction must") == []
