"""Keys of handles, from a setting, a file or the state folder where one is made, and keys of pseudonyms."""

import base64
import os
import re
import secrets
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, get_args

from otel_feedback._files import create_once
from otel_feedback._guard import warn_once
from otel_feedback.exceptions import ConfigurationError

Algorithm = Literal["HS256", "EdDSA", "EdDSA-public"]

KEY_ID: Final = r"[A-Za-z0-9._-]{1,32}"
"""Regular expression of a key's id."""

KEY_BYTES: Final = 32
"""Least length of a shared key (RFC 7518, 3.2), and the exact length of an Ed25519 key (RFC 8032, 5.1.5)."""

KEY_FILE: Final = "handle-keys"
"""Name of the key file in the state folder."""

_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]+={0,2}")
_KEY_ID_WORDS: Final = "with an id of 1 to 32 letters, digits, '.', '_' and '-'"
_FILE_BYTES: Final = 65_536
_OTHERS: Final = stat.S_IRWXO
_ALL_BUT_OWNER: Final = stat.S_IRWXO | stat.S_IRWXG


@dataclass(frozen=True, slots=True)
class Key:
    """One key: its id selects it, and with it its one algorithm."""

    kid: str
    algorithm: Algorithm
    secret: bytes = field(repr=False)
    """HS256: the shared key; EdDSA: the private seed; EdDSA-public: the public key."""


@dataclass(frozen=True, slots=True)
class Keyring:
    """The keys that a process knows. The first signs, all verify."""

    keys: tuple[Key, ...]

    @classmethod
    def from_text(cls, text: str, *, source: str = "OTEL_FEEDBACK_HANDLE_KEYS") -> "Keyring":
        """Read keys, ``kid:algorithm:base64url``, separated by commas or lines.

        Args:
            text: The keys; empty lines and lines that start with ``#`` are passed over.
            source: Where they come from, for messages.

        Raises:
            ConfigurationError: A key cannot be read or is too short, two have one id, or there is none.
        """
        keys = tuple(_key(place, entry) for place, entry in _entries(text, source))
        if not keys:
            raise ConfigurationError(f"{source} has no key. A key is kid:algorithm:base64url.")
        if len({key.kid for key in keys}) < len(keys):
            raise ConfigurationError(f"{source} has two keys with one id. Give each key an id of its own.")
        return cls(keys)

    @classmethod
    def from_file(cls, path: Path) -> "Keyring":
        """Read the keys of a file, one a line.

        Raises:
            ConfigurationError: As ``from_text``, or the file cannot be read.
        """
        source = f"OTEL_FEEDBACK_HANDLE_KEYS_FILE ({path})"
        # Secrets mounted into a container often are the group's to read; that is no mistake.
        return cls.from_text(_read(path, source, private_from=_OTHERS), source=source)

    @classmethod
    def from_state_dir(cls, folder: Path) -> "Keyring":
        """Read the key that the first process of this machine made, or make it: mode 0600, one for all.

        Raises:
            ConfigurationError: The folder cannot be written or the file cannot be used.
        """
        path = folder / KEY_FILE
        source = f"The key file {path}"
        try:
            if not path.exists():
                create_once(path, cls.generate_text())
        except OSError as error:
            raise ConfigurationError(
                f"No key can be kept in {folder} ({error.strerror}). Set OTEL_FEEDBACK_HANDLE_KEYS, or "
                "OTEL_FEEDBACK_STATE_DIR to a folder that can be written."
            ) from None
        return cls.from_text(_read(path, source, private_from=_ALL_BUT_OWNER), source=source)

    @staticmethod
    def generate_text(kid: str | None = None) -> str:
        """A new HS256 key, as ``from_text`` reads it; with a random id unless one is given."""
        return f"{kid or secrets.token_hex(4)}:HS256:{secrets.token_urlsafe(KEY_BYTES)}"


def pseudonym_key(text: str) -> tuple[str, bytes]:
    """Id and key of the first of ``id:base64url,...``, once all of them are found right.

    Raises:
        ConfigurationError: A key cannot be read or is too short, or there is none.
    """
    source = "OTEL_FEEDBACK_PSEUDONYM_KEYS"
    keys = []
    for place, entry in _entries(text, source):
        kid, colon, secret = entry.partition(":")
        if not colon or not re.fullmatch(KEY_ID, kid):
            raise ConfigurationError(f"{place} is not id:base64url, {_KEY_ID_WORDS}.")
        keys.append((kid, _secret(place, secret)))
    if not keys:
        raise ConfigurationError(f"{source} has no key. A key is id:base64url.")
    return keys[0]


def _entries(text: str, source: str) -> Iterator[tuple[str, str]]:
    """Each key with what messages call it: its place, since anything of its text may be the secret."""
    entries = (entry.strip() for entry in re.split(r"[,\r\n]", text))
    keys = (entry for entry in entries if entry and not entry.startswith("#"))
    for number, entry in enumerate(keys, start=1):
        yield f"{source}: key {number}", entry


def _key(place: str, entry: str) -> Key:
    kid, _, rest = entry.partition(":")
    algorithm, colon, text = rest.partition(":")
    if not colon or not re.fullmatch(KEY_ID, kid):
        raise ConfigurationError(f"{place} is not kid:algorithm:base64url, {_KEY_ID_WORDS}.")
    for known in get_args(Algorithm):
        if algorithm == known:
            return Key(kid, known, _secret(place, text, exact=known != "HS256"))
    raise ConfigurationError(f"{place} has an unknown algorithm. There are {', '.join(get_args(Algorithm))}.")


def _secret(place: str, text: str, *, exact: bool = False) -> bytes:
    if not _BASE64URL.fullmatch(text):
        raise ConfigurationError(f"{place} is not base64url (letters, digits, - and _).")
    text = text.rstrip("=")
    try:
        secret = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        raise ConfigurationError(f"{place} is not base64url: something is missing.") from None
    if len(secret) < KEY_BYTES or (exact and len(secret) > KEY_BYTES):
        raise ConfigurationError(
            f"{place} has {len(secret)} bytes. HS256 and pseudonyms need at least {KEY_BYTES} random bytes, "
            f"EdDSA and EdDSA-public exactly {KEY_BYTES}."
        )
    return secret


def _read(path: Path, source: str, *, private_from: int) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            status = os.fstat(file.fileno())
            text = file.read(_FILE_BYTES)
    except OSError as error:
        raise ConfigurationError(f"{source} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{source} is not text with one kid:algorithm:base64url a line.") from None
    if os.name == "posix" and status.st_mode & private_from:
        warn_once(
            f"open-keys:{path}",
            "otel-feedback: other users of this machine can read the keys in %s and forge handles. "
            "Take that right away (chmod 600).",
            path,
        )
    # Whoever put the file into a folder that others can write knows the keys. Secrets that are mounted are root's.
    if os.name == "posix" and status.st_uid not in {0, os.geteuid()}:
        warn_once(
            f"foreign-keys:{path}",
            "otel-feedback: another user of this machine owns the keys in %s and can forge handles. Keep them in a "
            "folder that only this service can write (OTEL_FEEDBACK_STATE_DIR).",
            path,
        )
    return text
