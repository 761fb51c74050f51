"""The OpenAPI description: served, kept in docs, and of the interface as it is."""

import json
from pathlib import Path

import jsonschema
import pytest
from tests.unit.capture_http import client, send
from tests.unit.feedback_parts import Outbox, Parts

from otel_feedback.capture import capture_app
from otel_feedback.capture.body import CorrectionBody, FeedbackBody
from otel_feedback.capture.description import as_text, openapi

PAGE = Path(__file__).parents[2] / "docs" / "openapi.json"
SCHEMAS = openapi()["components"]["schemas"]
pytestmark = pytest.mark.usefixtures("own_process")


@pytest.fixture
def parts():
    """A recorder over an outbox."""
    return Parts(delivery=Outbox())


def test_the_page_is_the_description():
    """After a change: python -c "from otel_feedback.capture.description import as_text; print(as_text(), end='')"."""
    assert PAGE.read_text() == as_text()


async def test_it_is_served_beside_the_interface(http):
    """As JSON that any tool reads."""
    response = await http.get("/v1/openapi.json")
    assert response.headers["content-type"] == "application/json"
    assert response.json() == openapi()


async def test_where_it_is_mounted_it_says_so(parts):
    """So that a tool finds the interface below the same path; what the caller names as host is not repeated."""
    from starlette.applications import Starlette
    from starlette.routing import Mount

    app = Starlette(routes=[Mount("/feedback", capture_app(recorder=parts.recorder))])
    async with client(app) as http:
        response = await http.get("/feedback/v1/openapi.json", headers={"host": "evil.example"})
    assert response.json()["servers"] == [{"url": "/feedback"}]
    assert "evil" not in response.text


def test_it_knows_every_field_that_is_read():
    """And no other."""
    feedback = SCHEMAS["Feedback"]["properties"]
    assert set(feedback) == set(FeedbackBody.model_fields)
    assert set(feedback["correction"]["properties"]) == set(CorrectionBody.model_fields)
    assert set(SCHEMAS["Problem"]["properties"]["field"]["enum"]) == set(FeedbackBody.model_fields)


ACCEPTED = [
    {"signal": "thumbs", "value": "up"},
    {"signal": "thumbs", "value": None},
    {"signal": "stars", "value": 4, "reasons": ["outdated"], "comment": "x" * 4_000, "id": "a" * 128},
    {"signal": "text", "correction": {"original": "x" * 8_000, "corrected": "y"}},
    {"signal": "copy", "value": 0.5, "confidence": 1, "nonce": "n" * 16, "comment": None, "id": None},
]
REFUSED = [
    {"signal": "thumbs"},
    {"value": "up"},
    {"signal": "thumbs", "correction": None},
    {"signal": "thumbs", "value": ["up"]},
    {"signal": "thumbs", "value": "up", "id": ""},
    {"signal": "thumbs", "value": "up", "id": "a b"},
    {"signal": "thumbs", "value": "up", "id": "a" * 129},
    {"signal": "thumbs", "value": "up", "nonce": "n" * 15},
    {"signal": "thumbs", "value": "up", "nonce": "n" * 129},
    {"signal": "copy", "value": 0.5, "confidence": 1.5},
    {"signal": "thumbs", "value": "up", "reasons": ["a"] * 11},
    {"signal": "thumbs", "value": "up", "reasons": ["A"]},
    {"signal": "thumbs", "value": "up", "comment": "x" * 4_001},
    {"signal": "text", "correction": {"original": "x" * 8_001, "corrected": "y"}},
    {"signal": "text", "correction": {"original": "x"}},
    {"signal": "thumbs", "value": "up", "user": "me"},
]


@pytest.mark.parametrize(("body", "fits"), [(one, True) for one in ACCEPTED] + [(one, False) for one in REFUSED])
async def test_what_fits_it_is_taken_and_what_does_not_is_refused(http, parts, body, fits):
    """Bounds and shapes are the same in both."""
    body = {"handle": parts.handle(), **body}
    assert jsonschema.Draft202012Validator(SCHEMAS["Feedback"]).is_valid(body) is fits
    assert ((await send(http, body)).status_code == 202) is fits


async def test_each_refusal_fits_it(http, parts):
    """Status and form."""
    described = openapi()["paths"]["/v1/feedback"]["post"]["responses"]
    for content in ("{", "[]", {"signal": "x", "value": 1}, {"handle": "x", "signal": "thumbs", "value": 1}):
        response = await send(http, content)
        assert str(int(response.status_code)) in described
        jsonschema.Draft202012Validator(SCHEMAS["Problem"]).validate(json.loads(response.content))
