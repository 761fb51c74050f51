"""The parts that one process shares, made on first use: settings, handle codec, pseudonym key.

Nothing here has a thread, a socket or a lock, and nothing changes once it is made, so a forked child goes on with what
its parent made.
"""

from otel_feedback._handle import HandleCodec
from otel_feedback._settings import Settings


def settings() -> Settings:
    """The settings of this process: what ``configure`` was given, else the environment; never raises.

    An environment that cannot be used is warned about once, and otel-feedback stays off.
    """
    raise NotImplementedError


def configure(settings: Settings) -> None:
    """Use these settings from now on."""
    raise NotImplementedError


def enabled() -> bool:
    """Whether otel-feedback takes part at all."""
    raise NotImplementedError


def codec() -> HandleCodec | None:
    """The codec of this process; None, after one warning, where its keys cannot be used. Never raises."""
    raise NotImplementedError


def make_codec(settings: Settings, *, may_make_key: bool) -> HandleCodec:
    """Make the codec that the settings ask for; without a key in them, with the state folder's if that is allowed.

    Raises:
        ConfigurationError: The keys cannot be used, or there are none and none may be made.
        MissingExtraError: They need the extra ``[crypto]``.
    """
    raise NotImplementedError


def pseudonym(user: str) -> str | None:
    """``<key id>:<32 hex digits>``, the first half of HMAC-SHA256 over the id's UTF-8; None without a key."""
    raise NotImplementedError


def reset() -> None:
    """Forget everything: for tests."""
    raise NotImplementedError
