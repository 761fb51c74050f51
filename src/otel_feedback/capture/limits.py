"""How often one may send: by handle, by client address, and all together; and whose word counts for an address.

The `limits` library counts in fixed windows. Its own storage in memory keeps a key and a lock for every sender without
bound, and starts a thread a hundred times a second to clean up; the one in here is bounded and needs neither.
"""

import functools
import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from limits import RateLimitItem, parse
from limits.storage import Storage
from limits.strategies import FixedWindowRateLimiter

from otel_feedback._guard import warn_once
from otel_feedback.capture.problems import Problem
from otel_feedback.exceptions import ConfigurationError

MOST_WINDOWS: Final = 100_000
"""Senders, and handles, that are counted at once. Beyond that the oldest count is forgotten."""

_UNKNOWN: Final = "unknown"
"""What all have in common whose address is none."""

_LONGEST_ADDRESS: Final = 64
"""Characters; an IPv6 address with zone and port has fewer."""

_SENTENCES: Final = {
    "overall": "Too much feedback comes in now.",
    "address": "Too much comes from this address.",
    "handle": "Too much was said about this answer.",
}


@dataclass(frozen=True, slots=True)
class RateLimits:
    """How often one may send, each as ``"<number>/<unit>"`` or ``"<number> per <n> <unit>"``; ``None`` for any number.

    Attributes:
        handle: Feedback on one answer; retries count.
        address: Requests of one client address; of an IPv6 address the /64 counts, since one customer has a whole one.
        overall: Requests of all together, that a limit of their own hasn't refused.
    """

    handle: str | None = "30/minute"
    address: str | None = "600/minute"
    overall: str | None = "10000/second"

    def __post_init__(self) -> None:
        """Check them.

        Raises:
            ConfigurationError: One can't be read, or lets nobody in.
        """
        for name in _SENTENCES:
            _item(name, getattr(self, name))


class Limiter:
    """Counts requests in this process, in bounded memory.

    Used from an event loop and from its threads; no lock, thread or file, so that a fork does it no harm.

    Args:
        limits: How often one may send.
        proxied: Whether the addresses of clients behind proxies are known; else one warning says what to set where many
            seem to share an address.
        clock: Seconds, for the length of windows.
    """

    def __init__(
        self, limits: RateLimits, *, proxied: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._overall = _Gate("overall", limits.overall, clock)
        self._address = _Gate("address", limits.address, clock)
        self._handle = _Gate("handle", limits.handle, clock)
        self._proxied = proxied

    def check_client(self, address: str | None, *, forwarded: bool = False) -> None:
        """Count a request before anything of its body is read.

        Args:
            address: Of the client; ``None`` where the server knows none, which only counts for all together.
            forwarded: Whether the request says that a proxy passed it on (``X-Forwarded-For``).

        Raises:
            Problem: 429 with ``Retry-After``.
        """
        # Nothing is kept of an address while all together are too many, and who is refused alone takes nothing from
        # the others' share.
        self._overall.require_room()
        if address is not None:
            try:
                self._address.enter(address_key(address))
            except Problem:
                if forwarded and not self._proxied:
                    warn_once(
                        "one-address",
                        "otel-feedback: feedback is refused since too much comes from one address, which says that it "
                        "is a proxy. Where it is yours, name it by --trusted-proxy, so that each client counts alone.",
                    )
                raise
        self._overall.enter("")

    def check_handle(self, trace_id: int, span_id: int) -> None:
        """Count a feedback on an interaction, once its handle is found to be genuine.

        Args:
            trace_id: Of the interaction span.
            span_id: Of the interaction span.

        Raises:
            Problem: 429 with ``Retry-After``.
        """
        self._handle.enter(f"{trace_id:x}-{span_id:x}")


class _Gate:
    """One limit and its counts."""

    def __init__(self, name: str, text: str | None, clock: Callable[[], float]) -> None:
        self._name = name
        self._item = _item(name, text)
        self._windows = _Windows(clock)
        self._limiter = FixedWindowRateLimiter(self._windows)

    def require_room(self) -> None:
        if self._item is not None and not self._limiter.test(self._item, ""):
            raise self._problem("")

    def enter(self, key: str) -> None:
        if self._item is not None and not self._limiter.hit(self._item, key):
            raise self._problem(key)

    def _problem(self, key: str) -> Problem:
        assert self._item is not None  # noqa: S101 - whoever is refused is refused by it
        reset = self._limiter.get_window_stats(self._item, key).reset_time
        seconds = max(1, math.ceil(reset - time.time()))
        return Problem(
            HTTPStatus.TOO_MANY_REQUESTS,
            f"{_SENTENCES[self._name]} Send it again after the seconds that Retry-After says, with the same id.",
            headers={"Retry-After": str(seconds)},
        )


class _Windows(Storage):
    """Counts by key, each for the length of its window; bounded: the window that began first goes first.

    Every window of one storage has the same length, so that the first is the first to end, too.
    """

    STORAGE_SCHEME = None

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self._clock = clock
        # Its methods are atomic, so threads need no lock, which a fork could leave locked for ever.
        self._windows: OrderedDict[str, list[float]] = OrderedDict()

    @property
    def base_exceptions(self) -> type[Exception]:
        return ValueError

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        now = self._clock()
        window = self._windows.get(key)
        if window is None or window[0] <= now:
            self._windows.pop(key, None)
            if len(self._windows) >= MOST_WINDOWS:
                self._forget_first()
            self._windows[key] = window = [now + expiry, 0]
        window[1] += amount
        return int(window[1])

    def get(self, key: str) -> int:
        window = self._windows.get(key)
        return int(window[1]) if window is not None and window[0] > self._clock() else 0

    def get_expiry(self, key: str) -> float:
        window = self._windows.get(key)
        return time.time() + (window[0] - self._clock() if window is not None else 0)

    def check(self) -> bool:
        return True

    def reset(self) -> int:
        count = len(self._windows)
        self._windows.clear()
        return count

    def clear(self, key: str) -> None:
        self._windows.pop(key, None)

    def _forget_first(self) -> None:
        try:
            self._windows.popitem(last=False)
        except KeyError:  # another thread was faster
            return


def _item(name: str, text: str | None) -> RateLimitItem | None:
    if text is None:
        return None
    try:
        item = parse(text)
    except ValueError:
        item = None
    if item is None or item.amount < 1 or item.get_expiry() < 1:
        raise ConfigurationError(f"The rate limit ({name}) must be like 30/minute, 600/hour or 100 per 10 second.")
    return item


def address_key(address: str) -> str:
    """Return what counts as one sender: an IPv4 address, the /64 of an IPv6 one, or one word for all that is neither.

    Args:
        address: As the server or a trusted proxy names it; some proxies append a port.
    """
    return _address_key(address) if len(address) <= _LONGEST_ADDRESS else _UNKNOWN


@functools.lru_cache(maxsize=4096)
def _address_key(address: str) -> str:
    for text in (address, _without_port(address)):
        try:
            found = ipaddress.ip_address(text)
        except ValueError:
            continue
        if isinstance(found, ipaddress.IPv6Address):
            if found.ipv4_mapped is None:
                return f"{int(found) >> 64:x}"
            found = found.ipv4_mapped
        return str(found)
    return _UNKNOWN


def _without_port(address: str) -> str:
    if address.startswith("["):
        return address[1:].partition("]")[0]
    return address.partition(":")[0]


def proxy_options(trusted: Sequence[str]) -> dict[str, Any]:
    """Return what makes uvicorn believe these proxies, and nobody else, when they say who the client is.

    Of ``X-Forwarded-For`` the last entry counts that isn't a trusted proxy's itself: whoever sends the header can only
    write what stands before that.

    Args:
        trusted: Addresses and networks (CIDR) of the proxies.

    Raises:
        ConfigurationError: One is neither, or takes in everybody.
    """
    networks = []
    for text in trusted:
        try:
            network = ipaddress.ip_network(text, strict=False)
        except ValueError:
            network = None
        if network is None or network.prefixlen == 0:
            # uvicorn takes what it can't read for a name and says nothing; of everybody it believes the first entry.
            raise ConfigurationError(
                "A trusted proxy is an address or a network, such as 10.0.0.7 or 10.0.0.0/8, and never everybody."
            )
        networks.append(str(network))
    # Without any: off. By default uvicorn believes this machine, or what FORWARDED_ALLOW_IPS says.
    return {"proxy_headers": bool(networks), "forwarded_allow_ips": networks}
