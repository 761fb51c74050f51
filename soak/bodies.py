"""Malformed requests, of ill will or of broken programs: strategies for a few, a generator for many."""

import json
import random
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from hypothesis import strategies as st

SECRET: Final = "geheim-4711"  # noqa: S105 - it is none
"""What stands in many of them and must stand in no answer and no log."""

STRANGE: Final[tuple[Any, ...]] = (
    *(None, True, False, 0, -1, 2**63, 10**400, 1e308, 5e-324, -0.0, 0.5),
    *("", "up", SECRET, SECRET * 900, "\x00", "\ud800", "\u202e" + SECRET, "𝄞" * 5_000, "x" * 60_000),
    *([], [[]], [None], [SECRET] * 500, {}, {"": {}}, {SECRET: SECRET}, {"original": SECRET, "corrected": 1}),
)
FIELDS: Final = ("handle", "signal", "value", "id", "reasons", "comment", "correction", "nonce", "confidence", SECRET)
CONTENT_TYPES: Final = (
    *(b"application/json; charset=utf-16", b"Application/JSON", b"text/plain", b"", b"application/json, text/html"),
    *(b"multipart/form-data; boundary=" + SECRET.encode(), b"application/x-www-form-urlencoded", b"\xff\xfe", b";;;"),
    *(b"application/problem+json", b"application/json" * 50, b"application/" + SECRET.encode()),
)
HEADERS: Final = (
    *(b"", b"", b"", b"", b"content-encoding: gzip\r\n", b"content-encoding: " + SECRET.encode() + b"\r\n"),
    *(b"origin: https://" + SECRET.encode() + b".example\r\n", b"accept: text/html\r\n"),
    *(b"x-forwarded-for: " + SECRET.encode() + b"\r\n", b"cookie: " + SECRET.encode() * 100 + b"\r\n"),
    *(b"traceparent: 00-" + b"f" * 32 + b"-" + b"f" * 16 + b"-01\r\n", b"user-agent: \xff\xfe\r\n"),
)
_TOKENS: Final = (
    *(b"NaN", b"-Infinity", b"1e999", b"9" * 5_000, b"-", b"0x1", b"01", b"\\u0000", b"\\ud800", b"\\", b'"', b"'"),
    *(
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"null",
        b"\x00",
        b"\xff",
        b"\xef\xbb\xbf",
        b"\xc0\xaf",
        b"\n",
        b"//",
        b"/**/",
    ),
    *(b'"signal": "thumbs", ', b'"value": null, ', b'"reasons": [1], ', SECRET.encode(), b"[" * 2_000, b'{"a":' * 800),
)


class Sent(NamedTuple):
    """A request's body, its content type, and more header lines."""

    body: bytes
    content_type: bytes = b"application/json"
    more: bytes = b""


def good(handle: str, /, **changes: Any) -> dict[str, Any]:
    """Return a feedback in which everything is there, some of it changed."""
    details = {"comment": SECRET, "reasons": ["outdated"], "id": f"id-{SECRET}", "nonce": "n" * 16}
    return {"handle": handle, "signal": "thumbs", "value": "up", **details} | changes


def seeds(handle: str) -> list[bytes]:
    """Return bodies to begin with: good ones, those with a strange value in each place, and the notorious ones."""
    found = [
        good(handle),
        good(handle, signal="stars", value=4),
        good(handle, signal="copy", value=0.5, confidence=0.5),
        good(handle, signal="text", value=None, correction={"original": SECRET, "corrected": "b"}),
        {"handle": handle, "signal": "thumbs", "value": None},
    ]
    found += [good(handle, **{field: value}) for field in FIELDS for value in STRANGE]
    texts = [json.dumps(one).encode() for one in found]
    texts += [json.dumps(value).encode() for value in STRANGE]
    texts += [json.dumps(good(handle)).encode(encoding) for encoding in ("utf-16", "utf-32", "utf-7", "utf-8-sig")]
    texts += [b"", b"[" * 60_000, b'{"a":' * 12_000, b"[" * 30_000 + b"]" * 30_000, b"{}" * 1_000, b" " * 65_536]
    texts += [b'{"signal": "' + SECRET.encode() + b'", ' * 2_000, b"x" * 65_537]
    return [text for text in texts if len(text) <= 70_000]


def sent(handle: str) -> st.SearchStrategy[Sent]:
    """Make requests of all kinds: bytes, JSON of any shape, feedback with strange parts, broken feedback."""
    scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=()))
    values = st.recursive(
        scalars | st.sampled_from(STRANGE),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
        max_leaves=8,
    )
    changed = st.dictionaries(st.sampled_from(FIELDS), values, max_size=5).map(lambda some: good(handle, **some))
    pairs = st.lists(st.tuples(st.sampled_from(FIELDS), values), max_size=6).map(_with_duplicates)
    texts = (values | changed | st.dictionaries(st.sampled_from(FIELDS), values)).map(json.dumps) | pairs
    encoded = st.tuples(texts, st.sampled_from(["utf-8"] * 6 + ["utf-16", "utf-32", "utf-8-sig"])).map(
        lambda both: both[0].encode(both[1])
    )
    cut = st.tuples(encoded, st.integers(0, 400)).map(lambda both: both[0][: len(both[0]) - both[1]])
    bodies = st.binary(max_size=200) | encoded | cut | st.sampled_from(seeds(handle))
    types = st.just(b"application/json") | st.sampled_from(CONTENT_TYPES)
    return st.builds(Sent, bodies, types, st.sampled_from(HEADERS))


def _with_duplicates(pairs: Sequence[tuple[str, Any]]) -> str:
    return "{" + ", ".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in pairs) + "}"


def many(begun: Sequence[bytes], *, seed: int = 1) -> Iterator[Sent]:
    """Make requests without end by changing given ones: cut, with bytes changed, put in, doubled or of two."""
    chance = random.Random(seed)
    short = [one for one in begun if len(one) < 4_000]
    while True:
        body = bytearray(chance.choice(short if chance.random() < 0.99 else begun))
        for _ in range(chance.randrange(4)):
            _change(body, chance, short)
        if chance.random() < 0.9:
            yield Sent(bytes(body))
        else:
            yield Sent(bytes(body), chance.choice(CONTENT_TYPES), chance.choice(HEADERS))


def _change(body: bytearray, chance: random.Random, others: Sequence[bytes]) -> None:
    place, kind = chance.randrange(len(body) + 1), chance.randrange(6)
    if kind == 0:
        del body[place:]
    elif kind == 1 and place < len(body):
        body[place] = chance.randrange(256)
    elif kind == 2:
        body[place:place] = chance.choice(_TOKENS)
    elif kind == 3:
        del body[place : place + chance.randrange(1, 20)]
    elif kind == 4:
        body[place:place] = body[place : place + chance.randrange(1, 200)]
    else:
        body[place:] = chance.choice(others)[place:]
