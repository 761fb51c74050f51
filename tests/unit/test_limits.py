"""Guests keep to the host's limits: nothing of the host's is pushed out, and no JSON is cut."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanLimits, TracerProvider

from otel_feedback import _limits


def span_with(limits, attributes=None):
    """A real span under the host's limits."""
    return TracerProvider(span_limits=limits).get_tracer("host").start_span("GET", attributes=attributes)


def host(count):
    """So many attributes of the host."""
    return {f"host.{number}": number for number in range(count)}


@pytest.mark.parametrize(
    ("limit", "present", "expected"),
    [
        (None, 0, ["a", "b", "c"]),
        (128, 126, ["a", "b"]),
        (128, 128, []),
        (5, 3, ["a", "b"]),
        (1, 0, ["a"]),
        (0, 0, []),
    ],
)
def test_a_host_keeps_all_its_attributes(limit, present, expected):
    """What doesn't fit is not set, the first ones come first, and the SDK drops nothing."""
    limits = SpanLimits(max_span_attributes=SpanLimits.UNSET if limit is None else limit)
    span = span_with(limits, host(present))
    _limits.set_within_limits(span, {"a": 1, "b": 2, "c": 3})
    assert dict(span.attributes) == host(present) | {name: " abc".index(name) for name in expected}
    assert span.dropped_attributes == 0


def test_what_is_there_can_change_in_a_full_span():
    """A new value of an attribute that the span has needs no room."""
    span = span_with(SpanLimits(max_span_attributes=2), {"a": 1, "host": 1})
    _limits.set_within_limits(span, {"b": 2, "a": 3})
    assert dict(span.attributes) == {"a": 3, "host": 1}


def test_an_ended_span_is_left_alone(caplog):
    """Nothing is set on it, and the SDK has nothing to warn of."""
    span = span_with(SpanLimits())
    span.end()
    _limits.set_within_limits(span, {"a": 1})
    assert dict(span.attributes) == {}
    assert not caplog.records


@pytest.mark.parametrize("span", [trace.INVALID_SPAN, trace.NonRecordingSpan(trace.SpanContext(1, 2, is_remote=False))])
def test_a_span_of_no_sdk_is_left_alone(span):
    """What doesn't record has no attributes, no limits, and makes no trouble."""
    _limits.set_within_limits(span, {"a": 1})
    assert _limits.raw_attributes(span) == {}
    assert _limits.json_room(span) == _limits.MAX_JSON
    assert _limits.value_limit(span) is None


class ForeignSpan(trace.NonRecordingSpan):
    """A recording span of another SDK, without the insides that ours knows."""

    def __init__(self):
        super().__init__(trace.SpanContext(1, 2, is_remote=False))
        self.attributes = {"host": 1}

    def is_recording(self):
        """Say that it records."""
        return True

    def set_attributes(self, attributes):
        """Keep attributes."""
        self.attributes.update(attributes)


def test_another_sdk_is_served_by_the_public_way():
    """Where the SDK's inside has another shape, attributes are read and set through the API."""
    span = ForeignSpan()
    _limits.set_within_limits(span, {"a": 1})
    assert _limits.raw_attributes(span) == {"host": 1, "a": 1}


@pytest.mark.parametrize(("limit", "room"), [(None, _limits.MAX_JSON), (0, 0), (10, 10), (10**9, _limits.MAX_JSON)])
def test_the_room_for_json(limit, room):
    """The smaller one of the host's limit and ours."""
    limits = SpanLimits(max_span_attribute_length=SpanLimits.UNSET if limit is None else limit)
    assert _limits.json_room(span_with(limits)) == room


@pytest.mark.parametrize(("limit", "is_set"), [(SpanLimits.UNSET, True), (8, True), (7, False), (0, False)])
def test_json_that_would_be_cut_is_not_set(limit, is_set):
    """Half a JSON text is worth nothing."""
    span = span_with(SpanLimits(max_span_attribute_length=limit))
    _limits.set_json(span, "messages", '["four"]')
    assert dict(span.attributes) == ({"messages": '["four"]'} if is_set else {})


def array(entries, room):
    """The array, as data."""
    text = _limits.json_array(entries, room, optional="content")
    assert text is None or len(text) <= room
    return None if text is None else json.loads(text)


def test_documents_that_fit_are_all_written():
    """To the last character of the room."""
    entries = [{"id": "a", "content": "text"}, {"id": "b"}]
    length = len(json.dumps(entries, separators=(",", ":")))
    assert array(entries, length) == entries
    assert array(entries, length - 1) == [{"id": "a"}, {"id": "b"}]


def test_texts_go_before_documents():
    """A reader joins by id: a long text must not push out the documents behind it, and shorter texts stay."""
    entries = [{"id": "a", "content": "x" * 100}, {"id": "b", "content": "short"}]
    assert array(entries, 60) == [{"id": "a"}, {"id": "b", "content": "short"}]


def test_documents_go_from_the_end():
    """The first ones are the best."""
    entries = [{"id": str(number)} for number in range(100)]
    assert array(entries, 100) == entries[:9]
    assert array(entries, 12) == entries[:1]
    assert array(entries, 11) is None
    assert array(entries, 0) is None


@given(
    st.lists(
        st.fixed_dictionaries(
            {"id": st.text(max_size=20)},
            optional={"score": st.floats(allow_nan=False, allow_infinity=False), "content": st.text(max_size=50)},
        )
    ),
    st.integers(0, 400),
)
def test_an_array_is_whole_and_as_long_as_it_may_be(entries, room):
    """What comes out is JSON within its room: some of the first entries, and no further one would fit."""
    kept = array(entries, room)
    if kept is None:
        kept = []
    for entry, original in zip(kept, entries, strict=False):
        assert entry in (original, {key: value for key, value in original.items() if key != "content"})
    without = [{key: value for key, value in entry.items() if key != "content"} for entry in entries]
    more = without[: len(kept) + 1]
    assert len(more) == len(kept) or len(json.dumps(more, separators=(",", ":"))) > room


def test_lone_surrogates_are_replaced():
    """UTF-8 can't hold them; whole characters stay as they are."""
    assert _limits.clean_text("plain") == "plain"
    assert _limits.clean_text("half \ud83d, whole 😀") == "half \ufffd, whole 😀"


@pytest.mark.parametrize(("cut", "share"), [(_limits.cut_evenly, 2), (_limits.cut_middle, 5)])
@pytest.mark.parametrize("longest", [10, 11, 160])
def test_a_text_that_is_cut_keeps_how_it_begins_and_how_it_ends(cut, share, longest):
    """It has as many characters as there is room for: half are the beginning's, or where it is shown a fifth."""
    text = "".join(chr(0x4E00 + number) for number in range(200))
    shown = cut(text, longest)
    begins, ends = shown.split(" … ")
    assert len(shown) == longest
    assert text.startswith(begins)
    assert text.endswith(ends)
    assert abs(len(begins) - longest / share) <= 3
    assert cut(text[:longest], longest) == text[:longest]


@pytest.mark.parametrize("cut", [_limits.cut_evenly, _limits.cut_middle])
def test_where_a_text_is_cut_no_blanks_are_doubled(cut):
    """Blanks at the cut go too."""
    assert cut("abc" + " " * 20 + "xyz", 20) == "abc … xyz"


PASSAGE = "A generator yields its values one by one, and a list has them all." + " A list is whole." * 30


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"Answer from these.\n\n{PASSAGE}\n\nQuestion: What is it?", "Answer from … Question: What is it?"),
        (f"Use the notes: {PASSAGE}\nQuestion: What?\nAnswer:", "Use the notes: A … Question: What?\nAnswer:"),
        (
            f"Q: What is it?\n\n{PASSAGE}\n\nAnswer:",
            "Q: What is it? … A list is whole. A list is whole. A list is whole.\n\nAnswer:",
        ),
        (
            f"Passages {PASSAGE} What is it?",
            "Passages A … A list is whole. A list is whole. A list is whole. What is it?",
        ),
    ],
)
def test_what_was_asked_is_seen_in_a_text_that_is_cut(text, shown):
    """The last paragraph where it says something and fits, else whole lines, else whole words; few of the beginning."""
    assert _limits.cut_middle(text, 84) == shown


@given(st.text(alphabet="ab \n", max_size=120), st.integers(10, 60))
def test_whatever_is_cut_fits_and_is_no_other_text(text, longest):
    """Never longer than there is room for, and both parts are the text's own."""
    shown = _limits.cut_middle(text, longest)
    assert len(shown) <= longest
    begins, gap, ends = shown.partition(" … ")
    assert begins in text
    assert ends in text
    assert gap or shown in text


def test_a_text_that_was_cut_before_has_its_middle_out_once():
    """The store's lists are cut, and a page's again."""
    text = f"Answer from these: {PASSAGE}\n\nQuestion: What is it, and why? {'So? ' * 9}"
    shown = _limits.cut_middle(_limits.cut_middle(text, 300), 120)
    assert shown == f"Answer from these: A … Question: What is it, and why? {'So? ' * 9}".strip()


def test_only_what_stands_elsewhere_too_is_cut():
    """A long text that is nowhere else stays whole, and so does a short one."""
    assert _limits.cut_repeated("a" * 30, ["b" * 30], 20) == "a" * 30
    assert _limits.cut_repeated("a" * 20, ["a" * 20], 20) == "a" * 20
    assert len(_limits.cut_repeated("a" * 30, (each for each in ["b", "a" * 30]), 20)) == 20
