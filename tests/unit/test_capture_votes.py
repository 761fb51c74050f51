"""Changes of a vote over HTTP: by whom, and how often."""

import pytest
from tests.unit.capture_http import problem, send
from tests.unit.feedback_parts import Outbox, Parts

from otel_feedback import _votes, semconv
from otel_feedback._settings import Settings
from otel_feedback.testing import TEST_KEYS

pytestmark = pytest.mark.usefixtures("own_process")


@pytest.fixture
def parts():
    """A recorder over an outbox."""
    return Parts(delivery=Outbox(), settings=Settings(handle_keys=TEST_KEYS))


async def test_a_vote_is_changed_with_the_nonce_that_it_was_given_with(http, parts):
    """Another browser's change, or one without a nonce, is a conflict; a copy's confidence arrives."""
    body = {"handle": parts.handle(), "signal": "thumbs", "value": "up", "nonce": "m" * 16}
    assert (await send(http, body)).status_code == 202
    for nonce in ({"nonce": "n" * 16}, {"nonce": None}):
        detail = problem(await send(http, {**body, "value": "down", **nonce}), 409)
        assert "another browser" in detail
    assert (await send(http, {**body, "value": None})).status_code == 202
    copied = {"handle": parts.handle(), "signal": "copy", "value": 0.5, "confidence": 0.25}
    assert (await send(http, copied)).status_code == 202
    sentiments = [carrier.attributes[semconv.FEEDBACK_SENTIMENT] for carrier in parts.delivery.carriers]
    assert sentiments == ["positive", "retracted", "positive"]
    assert parts.delivery.carriers[-1].attributes[semconv.FEEDBACK_CONFIDENCE] == 0.25
    assert all("m" * 16 not in str(carrier) for carrier in parts.delivery.carriers)


async def test_a_vote_that_is_changed_for_ever_is_left_as_it_is(http, parts, monkeypatch):
    """Beyond the most changes of one vote: a conflict that says so."""
    monkeypatch.setattr(_votes, "MAX_CHANGES", 2)
    body = {"handle": parts.handle(), "signal": "thumbs"}
    for value in ("up", "down", "up"):
        assert (await send(http, {**body, "value": value})).status_code == 202
    assert "too often" in problem(await send(http, {**body, "value": "down"}), 409)
    assert (await send(http, {**body, "value": None})).status_code == 202
