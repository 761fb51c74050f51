"""Handles: signed, expiring references to one interaction, made with the answer, checked with the feedback.

The format is a JWT; ``docs/handle.md`` describes it for other languages and has test vectors.
"""

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from otel_feedback import semconv
from otel_feedback._jose import LONGEST_TOKEN, TokenBox, to_json
from otel_feedback._keys import KEY_ID
from otel_feedback._keys import Keyring as Keyring  # noqa: PLC0414 - whoever makes a codec needs a keyring
from otel_feedback.exceptions import ConfigurationError, InvalidHandleError

LONGEST_LIFE: Final = 10 * 365 * 86_400
"""Seconds from ``iat`` to ``exp``, at most."""

CLOCK_LEEWAY: Final = 60
"""Seconds by which the clock of whoever made a handle may be ahead of ours."""

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
"""The claim that carries each fact."""

FactsMode = Literal["plain", "none", "sealed"]

_TRACEPARENT: Final = re.compile("00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_PSEUDONYM: Final = re.compile(rf"{KEY_ID}:[0-9a-f]{{32}}")


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
        if not 0 < ttl <= LONGEST_LIFE:
            raise ConfigurationError(f"A handle lives from 1 to {LONGEST_LIFE} seconds.")
        self._ttl = ttl
        self._facts_mode = facts_mode
        self._clock = clock
        self._box = TokenBox(keyring, sealed=facts_mode == "sealed")

    @property
    def can_issue(self) -> bool:
        """Whether the first key can make handles; a public one only verifies."""
        return self._box.room > 0

    def issue(
        self, *, trace_id: int, span_id: int, sampled: bool, facts: Mapping[str, str], user: str | None = None
    ) -> str:
        """Make the handle of one interaction.

        Args:
            trace_id: Of the interaction span.
            span_id: Of the interaction span.
            sampled: Whether it was sampled.
            facts: By their names in ``semconv``; others, empty ones and what UTF-8 cannot hold are left out.
                While the handle is longer than 1024 characters its longest fact is left out; none is cut.
            user: Pseudonym of who asked; left out unless the handle is sealed, for its holder reads others.

        Raises:
            ValueError: An id is zero or too large, or ``user`` is no pseudonym.
            ConfigurationError: The first key can only verify.
        """
        if not (0 < trace_id < 1 << 128 and 0 < span_id < 1 << 64):
            raise ValueError("A trace id has 128 bits and a span id 64, and neither is zero.")
        if not self.can_issue:
            raise ConfigurationError("The first key is public: it verifies handles and makes none.")
        now = int(self._clock())
        fixed = (
            f'{{"aud":"{semconv.HANDLE_AUDIENCE}","iat":{now},"exp":{now + self._ttl},'
            f'"tp":"00-{trace_id:032x}-{span_id:016x}-{"01" if sampled else "00"}"'
        )
        if user is not None and self._facts_mode == "sealed":
            if not _PSEUDONYM.fullmatch(user):
                raise ValueError("The user of a handle is a pseudonym, <key id>:<32 hex digits>.")
            fixed += f',"sub":"{user}"'
        claims = {} if self._facts_mode == "none" else _claims(facts)
        return self._box.write(_payload(fixed, claims, self._box.room))

    def now(self) -> int:
        """Return the second since the epoch that a handle made now would bear."""
        return int(self._clock())

    def refer(  # as ``issue``
        self,
        *,
        trace_id: int,
        span_id: int,
        sampled: bool,
        facts: Mapping[str, str],
        user: str | None = None,
        issued_at: int,
    ) -> Handle:
        """Return what a handle that was made then says, for this process's own use: nothing is signed or checked."""
        known = {name: facts[name] for name in FACT_CLAIMS if facts.get(name)}
        user = user if self._facts_mode == "sealed" else None
        return Handle(trace_id, span_id, sampled, issued_at, issued_at + self._ttl, known, user)

    def read(self, token: object) -> Handle:
        """Check a handle and say what it refers to.

        Raises:
            InvalidHandleError: Whatever is wrong with it; always the same message.
        """
        if not isinstance(token, str):
            raise InvalidHandleError
        try:
            payload, sealed = self._box.open(token)
            return _handle(payload, self._clock(), sealed=sealed)
        except (ValueError, RecursionError):  # json recurses
            # Whoever sends it may be probing, so nobody learns which check it failed.
            raise InvalidHandleError from None


def _claims(facts: Mapping[str, str]) -> dict[str, str]:
    # What is longer than a handle cannot be in one: it isn't even encoded.
    return {
        claim: fact
        for name, claim in FACT_CLAIMS.items()
        if (fact := facts.get(name)) and isinstance(fact, str) and len(fact) < LONGEST_TOKEN
    }


def _payload(fixed: str, claims: dict[str, str], room: int) -> bytes:
    """The claims as JSON of at most ``room`` bytes."""
    while True:
        text = f"{fixed},{to_json(claims)[1:]}" if claims else f"{fixed}}}"
        try:
            payload = text.encode()
        except UnicodeEncodeError:
            claims = {claim: fact for claim, fact in claims.items() if _is_unicode(fact)}
            continue
        if len(payload) <= room:
            return payload
        # Of equally long ones the last in the table goes.
        del claims[max(reversed(claims), key=lambda claim: len(to_json(claims[claim]).encode()))]


def _handle(payload: bytes, now: float, *, sealed: bool) -> Handle:
    """Check the claims of a handle whose signature or seal is right.

    Raises:
        ValueError: One of them is missing or wrong.
    """
    claims = json.loads(payload.decode())
    if not isinstance(claims, dict) or claims.get("aud") not in (
        semconv.HANDLE_AUDIENCE,
        [semconv.HANDLE_AUDIENCE],
    ):
        raise ValueError
    issued, expires = claims.get("iat"), claims.get("exp")
    if type(issued) is not int or type(expires) is not int:  # a bool is an int to isinstance
        raise ValueError
    if issued > now + CLOCK_LEEWAY or not now < expires <= issued + LONGEST_LIFE or issued >= expires:
        raise ValueError
    parent = _TRACEPARENT.fullmatch(_string(claims, "tp"))
    trace_id, span_id, flags = (int(part, 16) for part in parent.groups()) if parent else (0, 0, 0)
    if not trace_id or not span_id:
        raise ValueError
    user = _string(claims, "sub") if "sub" in claims else None
    if user is not None and not (sealed and _PSEUDONYM.fullmatch(user)):
        raise ValueError
    facts = {name: _string(claims, claim) for name, claim in FACT_CLAIMS.items() if claim in claims}
    return Handle(trace_id, span_id, bool(flags & 1), issued, expires, facts, user)


def _string(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not value or not _is_unicode(value):
        raise ValueError
    return value


def _is_unicode(text: str) -> bool:
    """Whether it is text that UTF-8 can hold: no lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
