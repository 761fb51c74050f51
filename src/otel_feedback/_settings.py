"""Every setting in one frozen object, read once at the edge: argument, then environment, then default.

``docs/settings.md`` is the table of these fields for users; a test holds it against them.
"""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Literal

from otel_feedback.exceptions import ConfigurationError

HandleFacts = Literal["plain", "none", "sealed"]
"""How a handle carries its facts: readable by its holder, not at all, or encrypted."""

LONGEST_TTL: Final = 10 * 365 * 86_400
"""Seconds. A handle that lives longer is refused when it comes back, so none is made."""

MOST_ROWS: Final = 10_000_000
"""Largest bound of a table in memory."""

DERIVED: Final = frozenset(("rephrase", "regenerate", "abandon"))
"""Signals that a service can find by itself."""

_DIGITS: Final = re.compile(r"[0-9]{1,12}")
_SWITCH: Final = {"true": True, "1": True, "false": False, "0": False}
_SYSTEM_STATE: Final = Path("/var/lib/otel-feedback")


def _text(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not value.strip():
        raise ValueError
    return value.strip()


def _path(value: object) -> Path | None:
    if value is None:
        return None
    if not isinstance(value, str | Path) or not str(value) or "\0" in str(value):
        raise ValueError
    return Path(os.path.expanduser(value))  # noqa: PTH111 - Path's raises where there is no home folder


def _state_dir(value: object) -> Path:
    path = _path(value)
    if path is None:
        raise ValueError
    # A user without a home folder (a container's arbitrary id) keeps its state where system services do.
    return _SYSTEM_STATE if path.parts[:1] == ("~",) else path


def _whole(least: int, most: int) -> Callable[[object], int]:
    def parse(value: object) -> int:
        if isinstance(value, str) and _DIGITS.fullmatch(value.strip()):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ValueError
        return value

    return parse


def _number(least: float, most: float) -> Callable[[object], float]:
    def parse(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError  # noqa: TRY004 - the caller makes one ConfigurationError of all
        number = float(value)
        if not least <= number <= most:  # nor is NaN between them
            raise ValueError
        return number

    return parse


def _switch(value: object) -> bool:
    if isinstance(value, str):
        return _SWITCH[value.strip().lower()]
    if not isinstance(value, bool):
        raise ValueError  # noqa: TRY004 - the caller makes one ConfigurationError of all
    return value


def _foreign_switch(*on: str) -> Callable[[object], bool]:
    """For variables of others: what we don't know is their business, and off for us."""

    def parse(value: object) -> bool:
        return value.strip().lower() in on if isinstance(value, str) else _switch(value)

    return parse


def _facts(value: object) -> HandleFacts:
    word = value.strip().lower() if isinstance(value, str) else value
    if word not in ("plain", "none", "sealed"):
        raise ValueError
    return word


def _derived(value: object) -> frozenset[str]:
    words = value.split(",") if isinstance(value, str) else value
    if not isinstance(words, list | tuple | set | frozenset):
        raise ValueError  # noqa: TRY004 - the caller makes one ConfigurationError of all
    chosen = frozenset(str(word).strip().lower() for word in words)
    if not chosen <= DERIVED and chosen != {"none"}:
        raise ValueError
    return chosen - {"none"}


def _read(variable: str, parse: Callable[[object], Any], expects: str) -> dict[str, Any]:
    """The metadata of a field: where its value comes from, and what it must be."""
    return {"variable": variable, "parse": parse, "expects": expects}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What can be set. Each field names its environment variable and is checked however it was given.

    Raises:
        ConfigurationError: A value cannot be used. The message names variable and argument and says what is
            expected; it never repeats the value, which may be a key.
    """

    handle_keys: str | None = field(
        default=None,
        repr=False,
        metadata=_read("OTEL_FEEDBACK_HANDLE_KEYS", _text, "kid:algorithm:base64url, comma separated"),
    )
    """Keys of the handles, comma separated; the first signs. ``docs/handle.md`` has the format."""

    handle_keys_file: Path | None = field(
        default=None,
        metadata=_read("OTEL_FEEDBACK_HANDLE_KEYS_FILE", _path, "the path of a file with one key a line"),
    )
    """The same, one a line, in a file; read where ``handle_keys`` is not set."""

    state_dir: Path = field(
        default=Path("~/.local/state/otel-feedback"),
        metadata=_read("OTEL_FEEDBACK_STATE_DIR", _state_dir, "the path of a folder"),
    )
    """Folder for what outlives a process; ``$XDG_STATE_HOME/otel-feedback`` where that variable is set."""

    outbox: Path | None = field(
        default=None,
        metadata=_read("OTEL_FEEDBACK_OUTBOX", _path, "the path of a file, such as /var/lib/app/outbox.db"),
    )
    """File that keeps feedback until it is delivered, and what votes were before; in memory where it is not set."""

    outbox_mib: int = field(
        default=1_024, metadata=_read("OTEL_FEEDBACK_OUTBOX_MIB", _whole(1, 1_048_576), "from 1 to 1048576")
    )
    """MiB of feedback that may wait in it; more is refused."""

    handle_ttl: int = field(
        default=30 * 86_400,
        metadata=_read(
            "OTEL_FEEDBACK_HANDLE_TTL",
            _whole(60, LONGEST_TTL),
            f"a whole number of seconds from 60 to {LONGEST_TTL}",
        ),
    )
    """Seconds for which a handle can be used."""

    handle_facts: HandleFacts = field(
        default="plain",
        metadata=_read("OTEL_FEEDBACK_HANDLE_FACTS", _facts, "one of plain, none, sealed"),
    )
    """How handles carry facts; ``sealed`` needs the extra ``[crypto]``."""

    pseudonym_keys: str | None = field(
        default=None,
        repr=False,
        metadata=_read("OTEL_FEEDBACK_PSEUDONYM_KEYS", _text, "id:base64url, comma separated"),
    )
    """Keys of ``user.hash``, comma separated; the first is used. Without one there is no hash."""

    capture_content: bool = field(
        default=False,
        metadata=_read(
            "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT",
            _foreign_switch("span_only", "span_and_event"),
            "span_only or span_and_event to capture content, or True or False as an argument",
        ),
    )
    """Whether prompts, answers and texts of documents are recorded: the GenAI instrumentations' switch."""

    capture_text: bool = field(default=False, metadata=_read("OTEL_FEEDBACK_CAPTURE_TEXT", _switch, "true or false"))
    """Whether comments and corrected texts are recorded."""

    same_trace_seconds: float = field(
        default=60.0,
        metadata=_read("OTEL_FEEDBACK_SAME_TRACE_SECONDS", _number(0, 86_400), "a number of seconds from 0 to 86400"),
    )
    """Age in seconds up to which feedback joins the trace of its interaction; 0 = never."""

    stream_wait_ms: float = field(
        default=100.0,
        metadata=_read("OTEL_FEEDBACK_STREAM_WAIT_MS", _number(0, 10_000), "a number of milliseconds from 0 to 10000"),
    )
    """Milliseconds for which a streamed response's header may wait for the first chunk; 0 = not at all."""

    derive: frozenset[str] = field(
        default=DERIVED,
        metadata=_read("OTEL_FEEDBACK_DERIVE", _derived, "some of rephrase, regenerate, abandon, or none"),
    )
    """Signals that are found by comparing a conversation's questions, and by clients that leave."""

    abandon_seconds: float = field(
        default=0.0,
        metadata=_read("OTEL_FEEDBACK_ABANDON_SECONDS", _number(0, 86_400), "a number of seconds from 0 to 86400"),
    )
    """Seconds after which a conversation's last answer without any later sign was abandoned; 0 = never."""

    live_spans: int = field(
        default=50_000,
        metadata=_read("OTEL_FEEDBACK_LIVE_SPANS", _whole(1, MOST_ROWS), f"from 1 to {MOST_ROWS}"),
    )
    """Bound of the table of spans that have not ended."""

    finished_interactions: int = field(
        default=10_000,
        metadata=_read("OTEL_FEEDBACK_FINISHED_INTERACTIONS", _whole(1, MOST_ROWS), f"from 1 to {MOST_ROWS}"),
    )
    """Bound of the table of interactions that ended and may still be voted on in this process."""

    disabled: bool = field(
        default=False,
        metadata=_read(
            "OTEL_SDK_DISABLED",
            _foreign_switch("true"),
            "true to switch off, or True or False as an argument",
        ),
    )
    """Whether OpenTelemetry, and otel-feedback with it, is switched off."""

    def __post_init__(self) -> None:
        for each in fields(self):
            variable, expects = each.metadata["variable"], each.metadata["expects"]
            try:
                value = each.metadata["parse"](getattr(self, each.name))
            except (ValueError, TypeError, KeyError, OverflowError):
                raise ConfigurationError(f"{variable} (argument {each.name}) must be {expects}.") from None
            object.__setattr__(self, each.name, value)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ, **arguments: Any) -> "Settings":
        """Read the settings: arguments that are not None, then the environment, then the defaults.

        Args:
            environ: The environment; an empty value counts as not set.
            arguments: Fields by name.

        Raises:
            ConfigurationError: A value cannot be used, or there is no such field.
        """
        known = {each.name: each.metadata["variable"] for each in fields(cls)}
        if unknown := sorted(set(arguments) - set(known)):
            raise ConfigurationError(f"No setting is called {', '.join(unknown)}. Settings: {', '.join(known)}.")
        values: dict[str, Any] = {
            name: environ[variable] for name, variable in known.items() if environ.get(variable, "").strip()
        }
        state_home = environ.get("XDG_STATE_HOME", "")
        if "state_dir" not in values and Path(state_home).is_absolute():
            values["state_dir"] = Path(state_home) / "otel-feedback"
        values.update((name, value) for name, value in arguments.items() if value is not None)
        return cls(**values)


def outbox_path(settings: Settings) -> Path:
    """Return the outbox's file for commands, which always have one: by default ``outbox.db`` in the state folder."""
    return settings.outbox or settings.state_dir / "outbox.db"
