"""A vote's life: whatever people do with it, and however their feedback arrives, the store shows what was said last."""

import contextlib
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.unit.drain_parts import RESOURCE
from tests.unit.feedback_parts import FACTS
from tests.unit.outbox_parts import MEMORY, waiting
from tests.unit.server_parts import request, span
from tests.unit.store_parts import ask, opened

from otel_feedback._handle import HandleCodec, Keyring
from otel_feedback._recorder import Recorder
from otel_feedback._settings import Settings
from otel_feedback.exceptions import InvalidHandleError, VoteConflictError
from otel_feedback.intake import read_traces
from otel_feedback.outbox import Outbox
from otel_feedback.outbox._spans import spans_of
from otel_feedback.testing import START, TEST_KEYS

TRACE, SPAN = 0xA1, 0xB2
DAY = 86_400
TTL = 30 * DAY
SENTIMENTS = {
    "thumbs": {"up": "positive", "down": "negative"},
    "stars": {1: "negative", 3: "neutral", 5: "positive"},
    "helpful": {"yes": "positive", "no": "negative"},
    "copy": {0.25: "positive", True: "positive"},
    "accept": {True: "positive"},
    "text": {("Paris", "Paris"): "positive", ("Paris", "Lyon"): "negative"},
}


class Click(NamedTuple):
    """What somebody does, and when; a browser's tabs have its nonce."""

    signal: str = "thumbs"
    value: object = "up"
    submitter: str | None = None
    browser: str | None = "a"
    second: int = 0
    comment: str | None = None


class Again(NamedTuple):
    """An earlier click: as a retry has it, with its id, or as a second click, with another; perhaps of a later time."""

    which: int
    retry: bool
    second: int | None = None
    comment: str | None = None


@dataclass
class Vote:
    """What the model knows of one vote: ids and sentiments that were accepted, and whose it is."""

    seal: str | None
    given: list


class Life:
    """A recorder on an outbox, and a plain model beside it."""

    def __init__(self, folder):
        self.second = 0
        self.outbox = Outbox(folder / "outbox.db", resource=RESOURCE, clock=self.now_ns)
        codec = HandleCodec(Keyring.from_text(TEST_KEYS), ttl=TTL, clock=lambda: START + self.second)
        self.recorder = Recorder(
            codec=codec,
            settings=Settings(handle_keys=TEST_KEYS, capture_text=True),
            votes=self.outbox,
            delivery=self.outbox,
            known_facts=lambda *_: None,
            clock=self.now_ns,
        )
        self.handle = codec.issue(trace_id=TRACE, span_id=SPAN, sampled=True, facts=FACTS)
        self.done, self.votes = [], {}

    def now_ns(self):
        return (START + self.second) * 10**9

    def act(self, action):
        """Do it for real and in the model; both say the same of it."""
        if isinstance(action, Again):
            if not self.done:
                return
            click, name = self.done[action.which % len(self.done)]
            later = {"second": click.second if action.second is None else action.second}
            click = click._replace(**later, comment=click.comment if action.retry else action.comment)
            name = name if action.retry else f"f{len(self.done)}"
        else:
            click, name = action, f"f{len(self.done)}"
        self.done.append((click, name))
        self.second = click.second
        expected = self.expect(click, name)
        assert self.submit(click, name) == expected

    def submit(self, click, name):
        is_text = click.signal == "text" and click.value is not None
        try:
            receipt = self.recorder.submit(
                *(self.handle, click.signal, None if is_text else click.value),
                id=name,
                nonce=click.browser and click.browser * 16,
                comment=click.comment,
                correction=click.value if is_text else None,
                user=click.submitter,
            )
        except (VoteConflictError, InvalidHandleError) as error:
            return type(error)
        return receipt.status

    def expect(self, click, name):
        if click.second >= TTL:
            return InvalidHandleError
        vote = self.votes.setdefault((click.signal, click.submitter or ""), Vote(click.browser, []))
        if name in [each for each, _ in vote.given]:
            return "repeated"
        if vote.given and vote.seal not in (None, click.browser):
            return VoteConflictError
        if not vote.given:
            vote.seal = click.browser
        vote.given.append((name, SENTIMENTS[click.signal].get(click.value, "retracted")))
        return "recorded"

    def close(self):
        self.outbox.close()


ACTIONS = st.lists(
    st.one_of(
        st.sampled_from(sorted(SENTIMENTS)).flatmap(
            lambda signal: st.builds(
                Click,
                signal=st.just(signal),
                value=st.sampled_from((*SENTIMENTS[signal], None)),
                submitter=st.sampled_from([None, None, "k1:ab"]),
                browser=st.sampled_from(["a", "a", "b", None]),
                second=st.sampled_from([0, 1, 59, 7 * DAY, TTL - 1, TTL]) | st.integers(0, TTL),
                comment=st.sampled_from([None, "Why not."]),
            )
        ),
        st.builds(
            Again,
            which=st.integers(0, 11),
            retry=st.booleans(),
            second=st.none() | st.sampled_from([0, 8 * DAY]),
            comment=st.sampled_from([None, "A late detail."]),
        ),
    ),
    min_size=1,
    max_size=12,
)


@st.composite
def arrivals(draw, most=14):
    """How feedback arrives: an order, what comes twice or more, and which of it in one request."""
    order = draw(st.permutations(range(most)))
    again = draw(st.lists(st.integers(0, most - 1), max_size=6))
    return order, again, draw(st.integers(1, 5))


def requests_of(rows, arrival):
    """Requests of OTLP with these rows, and with the answer itself, in that order and as often."""
    order, again, together = arrival
    messages = [encode_spans(spans_of([row])) for row in rows]
    messages.append(
        ExportTraceServiceRequest.FromString(request(span(f"{TRACE:032x}", f"{SPAN:016x}", interaction=True)))
    )
    queue = [messages[index] for index in (*order, *again) if index < len(messages)]
    for start in range(0, len(queue), together):
        one = ExportTraceServiceRequest()
        for message in queue[start : start + together]:
            one.MergeFrom(message)
        yield one


def assert_shown(store, votes):
    """The store shows, of each vote, all that was accepted, what it replaced, and the last of it as what stands."""
    history = defaultdict(dict)
    for row in store.votes_of(f"{TRACE:032x}", f"{SPAN:016x}"):
        history[row.signal, row.submitter][row.feedback_id] = (row.sentiment, row.previous_sentiment, row.revises)
    expected = {}
    for key, vote in votes.items():
        before = [("unset", None), *((sentiment, name) for name, sentiment in vote.given)]
        if vote.given:
            expected[key] = {
                name: (sentiment, *previous) for (name, sentiment), previous in zip(vote.given, before, strict=False)
            }
    assert history == expected
    standing = ask(store, "SELECT signal, submitter, feedback_id, sentiment FROM feedback WHERE standing")
    assert sorted(standing) == sorted((*key, *votes[key].given[-1]) for key in expected)
    assert store.check() == []


@settings(max_examples=30, deadline=None)
@given(actions=ACTIONS, arrival=arrivals())
@example(  # a clock that is set back by a week between a vote and its change, which then arrives first
    actions=[Click(second=7 * DAY), Click(value="down", second=0), Again(0, retry=True, second=8 * DAY)],
    arrival=([1, 0, *range(2, 14)], [0, 0, 1], 1),
)
@example(  # a double click, a late detail, and another browser
    actions=[Click(), Again(0, retry=False), Again(0, retry=False, comment="Late."), Click(value="down", browser="b")],
    arrival=([3, 2, 1, 0, *range(4, 14)], [2, 0], 2),
)
def test_the_store_shows_what_was_said_last_whatever_arrives_when(actions, arrival):
    """Votes, changes, retractions, details, retries, tabs and browsers, by any clock: delivered at least once."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as name:
        folder = Path(name)
        with contextlib.closing(Life(folder)) as life:
            for action in actions:
                life.act(action)
            rows = waiting(life.outbox)
        assert len(rows) == sum(len(vote.given) for vote in life.votes.values())
        with opened(folder / "store") as store:
            for one in requests_of(rows, arrival):
                store.write(read_traces(one, received_ns=(START + TTL) * 10**9))
            store.settle()
            assert_shown(store, life.votes)


@pytest.mark.parametrize("second", [7 * DAY, TTL - 1])
def test_a_handle_changes_its_vote_until_it_expires(tmp_path, second):
    """A week later, and in its last second; then nobody can, and the vote stays."""
    with contextlib.closing(Life(tmp_path)) as life:
        life.act(Click())
        life.act(Click(value="down", second=second))
        life.act(Click(value=None, second=TTL))
        assert [each for each, _ in life.votes["thumbs", ""].given] == ["f0", "f1"]
