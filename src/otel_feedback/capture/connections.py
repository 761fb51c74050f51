"""Connections that strangers can't hold for long or fill memory by: what uvicorn leaves open, closed.

uvicorn waits for ever for a request's first line and for a reader, and with httptools takes headers of any size.
"""

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from otel_feedback.capture.limits import address_key

MOST_CONNECTIONS: Final = 300
"""Of one listener: three listeners have less than the 1,024 files that a process may usually open."""

MOST_OF_ADDRESS: Final = 100
"""Of one client address, where addresses are those of clients: an office behind one has fewer at once."""

MAX_HEAD: Final = 65_536
"""Bytes of a request that are no body: its first line and headers, and what is between and behind a body's chunks."""

HEAD_SECONDS: Final = 10.0
"""Time that a request's headers may take to arrive, on a new connection and on one that is kept."""

STALL_SECONDS: Final = 60.0
"""Time in which a reader must take some of what waits for it."""

MOST_WAITING: Final = 16
"""Requests that wait on one connection for the answer to an earlier one."""

_LEAST: Final = 16_384
"""Bytes that a reader must take in that time."""

_OVERHEAD: Final = 16
"""Bytes around each byte of a body that are no body: a chunk of one byte has five."""

_FULL: Final = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 10\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_LONG: Final = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class _TooManyError(Exception):
    """More requests than may wait on one connection; the parser ends at it."""


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP with bounds: of connections, of headers in bytes and seconds, and of a reader's patience."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        """Prepare a connection, as uvicorn calls it."""
        super().__init__(*arguments, **named)
        self._began = False
        self._body = 0
        self._head = 0
        self._patience: asyncio.TimerHandle | None = None
        self._stall: asyncio.TimerHandle | None = None
        self._left = 0
        self._moved = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, or refuse it where there are too many."""
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS or self._has_its_share():
            transport.write(_FULL)
            transport.close()
        else:
            self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        for timer in (self._patience, self._stall, self.timeout_keep_alive_task):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes, and count those that are no body."""
        self._began, self._body = False, 0
        super().data_received(data)
        if self.transport.is_closing():
            return
        if not self._began:  # else they are of two requests, and not more than one read
            self._head = max(0, self._head + len(data) - (1 + _OVERHEAD) * self._body)
        if self._head > MAX_HEAD:
            self._refuse()
        elif self._is_idle():
            self._expect()

    def on_message_begin(self) -> None:
        """Begin to count."""
        super().on_message_begin()
        self._began, self._head = True, 0

    def on_headers_complete(self) -> None:
        """Begin a request."""
        super().on_headers_complete()
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        if len(self.pipeline) > MOST_WAITING:
            self.transport.abort()
            raise _TooManyError

    def on_body(self, body: bytes) -> None:
        """Take a part of a body."""
        self._body += len(body)
        super().on_body(body)

    def on_response_complete(self) -> None:
        """Go on, or see that the answer is fetched."""
        super().on_response_complete()
        if self.transport.get_write_buffer_size():
            self._watch()

    def pause_writing(self) -> None:
        """Wait for the reader, but not for ever."""
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        """Go on writing."""
        self._moved = True
        super().resume_writing()

    def _has_its_share(self) -> bool:
        """Whether there are too many like it."""
        return False

    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _expect(self) -> None:
        """Give the other side time for the headers of a request, or for the rest of one that is answered."""
        if self._patience is None:
            self._patience = self.loop.call_later(HEAD_SECONDS, self._end_if_idle)

    def _end_if_idle(self) -> None:
        self._patience = None
        if self._is_idle():
            self.transport.abort()

    def _refuse(self) -> None:
        if self._is_idle():
            self.transport.write(_LONG)
            self.transport.close()
        else:  # an answer is on its way, into which nothing can be written
            self.transport.abort()

    def _watch(self) -> None:
        if self._stall is None:
            self._left, self._moved = self.transport.get_write_buffer_size(), False
            self._stall = self.loop.call_later(STALL_SECONDS, self._end_if_stalled)

    def _end_if_stalled(self) -> None:
        self._stall = None
        left = self.transport.get_write_buffer_size()
        if left and not self._moved and left > self._left - _LEAST:
            self.transport.abort()
        elif left:
            self._watch()


class SharedProtocol(BoundedProtocol):
    """The same, with a bound for each client address: for a server that strangers reach without a proxy between."""

    def _has_its_share(self) -> bool:
        own = _key(self)
        return sum(_key(other) == own for other in self.connections) > MOST_OF_ADDRESS


def _key(connection: Any) -> str | None:
    client = connection.client
    return address_key(client[0]) if client else None
