"""From the bytes of a request to OTLP's messages: protobuf or JSON, perhaps compressed, from anybody.

Whatever the bytes are, what comes out is a message or one of two errors, whose text never holds what was sent.
"""

import base64
import binascii
import json
import zlib
from collections.abc import Callable, Iterator
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

MAX_MEMBERS: Final = 100
"""Parts that a gzip stream may be joined of: each copies all that is behind it. Senders make one."""

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

_UNREADABLE: Final = (DecodeError, UnicodeError, RecursionError)

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

    Returns:
        The request. In place of each span that can't be read, as with text that is no UTF-8, is an empty one, which
        has no id: who reads them refuses it like others of no use, and keeps the rest.

    Raises:
        MalformedError: It is neither, or no span of it can be read.
        TooLargeError: It has more bytes than ``MAX_BODY`` or ``MAX_JSON``, or more parts than such a request can have.
    """
    return _decode(ExportTraceServiceRequest, body, json=json, rescue=True)


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
        MalformedError: It isn't gzip, is cut off, its checksum is wrong, or it has more than ``MAX_MEMBERS``.
        TooLargeError: More than ``limit`` bytes would come out.
    """
    parts: list[bytes] = []
    room = limit
    rest = body
    members = 0
    try:
        while rest or not members:
            members += 1
            if members > MAX_MEMBERS:
                raise MalformedError(f"The compressed body has more than {MAX_MEMBERS} gzip members.")
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


def _decode(kind: Callable[[], _M], body: bytes, *, json: bool, rescue: bool = False) -> _M:
    limit = MAX_JSON if json else MAX_BODY
    if len(body) > limit:
        raise TooLargeError(f"The body has more than {limit} bytes.")
    message = kind()
    if json:
        _parse_json(body, message)
        return message
    try:
        _count_parts(body)
        try:
            message.ParseFromString(body)
        except _UNREADABLE:
            if not rescue:
                raise
            rescued = kind()
            good, bad = _rescue(rescued, body, 0)
            if not good or not bad:  # none is worth it, or it is something else than a span
                raise
            # Once more from its bytes, as it is going to be kept: as a whole it may have too many levels still.
            message.ParseFromString(rescued.SerializeToString())
    except (*_UNREADABLE, IndexError):
        raise MalformedError("The body is not a valid OTLP request in protobuf.") from None
    return message


def _rescue(message: Any, body: bytes, level: int) -> tuple[int, int]:
    """Read a message field by field, for one span that can't be read spoils all of a request.

    protobuf says of a whole message that it can't be read, not of which part, and upb has no other way. Spans that
    can't are left empty; so are those of a resource or a scope that can't: nobody could tell whose they are.

    Returns:
        How many spans can be read, and how many can't.

    Raises:
        DecodeError: It is no protobuf.
        IndexError: It is cut off.
    """
    tag_of_parts = _SPANS[level] << 3 | 2
    whole = True
    good = bad = 0
    for tag, start, value, end in _fields(body):
        if tag != tag_of_parts:
            whole &= _merge(message, body[start:end])
            continue
        part = _parts(message, level).add()
        if _merge(part, body[value:end]):
            good += _count_spans(part, level + 1)
        elif level == len(_SPANS) - 1:
            bad += 1
        else:
            counts = _rescue(part, body[value:end], level + 1)
            good, bad = good + counts[0], bad + counts[1]
    if whole:
        return good, bad
    _empty_spans(message, level)
    return 0, good + bad


def _merge(message: Message, body: bytes) -> bool:
    """Add what bytes say to a message; one that they can't be read as is left as it was."""
    part = type(message)()
    try:
        part.ParseFromString(body)
    except _UNREADABLE:
        return False
    message.MergeFrom(part)
    return True


def _parts(message: Any, level: int) -> Any:
    return getattr(message, message.DESCRIPTOR.fields_by_number[_SPANS[level]].name)


def _count_spans(message: Any, level: int) -> int:
    return 1 if level == len(_SPANS) else sum(_count_spans(part, level + 1) for part in _parts(message, level))


def _empty_spans(message: Any, level: int) -> None:
    for part in _parts(message, level):
        if level == len(_SPANS) - 1:
            part.Clear()
        else:
            _empty_spans(part, level + 1)


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
            tag, start, at = _field(body, at)
            if tag == wanted and level < deepest:
                waiting.append((start, at, level + 1))
        if at != end:
            raise DecodeError("A field is longer than what it is in.")


def _fields(body: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Give the tag of each field, and where it begins, where its value does, and where both end."""
    at = 0
    while at < len(body):
        tag, value, end = _field(body, at)
        yield tag, at, value, end
        at = end
    if at != len(body):
        raise DecodeError("A field is longer than what it is in.")


def _field(body: bytes, at: int) -> tuple[int, int, int]:
    """Return the tag of a field, where its value begins and where it ends."""
    tag, at = _varint(body, at)
    kind = tag & 7
    if kind == 2:  # noqa: PLR2004 - of a length
        size, at = _varint(body, at)
        return tag, at, at + size
    if kind == 0:
        return tag, at, _varint(body, at)[1]
    if kind in _FIXED:
        return tag, at, at + _FIXED[kind]
    raise DecodeError("OTLP has no groups.")


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
