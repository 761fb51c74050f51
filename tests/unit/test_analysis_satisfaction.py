"""Satisfaction by group with its interval, its trend, and what filters can be set to."""

import datetime as dt
import json

import pytest
from dashboards import queries
from tests.unit.store_parts import RAG, SECOND, STARTED, batch, feedback, interaction, opened

from otel_feedback.analysis import _interval
from otel_feedback.analysis._interval import wilson
from otel_feedback.analysis.satisfaction import options, satisfaction, trend
from otel_feedback.exceptions import InvalidQueryError
from otel_feedback.store.filters import Filter

START = dt.datetime.fromtimestamp(STARTED // SECOND, dt.timezone.utc)
DAY = 86_400 * SECOND


@pytest.fixture
def store(tmp_path):
    with opened(tmp_path / "data") as made:
        yield made


def judged(first, *, positive, negative, version="v1", started_ns=STARTED, more=0):
    """Answers of one version of a template with a vote each, and some without."""
    facts = (*RAG[:4], version, *RAG[5:])
    sentiments = ["positive"] * positive + ["negative"] * negative
    numbers = range(first, first + len(sentiments) + more)
    rows = [interaction(number, facts=facts, started_ns=started_ns) for number in numbers]
    return rows + [feedback(number, f"f{number}", sentiment=said) for number, said in zip(numbers, sentiments)]  # noqa: B905


def test_dashboards_and_analysis_use_the_same_constants():
    assert (_interval.Z, _interval.ENOUGH) == (queries.Z, queries.ENOUGH)


@pytest.mark.parametrize(
    ("positive", "negative", "expected"),
    [
        (8, 2, (0.8, 0.490162, 0.943318)),  # as R's prop.test(8, 10, correct = FALSE) has it with z = 1.96
        (10, 0, (1.0, 0.722460, 1.0)),
        (0, 10, (0.0, 0.0, 0.277540)),
        (500, 500, (0.5, 0.469070, 0.530930)),
        (9, 0, (None, None, None)),
        (0, 0, (None, None, None)),
    ],
)
def test_the_interval_is_wilsons_and_too_few_votes_give_no_number(positive, negative, expected):
    assert wilson(positive, negative) == pytest.approx(expected, abs=1e-5) if expected[0] is not None else expected


@pytest.mark.parametrize(
    ("share", "shown"),
    [
        (0, "0"),
        (0.001, "0.1"),
        (0.0833, "8.3"),
        (0.0994, "9.9"),
        (0.0996, "10"),
        (0.1, "10"),
        (0.402, "40"),
        (1.0, "100"),
    ],
)
def test_shares_are_shown_by_one_rule(share, shown):
    """Whole percent, and one decimal where a whole one would hide much: page and terminal alike."""
    assert _interval.in_percent(share) == shown


@pytest.mark.parametrize(("positive", "negative"), [(10, 0), (0, 10), (1, 10**6), (10**6, 1)])
def test_an_interval_stays_within_a_share_and_around_its_value(positive, negative):
    share = wilson(positive, negative)
    assert 0.0 <= share.low <= share.value <= share.high <= 1.0


def test_a_row_tells_what_stands_and_what_was_expressed(store):
    rows = judged(1, positive=6, negative=4, more=2)
    changed = feedback(1, "g1", 5, sentiment="negative", previous_sentiment="positive", revises="f1")
    detail = feedback(2, "g2", 5, sentiment="positive", previous_sentiment="positive", revises="f2")
    back = feedback(3, "g3", 5, sentiment="retracted", previous_sentiment="positive", revises="f3")
    copied = [feedback(number, f"c{number}", signal="copy", kind="implicit") for number in (1, 2, 11)]
    again = feedback(11, "r", signal="rephrase", kind="implicit", sentiment="negative")
    kept = feedback(1, "k", signal="text", kind="correction", sentiment="positive")
    corrected = feedback(2, "t", signal="text", kind="correction", sentiment="negative")
    undone = feedback(12, "u", signal="copy", kind="implicit", sentiment="retracted")
    unsaid = feedback(12, "w", signal="text", kind="correction", sentiment="retracted")
    nothing = feedback(12, "n", sentiment="retracted", previous_sentiment="unset")
    store.write(batch(*rows, changed, detail, back, *copied, again, kept, corrected, undone, unsaid, nothing))
    (row,) = satisfaction(store)
    assert json.loads(json.dumps(row.to_json())) == {
        "key": {"template": "qa", "version": "v1"},
        "interactions": 12,
        "voted": 10,
        "response_rate": 10 / 12,
        "positive": 4,
        "negative": 5,
        "neutral": 0,
        "satisfaction": None,
        "low": None,
        "high": None,
        "expressed": {"positive": 6, "negative": 5},
        "changed": 2,
        "retracted": 2,
        "implicit": {"copy": 3, "rephrase": 1},
        "corrections": 1,
    }


def test_the_worst_comes_first_by_what_it_can_be_at_best_and_too_few_votes_come_last(store):
    store.write(
        batch(
            *judged(100, positive=90, negative=10, version="good"),
            *judged(300, positive=3, negative=7, version="bad, and few"),
            *judged(400, positive=36, negative=64, version="bad"),
            *judged(600, positive=0, negative=9, version="few"),
            *judged(700, positive=0, negative=0, version="none", more=20),
        )
    )
    rows = satisfaction(store, by=["version"])
    assert [row.key["version"] for row in rows] == ["bad", "bad, and few", "good", "none", "few"]
    assert [row.satisfaction for row in rows] == [0.36, 0.3, 0.9, None, None]
    assert [row.response_rate for row in rows] == [1.0, 1.0, 1.0, 0.0, None]
    assert [row.key for row in satisfaction(store, by=["version"], limit=1)] == [{"version": "bad"}]


def test_of_groups_that_nobody_minds_the_one_with_more_votes_comes_first(store):
    for first, version, votes in ((100, "a", 10), (200, "b", 20)):
        store.write(batch(*judged(first, positive=votes, negative=0, version=version)))
    assert [row.key["version"] for row in satisfaction(store, by=["version"])] == ["b", "a"]


def test_groups_of_one_interval_come_by_their_names(store):
    for first, version in ((100, "b"), (200, "a")):
        store.write(batch(*judged(first, positive=5, negative=5, version=version)))
    assert [row.key["version"] for row in satisfaction(store, by=["version", "version"])] == ["a", "b"]


def test_an_answer_that_nobody_asked_to_judge_counts_by_its_votes_alone(store):
    voted = [feedback(1, "f1"), feedback(2, "f2"), feedback(3, "f3", target_sampled=False)]
    store.write(batch(interaction(1, flagged=False), interaction(2), *voted))
    rows = {row.key["template"]: row for row in satisfaction(store, by=["template"])}
    assert (rows["qa"].interactions, rows["qa"].positive, rows["qa"].voted) == (1, 2, 1)
    assert (rows["unknown"].interactions, rows["unknown"].positive, rows["unknown"].voted) == (0, 1, 0)


def test_two_votes_on_one_answer_are_one_answer_voted_on(store):
    store.write(
        batch(interaction(1), feedback(1, "a"), feedback(1, "b", signal="stars"), feedback(1, "c", submitter="u"))
    )
    (row,) = satisfaction(store)
    assert (row.voted, row.positive) == (1, 3)


@pytest.mark.parametrize("by", [[], ["colour"], ["template", "prompt_name; DROP TABLE feedback"]])
def test_a_group_that_answers_do_not_have_is_refused(store, by):
    with pytest.raises(InvalidQueryError, match="by must be one or more of template, version, model") as caught:
        satisfaction(store, by=by)
    assert caught.value.field == "by"


@pytest.mark.parametrize("limit", [0, 1001])
def test_a_limit_has_limits(store, limit):
    with pytest.raises(InvalidQueryError, match="limit must be a number from 1 to 1000"):
        satisfaction(store, limit=limit)


def test_a_trend_has_a_point_for_each_day_with_answers_or_votes(store):
    store.write(
        batch(*judged(1, positive=8, negative=2), *judged(100, positive=1, negative=0, started_ns=STARTED + 2 * DAY))
    )
    first, second = trend(store, bucket="day")
    day = START.replace(hour=0, minute=0, second=0)
    assert (first.start, first.end) == (day, day + dt.timedelta(days=1))
    assert (first.interactions, first.positive, first.negative, first.satisfaction) == (10, 8, 2, 0.8)
    assert first.low < 0.8 < first.high
    assert second.start == day + dt.timedelta(days=2)
    assert (second.positive, second.satisfaction, second.low, second.key) == (1, None, None, {})
    assert second.to_json()["start"].endswith("T00:00:00Z")


def test_a_trend_has_a_line_for_each_group_if_asked(store):
    store.write(batch(*judged(1, positive=1, negative=0, version="v2"), *judged(100, positive=0, negative=1)))
    points = trend(store, by="version", bucket="hour")
    assert [(point.key, point.positive, point.negative) for point in points] == [
        ({"version": "v1"}, 0, 1),
        ({"version": "v2"}, 1, 0),
    ]
    with pytest.raises(InvalidQueryError, match="by must be"):
        trend(store, by="colour")


WEEK = Filter(since=START - dt.timedelta(days=6), until=START + dt.timedelta(days=1))


@pytest.mark.parametrize(
    ("asked", "last", "hours"),
    [
        (Filter(), 0, 1),
        (Filter(), 47, 1),
        (Filter(), 49, 24),
        (WEEK, 3, 1),
        (Filter(since=START - dt.timedelta(days=6)), 49, 24),
        (Filter(until=START + dt.timedelta(hours=1)), 200, 1),
        (Filter(since=START - dt.timedelta(hours=1), until=START + dt.timedelta(hours=49)), 200, 24),
    ],
)
def test_a_trend_of_answers_within_two_days_is_by_hour_and_a_longer_one_by_day(store, asked, last, hours):
    """Whatever time was asked for: a week of which there is an afternoon is no single point."""
    later = STARTED + last * 3600 * SECOND
    store.write(batch(*judged(1, positive=10, negative=1), *judged(100, positive=1, negative=0, started_ns=later)))
    point = trend(store, asked)[0]
    assert point.end - point.start == dt.timedelta(hours=hours)


@pytest.mark.parametrize(("votes", "hours"), [(6, 24), (4, 1)])
def test_a_trend_is_by_day_where_no_hour_has_enough_votes_and_a_day_has(store, votes, hours):
    """A chart without any share says less than one of a day; where a day has none either, hours stay."""
    for hour in (0, 1):
        first, at = 100 * hour + 1, (STARTED // DAY) * DAY + (hour + 2) * 3600 * SECOND
        store.write(batch(*judged(first, positive=votes, negative=0, started_ns=at)))
    points = trend(store)
    assert {point.end - point.start for point in points} == {dt.timedelta(hours=hours)}
    assert [point.satisfaction for point in trend(store, bucket="hour")] == [None, None]


def test_a_trend_of_nothing_has_no_points(store):
    assert trend(store) == []
    with pytest.raises(InvalidQueryError, match="bucket must be auto, hour or day"):
        trend(store, bucket="week")


def test_filters_offer_what_answers_and_feedback_have(store):
    assert options(store)["service"] == []
    store.write(batch(interaction(1), feedback(2, "f", model="m-0", target_sampled=False)))
    store.write(batch(feedback(1, "g", signal="stars", reasons=("wrong", "clear")), feedback(1, "h", reasons=())))
    assert options(store) == {
        "service": ["rag", "unknown"],
        "namespace": ["shop", "unknown"],
        "environment": ["prod", "unknown"],
        "template": ["qa", "unknown"],
        "version": ["unknown", "v1"],
        "model": ["m-0", "m-1"],
        "query_type": ["unknown"],
        "signal": ["stars", "thumbs"],
        "reason": ["clear", "wrong"],
    }
    assert options(store, ("signal", "service")) == {name: options(store)[name] for name in ("signal", "service")}
