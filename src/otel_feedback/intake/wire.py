"""From the bytes of a request to OTLP's messages: protobuf or JSON, perhaps compressed, from anybody.

Whatever the bytes are, what comes out is a message or one of two errors, whose text never holds what was sent.
"""

import base64
import binascii
import json
import zlib
from collections.abc import Callable
from typing import Any, Final, TypeVar

from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_feedback._limits import clean_text

MAX_BODY: Final = 20 * 1024 * 1024
"""Bytes of a request, decompressed: what the Collector takes, too. Empty values within values take up to 25 times as
much in memory as on the wire."""

MAX_JSON: Final = 10 * 1024 * 1024
"""Bytes of a request in JSON, decompressed: as Python objects it takes up to thirty times as much."""

MAX_PARTS: Final = 1_000_000
"""Groups, scopes and spans of a request, and of a large one their fields too: an empty span of 2 bytes becomes 170."""

MAX_OBJECTS: Final = 500_000
"""Objects and lists of a request in JSON: each costs some microseconds."""

MAX_DEPTH: Final = 100
"""Messages within messages, in either form: protobuf's own limit."""

_IDS: Final = frozenset(
    ("traceId", "spanId", "parentSpanId", "trace_id", "span_id", "parent_span_id"),
)
_STEP: Final = 1024 * 1024
_LARGE: Final = 2 * 1024 * 1024
"""Bytes of a request from which on the fields of its spans are counted: fewer hold no harmful number of them."""
_SPANS: Final = (1, 2, 2)
"""Field numbers that lead from a request to its spans, log records or metrics: the same for all three."""
_FIXED: Final = {1: 8, 5: 4}
"""Wire types of fixed width, and their bytes."""
_GZIP: Final = 16 + zlib.MAX_WBITS

_M = TypeVar("_M", bound=Message)


class MalformedError(ValueError):
    """A request that can't be read; sending it again is of no use."""


class TooLargeError(ValueError):
    """A request with more bytes than the receiver takes; sending it again is of no use."""


def decode_traces(body: bytes, *, json: bool = False) -> ExportTraceServiceRequest:
    """Decode a request with spans.

    Args:
        body: Decompressed.
        json: Whether it is OTLP's JSON; else protobuf.

    Raises:
        MalformedError: It is neither.
        TooLargeError: It has more bytes than ``MAX_BODY`` or ``MAX_JSON``, or more parts than such a request can have.
    """
    return _decode(ExportTraceServiceRequest, body, json=json)


def decode_logs(body: bytes, *, json: bool = False) -> ExportLogsServiceRequest:
    """Decode a request with log records: as ``decode_traces``."""
    return _decode(ExportLogsServiceRequest, body, json=json)


def decode_metrics(body: bytes, *, json: bool = False) -> ExportMetricsServiceRequest:
    """Decode a request with metrics: as ``decode_traces``."""
    return _decode(ExportMetricsServiceRequest, body, json=json)


def gunzip(body: bytes, limit: int = MAX_BODY) -> bytes:
    """Decompress gzip, in memory bounded by the limit.

    Several members one after the other are one text, as gzip says; anything else behind the last is an error.

    Args:
        body: One or more gzip members.
        limit: Bytes that may come out.

    Raises:
        MalformedError: It isn't gzip, is cut off, or its checksum is wrong.
        TooLargeError: More than ``limit`` bytes would come out.
    """
    parts: list[bytes] = []
    room = limit
    rest = body
    try:
        while rest or not parts:
            inflate = zlib.decompressobj(_GZIP)
            while not inflate.eof:
                part = inflate.decompress(rest, min(room + 1, _STEP))
                rest = inflate.unconsumed_tail
                if not part and not rest and not inflate.eof:
                    raise MalformedError("The compressed body is cut off.")
                room -= len(part)
                if room < 0:
                    raise TooLargeError(f"The body has more than {limit} bytes when it is decompressed.")
                parts.append(part)
            rest = inflate.unused_data
    except zlib.error:
        raise MalformedError("The body is not valid gzip, though its Content-Encoding says so.") from None
    return b"".join(parts)


def _decode(kind: Callable[[], _M], body: bytes, *, json: bool) -> _M:
    limit = MAX_JSON if json else MAX_BODY
    if len(body) > limit:
        raise TooLargeError(f"The body has more than {limit} bytes.")
    message = kind()
    if json:
        _parse_json(body, message)
        return message
    try:
        _count_parts(body)
        message.ParseFromString(body)
    except (DecodeError, UnicodeError, RecursionError, IndexError):
        raise MalformedError("The body is not a valid OTLP request in protobuf.") from None
    return message


def _count_parts(body: bytes) -> None:
    """Refuse a request of too many parts before they are made: a few bytes on the wire are hundreds in memory.

    Raises:
        DecodeError: It is no protobuf.
        IndexError: It is cut off.
        TooLargeError: It has more than ``MAX_PARTS``.
    """
    deepest = len(_SPANS) if len(body) > _LARGE else len(_SPANS) - 1
    parts = 0
    waiting = [(0, len(body), 0)]
    while waiting:
        at, end, level = waiting.pop()
        wanted = _SPANS[level] << 3 | 2 if level < len(_SPANS) else None
        while at < end:
            parts += 1
            if parts > MAX_PARTS:
                raise TooLargeError(f"The request has more than {MAX_PARTS} parts.")
            tag, at = _varint(body, at)
            kind = tag & 7
            if kind == 2:  # noqa: PLR2004 - of a length
                size, at = _varint(body, at)
                if tag == wanted and level < deepest:
                    waiting.append((at, at + size, level + 1))
                at += size
            elif kind == 0:
                _, at = _varint(body, at)
            elif kind in _FIXED:
                at += _FIXED[kind]
            else:
                raise DecodeError("OTLP has no groups.")
        if at != end:
            raise DecodeError("A field is longer than what it is in.")


def _varint(body: bytes, at: int) -> tuple[int, int]:
    """Return a number and where it ends."""
    value = body[at]
    at += 1
    if value < 128:  # noqa: PLR2004 - the bit that says that there is more
        return value, at
    value &= 127
    for shift in range(7, 70, 7):
        byte = body[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:  # noqa: PLR2004 - see above
            return value, at
    raise DecodeError("A number is too long.")


def _parse_json(body: bytes, message: Message) -> None:
    """Read OTLP's JSON: protobuf's own mapping, but for ids, which are hex and not base64."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise MalformedError("The body is not valid JSON.") from None
    if not isinstance(document, dict):
        raise MalformedError("The body is not a JSON object, as an OTLP request is.")
    try:
        document = _for_protobuf(document)
        json_format.ParseDict(document, message, ignore_unknown_fields=True, max_recursion_depth=MAX_DEPTH)
    except TooLargeError:
        raise
    except Exception:
        # Of a document that fits no message json_format raises what it happens to hit; all of it quotes the document.
        raise MalformedError("The body is JSON, but not a valid OTLP request.") from None


def _for_protobuf(document: dict[str, Any]) -> dict[str, Any]:
    """Write ids in base64, as protobuf's mapping has bytes, and texts in what UTF-8 can hold.

    Only fields of messages are keys of objects here (attributes are ``{"key": ..., "value": ...}``), so what is named
    as an id is one, wherever it stands.
    """
    waiting: list[Any] = [document]
    objects = 0
    while waiting:
        node = waiting.pop()
        objects += 1
        if objects > MAX_OBJECTS:
            raise TooLargeError(f"The request has more than {MAX_OBJECTS} objects and lists.")
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            if isinstance(value, (dict, list)):
                waiting.append(value)
            elif isinstance(value, str):
                node[key] = _base64(value) if key in _IDS else clean_text(value)
    return document


def _base64(text: str) -> str:
    """Turn hex into base64. What isn't hex becomes an id that no span can have: its span is refused, and only it."""
    try:
        return base64.b64encode(binascii.unhexlify(text)).decode()
    except ValueError:
        return "AA=="
