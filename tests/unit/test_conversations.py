"""What the next question of a conversation, or the lack of one, says of the answer before: with a measure of its own.

Here a question is a set of words, and how alike two are is the share of words that they have in common.
"""

import pytest

from otel_feedback import _conversations, _likeness
from otel_feedback._conversations import LEFT, MAX_AGE, MAX_CONVERSATIONS, MAX_PLACES, Conversations, Found, Turn

WINDOW = 600.0


@pytest.fixture(autouse=True)
def measure(monkeypatch):
    """Take the share of common words for the likeness."""
    monkeypatch.setattr(_likeness, "features", lambda text: frozenset(text.split()), raising=False)
    monkeypatch.setattr(_likeness, "same", lambda a, b: a == b, raising=False)
    monkeypatch.setattr(_likeness, "likeness", lambda a, b: len(a & b) / len(a | b), raising=False)
    monkeypatch.setattr(_likeness, "confidence", lambda value: value / 2, raising=False)


@pytest.fixture
def talks():
    return Conversations()


def turn(number, text, conversation="c", **more):
    """The turn with this number, whose handle is ``h`` and its number once it has ended."""
    question = None if text is None else frozenset(text.split())
    return Turn((1, number), conversation.encode(), question, **more)


def say(talks, number, text, conversation="c", *, now=0.0, window=0.0, **more):
    """Ask and answer; return what the question told."""
    found = talks.ask(turn(number, text, conversation, **more), now)
    talks.end((1, number), lambda: f"h{number}", now, window)
    return found


def test_the_same_question_again_means_regenerate(talks):
    """On the answer before, surely as the table says."""
    assert say(talks, 1, "how do lists work") is None
    assert say(talks, 2, "how do lists work") == Found("h1", "regenerate", value=True)


def test_a_like_question_is_a_rephrase_with_its_value_and_confidence(talks):
    """The likeness is the value; how sure it is depends on it."""
    say(talks, 1, "how do lists work")
    assert say(talks, 2, "how do tuples lists work") == Found("h1", "rephrase", 0.8, 0.4)


@pytest.mark.parametrize("text", ["what are cats", "how lists sort themselves", None])
def test_who_moves_on_says_nothing(talks, text):
    """A value of up to 0.5, or a question that nothing tells, is no feedback."""
    say(talks, 1, "how do lists work")
    assert say(talks, 2, text) is None


def test_after_an_unknown_question_nothing_is_compared(talks):
    """The question before the one before has another answer."""
    say(talks, 1, "how do lists work")
    say(talks, 2, None)
    assert say(talks, 3, "how do lists work") is None


def test_each_conversation_is_for_itself(talks):
    """Two that are interleaved and ask the same say nothing of each other's answers."""
    assert [say(talks, 1, "a b", "x"), say(talks, 2, "a b", "y")] == [None, None]
    assert say(talks, 3, "a b", "x") == Found("h1", "regenerate", value=True)
    assert say(talks, 4, "a b", "y") == Found("h2", "regenerate", value=True)


def test_an_answer_that_nobody_has_seen_is_not_judged(talks):
    """Double clicks and clients that try again ask the same while the first is still being answered."""
    talks.ask(turn(1, "a b"), 0.0)
    assert say(talks, 2, "a b") is None
    talks.end((1, 1), lambda: "h1", 0.0, WINDOW)
    assert say(talks, 3, "a b").handle == "h2"


def test_an_answer_that_still_runs_and_was_seen_is_judged(talks):
    """Work in the background keeps a request open after its answer has left."""
    talks.ask(turn(1, "a b", handle=lambda: "early"), 0.0)
    assert say(talks, 2, "a b") == Found("early", "regenerate", value=True)


def test_an_answer_that_failed_is_not_judged(talks):
    """Trying again after an error is no word on an answer."""
    talks.ask(turn(1, "a b"), 0.0)
    talks.end((1, 1), None, 0.0, WINDOW)
    assert talks.sizes() == (0, 0, 0, 0)
    assert say(talks, 2, "a b") is None


def test_answers_side_by_side_are_not_judged_by_each_other(talks):
    """Two answers to one question in one request."""
    say(talks, 1, "a b", request=(1, 9))
    assert say(talks, 2, "a b", request=(1, 9)) is None
    assert say(talks, 3, "a b", request=(1, 10)).handle == "h2"


def test_what_was_said_by_others_is_not_said_again(talks):
    """The page's own regenerate counts; only the other signals are still free."""
    say(talks, 1, "a b c d")
    talks.judge((1, 1), "regenerate")
    assert say(talks, 2, "a b c d") is None
    talks.judge((1, 2), "thumbs")
    assert say(talks, 3, "a b c d").signal == "regenerate"


def test_the_words_of_a_prompt_do_not_pass_for_likeness(talks):
    """Where even strangers' prompts are alike, or none is known, likeness says nothing; sameness does."""
    frame = {"framed": True, "place": "qa"}
    say(talks, 1, "answer from these passages lists", "x", **frame)
    assert say(talks, 2, "answer from these passages cats", "x", **frame) is None
    assert say(talks, 3, "answer from these passages cats", "x", **frame).signal == "regenerate"
    say(talks, 4, "answer from these passages dogs", "y", **frame)
    assert say(talks, 5, "answer from these passages birds", "y", **frame) is None
    say(talks, 6, "one two three four", "z", **frame)
    assert say(talks, 7, "one two three five four", "z", **frame).signal == "rephrase"


def test_an_hour_later_it_is_another_matter(talks):
    """After MAX_AGE nothing is compared, and nothing is kept."""
    say(talks, 1, "a b", "x", now=0.0)
    say(talks, 2, "a b", "y", now=10.0, framed=True)
    assert talks.next_time() == MAX_AGE
    assert talks.pass_time(MAX_AGE) == []
    assert talks.sizes() == (1, 1, 0, 1)
    assert say(talks, 3, "a b", "y", now=11.0 + MAX_AGE) is None
    assert talks.pass_time(2 * MAX_AGE + 11.0) == []
    assert talks.sizes() == (0, 0, 0, 0)
    assert talks.next_time() is None


def test_age_is_counted_from_the_answers_end(talks):
    """A stream that runs for long keeps nothing else from being forgotten."""
    talks.ask(turn(1, "a b", "long"), 0.0)
    say(talks, 2, "c d", "short", now=1.0)
    talks.end((1, 1), lambda: "h1", 100.0, 0.0)
    assert talks.next_time() == 1.0 + MAX_AGE
    talks.pass_time(1.0 + MAX_AGE)
    assert say(talks, 3, "a b", "long", now=99.0 + MAX_AGE).handle == "h1"


def test_an_answer_without_a_later_sign_is_abandoned_when_its_window_is_over(talks):
    """Neither a question nor a judgement came; said once."""
    say(talks, 1, "a b", now=5.0, window=WINDOW)
    assert talks.next_time() == 5.0 + WINDOW
    assert talks.pass_time(4.9 + WINDOW) == []
    assert talks.pass_time(5.0 + WINDOW) == [Found("h1", "abandon", value=True)]
    assert talks.pass_time(5.0 + 2 * WINDOW) == []
    assert talks.leave((1, 1), "h1") is None


def test_a_window_may_be_longer_than_questions_are_compared(talks):
    """What waits is kept for as long as it waits."""
    say(talks, 1, "a b", window=3 * MAX_AGE)
    assert talks.next_time() == 3 * MAX_AGE
    assert talks.pass_time(2 * MAX_AGE) == []
    assert [each.signal for each in talks.pass_time(3 * MAX_AGE)] == ["abandon"]
    assert talks.sizes() == (0, 0, 0, 0)


@pytest.mark.parametrize(
    "sign",
    [
        lambda talks: say(talks, 2, "c d"),
        lambda talks: say(talks, 2, None),
        lambda talks: talks.judge((1, 1), "thumbs"),
        lambda talks: talks.leave((1, 1), "h1"),
    ],
)
def test_a_later_sign_means_that_it_was_not_abandoned(talks, sign):
    """A question, known or not, any judgement, and a reader who left already."""
    say(talks, 1, "a b", window=WINDOW)
    sign(talks)
    assert [each for each in talks.pass_time(WINDOW) if each.handle == "h1"] == []


def test_a_judgement_that_comes_before_the_end_is_a_sign(talks):
    """Of a stream that was voted on while it ran no window starts."""
    talks.ask(turn(1, "a b"), 0.0)
    talks.judge((1, 1), "thumbs")
    talks.end((1, 1), lambda: "h1", 0.0, WINDOW)
    assert talks.pass_time(WINDOW) == []


def test_without_a_window_nothing_is_abandoned_by_time(talks):
    """As it is by default."""
    say(talks, 1, "a b")
    assert talks.pass_time(MAX_AGE - 1) == []
    assert talks.sizes() == (1, 1, 0, 0)


def test_who_leaves_in_the_middle_abandons_at_once(talks):
    """More surely than who is only not heard of again, with or without a conversation; said once of one."""
    assert talks.leave((1, 7), "h7") == Found("h7", "abandon", value=True, confidence=LEFT)
    talks.ask(turn(1, "a b"), 0.0)
    assert talks.leave((1, 1), "h1").signal == "abandon"
    assert talks.leave((1, 1), "h1") is None


def test_all_tables_are_bounded(talks, monkeypatch):
    """The conversation that went on least lately is forgotten first."""
    monkeypatch.setattr(_conversations, "MAX_CONVERSATIONS", 3)
    monkeypatch.setattr(_conversations, "MAX_PLACES", 2)
    assert (MAX_CONVERSATIONS, MAX_PLACES) == (5000, 200)
    for number in range(10):
        say(talks, number, "a b", str(number), window=WINDOW, framed=True, place=str(number))
    assert talks.sizes() == (3, 3, 3, 2)
    assert say(talks, 11, "a b", "7").handle == "h7"
    assert say(talks, 12, "a b", "6") is None
