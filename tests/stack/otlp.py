"""Sends hand-made spans as OTLP/JSON, so that a test says exactly what reaches the Collector."""

import json
import os
import time
import urllib.request
from typing import Any

from otel_feedback import semconv


def trace_id() -> str:
    return os.urandom(16).hex()


def span(
    attributes: dict[str, Any],
    *,
    name: str = "span",
    trace: str | None = None,
    events: dict[str, dict[str, Any]] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """One span of this moment; events by name with their attributes."""
    now = str(time.time_ns())
    return {
        "traceId": trace or trace_id(),
        "spanId": os.urandom(8).hex(),
        "name": name,
        "kind": 1,
        "startTimeUnixNano": now,
        "endTimeUnixNano": now,
        "attributes": _attributes(attributes),
        "events": [
            {"name": event, "timeUnixNano": now, "attributes": _attributes(held)}
            for event, held in (events or {}).items()
        ],
        **more,
    }


def vote(
    template: str, sentiment: str = semconv.POSITIVE, previous: str = semconv.UNSET, **more: Any
) -> dict[str, Any]:
    """A carrier with everything that is counted."""
    attributes = {
        semconv.FEEDBACK_KIND: semconv.EXPLICIT,
        semconv.FEEDBACK_SIGNAL: "thumbs",
        semconv.FEEDBACK_SENTIMENT: sentiment,
        semconv.FEEDBACK_PREVIOUS_SENTIMENT: previous,
        semconv.FEEDBACK_FIRST: previous == semconv.UNSET,
        semconv.FEEDBACK_TARGET_SAMPLED: True,
        semconv.FEEDBACK_PROMPT_NAME: template,
        semconv.FEEDBACK_PROMPT_VERSION: "1",
        semconv.FEEDBACK_MODEL: f"model of {template}",
        semconv.FEEDBACK_QUERY_TYPE: "how-to",
        semconv.FEEDBACK_SERVICE_NAME: "shop",
        semconv.FEEDBACK_SERVICE_NAMESPACE: "web",
        semconv.FEEDBACK_ENVIRONMENT: "test",
    }
    return span(attributes | more.pop("attributes", {}), name="feedback thumbs", **more)


def interaction(template: str, **more: Any) -> dict[str, Any]:
    """An interaction span with the facts that are counted."""
    attributes = {
        semconv.FEEDBACK_INTERACTION: True,
        semconv.FEEDBACK_PROMPT_NAME: template,
        semconv.FEEDBACK_PROMPT_VERSION: "1",
        semconv.FEEDBACK_MODEL: f"model of {template}",
    }
    return span(attributes | more.pop("attributes", {}), name="POST /ask", **more)


def send(otlp_http: str, *spans: dict[str, Any], resource: dict[str, Any] | None = None) -> None:
    """Send spans as one batch and return when the Collector has accepted them.

    Raises:
        urllib.error.HTTPError: it refuses them.
    """
    attributes = _attributes({"service.name": "shop"} if resource is None else resource)
    scopes = [{"scope": {"name": "test"}, "spans": list(spans)}]
    post(
        f"{otlp_http}/v1/traces",
        {"resourceSpans": [{"resource": {"attributes": attributes}, "scopeSpans": scopes}]},
    )


def post(url: str, body: dict[str, Any]) -> None:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        answer.read()


def _attributes(values: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in values.items()]


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, str):
        return {"stringValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, dict):
        return {"kvlistValue": {"values": _attributes(value)}}
    return {"arrayValue": {"values": [_value(one) for one in value]}}
