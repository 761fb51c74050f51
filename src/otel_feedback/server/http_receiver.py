"""OTLP/HTTP: protobuf and JSON, answered in the encoding of the request."""

import asyncio
import functools
from typing import Final, get_args

import anyio
from anyio.to_thread import run_sync
from google.protobuf import json_format
from google.protobuf.message import Message
from google.rpc.code_pb2 import Code  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from otel_feedback.intake import MAX_BODY, TooLargeError, gunzip
from otel_feedback.server.receiving import Accepted, Receiver, Signal, refusal_of

BODY_SECONDS: Final = 30.0
"""Time that a body may take to arrive."""

DECODERS: Final = 8
"""Requests that are decoded at once; further ones wait."""

_PROTOBUF: Final = "application/x-protobuf"
_JSON: Final = "application/json"
_STATUSES: Final = {"malformed": 400, "large": 413, "busy": 429, "full": 503, "failed": 503}
_CODES: Final = {
    400: Code.INVALID_ARGUMENT,
    408: Code.DEADLINE_EXCEEDED,
    413: Code.RESOURCE_EXHAUSTED,
    415: Code.INVALID_ARGUMENT,
    429: Code.RESOURCE_EXHAUSTED,
    503: Code.UNAVAILABLE,
}


def otlp_routes(receiver: Receiver) -> list[Route]:
    """Return the routes of the three signals."""
    handler = _Handler(receiver)
    return [
        Route(f"/v1/{signal}", functools.partial(handler.take, signal), methods=["POST"]) for signal in get_args(Signal)
    ]


class _Handler:
    """Takes requests for one receiver."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._decoders: anyio.CapacityLimiter | None = None

    async def take(self, signal: Signal, request: Request) -> Response:
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        as_json = media_type == _JSON
        if media_type not in (_PROTOBUF, _JSON):
            headers = {"Accept-Post": f"{_PROTOBUF}, {_JSON}"}
            return _refused(415, f"The body must be {_PROTOBUF} or {_JSON}.", as_json=as_json, headers=headers)
        encoding = request.headers.get("content-encoding", "").strip().lower() or "identity"
        if encoding not in ("gzip", "identity"):
            headers = {"Accept-Encoding": "gzip"}
            return _refused(415, "The body may be compressed with gzip, or not.", as_json=as_json, headers=headers)
        body = _Body(request, self._receiver)
        try:
            with anyio.fail_after(BODY_SECONDS):
                content = await body.read()
            accepted = await run_sync(
                self._accept, signal, content, encoding == "gzip", as_json, limiter=self._limiter()
            )
            if accepted.done is not None:
                await asyncio.wrap_future(accepted.done)
        except TimeoutError:
            sentence = f"The body must arrive within {BODY_SECONDS:g} seconds."
            return _refused(408, sentence, as_json=as_json, headers={"Connection": "close"})
        except ClientDisconnect:
            return _refused(400, "The body is not complete.", as_json=as_json)
        except Exception as error:
            reason, sentence, retry_after = refusal_of(error)
            headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
            return _refused(_STATUSES[reason], sentence, as_json=as_json, headers=headers)
        finally:
            body.release()
        return _response(accepted.response, 200, as_json=as_json)

    def _accept(self, signal: Signal, content: bytes, compressed: bool, as_json: bool) -> Accepted:  # noqa: FBT001
        if not compressed:
            return self._receiver.accept(signal, content, json=as_json)
        content = gunzip(content)
        with self._receiver.budget.holding(len(content)):
            return self._receiver.accept(signal, content, json=as_json)

    def _limiter(self) -> anyio.CapacityLimiter:
        if self._decoders is None:  # belongs to the loop that runs
            self._decoders = anyio.CapacityLimiter(DECODERS)
        return self._decoders


class _Body:
    """A body on its way in, whose bytes are counted while it is held."""

    def __init__(self, request: Request, receiver: Receiver) -> None:
        self._request = request
        self._budget = receiver.budget
        self._held = 0

    async def read(self) -> bytes:
        """Read it all.

        Raises:
            TooLargeError: It has too many bytes.
            StoreBusyError: Too much is being received already.
        """
        declared = self._request.headers.get("content-length", "")
        if declared.isdecimal() and (len(declared) > len(str(MAX_BODY)) or int(declared) > MAX_BODY):
            raise TooLargeError(f"The body has more than {MAX_BODY} bytes.")
        body = bytearray()
        async for part in self._request.stream():
            self._budget.take(len(part))
            self._held += len(part)
            body += part
            if len(body) > MAX_BODY:
                raise TooLargeError(f"The body has more than {MAX_BODY} bytes.")
        return bytes(body)

    def release(self) -> None:
        """Let go of its bytes."""
        self._budget.give(self._held)
        self._held = 0


def _refused(status: int, sentence: str, *, as_json: bool, headers: dict[str, str] | None = None) -> Response:
    return _response(Status(code=_CODES[status], message=sentence), status, as_json=as_json, headers=headers)


def _response(message: Message, status: int, *, as_json: bool, headers: dict[str, str] | None = None) -> Response:
    if as_json:
        return Response(json_format.MessageToJson(message, indent=None), status, headers, _JSON)
    return Response(message.SerializeToString(), status, headers, _PROTOBUF)
