"""What the interface is, for tools: an OpenAPI description, served beside it and kept in ``docs/openapi.json``."""

import json
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from otel_feedback._feedback import MAX_COMMENT, MAX_CORRECTION, MAX_ID, MAX_REASONS

PATH: Final = "/v1/openapi.json"
"""Where it is served."""

_TEXT: Final = {"type": "string", "maxLength": MAX_CORRECTION}

_FEEDBACK: Final[dict[str, Any]] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["handle", "signal"],
    "anyOf": [{"required": ["value"]}, {"required": ["correction"], "properties": {"correction": {"type": "object"}}}],
    "properties": {
        "handle": {
            "type": "string",
            "maxLength": 1024,
            "description": "What the answer came with (response header feedback-handle); the only authority.",
        },
        "signal": {"type": "string", "examples": ["thumbs"], "description": "docs/signals.md has them."},
        "value": {
            "type": ["string", "number", "boolean", "null"],
            "examples": ["up"],
            "description": "What the signal takes; null takes the feedback back, or leaves the word to a correction.",
        },
        "id": {
            "type": ["string", "null"],
            "pattern": f"^[!-~]{{1,{MAX_ID}}}$",
            "description": "The same id is recorded once for one vote, so that a sender can try again.",
        },
        "reasons": {
            "type": "array",
            "maxItems": MAX_REASONS,
            "items": {"type": "string", "pattern": "^[a-z0-9_-]{1,64}$"},
        },
        "comment": {"type": ["string", "null"], "maxLength": MAX_COMMENT},
        "correction": {
            "type": ["object", "null"],
            "additionalProperties": False,
            "required": ["original", "corrected"],
            "properties": {"original": _TEXT, "corrected": _TEXT},
        },
        "nonce": {
            "type": ["string", "null"],
            "pattern": "^[!-~]{16,128}$",
            "description": "A secret of the browser: a vote that was first given with one is changed only with it.",
        },
        "confidence": {
            "type": ["number", "null"],
            "minimum": 0,
            "maximum": 1,
            "description": "How sure an implicit signal is.",
        },
    },
}

_PROBLEM: Final[dict[str, Any]] = {
    "type": "object",
    "description": "Problem details (RFC 9457). They never repeat what was sent.",
    "additionalProperties": False,
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"const": "about:blank"},
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string"},
        "field": {"enum": sorted(_FEEDBACK["properties"]), "description": "The part of the body that is to blame."},
    },
}

_REFUSALS: Final = {
    "400": "Not JSON.",
    "401": "The handle is not accepted: always the same answer. Or there is none.",
    "405": "Another method.",
    "408": "The body took too long. Send it again with the same id.",
    "409": "The vote was given with another nonce, or was changed too often.",
    "413": "The body is too large.",
    "415": "Not application/json, or with a content encoding.",
    "422": "A part can't be understood.",
    "429": "Too much of it. Send it again later with the same id.",
    "500": "A failure of the endpoint's own. Send it again with the same id.",
    "503": "It can't be kept safe now; nothing of it was recorded. Send it again later with the same id.",
}

_LATER: Final = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer", "minimum": 1}}}


def openapi(base: str = "/") -> dict[str, Any]:
    """Return the OpenAPI 3.1 description of the interface.

    Args:
        base: Path below which the interface is, such as ``/feedback`` where it is mounted there.
    """
    answers = {"202": _json("Taken over.", {"$ref": "#/components/schemas/Receipt"})}
    answers |= {status: _refusal(status, description) for status, description in _REFUSALS.items()}
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Feedback"}}}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "otel-feedback capture",
            "version": "1",
            "description": "Takes in what users think of answers of an AI system. docs/capture.md says more.",
        },
        "servers": [{"url": base}],
        "paths": {
            "/v1/feedback": {
                "post": {
                    "operationId": "sendFeedback",
                    "summary": "Give feedback, change it, or take it back",
                    "requestBody": {"required": True, "content": content},
                    "responses": answers,
                }
            },
            "/healthz": {
                "get": {
                    "operationId": "health",
                    "summary": "Whether the process answers",
                    "responses": {
                        "200": _json("It does.", {"type": "object", "properties": {"status": {"const": "ok"}}}),
                        "405": _refusal("405", _REFUSALS["405"]),
                    },
                }
            },
        },
        "components": {
            "schemas": {
                "Feedback": _FEEDBACK,
                "Receipt": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["id"],
                    "properties": {"id": {"type": "string", "description": "The id that was given, or a new one."}},
                },
                "Problem": _PROBLEM,
            }
        },
    }


def as_text() -> str:
    """Return the description as ``docs/openapi.json`` has it."""
    return json.dumps(openapi(), indent=1) + "\n"


def description_route() -> Route:
    """Return the route that serves the description, to stand beside ``POST /v1/feedback``."""
    return Route(PATH, _answer, methods=["GET"], name="openapi")


async def _answer(request: Request) -> Response:
    # The path that it is mounted at is the server's word, not the caller's.
    base = request.scope.get("root_path") or "/"
    return Response(json.dumps(openapi(base)), media_type="application/json")


def _json(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _refusal(status: str, description: str) -> dict[str, Any]:
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    refusal: dict[str, Any] = {"description": description, "content": content}
    return refusal | ({"headers": _LATER} if status in ("429", "503") else {})
