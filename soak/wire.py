"""Requests over raw connections, several at once on each: a client that costs less than the server."""

import socket
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Answer:
    """One response."""

    status: int
    headers: tuple[tuple[str, str], ...]
    """In the order sent, names in lower case, without ``date``."""
    body: bytes

    def header(self, name: str) -> str:
        """Return a header, empty where there is none."""
        return dict(self.headers).get(name, "")


def request(body: bytes, *, content_type: bytes = b"application/json", more: bytes = b"") -> bytes:
    """Return a request in bytes.

    Args:
        body: Of it.
        content_type: Of the body; none where it is empty.
        more: Further header lines, each with its end.
    """
    kind = b"content-type: %b\r\n" % content_type if content_type else b""
    return b"POST /v1/feedback HTTP/1.1\r\nhost: a\r\n%bcontent-length: %d\r\n%b\r\n%b" % (kind, len(body), more, body)


class Connection:
    """A connection that is kept, and made anew where the server has closed it."""

    def __init__(self, port: int, *, timeout: float = 60) -> None:
        self._port = port
        self._timeout = timeout
        self._socket: socket.socket | None = None
        self._waiting = b""

    def ask(self, requests: Sequence[bytes]) -> list[Answer]:
        """Send requests at once and return the answers; fewer where the server ends the connection before the rest."""
        self.send(requests)
        return self.receive(len(requests))

    def send(self, requests: Sequence[bytes]) -> None:
        """Send requests, and leave their answers for ``receive``."""
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self._port), timeout=self._timeout)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._waiting = b""
        self._socket.sendall(b"".join(requests))

    def receive(self, count: int) -> list[Answer]:
        """Return so many answers, or fewer where the server ends the connection."""
        found: list[Answer] = []
        while len(found) < count:
            answer = self._next()
            if answer is None or answer.header("connection") == "close":
                self.close()
                return [*found, answer] if answer else found
            found.append(answer)
        return found

    def close(self) -> None:
        """End it."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _next(self) -> Answer | None:
        while b"\r\n\r\n" not in self._waiting:
            if not self._more():
                return None
        head, _, rest = self._waiting.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        pairs = [line.partition(":") for line in lines]
        headers = tuple((name.lower(), value.strip()) for name, _, value in pairs if name.lower() != "date")
        length = int(dict(headers).get("content-length", "0"))
        self._waiting = rest
        while len(self._waiting) < length:
            if not self._more():
                return None
        body, self._waiting = self._waiting[:length], self._waiting[length:]
        return Answer(int(first.split(" ", 2)[1]), headers, body)

    def _more(self) -> bool:
        assert self._socket is not None
        part = self._socket.recv(262_144)
        self._waiting += part
        return bool(part)
