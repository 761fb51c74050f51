"""``record()``: what a service may call with anything, and what becomes of it."""

import logging
import re
import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.feedback_parts import BAD_HANDLES, SPAN, TRACE, Outbox, Parts

from otel_feedback import _guard, _record, _runtime, semconv
from otel_feedback._feedback import MAX_COMMENT, MAX_CORRECTION
from otel_feedback._limits import clean_text
from otel_feedback._record import default_recorder, record, recorder_in_use
from otel_feedback._recorder import Receipt, Recorder
from otel_feedback._settings import Settings
from otel_feedback._signals import DEFAULT_SIGNALS, Correction, Scale, Signal
from otel_feedback.exceptions import InvalidFeedbackError, InvalidHandleError
from otel_feedback.testing import TEST_KEYS

PSEUDONYM_KEY = "p1:" + "cHNldWRvbnltLWtleS1mb3ItdGVzdHMtMzItYnl0ZXM"
ANNA = "k1:" + "ab" * 16


@pytest.fixture(autouse=True)
def process():
    """A process of its own: settings, recorder and warnings of nobody else."""
    _guard.forget_warnings()
    _runtime.reset()
    _runtime.configure(Settings(handle_keys=TEST_KEYS, pseudonym_keys=PSEUDONYM_KEY))
    yield
    _runtime.reset()


@pytest.fixture
def parts():
    """The recorder that this process shares, over an outbox."""
    parts = Parts(delivery=Outbox())
    with recorder_in_use(parts.recorder):
        yield parts


def sentiments(parts):
    """What each carrier says: previous and present sentiment."""
    return [
        (c.attributes[semconv.FEEDBACK_PREVIOUS_SENTIMENT], c.attributes[semconv.FEEDBACK_SENTIMENT])
        for c in parts.delivery.carriers
    ]


def test_a_vote_its_change_and_its_retraction(parts):
    """Three carriers tell the life of one vote, and each receipt has its id."""
    handle = parts.handle()
    assert record(handle, "thumbs", "up") == Receipt("f1", "recorded", None)
    assert record(handle, "thumbs", "down", reasons=["outdated"]) == Receipt("f2", "recorded", None)
    assert record(handle, "thumbs", None) == Receipt("f3", "recorded", None)
    assert sentiments(parts) == [("unset", "positive"), ("positive", "negative"), ("negative", "retracted")]
    revises = [c.attributes.get(semconv.FEEDBACK_REVISES) for c in parts.delivery.carriers]
    assert revises == [None, "f1", "f2"]


def test_a_repeated_id_is_recorded_once(parts):
    """The sender gets the same id back and learns that it was there before; another carrier is not made."""
    handle = parts.handle()
    assert record(handle, "thumbs", "up", id="click-1").status == "recorded"
    assert record(handle, "thumbs", "down", id="click-2").status == "recorded"
    assert record(handle, "thumbs", "up", id="click-1") == Receipt("click-1", "repeated", None)
    assert sentiments(parts) == [("unset", "positive"), ("positive", "negative")]


def test_a_detail_that_comes_later_is_no_new_opinion(parts):
    """A comment after the click repeats the sentiment, and says so by the previous one."""
    handle = parts.handle()
    record(handle, "thumbs", "down")
    record(handle, "thumbs", "down", comment="It is from 2019.")
    assert sentiments(parts) == [("unset", "negative"), ("negative", "negative")]


def test_who_judges_is_recorded_as_pseudonym_only(parts):
    """The caller's user becomes ``user.hash``, the same on every vote; two users have two votes."""
    handle = parts.handle()
    for user in ("anna@example.com", "ben@example.com", "anna@example.com"):
        record(handle, "stars", 4, user=user)
    anna, ben, again = (c.attributes[semconv.USER_HASH] for c in parts.delivery.carriers)
    assert anna == again == _runtime.pseudonym("anna@example.com")
    assert anna.startswith("p1:")
    assert ben != anna
    assert "example.com" not in str(parts.delivery.carriers)
    assert [before for before, _ in sentiments(parts)] == ["unset", "unset", "positive"]


def test_without_a_pseudonym_key_there_is_no_user(parts):
    """The vote is recorded all the same, with nothing about who cast it."""
    _runtime.configure(Settings(handle_keys=TEST_KEYS))
    assert record(parts.handle(), "thumbs", "up", user="anna").status == "recorded"
    (carrier,) = parts.delivery.carriers
    assert semconv.USER_HASH not in carrier.attributes


def test_a_sealed_handle_says_who_judges_unless_the_caller_does():
    """Its pseudonym is taken as it is; the caller of ``record()`` knows better who clicked."""
    parts = Parts(delivery=Outbox(), handle_facts="sealed")
    with recorder_in_use(parts.recorder):
        handle = parts.handle(user=ANNA)
        record(handle, "thumbs", "up")
        record(handle, "thumbs", "down", user="ben")
    hashes = [c.attributes[semconv.USER_HASH] for c in parts.delivery.carriers]
    assert hashes == [ANNA, _runtime.pseudonym("ben")]


@pytest.mark.parametrize("handle", BAD_HANDLES, ids=range(len(BAD_HANDLES)))
def test_a_bad_handle_is_rejected_and_nothing_raised(parts, handle):
    """Whatever it is: one and the same receipt, and no carrier."""
    assert record(handle, "thumbs", "up") == Receipt("", "rejected", str(InvalidHandleError()))
    assert parts.delivery.carriers == []


def test_an_expired_handle_is_rejected(parts):
    """After its time a handle is like any other bad one."""
    handle = parts.handle()
    parts.now = 31 * 86_400
    assert record(handle, "thumbs", "up").problem == str(InvalidHandleError())


SECRET = "secret-" + secrets.token_hex(8)
BAD = [
    ("signal", {"signal": SECRET}),
    ("signal", {"signal": None}),
    ("value", {"value": SECRET}),
    ("value", {"value": float("nan")}),
    ("value", {"value": True}),
    ("id", {"id": ""}),
    ("id", {"id": SECRET + " with spaces"}),
    ("id", {"id": "\ud800"}),
    ("id", {"id": "x" * 129}),
    ("id", {"id": 7}),
    ("reasons", {"reasons": SECRET}),
    ("reasons", {"reasons": [SECRET.upper()]}),
    ("reasons", {"reasons": ["x"] * 11}),
    ("reasons", {"reasons": ["x" * 65]}),
    ("reasons", {"reasons": [None]}),
    ("reasons", {"reasons": 5}),
    ("comment", {"comment": SECRET * 50_000}),
    ("comment", {"comment": "x" * (MAX_COMMENT + 1)}),
    ("comment", {"comment": SECRET.encode()}),
    ("correction", {"correction": (SECRET, "b")}),
    ("correction", {"signal": "label", "value": None, "correction": (SECRET,)}),
    ("correction", {"signal": "label", "value": None, "correction": SECRET}),
    ("correction", {"signal": "label", "value": None, "correction": ("a", None)}),
    ("correction", {"signal": "label", "value": None, "correction": ("x" * (MAX_CORRECTION + 1), "b")}),
    ("value", {"signal": "label", "value": "ham", "correction": ("a", "b")}),
    ("confidence", {"confidence": 1}),
    *[
        ("confidence", {"signal": "edit", "value": 0.5, "confidence": value})
        for value in (1.1, float("nan"), True, SECRET)
    ],
    ("user", {"user": 5}),
    ("user", {"user": ""}),
]


@pytest.mark.parametrize(("field", "changes"), BAD, ids=range(len(BAD)))
def test_bad_feedback_is_rejected_with_a_sentence(parts, caplog, field, changes):
    """The receipt says what is wrong, the log says it once, neither repeats what was sent, nothing is half-recorded."""
    arguments = {"signal": "thumbs", "value": "up", **changes}
    handle = parts.handle()
    with caplog.at_level(logging.DEBUG):
        first, second = (record(handle, **arguments) for _ in range(2))
    assert first == second
    assert first.status == "rejected"
    assert len(caplog.records) == 1
    assert first.problem in caplog.text
    assert SECRET not in first.problem + caplog.text
    assert parts.delivery.carriers == []
    assert record(handle, "thumbs", "up").status == "recorded"
    assert sentiments(parts) == [("unset", "positive")]
    with _guard.strict(), pytest.raises(InvalidFeedbackError) as caught:
        record(handle, **arguments)
    assert caught.value.field == field


GOOD = [
    {"id": "!~x", "reasons": ("too_long", "no-source", "42")},
    {"reasons": {"outdated"}},
    {"comment": "x" * MAX_COMMENT},
    {"signal": "edit", "value": 0.5, "confidence": 1},
    {"comment": " \n "},
    {"signal": "text", "value": None, "correction": Correction("x" * MAX_CORRECTION, "")},
    {"signal": "choice", "value": None, "correction": ["a", "b"]},
]


@pytest.mark.parametrize("changes", GOOD, ids=range(len(GOOD)))
def test_whatever_is_within_bounds_is_recorded(parts, changes):
    """The longest texts, every character of a code, and the shapes that callers have at hand."""
    assert record(parts.handle(), **{"signal": "thumbs", "value": "up", **changes}).status == "recorded"


def test_a_reason_given_twice_counts_once(parts):
    """Reasons are a set in the order they came."""
    record(parts.handle(), "thumbs", "down", reasons=["b", "a", "b"])
    assert parts.delivery.carriers[0].attributes[semconv.FEEDBACK_REASONS] == ("b", "a")


def test_a_delivery_that_refuses_leaves_no_trace(parts, caplog):
    """The receipt says so, the vote is as before, and the same feedback can be sent again."""
    handle = parts.handle()
    record(handle, "thumbs", "up")
    parts.delivery.full = True
    assert record(handle, "thumbs", "down", id="again") == Receipt("again", "rejected", "The outbox is full.")
    parts.delivery.full = False
    assert record(handle, "thumbs", "down", id="again").status == "recorded"
    assert sentiments(parts) == [("unset", "positive"), ("positive", "negative")]
    assert caplog.text.count("The outbox is full.") == 1


def test_a_failure_of_our_own_never_reaches_the_service(caplog):
    """Whatever breaks inside is logged once, without its message, which may hold user text."""

    def broken(trace_id, span_id):
        raise ZeroDivisionError(SECRET)

    parts = Parts(delivery=Outbox(), known_facts=broken)
    with recorder_in_use(parts.recorder):
        receipts = [record(parts.handle(), "thumbs", "up", id="a") for _ in range(2)]
        with _guard.strict(), pytest.raises(ZeroDivisionError):
            record(parts.handle(), "thumbs", "up")
    assert [(receipt.id, receipt.status) for receipt in receipts] == [("a", "rejected")] * 2
    assert SECRET not in str(receipts) + caplog.text
    assert caplog.text.count("ZeroDivisionError") == 1


def test_switched_off_rejects_without_a_word(parts, caplog):
    """With OpenTelemetry off a service runs as before: no exception, even in tests, and no warning at each vote."""
    _runtime.configure(Settings(handle_keys=TEST_KEYS, disabled=True))
    with _guard.strict():
        receipt = record(parts.handle(), "thumbs", "up")
    assert receipt.status == "rejected"
    assert "OTEL_SDK_DISABLED" in receipt.problem
    assert caplog.text == ""


def test_without_a_usable_key_the_receipt_says_how_to_get_one(caplog):
    """A key that is too short is told from a bad handle: the operator can mend it."""
    _runtime.configure(Settings(handle_keys="k1:HS256:c2hvcnQ"))
    receipt = record("x.y.z", "thumbs", "up")
    assert receipt.status == "rejected"
    assert "otel-feedback key new" in receipt.problem


def test_this_process_shares_one_recorder_until_it_is_configured_anew():
    """``record()`` and capture endpoints meet in one vote book; other settings make another."""
    first = default_recorder()
    assert default_recorder() is first
    _runtime.configure(Settings(handle_keys=TEST_KEYS))
    second = default_recorder()
    assert second is not first
    assert default_recorder() is second
    assert list(_record._made.values()) == [second]


def test_facts_of_this_process_are_found_by_default(monkeypatch):
    """A recorder looks into the tables of the span processor, wherever nothing else is said."""
    asked = []
    monkeypatch.setattr("otel_feedback._ledger.ledger.facts", asked.append)
    outbox = Outbox()
    parts = Parts(delivery=outbox)
    recorder = Recorder(codec=parts.codec, settings=parts.settings, delivery=outbox)
    recorder.submit(parts.handle(), "thumbs", "up")
    assert asked == [(TRACE, SPAN)]
    assert len(outbox.carriers[0].attributes[semconv.FEEDBACK_ID]) == 32


def test_that_a_text_is_not_recorded_is_said_once(caplog):
    """Whoever wonders where the comments are finds the switch in the log; what was written isn't there."""
    parts = Parts(delivery=Outbox())
    for value in ("up", "down"):
        parts.submit("thumbs", value, comment="what a user wrote")
    [warning] = [line for line in caplog.messages if "OTEL_FEEDBACK_CAPTURE_TEXT" in line]
    assert "what a user wrote" not in warning


def test_an_application_can_bring_its_own_signals():
    """A replaced row decides what a value means, and its name is the carrier's."""
    signals = DEFAULT_SIGNALS.replacing(Signal("stars", "explicit", Scale(1, 10, negative_to=4, positive_from=7)))
    parts = Parts(delivery=Outbox())
    recorder = Recorder(codec=parts.codec, settings=parts.settings, delivery=parts.delivery, signals=signals)
    recorder.submit(parts.handle(), "stars", 10)
    assert sentiments(parts) == [("unset", "positive")]


PAIR = re.compile("([\ud800-\udbff])([\udc00-\udfff])")
LONE = re.compile("[\ud800-\udfff]")


def joined(pair):
    """The character that two surrogates stand for (Unicode 16.0, section 3.9, D91)."""
    return chr(0x10000 + ((ord(pair[1]) - 0xD800) << 10) + (ord(pair[2]) - 0xDC00))


@given(st.text(st.characters(exclude_categories=()), max_size=50) | st.text("a\ud83d\ude00\ufffd", max_size=10))
def test_cleaned_text_loses_no_more_than_it_must(text):
    """Only lone surrogates change, each into one U+FFFD; two that belong together become their character."""
    assert clean_text(text) == LONE.sub("\ufffd", PAIR.sub(joined, text))


def test_a_blank_comment_is_none():
    """Spaces say nothing: no explanation is recorded."""
    parts = Parts(delivery=Outbox(), settings=Settings(handle_keys=TEST_KEYS, capture_text=True))
    for comment in (" \n ", "", " fine "):
        parts.submit(comment=comment)
    said = [c.attributes.get(semconv.ANNOTATION_EXPLANATION) for c in parts.delivery.carriers]
    assert said == [None, None, " fine "]


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=()))
    | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
PARTS = Parts(delivery=Outbox())
HANDLE = PARTS.handle()


@given(
    handle=st.just(HANDLE) | anything,
    signal=st.sampled_from(sorted(DEFAULT_SIGNALS)) | anything,
    value=anything,
    details=st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(("id", "reasons", "comment", "correction", "confidence", "user"), anything),
    ),
)
def test_whatever_a_service_calls_it_with(handle, signal, value, details):
    """Any arguments give a receipt, a carrier if it was recorded, and no exception."""
    _runtime.configure(Settings(handle_keys=TEST_KEYS, pseudonym_keys=PSEUDONYM_KEY))
    before = len(PARTS.delivery.carriers)
    with recorder_in_use(PARTS.recorder):
        receipt = record(handle, signal, value, **details)
    assert isinstance(receipt.id, str)
    assert (receipt.status == "rejected") == bool(receipt.problem)
    assert len(PARTS.delivery.carriers) - before == (receipt.status == "recorded")
    assert "failed" not in (receipt.problem or "")
