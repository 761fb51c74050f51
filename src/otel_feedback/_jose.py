"""Signing and sealing (JOSE): puts a payload into a compact token, and gets it out of one that is genuine.

PyJWT signs and verifies (RFC 7515), joserfc seals (RFC 7516). Both are imported when they are first
needed, since they take longer to load than all the rest.
"""

import base64
import hmac
import json
import re
from typing import TYPE_CHECKING, Any, Final

from otel_feedback._guard import warn_once
from otel_feedback._keys import Key, Keyring
from otel_feedback.exceptions import ConfigurationError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Callable

    from joserfc.jwk import OctKey

LONGEST_TOKEN: Final = 1024
"""Characters. Longer ones are neither made nor looked at."""

SEALING_INFO: Final = b"otel-feedback handle sealing"
"""The ``info`` of HKDF-SHA256 (RFC 5869, without salt) that derives the sealing key from a shared key."""

_SEGMENT: Final = "([A-Za-z0-9_-]+)"
_SIGNED: Final = re.compile(rf"{_SEGMENT}\.{_SEGMENT}\.{_SEGMENT}")
_SEALED: Final = re.compile(rf"{_SEGMENT}\.\.{_SEGMENT}\.{_SEGMENT}\.{_SEGMENT}")
_TYPE: Final = "JWT"
_IV_BYTES: Final = 12
_TAG_BYTES: Final = 16
_MOST_HEADS: Final = 64
"""Heads of genuine form that are remembered, not to be read again for every token."""

to_json: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
"""Compact JSON; text stays as it is, lone surrogates too."""


class TokenBox:
    """The keys of a process at work: the first writes tokens, all of them open.

    Args:
        keyring: The keys.
        sealed: Whether tokens that are written are encrypted. Both kinds are opened.

    Raises:
        ConfigurationError: A key cannot be used, or the first cannot seal.
        MissingExtraError: A key or the sealing needs the extra ``[crypto]``.
    """

    def __init__(self, keyring: Keyring, *, sealed: bool) -> None:
        self._keyring = keyring
        self._signers = {key.kid: _Signer(key) for key in keyring.keys}
        self._known_heads: dict[str, _Signer] = {}
        self._sealers: dict[str, _Sealer] | None = None
        first = keyring.keys[0]
        writer: _Signer | _Sealer = self._signers[first.kid]
        if sealed:
            if first.algorithm != "HS256":
                raise ConfigurationError(
                    "OTEL_FEEDBACK_HANDLE_FACTS=sealed needs an HS256 key as the first of the handle keys."
                )
            writer = self._open_sealers()[first.kid]
        self.write: Final = writer.write
        """Payload to token."""
        self.room: Final = writer.room
        """Bytes of payload that a token can hold; 0 where the first key only verifies."""

    def open(self, token: str) -> tuple[bytes, bool]:
        """The payload of a genuine token, and whether it was sealed.

        Raises:
            ValueError: The token is not genuine.
        """
        if len(token) > LONGEST_TOKEN:
            raise ValueError
        if segments := _SIGNED.fullmatch(token):
            return self._verify(token, head=segments[1]), False
        if segments := _SEALED.fullmatch(token):
            return self._unseal(token, *segments.groups()), True
        raise ValueError

    def _verify(self, token: str, *, head: str) -> bytes:
        signer = self._known_heads.get(head)
        if signer is None:
            signer = self._signer_of(_header(head))
            if len(self._known_heads) < _MOST_HEADS:  # a head is public, and almost every token has the same
                self._known_heads[head] = signer
        return signer.verify(token)

    def _signer_of(self, header: dict[str, Any]) -> "_Signer":
        signer = self._signers.get(header["kid"])
        if signer is None or header != {"alg": signer.algorithm, "kid": header["kid"]}:
            raise ValueError
        return signer

    def _unseal(self, token: str, head: str, iv: str, text: str, tag: str) -> bytes:
        header = _header(head)
        if header != {"alg": "dir", "enc": "A256GCM", "kid": header["kid"]}:
            raise ValueError
        _decode(text)
        if len(_decode(iv)) != _IV_BYTES or len(_decode(tag)) != _TAG_BYTES:
            raise ValueError
        try:
            sealer = self._open_sealers().get(header["kid"])
        except MissingExtraError as error:
            warn_once("sealed-handle", "otel-feedback: a sealed handle cannot be read. %s", error)
            raise ValueError from None
        if sealer is None:
            raise ValueError
        return sealer.unseal(token)

    def _open_sealers(self) -> "dict[str, _Sealer]":
        """Made when the first sealed token is made or comes: most services never see one."""
        if self._sealers is None:
            self._sealers = {key.kid: _Sealer(key) for key in self._keyring.keys if key.algorithm == "HS256"}
        return self._sealers


class _Signer:
    """One key that signs or verifies, with what PyJWT would otherwise prepare anew for each token."""

    def __init__(self, key: Key) -> None:
        import jwt

        self.algorithm = "HS256" if key.algorithm == "HS256" else "EdDSA"
        self._private, self._public = _prepare(key)
        algorithm = jwt.get_algorithm_by_name(self.algorithm)
        self._sign = algorithm.sign
        # PyJWT's own asks OpenSSL for its SHA-256 anew each time, which costs more than all the rest of a handle.
        self._is_signed: Callable[[bytes, Any, bytes], bool] = (
            _Hs256(self._public).is_signed if self.algorithm == "HS256" else algorithm.verify
        )
        self._head = _encode(to_json({"alg": self.algorithm, "kid": key.kid, "typ": _TYPE}).encode()) + b"."
        signature = _length(32 if self.algorithm == "HS256" else 64)
        self.room = (LONGEST_TOKEN - len(self._head) - 1 - signature) * 3 // 4 if self._private else 0

    def write(self, payload: bytes) -> str:
        signed = self._head + _encode(payload)
        return b".".join((signed, _encode(self._sign(signed, self._private)))).decode("ascii")

    def verify(self, token: str) -> bytes:
        signed, _, signature = token.rpartition(".")
        if not self._is_signed(signed.encode("ascii"), self._public, _decode(signature)):
            raise ValueError
        return _decode(signed.partition(".")[2])


class _Hs256:
    """RFC 7515, A.1: HMAC-SHA256 over the first two segments, compared in constant time."""

    def __init__(self, secret: bytes) -> None:
        self._begun = hmac.new(secret, digestmod="sha256")

    def is_signed(self, signed: bytes, _: object, signature: bytes) -> bool:
        mac = self._begun.copy()
        mac.update(signed)
        return hmac.compare_digest(mac.digest(), signature)


def _prepare(key: Key) -> tuple[Any, Any]:
    """What PyJWT signs with, or None, and what it verifies with."""
    import jwt

    if key.algorithm == "HS256":
        try:
            shared = jwt.get_algorithm_by_name("HS256").prepare_key(key.secret)
        except jwt.InvalidKeyError:
            raise ConfigurationError(
                "A key of OTEL_FEEDBACK_HANDLE_KEYS is a PEM, SSH or JSON key. HS256 needs random bytes."
            ) from None
        return shared, shared
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
    except ImportError:
        raise MissingExtraError("crypto", "cryptography") from None
    if key.algorithm == "EdDSA-public":
        return None, Ed25519PublicKey.from_public_bytes(key.secret)
    private = Ed25519PrivateKey.from_private_bytes(key.secret)
    return private, private.public_key()


class _Sealer:
    """The key that is derived from one shared key: it seals and opens."""

    def __init__(self, key: Key) -> None:
        try:
            from joserfc import errors, jwe, jwk
        except ImportError:
            raise MissingExtraError("crypto", "joserfc") from None
        self._jwe = jwe
        self._errors = errors.JoseError
        self._registry = jwe.JWERegistry(algorithms=["dir", "A256GCM"])
        self._key: OctKey = jwk.OctKey.import_key(_derive(key.secret))
        self._header = {"alg": "dir", "enc": "A256GCM", "kid": key.kid, "typ": _TYPE}
        head = _length(len(to_json(self._header)))
        self.room = (LONGEST_TOKEN - head - _length(_IV_BYTES) - _length(_TAG_BYTES) - 4) * 3 // 4

    def write(self, payload: bytes) -> str:
        return self._jwe.encrypt_compact(self._header, payload, self._key, registry=self._registry)

    def unseal(self, token: str) -> bytes:
        try:
            opened = self._jwe.decrypt_compact(token, self._key, registry=self._registry)
        except self._errors:
            raise ValueError from None
        return opened.plaintext or b""


def _derive(secret: bytes) -> bytes:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(SHA256(), 32, salt=None, info=SEALING_INFO).derive(secret)


def _header(segment: str) -> dict[str, Any]:
    """A header with a key id, without the type that it may name."""
    header = json.loads(_decode(segment).decode())
    if not isinstance(header, dict) or header.pop("typ", _TYPE) != _TYPE:
        raise ValueError
    if not isinstance(header.get("kid"), str):
        raise ValueError  # noqa: TRY004 - one kind of error for whatever is wrong with a token
    return header


def _encode(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _decode(segment: str) -> bytes:
    """Base64url without padding whose spare bits are zero, so that no other text says the same."""
    data = base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    if _encode(data).decode("ascii") != segment:
        raise ValueError
    return data


def _length(count: int) -> int:
    """Characters of ``count`` bytes in base64url."""
    return (count * 4 + 2) // 3
