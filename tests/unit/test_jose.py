"""Tokens: what we check ourselves, whatever the libraries let pass."""

import json

import pytest
from tests.unit import handle_vectors as primitives

from otel_feedback import _jose, semconv
from otel_feedback._jose import TokenBox
from otel_feedback._keys import Keyring

VECTORS = primitives.vectors()
OURS = [
    pytest.param(each["token"], id=each["name"])
    for each in VECTORS["invalid"]
    if each["name"].startswith(("header: ", "shape: spare bits", "shape: padding"))
    or each["name"].startswith(("sealed, enc", "sealed, alg", "sealed, zip", "sealed, crit", "sealed, no enc"))
    or each["name"].startswith(("sealed, spare bits", "sealed, tag of", "sealed, IV of", "sealed, p2c"))
]
SIGNATURE = ("another's key", "a key that nobody knows", "another of our keys")


@pytest.fixture
def gullible(monkeypatch: pytest.MonkeyPatch) -> TokenBox:
    """A box whose libraries take every signature and every seal for genuine."""
    monkeypatch.setattr(_jose._Sealer, "unseal", lambda _self, _token: b"{}")
    box = TokenBox(Keyring.from_text(",".join(VECTORS["keys"])), sealed=False)
    for signer in box._signers.values():
        monkeypatch.setattr(signer, "_is_signed", lambda *_: True)
    return box


def test_there_are_tokens_to_try() -> None:
    """The vectors that are chosen by name are there."""
    assert len(OURS) > 40


@pytest.mark.parametrize("token", OURS)
def test_header_and_spelling_are_checked_by_us(token: str, gullible: TokenBox, request: pytest.FixtureRequest) -> None:
    """A wrong header, a second spelling or a wrong length is refused before a library is asked."""
    if request.node.callspec.id.endswith(SIGNATURE):
        payload, sealed = gullible.open(token)
        assert (json.loads(payload)["aud"], sealed) == (semconv.HANDLE_AUDIENCE, False)
        return
    with pytest.raises(ValueError):
        gullible.open(token)


def test_text_of_a_seal_has_one_spelling(gullible: TokenBox) -> None:
    """Spare bits of the encrypted text are zero, too."""
    head, _, iv, text, tag = primitives.sealed_parts(primitives.BASE | {"pn": "xy"})
    assert len(text) % 4, "this text has spare bits"
    assert gullible.open(f"{head}..{iv}.{text}.{tag}") == (b"{}", True)
    with pytest.raises(ValueError):
        gullible.open(f"{head}..{iv}.{primitives.loosen(text)}.{tag}")


@pytest.mark.parametrize("sealed", [False, True])
def test_any_payload_comes_back(sealed: bool) -> None:
    """A box carries bytes, whatever they are, up to its room."""
    box = TokenBox(Keyring.from_text(VECTORS["keys"][0]), sealed=sealed)
    for payload in (b"\0", bytes(range(256)), b"x" * box.room, json.dumps({"a": 1}).encode()):
        assert box.open(box.write(payload)) == (payload, sealed)
    assert len(box.write(b"x" * box.room)) <= _jose.LONGEST_TOKEN < len(box.write(b"x" * (box.room + 3)))
