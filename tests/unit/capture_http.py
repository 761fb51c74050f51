"""How tests talk to the capture endpoint inside their own process."""

import json

import httpx


def client(app):
    """A client of an application in this process."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://capture")


def send(http, content, **headers):
    """Post a body as it is."""
    if not isinstance(content, bytes | str):
        content = json.dumps(content)
    return http.post("/v1/feedback", content=content, headers={"content-type": "application/json", **headers})


def problem(response, status, *, field=None):
    """Check that a response is a problem and return what it says."""
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    said = response.json()
    assert said["type"] == "about:blank"
    assert said["status"] == status
    assert said["title"]
    assert said.get("field") == field
    assert set(said) <= {"type", "title", "status", "detail", "field"}
    return said["detail"]
