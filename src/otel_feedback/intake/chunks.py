"""A chunk: the raw spans of one request as they are kept, zstd-compressed OTLP, and reading them back."""

import sys
from collections.abc import Iterator
from typing import Final

from google.protobuf.message import DecodeError
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from otel_feedback.intake._span import parent_of
from otel_feedback.intake._values import clean, values_of
from otel_feedback.intake.rows import StoredSpan

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MAX_CHUNK: Final = 128 * 1024 * 1024
"""Bytes of a chunk, decompressed."""

_DAMAGED: Final = "A chunk of raw spans is damaged."
_OPTIONS: Final[dict[int, int]] = {
    # Measured per span of 1.5 KB: 4 microseconds and 324 bytes; zlib's fastest level took 14 and 396.
    zstd.CompressionParameter.compression_level: 1,
    zstd.CompressionParameter.checksum_flag: True,
}


def pack(data: bytes) -> bytes:
    """Compress a ``TracesData``."""
    return zstd.compress(data, options=_OPTIONS)


def decompress(chunk: bytes) -> bytes:
    """Give back what was packed.

    Raises:
        ValueError: It is damaged.
    """
    decompressor = zstd.ZstdDecompressor()
    try:
        data: bytes = decompressor.decompress(chunk, MAX_CHUNK)
    except zstd.ZstdError:
        raise ValueError(_DAMAGED) from None
    if not decompressor.eof:
        raise ValueError(_DAMAGED)
    return data


def unpack(chunk: bytes) -> Iterator[StoredSpan]:
    """Decode the spans of a chunk.

    Raises:
        ValueError: It is damaged.
    """
    try:
        data = TracesData.FromString(decompress(chunk))
    except DecodeError:
        raise ValueError(_DAMAGED) from None
    for group in data.resource_spans:
        resource = values_of(group.resource.attributes)
        for scoped in group.scope_spans:
            scope, version = clean(scoped.scope.name), clean(scoped.scope.version)
            for span in scoped.spans:
                ids = span.trace_id.hex(), span.span_id.hex(), parent_of(span.parent_span_id)
                yield StoredSpan(*ids, span, resource, scope, version)
