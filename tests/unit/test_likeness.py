"""The measure behind ``rephrase``: a number for any two texts, the same both ways, from hashes of bounded size."""

import hashlib
import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from otel_feedback._likeness import confidence, features, likeness, same

PAIRS = [
    json.loads(line)
    for line in (Path(__file__).parent.parent / "data" / "rephrase-pairs.jsonl")
    .read_text(encoding="utf-8")
    .splitlines()
]
TEXTS = st.text(st.characters(), max_size=200)  # surrogates and control characters are among them


@given(TEXTS, TEXTS)
def test_any_two_texts_have_a_likeness_and_it_is_the_same_both_ways(first, second) -> None:
    """No text raises; the value and its confidence lie in [0, 1]."""
    a, b = features(first), features(second)
    value = likeness(a, b)
    assert 0 <= value <= 1
    assert value == likeness(b, a)
    assert 0.5 <= confidence(value) <= 1


@given(TEXTS)
def test_a_text_is_the_same_as_itself(text) -> None:
    """Taken twice it has the same features, and the highest likeness."""
    assert same(features(text), features(text))
    assert likeness(features(text), features(text)) == 1.0


def test_case_white_space_and_punctuation_do_not_make_another_text() -> None:
    """The same question pasted again is the same; one with another number isn't."""
    assert same(features("Where is my order 12?"), features("  where is MY order 12 !! "))
    assert not same(features("Where is my order 12?"), features("Where is my order 13?"))


def test_a_huge_text_keeps_no_more_than_its_ends() -> None:
    """100 KB of words or of Chinese are kept as at most 512 hashes."""
    for text in ("".join(f"word{number} " for number in range(20_000)), "退" * 100_000, "x" * 1_000_000):
        found = features(text)
        assert len(found.order) <= 512
        assert len(found.words) <= 512


def test_nothing_of_a_text_is_kept() -> None:
    """Neither a word nor a number of the question stands in what is kept of it."""
    shown = repr(features("My password is swordfish 4711"))
    assert "swordfish" not in shown.lower()
    assert "password" not in shown.lower()


def test_the_split_of_the_pairs_is_by_their_hash() -> None:
    """Nobody chose which pairs are held out: a hash did; at least 90 are, and there are at least 260."""
    for pair in PAIRS:
        digest = hashlib.blake2b(f"{pair['first']}\n{pair['next']}".encode(), digest_size=8).digest()
        assert pair["split"] == ("held_out" if int.from_bytes(digest, "big") % 5 < 2 else "train")
    assert len(PAIRS) >= 260
    assert sum(pair["split"] == "held_out" for pair in PAIRS) >= 90
