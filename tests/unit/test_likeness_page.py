"""``docs/rephrase.md`` against a fresh computation."""

from pathlib import Path

import pytest
from benchmarks import likeness

from otel_feedback import _features, _likeness

PAGE = (Path(__file__).parents[2] / "docs" / "rephrase.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", likeness.TABLES)
def test_every_table_of_the_page_is_what_a_fresh_computation_gives(name) -> None:
    """Precision, recall, confidence, base rates and errors: to the letter."""
    assert likeness.markdown(likeness.TABLES[name]()) in PAGE


def test_the_page_has_every_weight_and_the_threshold() -> None:
    """The formula is the module's."""
    for name, weight in zip(_likeness.Evidence._fields, _likeness.WEIGHTS, strict=True):
        (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{name}` |")]
        assert row.endswith(f"| {weight:+.2f} |")
    assert f"logistic({_likeness.BIAS} + " in PAGE
    assert f"logit({_likeness.THRESHOLD}))" in PAGE
    assert f"more than {2 * _features._END} characters the first and last {_features._END}" in PAGE
    assert f"at most {_features._TOKENS} words each" in PAGE


def test_at_the_threshold_at_least_85_of_100_are_right_where_nothing_was_fitted() -> None:
    """Both among the pairs held out and in cross-validation: a false one blames a good answer."""
    for found in (likeness.verdicts("held_out"), likeness.unseen()):
        said = [verdict.right for verdict in found if verdict.again]
        assert sum(said) / len(said) >= 0.85


def test_the_times_are_measured_of_every_pair() -> None:
    """The figure has a median and a 99th percentile; the goal is a millisecond."""
    (figure,) = likeness.figures()
    assert 0 < figure.value < 20 * likeness.GOAL  # the machine that tests may be busy
    assert figure.goal == likeness.GOAL
