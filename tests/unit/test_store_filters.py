"""Filters: read from an address, written back, and as a condition with parameters."""

import datetime as dt

import pytest

from otel_feedback.exceptions import InvalidQueryError
from otel_feedback.store.filters import FACTS, Filter

UTC = dt.timezone.utc
NOW = dt.datetime(2026, 11, 25, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("30m", dt.datetime(2026, 11, 25, 11, 30, tzinfo=UTC)),
        ("24h", dt.datetime(2026, 11, 24, 12, tzinfo=UTC)),
        ("7d", dt.datetime(2026, 11, 18, 12, tzinfo=UTC)),
        ("2w", dt.datetime(2026, 11, 11, 12, tzinfo=UTC)),
        (" 2026-11-01 ", dt.datetime(2026, 11, 1, tzinfo=UTC)),
        ("2026-11-01T08:00:00", dt.datetime(2026, 11, 1, 8, tzinfo=UTC)),
        ("2026-11-01T08:00:00Z", dt.datetime(2026, 11, 1, 8, tzinfo=UTC)),
        ("2026-11-01t08:00:00z", dt.datetime(2026, 11, 1, 8, tzinfo=UTC)),
        ("2026-11-01T08:00:00+02:00", dt.datetime(2026, 11, 1, 6, tzinfo=UTC)),
    ],
)
def test_a_time_is_a_moment_or_how_long_ago(said, meant):
    chosen = Filter.from_query({"since": said}, now=NOW)
    assert chosen.since == meant
    assert chosen.to_query() == {"since": said.strip()}


@pytest.mark.parametrize("said", ["yesterday", "7", "d", "-1d", "7 d", "9999999d", "999999w", "2026-13-01", "Z", "²d"])
@pytest.mark.parametrize("field", ["since", "until"])
def test_a_time_that_cannot_be_understood_is_named(field, said):
    with pytest.raises(InvalidQueryError, match=f"^{field} must be a time such as") as caught:
        Filter.from_query({field: said}, now=NOW)
    assert caught.value.field == field


def test_a_window_begins_before_it_ends():
    assert Filter.from_query({"since": "2d", "until": "1d"}, now=NOW).until == NOW - dt.timedelta(days=1)
    with pytest.raises(InvalidQueryError, match="since must be before until"):
        Filter.from_query({"since": "1d", "until": "1d"}, now=NOW)


def test_facts_are_taken_as_they_are_and_what_is_empty_or_another_field_is_left_out():
    query = {name: f"{name} '\"$1" for name in FACTS}
    chosen = Filter.from_query({**query, "search": "x", "since": "  ", "by": "model"}, now=NOW)
    assert chosen.to_query() == query
    assert Filter.from_query({"service": "", "until": ""}) == Filter()
    assert Filter().to_query() == {}


def test_what_a_database_cannot_hold_is_replaced_and_what_is_too_long_is_refused():
    assert Filter.from_query({"model": "a\ud800"}).model == "a\ufffd"
    with pytest.raises(InvalidQueryError, match="model has at most 4096 characters") as caught:
        Filter.from_query({"model": "m" * 4097})
    assert caught.value.field == "model"


def test_a_filter_made_by_hand_writes_its_times_out():
    there = dt.timezone(dt.timedelta(hours=2))
    chosen = Filter(since=dt.datetime(2026, 11, 1, 2, tzinfo=there), until=dt.datetime(2026, 11, 2), model="m")  # noqa: DTZ001
    assert chosen.to_query() == {"since": "2026-11-01T00:00:00Z", "until": "2026-11-02T00:00:00Z", "model": "m"}
    assert Filter.from_query(chosen.to_query()) == Filter(
        since=dt.datetime(2026, 11, 1, tzinfo=UTC), until=dt.datetime(2026, 11, 2, tzinfo=UTC), model="m"
    )


def test_a_condition_names_its_table_and_keeps_values_out_of_the_statement():
    evil = "x'; DROP TABLE feedback; --"
    chosen = Filter(since=NOW, until=NOW + dt.timedelta(1), template=evil, query_type="q")
    assert Filter().where("feedback") == ("true", {})
    condition, parameters = chosen.where("interactions")
    assert condition.split(" AND ") == [
        "interactions.started_at >= $since::TIMESTAMP",
        "interactions.started_at < $until::TIMESTAMP",
        "interactions.prompt_name = $template",
        "interactions.query_type = $query_type",
    ]
    times = {"since": NOW.replace(tzinfo=None), "until": NOW.replace(tzinfo=None, day=26)}
    assert parameters == {**times, "template": evil, "query_type": "q"}
    assert chosen.where("feedback")[0].startswith("feedback.answered_at >= $since")
