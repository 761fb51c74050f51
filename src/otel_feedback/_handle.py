"""Handles: signed, expiring references to one interaction, made with the answer and checked with the feedback.

The format is a JWT; ``docs/handle.md`` describes it for other languages and has test vectors.
"""

import base64
import binascii
import json
import os
import re
import secrets
import stat
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn, cast

from otel_feedback import semconv
from otel_feedback._guard import warn_once
from otel_feedback.exceptions import ConfigurationError, InvalidHandleError, MissingExtraError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

LONGEST_HANDLE: Final = 1024
"""Characters. Longer ones are neither made nor looked at."""

LONGEST_LIFE: Final = 10 * 365 * 86_400
"""Seconds from ``iat`` to ``exp``, at most."""

CLOCK_LEEWAY: Final = 60
"""Seconds by which the clock of whoever made a handle may be ahead of ours."""

SHORTEST_KEY: Final = 32
"""Bytes: the length of HS256's output (RFC 7518, 3.2)."""

KEY_FILE: Final = "handle-keys"
"""Name of the key file in the state folder."""

SEALING_INFO: Final = b"otel-feedback handle sealing"
"""The ``info`` of HKDF-SHA256 (RFC 5869, no salt) that derives the sealing key from a signing key."""

FACT_CLAIMS: Final = {
    semconv.FEEDBACK_SERVICE_NAME: "svc",
    semconv.FEEDBACK_SERVICE_NAMESPACE: "ns",
    semconv.FEEDBACK_ENVIRONMENT: "env",
    semconv.FEEDBACK_PROMPT_NAME: "pn",
    semconv.FEEDBACK_PROMPT_VERSION: "pv",
    semconv.FEEDBACK_PROMPT_FINGERPRINT: "pf",
    semconv.FEEDBACK_MODEL: "mdl",
    semconv.FEEDBACK_PROVIDER: "prv",
    semconv.FEEDBACK_QUERY_TYPE: "qt",
    semconv.FEEDBACK_RESPONSE_ID: "rid",
}
"""Claim of each fact."""

Algorithm = Literal["HS256", "EdDSA", "EdDSA-public"]
FactsMode = Literal["plain", "none", "sealed"]

_KEY_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,32}")
_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]+={0,2}")
_SIGNED: Final = re.compile(r"([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+\.([A-Za-z0-9_-]+)")
_SEALED: Final = re.compile(r"([A-Za-z0-9_-]+)\.\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
_TRACEPARENT: Final = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_PSEUDONYM: Final = re.compile(r"[A-Za-z0-9._-]{1,32}:[0-9a-f]{32}")
_MAKE_A_KEY: Final = "python -c \"import secrets; print('k1:HS256:' + secrets.token_urlsafe(32))\""


@dataclass(frozen=True, slots=True)
class Handle:
    """What a checked handle says."""

    trace_id: int
    span_id: int
    sampled: bool
    """Whether the interaction span was sampled."""
    issued_at: int
    """Seconds since the epoch."""
    expires_at: int
    """Seconds since the epoch; from then on the handle is refused."""
    facts: Mapping[str, str]
    """Facts known when the handle left, by their names in ``semconv``."""
    user: str | None = None
    """Pseudonym of who asked; only a sealed handle has it."""


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
            ConfigurationError: A key cannot be read or is too weak, two have one id, or there is none.
        """
        raise NotImplementedError

    @classmethod
    def from_file(cls, path: Path) -> "Keyring":
        """Read the keys of a file, one a line.

        Raises:
            ConfigurationError: As ``from_text``, or the file cannot be read.
        """
        raise NotImplementedError

    @classmethod
    def from_state_dir(cls, folder: Path) -> "Keyring":
        """Read the key that the first process of this machine made, or make it: mode 0600, one for all of them.

        Raises:
            ConfigurationError: The folder cannot be written or the file cannot be used.
        """
        raise NotImplementedError

    @staticmethod
    def generate_text(kid: str | None = None) -> str:
        """A new HS256 key, as ``from_text`` reads it; a random id unless one is given."""
        raise NotImplementedError


class HandleCodec:
    """Makes and checks handles.

    Args:
        keyring: The keys; the first makes new handles.
        ttl: Seconds for which a new handle can be used.
        facts_mode: How a new handle carries facts: readable, not at all, or sealed. All kinds are read.
        clock: Seconds since the epoch.

    Raises:
        ConfigurationError: The keys or ``ttl`` cannot be used, or the first key cannot seal.
        MissingExtraError: A key or the sealing needs the extra ``[crypto]``.
    """

    def __init__(
        self,
        keyring: Keyring,
        *,
        ttl: int = 30 * 86_400,
        facts_mode: FactsMode = "plain",
        clock: Callable[[], float] = time.time,
    ) -> None:
        raise NotImplementedError

    @property
    def can_issue(self) -> bool:
        """Whether the first key can sign; a public one only verifies."""
        raise NotImplementedError

    def issue(
        self, *, trace_id: int, span_id: int, sampled: bool, facts: Mapping[str, str], user: str | None = None
    ) -> str:
        """Make the handle of one interaction.

        Args:
            trace_id: Of the interaction span.
            span_id: Of the interaction span.
            sampled: Whether it was sampled.
            facts: By their names in ``semconv``; others, empty ones and what UTF-8 cannot hold are left out. While
                the handle is longer than 1024 characters, the longest fact is left out; none is cut.
            user: Pseudonym of who asked; left out unless the handle is sealed, since its holder could read it.

        Raises:
            ValueError: An id is zero or too large, or ``user`` is no pseudonym.
            ConfigurationError: The first key can only verify.
        """
        raise NotImplementedError

    def read(self, token: object) -> Handle:
        """Check a handle and say what it refers to.

        Raises:
            InvalidHandleError: Whatever is wrong with it; always the same message.
        """
        raise NotImplementedError
