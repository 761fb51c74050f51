"""Which feedback of a vote stands."""

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.store_parts import feedback

from otel_feedback.store._settle import settle_votes

EARLIER, LATER = feedback(1, "a", 1), feedback(1, "b", 2)


def standing(*rows):
    return [it.row.feedback_id for it in settle_votes(rows) if it.standing]


def test_the_latest_stands():
    assert standing(LATER, EARLIER) == ["b"]


def test_of_two_at_the_same_time_the_greater_id_stands():
    assert standing(feedback(1, "y"), feedback(1, "x")) == ["y"]


def test_a_revised_feedback_does_not_stand_though_its_clock_was_ahead():
    assert standing(feedback(1, "a", 9), feedback(1, "b", 2, revises="a")) == ["b"]


def test_what_revises_an_unknown_feedback_stands():
    assert standing(feedback(1, "b", revises="lost")) == ["b"]


def test_what_revises_itself_is_not_revised():
    assert standing(EARLIER, feedback(1, "b", 2, revises="b")) == ["b"]


def test_in_a_circle_the_latest_stands():
    assert standing(feedback(1, "a", 1, revises="b"), feedback(1, "b", 2, revises="a")) == ["b"]


def test_each_submitter_and_signal_has_a_vote_of_its_own():
    rows = (EARLIER, feedback(1, "b", submitter="k:1"), feedback(1, "c", signal="stars"), feedback(2, "d"))
    assert sorted(standing(*rows)) == ["a", "b", "c", "d"]


def test_of_two_with_one_id_the_earlier_stays():
    settled = settle_votes([feedback(1, "a", 5, label="late"), feedback(1, "a", 1, label="soon")])
    assert [(it.row.label, it.standing) for it in settled] == [("soon", True)]


def test_of_two_with_one_id_and_time_the_same_stays_in_either_order():
    one, other = feedback(1, "a", score=None), feedback(1, "a", score=0.5)
    assert settle_votes([one, other]) == settle_votes([other, one])


NAMES = st.sampled_from("abcd")
ROWS = st.lists(
    st.builds(
        lambda name, seconds, revises, who: feedback(1, name, seconds, revises=revises, submitter=who),
        NAMES,
        st.integers(0, 3),
        st.none() | NAMES,
        st.sampled_from(["", "k:1"]),
    ),
    max_size=8,
)


@given(rows=ROWS, shuffled=st.randoms(use_true_random=False))
def test_the_order_does_not_matter_and_exactly_one_of_a_vote_stands(rows, shuffled):
    settled = settle_votes(rows)
    again = list(rows) + rows[:2]
    shuffled.shuffle(again)
    assert settle_votes(again) == settled
    assert len({it.row[:4] for it in settled}) == sum(it.standing for it in settled)
