"""What holds for every handle, found by looking for counterexamples."""

import base64
import json
import string

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit import handle_vectors as primitives

from otel_feedback._handle import FACT_CLAIMS, HandleCodec, Keyring
from otel_feedback._jose import LONGEST_TOKEN
from otel_feedback.exceptions import InvalidHandleError

RING = Keyring.from_text(f"k1:HS256:{primitives.b64(primitives.K1)},e1:EdDSA:{primitives.b64(primitives.E1)}")
EDDSA_RING = Keyring(RING.keys[::-1])
CODECS = {
    "HS256": HandleCodec(RING, clock=lambda: primitives.CLOCK),
    "EdDSA": HandleCodec(EDDSA_RING, clock=lambda: primitives.CLOCK),
    "sealed": HandleCodec(RING, clock=lambda: primitives.CLOCK, facts_mode="sealed"),
}
FACTS = {primitives.ATTRIBUTES[claim]: value for claim, value in primitives.FACTS.items()}
TOKENS = {
    name: codec.issue(trace_id=1, span_id=2, sampled=True, facts=FACTS, user=primitives.SUB)
    for name, codec in CODECS.items()
}

repeatable = settings(derandomize=True, deadline=None)
kinds = st.sampled_from(sorted(CODECS))
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)
long_texts = st.builds(lambda text, times: text * times, texts, st.integers(1, 40))
any_text = st.text(st.characters(), max_size=40)


def accepted(token: object) -> bool:
    """Whether the token is a good handle; anything but the one error fails the test."""
    try:
        CODECS["HS256"].read(token)
    except InvalidHandleError:
        return False
    return True


@repeatable
@given(
    kinds,
    st.integers(1, 2**128 - 1),
    st.integers(1, 2**64 - 1),
    st.booleans(),
    st.dictionaries(st.sampled_from(sorted(FACT_CLAIMS)), texts, max_size=4),
)
def test_what_fits_comes_back(kind: str, trace_id: int, span_id: int, sampled: bool, facts: dict[str, str]) -> None:
    """Ids and facts of any text come back as they were, or a fact is missing because the handle was full."""
    codec = CODECS[kind]
    token = codec.issue(trace_id=trace_id, span_id=span_id, sampled=sampled, facts=facts)
    read = codec.read(token)
    assert (read.trace_id, read.span_id, read.sampled) == (trace_id, span_id, sampled)
    full = len(json.dumps(facts, ensure_ascii=False).encode()) > 500
    assert read.facts == facts or full


@repeatable
@given(kinds, st.dictionaries(st.sampled_from(sorted(FACT_CLAIMS)), long_texts))
def test_facts_are_whole_or_absent(kind: str, facts: dict[str, str]) -> None:
    """However long the facts are, the handle is short enough, and each fact is whole or left out."""
    codec = CODECS[kind]
    token = codec.issue(trace_id=1, span_id=2, sampled=True, facts=facts)
    assert len(token) <= LONGEST_TOKEN
    assert codec.read(token).facts.items() <= facts.items()


@repeatable
@given(kinds, st.dictionaries(st.sampled_from(sorted(FACT_CLAIMS)), any_text))
def test_no_fact_breaks_a_handle(kind: str, facts: dict[str, str]) -> None:
    """Control characters, quotes, lone surrogates: whatever facts hold, a good handle is made."""
    codec = CODECS[kind]
    token = codec.issue(trace_id=1, span_id=2, sampled=True, facts=facts)
    assert set(token) <= {*string.ascii_letters, *string.digits, "-", "_", "."}
    assert codec.read(token).facts.items() <= facts.items()


@repeatable
@given(kinds, st.data())
def test_one_changed_character_is_refused(kind: str, data: st.DataObject) -> None:
    """No character of a handle can be another one."""
    token = TOKENS[kind]
    place = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.one_of(st.sampled_from(string.ascii_letters + string.digits + "-_.="), st.characters()))
    assert accepted(token[:place] + other + token[place + 1 :]) == (other == token[place])


@repeatable
@given(kinds, st.data())
def test_one_changed_bit_is_refused(kind: str, data: st.DataObject) -> None:
    """No bit of what a segment encodes can be another one."""
    segments = TOKENS[kind].split(".")
    number = data.draw(st.sampled_from([place for place, segment in enumerate(segments) if segment]))
    raw = bytearray(base64.urlsafe_b64decode(segments[number] + "=" * (-len(segments[number]) % 4)))
    bit = data.draw(st.integers(0, len(raw) * 8 - 1))
    raw[bit // 8] ^= 1 << bit % 8
    segments[number] = primitives.b64(bytes(raw))
    assert not accepted(".".join(segments))


@repeatable
@given(kinds, st.data())
def test_a_cut_handle_is_refused(kind: str, data: st.DataObject) -> None:
    """A handle is good as a whole, or not."""
    token = TOKENS[kind]
    start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(token))] * 2)))
    assert accepted(token[start:end]) == (token[start:end] == token)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@repeatable
@given(st.one_of(st.text(), st.binary(), st.integers(), st.from_regex(r"[\w.=-]*", fullmatch=True)))
def test_no_text_gets_anything_but_the_one_answer(token: object) -> None:
    """Random texts, bytes and numbers are refused, and nothing else is raised."""
    assert not accepted(token)


@repeatable
@given(json_values, json_values, st.lists(st.binary(max_size=60), max_size=4))
def test_no_header_gets_anything_but_the_one_answer(header: object, payload: object, others: list[bytes]) -> None:
    """Random headers with random rests are refused, and nothing else is raised."""
    head, body = (primitives.b64(primitives.compact(part).encode(errors="replace")) for part in (header, payload))
    assert not accepted(".".join([head, body, *map(primitives.b64, others)]))


@repeatable
@given(st.dictionaries(st.sampled_from(["alg", "kid", "typ", "enc", "crit", "b64", "zip", "cty"]), json_values))
def test_no_header_member_forges_a_handle(members: dict[str, object]) -> None:
    """A good signature under a header that says anything else than ours is refused."""
    header = {**primitives.HS, **members}
    try:
        token = primitives.hs256(primitives.BASE, header)
    except UnicodeEncodeError:  # a lone surrogate: no such header can be sent
        return
    assert accepted(token) == (header == primitives.HS)


@repeatable
@given(st.dictionaries(st.sampled_from(["aud", "iat", "exp", "tp", "sub", "mdl", "pn"]), json_values, min_size=1))
def test_no_claim_of_a_wrong_type_is_accepted(claims: dict[str, object]) -> None:
    """Whatever a genuine handle claims, it is read as a handle or refused; nothing else is raised."""
    try:
        token = primitives.hs256({**primitives.BASE, **claims})
    except UnicodeEncodeError:
        return
    if accepted(token):
        assert all(isinstance(claims.get(name, "text"), str) for name in ("tp", "mdl", "pn"))
        assert "sub" not in claims
