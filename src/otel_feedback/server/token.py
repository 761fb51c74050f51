"""The token of a data folder: who has it may read everything and look after the files."""

import hmac
import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from otel_feedback._files import TOKEN_FILE, create_once
from otel_feedback.exceptions import StoreError

COOKIE: Final = "otel_feedback_session"
"""Name of the cookie that stands for the token in a browser."""

_USABLE: Final = re.compile(r"[A-Za-z0-9_-]{32,512}")


@dataclass(frozen=True)
class Token:
    """The token, which is compared in constant time and never shown."""

    secret: str = field(repr=False)

    @classmethod
    def of(cls, folder: Path) -> "Token":
        """Read the token of a folder, or make it: a file that only its owner can read.

        Raises:
            StoreError: It can't be read or made, or isn't one.
        """
        path = folder / TOKEN_FILE
        try:
            if not path.exists():
                create_once(path, secrets.token_urlsafe(32))
            text = path.read_text(encoding="utf-8").strip()
            path.chmod(0o600)
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no text"
            raise StoreError(
                f"The token in {path} cannot be used ({reason}). Remove the file; a new one is made."
            ) from None
        if not _USABLE.fullmatch(text):
            raise StoreError(f"The token in {path} is not one. Remove the file; a new one is made.")
        return cls(text)

    @property
    def session(self) -> str:
        """What a browser keeps instead of the token: made of it, and of no use to find it."""
        return hmac.digest(self.secret.encode(), b"otel-feedback browser session", "sha256").hex()

    def is_bearer(self, authorization: str) -> bool:
        """Whether an ``Authorization`` header has the token."""
        scheme, _, given = authorization.partition(" ")
        return scheme.lower() == "bearer" and self.matches(given.strip())

    def matches(self, given: str) -> bool:
        """Whether this is the token."""
        return _same(given, self.secret)

    def is_session(self, cookie: str) -> bool:
        """Whether a browser's cookie was given for this token."""
        return _same(cookie, self.session)


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), wanted.encode())
