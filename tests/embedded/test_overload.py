"""The real `otel-feedback capture` under more than it can take, and under what nobody should send; short forms.

``python -m soak overload`` and ``python -m soak fuzz`` are the long ones.
"""

from soak import fuzz, overload


def test_more_than_ten_times_what_a_limit_lets_in_gets_429():
    """What it lets in is acknowledged and arrives once; memory is bounded, and each refusal says when to come again."""
    outcome = overload.by_rate(4, allowed=40)
    assert outcome.statuses["429"] > 9 * outcome.statuses["202"]
    assert outcome.arrived == outcome.acknowledged


def test_more_connections_than_it_keeps_get_503():
    """Those that it keeps are answered, and what they are promised is kept."""
    outcome = overload.by_connections(6, connections=1_000)
    assert outcome.statuses["503"] >= 100


def test_more_than_may_wait_gets_503_and_all_that_was_acknowledged_arrives():
    """With nobody to take it, and an outbox of 1 MiB."""
    outcome = overload.by_backlog(6, most_mib=1)
    assert outcome.acknowledged > 100


def test_thousands_of_malformed_requests_leave_it_as_it_was():
    """No 5xx, no traceback, no echo, no growth."""
    outcome = fuzz.run(10_000)
    assert outcome.requests == 10_000
    assert {202, 400, 401, 415, 422} <= set(outcome.watch.statuses)
