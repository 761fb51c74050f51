"""Strangers' text in pages: every character shows, none is obeyed."""

import pytest

from otel_feedback.web._text import compare, plain, show, show_value


def test_markup_is_text():
    """What looks like HTML is shown as it was written."""
    assert show("<b>&\"'</b>") == "&lt;b&gt;&amp;&#34;&#39;&lt;/b&gt;"


@pytest.mark.parametrize("character", ["\x00", "\x1b", "\u202e", "\u2066", "\u200b", "\ufeff", "\ud800", "\U000e0041"])
def test_what_is_hidden_is_named(character):
    """Controls, marks of direction, invisible characters and halves of pairs are shown by their numbers."""
    assert show(f"a{character}b") == f'a<span class="hidden-char">U+{ord(character):04X}</span>b'
    assert plain(f"a{character}b") == f"a[U+{ord(character):04X}]b"


def test_what_people_need_stays():
    """Line breaks, tabs, Persian's joiners and emoji stay as they are; Windows' line ends become plain ones."""
    assert show("a\r\nb\tc\u200cd👩\u200d🔧") == "a\nb\tc\u200cd👩\u200d🔧"


def test_a_long_text_is_cut_and_says_so():
    """A page stays small, and says how long the text was."""
    assert show("x" * 30, 10) == 'xxxxxxxxxx<span class="cut">… (30 characters)</span>'
    assert plain("x" * 30, 10) == "xxxxxxxxxx… (30 characters)"


def test_values_read_as_json():
    """An attribute that isn't text is shown as JSON has it."""
    assert show_value([1, True, "é"]) == "[1, true, &#34;é&#34;]"
    assert show_value("é") == "é"


def test_a_correction_is_told_by_word():
    """Only the words that differ are marked, and both texts can be put together again."""
    parts = list(compare("Use the old file object.", "Use a file object now."))
    assert parts == [
        ("kept", "Use "),
        ("deleted", "the old"),
        ("inserted", "a"),
        ("kept", " file object"),
        ("inserted", " now"),
        ("kept", "."),
    ]


def test_words_that_were_only_added_or_removed_are_told():
    """Nothing is marked as removed where something was only added, and the other way round."""
    assert list(compare("a", "a b")) == [("kept", "a"), ("inserted", " b")]
    assert list(compare("a b", "a")) == [("kept", "a"), ("deleted", " b")]


def test_long_texts_are_not_compared():
    """Texts whose comparison would take long stand one after the other."""
    long = "a b " * 3000
    assert list(compare(long, "c")) == [("deleted", long), ("inserted", "c")]
