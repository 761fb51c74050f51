"""Requests that nobody should send, the same ones every time."""

import itertools
import json
import random

DEEP = 100_000


def _varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _field(number, wire_type, payload=b""):
    return _varint(number << 3 | wire_type) + payload


def _message(number, payload):
    return _field(number, 2, _varint(len(payload)) + payload)


def _nested(depth):
    """A span whose attribute is a list of a list of ..., written from the inside: as text it would recurse."""
    value = _message(1, b"x")
    for _ in range(depth):
        value = _message(5, _message(1, value))
    attribute = _message(1, b"deep") + _message(2, value)
    span = _message(1, b"1" * 16) + _message(2, b"2" * 8) + _message(9, attribute)
    return _message(1, _message(2, _message(2, span)))


def protobuf_corpus(good):
    """Changed forms of a good request: truncated, with bits and bytes changed, of wrong types, with huge lengths."""
    chance = random.Random(20)  # noqa: S311
    for _ in range(60):
        yield good[: chance.randrange(len(good))]
    for _ in range(120):
        changed = bytearray(good)
        for _ in range(chance.choice((1, 1, 3, 20))):
            changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
        yield bytes(changed)
    for _ in range(40):
        changed = bytearray(good)
        at = chance.randrange(len(changed))
        changed[at : at + chance.randrange(64)] = chance.randbytes(chance.randrange(64))
        yield bytes(changed)
    for length in (1, 2, 3, 7, 16, 100, 1_000, 100_000):
        yield chance.randbytes(length)
    for number, wire_type in itertools.product((1, 2, 3, 15, 16, 99, (1 << 29) - 1), range(8)):
        yield _field(number, wire_type)
        yield _field(number, wire_type, chance.randbytes(12))
        yield _message(1, _message(2, _message(2, _field(number, wire_type, chance.randbytes(12)))))
    for length in (1 << 20, 1 << 31, (1 << 31) - 1, 1 << 32, 1 << 40, (1 << 64) - 1):
        yield _field(1, 2, _varint(length))
        yield _message(1, _field(2, 2, _varint(length) + b"x" * 100))
    yield b"\xff" * 1_000
    yield b"\x0a" * 10_000
    yield b"\x0b" * 10_000  # groups within groups
    for depth in (10, 90, 200, 5_000):
        yield _nested(depth)


STRANGE = (None, True, 0, -1, 1e308, "", "x", "0" * 32, [], [[]], {}, {"": {}}, [None], "\ud800", "\x00", 2**70)


def _places(node, path=()):
    yield path
    for key, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        yield from _places(value, (*path, key))


def _changed(document, path, value):
    copy = json.loads(json.dumps(document))
    if not path:
        return value
    node = copy
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return copy


def json_corpus(document):
    """Changed forms of a good document: cut, with characters changed, and with a strange value in every place."""
    chance = random.Random(21)  # noqa: S311
    good = json.dumps(document).encode()
    for _ in range(40):
        yield good[: chance.randrange(len(good))]
    for _ in range(60):
        changed = bytearray(good)
        changed[chance.randrange(len(changed))] = chance.randrange(256)
        yield bytes(changed)
    for path in _places(document):
        for value in chance.sample(STRANGE, 4):
            yield json.dumps(_changed(document, path, value)).encode()
    yield from (b"", b"null", b"[]", b"1", b'"x"', b"nan", b"{}", b"{", b"\xff\xfe{}", "{}".encode("utf-16"))
    yield b"[" * DEEP
    yield b'{"resourceSpans":' * DEEP
    yield b'{"resourceSpans":' * 500 + b"[]" + b"}" * 500
    yield b'{"resourceSpans": ' + b"9" * 10_000 + b"}"
