"""The measure behind ``rephrase``: a number for any two texts, the same both ways, from hashes of bounded size."""

import hashlib
import time

import pytest
from benchmarks import likeness_fit
from hypothesis import given
from hypothesis import strategies as st

from otel_feedback import _features, _likeness
from otel_feedback._likeness import compare, confidence, features, likeness, same

TEXTS = st.text(st.characters(), max_size=200)  # surrogates and control characters are among them
WORDS = st.lists(st.text("abc", min_size=2, max_size=7), max_size=6)


@given(TEXTS, TEXTS)
def test_any_two_texts_have_a_likeness_and_it_is_the_same_both_ways(first, second) -> None:
    """No text raises; the value lies in [0, 1], and nothing is said to be asked again below a chance of 0.6."""
    a, b = features(first), features(second)
    value = likeness(a, b)
    assert 0 <= value <= 1
    assert value == likeness(b, a)
    assert (0.599 if value > 0.5 else 0.399) < confidence(value) <= 1


@given(WORDS, WORDS)
def test_words_that_are_nearly_alike_are_paired_the_same_both_ways(first, second) -> None:
    """Where several words are equally near, who is compared with whom doesn't matter."""
    a, b = features(" ".join(first)), features(" ".join(second))
    assert compare(a, b) == compare(b, a)


@given(TEXTS)
def test_a_text_is_the_same_as_itself(text) -> None:
    """Taken twice it has the same features, and the highest likeness."""
    assert same(features(text), features(text))
    assert likeness(features(text), features(text)) == 1.0


def test_case_white_space_and_punctuation_do_not_make_another_text() -> None:
    """The same question pasted again is the same; one with another number isn't."""
    assert same(features("Where is my order 12?"), features("  where is MY order 12 !! "))
    assert not same(features("Where is my order 12?"), features("Where is my order 13?"))


def test_long_texts_that_differ_between_their_ends_are_not_the_same() -> None:
    """Passages stand between the ends: another one, or one more, makes another text; the same one doesn't."""
    passages = "".join(f"passage {number} says something. " for number in range(400))
    text = f"Answer from this: {passages} How do I return a bicycle?"
    assert same(
        features(text), features(text.upper().replace("PASSAGE", "passage").replace("SAYS SOMETHING", "says something"))
    )
    assert not same(features(text), features(text.replace("passage 200 says", "passage 200 asks")))
    assert not same(features("x" * 200_000), features("x" * 200_001))


def test_a_huge_text_keeps_no_more_than_its_ends() -> None:
    """Of 100 KB of words or of Chinese at most 96 hashes are kept; taking them takes a few milliseconds."""
    for text in (
        "".join(f"word{number} " for number in range(20_000)),
        "退" * 100_000,
        "\ufdfa" * 100_000,
        "x" * 1_000_000,
    ):
        found, taken = None, []
        for _ in range(5):
            began = time.thread_time()
            found = features(text)
            taken.append(time.thread_time() - began)
        assert len(found.order) <= 96
        assert len(found.words) <= 96
        assert min(taken) < 0.01


def test_nothing_of_a_text_is_kept() -> None:
    """Neither a word nor a number of the question stands in what is kept of it."""
    shown = repr(features("My password is swordfish 471147114711"))
    assert "swordfish" not in shown.lower()
    assert "password" not in shown.lower()
    assert "471147114711" not in shown


def test_another_process_has_other_hashes_and_the_same_likeness(monkeypatch) -> None:
    """All that is kept depends on a key that each process draws; how alike two questions are doesn't."""
    questions = "How do I reutrn a bicycle?", "How can I return my bicycle to the shop?"

    def look(key):
        monkeypatch.setattr(_features, "_key", lambda: key)
        _features._bits.cache_clear()
        _features._letter.cache_clear()
        return [features(question) for question in questions]

    first, second = look(b"one"), look(b"two")
    monkeypatch.undo()
    _features._bits.cache_clear()
    _features._letter.cache_clear()
    assert likeness(*first) == likeness(*second)
    for one, other in zip(first, second, strict=True):
        assert one.digest != other.digest
        assert not set(one.order) & set(other.order)
        letters, others = ({word.letters for word in each.words.values() if word.letters} for each in (one, other))
        assert not letters & others
        mixed, others = ({word.mixed for word in each.words.values()} for each in (one, other))
        assert not mixed & others


def _compared(first: str, following: str) -> _likeness.Evidence:
    return compare(features(first), features(following))


@pytest.mark.parametrize(
    ("name", "first", "following", "contrast"),
    [
        ("number", "Show invoice 17 of May", "Show invoice 23 of May", "Show invoice 17 of June"),
        ("opposite", "How do I enable dark mode?", "How do I disable dark mode?", "How do I enable light mode?"),
        ("opposite", "May I park here?", "Why can't I park here?", "Where may I park here?"),
        ("opposite", "Das Gerät startet", "Das Gerät startet nicht", "Das Gerät startet langsam"),
        ("opposite", "この薬は飲める", "この薬は飲めない", "この薬は飲めますか"),
        ("asks_same", "Where is the key?", "And where would the door be?", "When is the key there?"),
        ("asks_same", "¿Cuándo abre la tienda?", "¿Cuándo cierra el banco?", "¿Por qué abre la tienda?"),
        ("asks_same", "Is the shop open?", "Can dogs enter?", "The shop is open"),
        ("asks_same", "商店几点开门吗", "可以带狗吗", "商店开门"),
        ("asks_other", "Where is the key?", "When is the key there?", "Where would the key be?"),
        ("asks_other", "Wie hoch ist der Turm?", "Warum ist der Turm schief?", "Wie hoch sind die Türme?"),
        ("asks_other", "Is the tower high?", "How high is the tower?", "Is the tower old?"),
        ("closing", "Where is the key?", "Great, thanks!", "Where is the door?"),
        ("closing", "鍵はどこですか", "ありがとうございます", "扉はどこですか"),
        ("onward", "Where is the key?", "And where is the door?", "Where are the door and the key?"),
        ("onward", "怎么开门", "那怎么关门", "怎么关那扇门"),
        ("repair", "Where is the key?", "No, I meant the key of the cellar", "I know where the key is"),
        ("repair", "Wo ist der Schlüssel?", "Noch einmal: wo ist der Schlüssel?", "Wo ist noch einer?"),
        ("swapped", "What does a ticket to Oslo cost?", "What does a ticket to Rome cost?", "A ticket to Oslo"),
        ("both", "Where is the key?", "Where is the door?", "Where is the key of the cellar?"),
    ],
)
def test_each_piece_of_evidence_is_seen_where_it_is_and_not_elsewhere(name, first, following, contrast) -> None:
    """The first two questions have it, the first and the third don't."""
    assert getattr(_compared(first, following), name) > 0
    assert getattr(_compared(first, contrast), name) == 0


def test_what_is_contained_is_weighed_by_what_it_says() -> None:
    """A question within a longer one is contained in it; words that say little count less than others."""
    assert _compared("return a bicycle", "How do I return a bicycle that I bought?").contained == pytest.approx(1)
    little = _compared("where is the bicycle", "where is the violin").contained
    assert little < _compared("buy strong bicycle", "buy strong violin").contained
    assert _compared("where is the bicycle", "cook rice").contained == 0


@pytest.mark.parametrize(
    ("word", "other", "near"),
    [
        ("bicycle", "bicylce", True),
        ("form", "fomr", True),
        ("delivery", "deliveries", True),
        ("approval", "approve", True),
        ("contract", "contrast", True),
        ("bicycle", "violin", False),
        ("4711", "4712", False),
    ],
)
def test_a_word_misspelt_or_inflected_is_the_same_word(word, other, near) -> None:
    """By its letter pairs, or by letters that changed places; a number is another number."""
    assert (_compared(word, other).contained > 0) is near


def test_a_denial_counts_where_the_rest_is_the_same() -> None:
    """It turns the sense of the same question, and says nothing within a longer one."""
    alone = _compared("Which mushrooms can I eat?", "Which mushrooms can I not eat?").opposite
    among = _compared(
        "Which mushrooms can I eat?", "I found red ones, no idea whether they are edible, can I eat them?"
    )
    assert alone > 0.7
    assert among.opposite < 0.2


def test_asked_again_is_said_above_the_threshold(monkeypatch) -> None:
    """A likeness of 0.5 stands for a chance of 0.6, and its confidence says the chance."""
    a, b = features("Where is the key?"), features("Where is the bicycle?")
    monkeypatch.setattr(_likeness, "WEIGHTS", _likeness.Evidence(*[0.0] * len(_likeness.Evidence._fields)))
    monkeypatch.setattr(_likeness, "BIAS", 0.4055)  # the logit of 0.6
    assert likeness(a, b) == pytest.approx(0.5, abs=1e-4)
    monkeypatch.setattr(_likeness, "BIAS", 1.3863)  # of 0.8
    assert likeness(a, b) > 0.5
    assert confidence(likeness(a, b)) == pytest.approx(0.8, abs=1e-4)
    monkeypatch.setattr(_likeness, "BIAS", -0.8473)  # of 0.3
    assert likeness(a, b) < 0.5
    assert confidence(likeness(a, b)) == pytest.approx(0.7, abs=1e-4)


def test_confidence_is_bounded() -> None:
    """The surest verdict has 0.9, the same text 1."""
    assert [confidence(value) for value in (0.0, 1e-9, 0.999, 1.0)] == [0.9, 0.9, 0.9, 1.0]
    assert confidence(0.51) == pytest.approx(0.61, abs=0.01)
    assert confidence(0.5) == pytest.approx(0.4)


def test_the_weights_are_those_that_the_pairs_for_training_give() -> None:
    """A new fit finds them, to the second decimal."""
    chosen = likeness_fit.pairs("train")
    found = likeness_fit.fit([likeness_fit.row(pair) for pair in chosen], [pair.again for pair in chosen])
    assert [round(weight, 2) for weight in found] == [_likeness.BIAS, *_likeness.WEIGHTS]


def test_the_split_of_the_pairs_is_by_their_hash() -> None:
    """Nobody chose which pairs are held out: a hash did; at least 90 are, and there are at least 260."""
    held_out, train = likeness_fit.pairs("held_out"), likeness_fit.pairs("train")
    for pair in (*held_out, *train):
        digest = hashlib.blake2b(f"{pair.first}\n{pair.next}".encode(), digest_size=8).digest()
        assert pair.split == ("held_out" if int.from_bytes(digest, "big") % 5 < 2 else "train")
    assert len(held_out) + len(train) >= 260
    assert len(held_out) >= 90
