"""The parts that one process shares, made on first use: settings, handle codec, pseudonym key.

There is no thread, socket or lock here, and what is made once stays as it is: a forked child goes on with its
parent's, and two threads that make the same thing at once make equal ones.
"""

import contextlib
import hmac
from collections.abc import Iterator
from typing import Final

from otel_feedback._guard import guard, warn_once
from otel_feedback._handle import HandleCodec, Keyring
from otel_feedback._keys import pseudonym_key
from otel_feedback._settings import Settings
from otel_feedback.exceptions import ConfigurationError, OtelFeedbackError

MAKE_A_KEY: Final = "python -c \"import secrets; print('k1:HS256:' + secrets.token_urlsafe(32))\""
"""Command that prints a value for ``OTEL_FEEDBACK_HANDLE_KEYS``."""


class _Parts:
    """What was made so far; ``configure`` replaces the whole, so that nothing of older settings stays."""

    def __init__(self, settings: Settings | None = None, codec: HandleCodec | None = None) -> None:
        self.chosen = settings
        self._codec = codec
        self._codec_tried = codec is not None
        self._pseudonym_key: tuple[str, bytes] | None = None
        self._pseudonym_key_tried = False

    def settings(self) -> Settings:
        if self.chosen is None:
            self.chosen = _settings_from_env()
        return self.chosen

    def codec(self) -> HandleCodec | None:
        if not self._codec_tried:
            self._codec = _codec_or_none(self.settings())
            self._codec_tried = True
        return self._codec

    def codec_at_hand(self) -> HandleCodec | None:
        settings = self.settings()
        given = settings.handle_keys is not None or settings.handle_keys_file is not None
        return self.codec() if given else self._codec

    def pseudonym_key(self) -> tuple[str, bytes] | None:
        if not self._pseudonym_key_tried:
            self._pseudonym_key = _pseudonym_key_or_none(self.settings())
            self._pseudonym_key_tried = True
        return self._pseudonym_key


_parts = _Parts()


def settings() -> Settings:
    """The settings of this process: what ``configure`` was given, else the environment's. Never raises.

    An environment that cannot be used is warned about once, and otel-feedback stays off.
    """
    return _parts.chosen or _parts.settings()


def configure(settings: Settings) -> None:
    """Use these settings from now on."""
    global _parts  # noqa: PLW0603 - one for the whole process, by design
    _parts = _Parts(settings)


def enabled() -> bool:
    """Whether otel-feedback takes part at all."""
    return not _parts.settings().disabled


def codec() -> HandleCodec | None:
    """The codec of this process; None where otel-feedback is off or, after one warning, has no usable key.

    Never raises.
    """
    return _parts.codec()


def codec_at_hand() -> HandleCodec | None:
    """The codec of this process where keys are given or it was asked for: no key is made for this, and nothing said.

    Never raises.
    """
    return _parts.codec_at_hand()


def pseudonym(user: str) -> str | None:
    """The pseudonym of a user: ``<key id>:<32 hex digits>``; None without a key or for an empty id.

    The digits are the first half of HMAC-SHA256 (RFC 2104) over the id in UTF-8: one person has one pseudonym
    for as long as the key stays the first.
    """
    key = _parts.pseudonym_key()
    if key is None or not user:
        return None
    key_id, secret = key
    # A lone surrogate is no character, but whoever has one in an id shall get a pseudonym all the same.
    return f"{key_id}:{hmac.digest(secret, user.encode('utf-8', 'surrogatepass'), 'sha256').hex()[:32]}"


def make_codec(settings: Settings, *, may_make_key: bool) -> HandleCodec:
    """The codec that settings ask for.

    Args:
        settings: Where keys, lifetime and the mode of facts are read.
        may_make_key: Whether, without a key in the settings, the state folder's is used, and made if need be.

    Raises:
        ConfigurationError: The keys cannot be used, or there are none and none may be made.
        MissingExtraError: They need the extra ``[crypto]``.
    """
    if settings.handle_keys is not None:
        keyring = Keyring.from_text(settings.handle_keys)
    elif settings.handle_keys_file is not None:
        keyring = Keyring.from_file(settings.handle_keys_file)
    elif may_make_key:
        keyring = Keyring.from_state_dir(settings.state_dir)
        warn_once(
            "no-handle-key",
            "otel-feedback: OTEL_FEEDBACK_HANDLE_KEYS is not set, so handles are signed with a key in %s, "
            "which only this machine has. Where services or their capture run elsewhere too, give all of "
            "them the same OTEL_FEEDBACK_HANDLE_KEYS; this prints one: %s",
            settings.state_dir,
            MAKE_A_KEY,
        )
    else:
        raise ConfigurationError(f"OTEL_FEEDBACK_HANDLE_KEYS is not set. This prints a value for it: {MAKE_A_KEY}")
    return HandleCodec(keyring, ttl=settings.handle_ttl, facts_mode=settings.handle_facts)


def reset() -> None:
    """Forget everything: for tests."""
    global _parts  # noqa: PLW0603 - one for the whole process, by design
    _parts = _Parts()


@contextlib.contextmanager
def in_use(settings: Settings, codec: HandleCodec | None = None) -> Iterator[None]:
    """Use these settings, and this codec instead of the one that they ask for, for a while: for tests."""
    global _parts  # noqa: PLW0603 - one for the whole process, by design
    before, _parts = _parts, _Parts(settings, codec)
    try:
        yield
    finally:
        _parts = before


def _settings_from_env() -> Settings:
    try:
        settings = Settings.from_env()
    except ConfigurationError as error:
        warn_once("settings", "otel-feedback stays off: %s", error)
        return Settings(disabled=True)
    if settings.disabled:
        warn_once("disabled", "otel-feedback stays off, as OpenTelemetry does: OTEL_SDK_DISABLED is true.")
    return settings


def _codec_or_none(settings: Settings) -> HandleCodec | None:
    if settings.disabled:
        return None
    with guard("handle codec"):
        try:
            made = make_codec(settings, may_make_key=True)
        except OtelFeedbackError as error:
            warn_once("handle-keys", "otel-feedback gives no handles and accepts none: %s", error)
            return None
        if not made.can_issue:
            warn_once(
                "public-key",
                "otel-feedback accepts handles and gives none, since the first key of OTEL_FEEDBACK_HANDLE_KEYS is "
                "public. Where answers are given, the first key must be HS256 or EdDSA.",
            )
        return made
    return None


def _pseudonym_key_or_none(settings: Settings) -> tuple[str, bytes] | None:
    if settings.pseudonym_keys is None:
        return None
    try:
        return pseudonym_key(settings.pseudonym_keys)
    except ConfigurationError as error:
        warn_once("pseudonym-keys", "otel-feedback records no user.hash: %s", error)
        return None
