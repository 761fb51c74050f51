"""OpenAI's chat completions over HTTP, plain and streamed; the answers come from ``extract``.

``uvicorn model_provider.app:app --app-dir examples`` serves it; a client sets ``OPENAI_BASE_URL`` to its
``/v1``.
"""

import asyncio
import json
import os
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from .extract import answer

MODELS = {"extract-1": "extract-1-2026-08-01"}
"""Models that may be asked for, and the exact version that answers: as with real providers, two names."""

WORDS_PER_CHUNK = 6
PAUSE = float(os.environ.get("SECONDS_PER_CHUNK", "0"))
"""Before each piece of a streamed answer: a real model takes its time, and readers see words come."""


def _error(status: int, message: str, code: str | None = None) -> JSONResponse:
    kind = "invalid_request_error"
    return JSONResponse({"error": {"message": message, "type": kind, "param": None, "code": code}}, status)


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "\n\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _usage(messages: list[tuple[str, str]], text: str) -> dict[str, int]:
    asked, answered = sum(len(said.split()) for _, said in messages), len(text.split())
    return {"prompt_tokens": asked, "completion_tokens": answered, "total_tokens": asked + answered}


async def create_completion(request: Request) -> Response:
    """``POST /v1/chat/completions``."""
    try:
        body = await request.json()
        model, streamed = body["model"], bool(body.get("stream"))
        messages = [(str(message["role"]), _text(message.get("content"))) for message in body["messages"]]
    except (ValueError, KeyError, TypeError, AttributeError):
        return _error(400, "The body must be a JSON object with a model and messages.")
    if not messages:
        return _error(400, "messages must not be empty.")
    if not isinstance(model, str) or model not in MODELS:
        return _error(404, "The model does not exist.", "model_not_found")
    text = answer(messages)
    head = {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "created": int(time.time()),
        "model": MODELS[model],
    }
    usage = _usage(messages, text)
    if streamed:
        wants_usage = bool((body.get("stream_options") or {}).get("include_usage"))
        return StreamingResponse(_stream(head, text, usage if wants_usage else None), media_type="text/event-stream")
    message = {"role": "assistant", "content": text, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return JSONResponse({**head, "object": "chat.completion", "choices": [choice], "usage": usage})


async def _stream(head: dict[str, Any], text: str, usage: dict[str, int] | None) -> AsyncIterator[str]:
    """The answer as server-sent events, some words at a time, then its end and, if asked for, its usage."""
    head = {**head, "object": "chat.completion.chunk"}

    def event(choices: list[dict[str, Any]], **more: Any) -> str:
        return f"data: {json.dumps({**head, 'choices': choices, **more})}\n\n"

    def delta(content: dict[str, str], finish_reason: str | None = None) -> str:
        return event([{"index": 0, "delta": content, "finish_reason": finish_reason}])

    yield delta({"role": "assistant", "content": ""})
    words = text.split(" ")
    for start in range(0, len(words), WORDS_PER_CHUNK):
        await asyncio.sleep(PAUSE)
        piece = " ".join(words[start : start + WORDS_PER_CHUNK])
        yield delta({"content": piece if start == 0 else f" {piece}"})
    yield delta({}, "stop")
    if usage is not None:
        yield event([], usage=usage)
    yield "data: [DONE]\n\n"


async def list_models(_request: Request) -> Response:
    """``GET /v1/models``."""
    models = [{"id": name, "object": "model", "created": 0, "owned_by": "example"} for name in MODELS]
    return JSONResponse({"object": "list", "data": models})


app = Starlette(
    routes=[
        Route("/v1/chat/completions", create_completion, methods=["POST"]),
        Route("/v1/models", list_models, methods=["GET"]),
    ]
)
