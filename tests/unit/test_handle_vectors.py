"""The vectors that other languages check themselves by, run here with three implementations."""

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import joserfc.jwe
import joserfc.jwk
import joserfc.jwt
import jwt
import pytest
from tests.unit import handle_vectors

from otel_feedback._handle import Handle, HandleCodec, Keyring
from otel_feedback._keys import pseudonym_key
from otel_feedback._runtime import configure, pseudonym, reset
from otel_feedback._settings import Settings
from otel_feedback.exceptions import InvalidHandleError

FILE = Path(__file__).parents[2] / "docs" / "handle-vectors.json"
VECTORS: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
VALID = [pytest.param(each, id=each["name"]) for each in VECTORS["valid"]]
INVALID = [pytest.param(each["token"], id=each["name"]) for each in VECTORS["invalid"]]
SIGNED = [pytest.param(each, id=each["name"]) for each in VECTORS["valid"] if each["token"].count(".") == 2]
SEALED = [pytest.param(each, id=each["name"]) for each in VECTORS["valid"] if each["token"].count(".") == 4]


def codec(first: str = "k1", **options: Any) -> HandleCodec:
    """A codec with the file's keys and clock, this key first."""
    keys = sorted(VECTORS["keys"], key=lambda key: not key.startswith(first))
    return HandleCodec(Keyring.from_text(",".join(keys)), clock=lambda: VECTORS["clock"], **options)


def as_handle(said: dict[str, Any]) -> Handle:
    """A vector's handle as our type."""
    ids = {name: int(said[name], 16) for name in ("trace_id", "span_id")}
    return Handle(**{**said, **ids})


def test_file_is_what_the_primitives_make() -> None:
    """The committed file is what hmac, Ed25519 and AES-GCM make of the documented format, byte for byte."""
    assert FILE.read_text(encoding="utf-8") == handle_vectors.text()


@pytest.mark.parametrize("vector", VALID)
def test_valid_vector_is_read(vector: dict[str, Any]) -> None:
    """A valid vector says what it is documented to say."""
    assert codec().read(vector["token"]) == as_handle(vector["handle"])


@pytest.mark.parametrize("token", INVALID)
def test_invalid_vector_is_refused(token: str) -> None:
    """An invalid vector is refused, with the one message that tells nothing."""
    with pytest.raises(InvalidHandleError) as refusal:
        codec().read(token)
    assert str(refusal.value) == str(InvalidHandleError())


def test_invalid_vectors_stay_invalid_when_sealed_handles_are_made() -> None:
    """What is refused doesn't depend on the kind of handles that are made."""
    sealing = codec(facts_mode="sealed")
    for each in VECTORS["invalid"]:
        with pytest.raises(InvalidHandleError):
            sealing.read(each["token"])


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("all facts", "k1"),
        ("no facts", "k1"),
        ("not sampled", "k1"),
        ("not ASCII", "k1"),
        ("1024 characters", "k1"),
        ("an older key", "k0"),
        ("EdDSA", "e1"),
    ],
)
def test_handles_are_made_as_documented(name: str, first: str) -> None:
    """What we make is, byte for byte, what the primitives make of the documented format."""
    vector = next(each for each in VECTORS["valid"] if each["name"] == name)
    said = as_handle(vector["handle"])
    made = codec(first).issue(trace_id=said.trace_id, span_id=said.span_id, sampled=said.sampled, facts=said.facts)
    assert made == vector["token"]


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")  # for a name that few libraries know yet
@pytest.mark.parametrize("vector", SIGNED)
def test_another_library_reads_signed_handles(vector: dict[str, Any]) -> None:
    """joserfc, which has no code of PyJWT's, finds the same claims in every signed vector."""
    header = jwt.get_unverified_header(vector["token"])
    private, public = handle_vectors.V1, handle_vectors.V1_PUBLIC
    curve = {"kty": "OKP", "crv": "Ed25519"}
    keys = {
        "k1": joserfc.jwk.OctKey.import_key(handle_vectors.K1),
        "k0": joserfc.jwk.OctKey.import_key(handle_vectors.K0),
        "e1": joserfc.jwk.OKPKey.import_key({**curve, "x": handle_vectors.b64(ed25519_public(handle_vectors.E1))}),
        "v1": joserfc.jwk.OKPKey.import_key({**curve, "x": handle_vectors.b64(public)}),
    }
    assert ed25519_public(private) == public
    decoded = joserfc.jwt.decode(vector["token"], keys[header["kid"]], algorithms=[header["alg"]])
    assert decoded.claims["tp"].split("-")[1] == vector["handle"]["trace_id"]
    assert decoded.claims["exp"] == vector["handle"]["expires_at"]


@pytest.mark.parametrize("vector", SEALED)
def test_the_published_sealing_key_opens_sealed_handles(vector: dict[str, Any]) -> None:
    """A sealed vector opens with the derived key that the file names, by a library alone."""
    key = joserfc.jwk.OctKey.import_key(handle_vectors.sealing_key(handle_vectors.K1))
    assert VECTORS["sealing_keys"]["k1"] == key.as_dict(private=True)["k"]
    claims = json.loads(joserfc.jwe.decrypt_compact(vector["token"], key).plaintext or b"")
    assert claims["tp"].split("-")[1] == vector["handle"]["trace_id"]
    assert claims.get("sub") == vector["handle"]["user"]


def test_pyjwt_alone_reads_what_we_make() -> None:
    """A service that only has PyJWT checks our handles with its usual call."""
    made = HandleCodec(Keyring.from_text(VECTORS["keys"][0])).issue(trace_id=1, span_id=2, sampled=True, facts={})
    claims = jwt.decode(made, handle_vectors.K1, algorithms=["HS256"], audience="otel-feedback")
    assert claims["tp"] == f"00-{1:032x}-{2:016x}-01"


def test_handle_is_hmac_over_two_segments() -> None:
    """An HS256 handle is what the page says: two segments and their HMAC-SHA256, all in base64url."""
    signed, _, signature = codec().issue(trace_id=1, span_id=2, sampled=True, facts={}).rpartition(".")
    digest = hmac.new(handle_vectors.K1, signed.encode(), hashlib.sha256).digest()
    assert signature == handle_vectors.b64(digest)


@pytest.mark.parametrize("vector", VECTORS["pseudonyms"], ids=lambda vector: vector["user"])
def test_pseudonyms_are_as_documented(vector: dict[str, str]) -> None:
    """A user's pseudonym is what the file says, so that another language's service gives the same."""
    assert pseudonym_key(vector["key"])[0] == vector["key"].partition(":")[0]
    configure(Settings(pseudonym_keys=vector["key"]))
    try:
        assert pseudonym(vector["user"]) == vector["pseudonym"]
    finally:
        reset()


def ed25519_public(seed: bytes) -> bytes:
    """The public key of a seed."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
