"""What strangers can do with a connection, over real ones: little, and not for long."""

import asyncio
import contextlib
import json
import select
import socket
import threading
import time

import pytest
import uvicorn
from tests.unit.server_parts import until

from otel_feedback.capture import connections
from otel_feedback.capture.connections import BoundedProtocol, SharedProtocol

HEAD = b"POST / HTTP/1.1\r\nhost: localhost\r\n"
LARGE = 512 * 1024
"""Bytes that no buffers of these connections hold."""
PARTS = {"/large": [bytes(LARGE)], "/parts": [bytes(65_536)] * (LARGE // 65_536), "/small": [bytes(50_000)]}


async def answering(scope, receive, send):
    """Answer at once, when the body is there, never, or with much, at once or in parts; by the path."""
    path = scope["path"]
    size = 0
    while path == "/body":
        message = await receive()
        size += len(message.get("body", b""))
        if message["type"] == "http.disconnect" or not message["more_body"]:
            break
    if path == "/never":
        await asyncio.Event().wait()
    parts = PARTS.get(path, [json.dumps(size).encode()])
    headers = [(b"content-length", str(sum(map(len, parts))).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for part in parts:
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body"})


class Serving:
    """A server in a thread."""

    def __init__(self, listening, protocol):
        config = uvicorn.Config(
            answering,
            http=protocol,
            lifespan="off",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=0,
        )
        self.uvicorn = uvicorn.Server(config)
        self.port = listening.getsockname()[1]
        self.connections = self.uvicorn.server_state.connections

    def connect(self, source="127.0.0.1"):
        """Open a connection on which nothing is said yet, and on which little is under way at once."""
        connection = socket.socket()
        connection.bind((source, 0))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(20)
        connection.connect(("127.0.0.1", self.port))
        return contextlib.closing(connection)


@pytest.fixture
def protocol():
    """What speaks with a client."""
    return BoundedProtocol


@pytest.fixture
def server(protocol):
    """A server of the test's own."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        serving = Serving(listening, protocol)
        thread = threading.Thread(target=lambda: asyncio.run(serving.uvicorn.serve([listening])))
        thread.start()
        until(lambda: serving.uvicorn.started, "the server")
        yield serving
        serving.uvicorn.should_exit = True
        thread.join()


def read(connection):
    """Read until the other side ends the connection."""
    found = b""
    with contextlib.suppress(ConnectionError):
        while part := connection.recv(65_536):
            found += part
    return found


def answer(connection):
    """Return the first line of what is read; empty where there is none."""
    return read(connection).partition(b"\r\n")[0].decode()


def send(connection, data):
    """Send as much as the other side takes."""
    with contextlib.suppress(ConnectionError):
        connection.sendall(data)


def test_connections_are_bounded(server, monkeypatch):
    """One too many hears so and is closed; one that has gone makes room."""
    monkeypatch.setattr(connections, "MOST_CONNECTIONS", 2)
    with server.connect(), server.connect() as second:
        until(lambda: len(server.connections) == 2, "both")
        with server.connect() as third:
            assert answer(third) == "HTTP/1.1 503 Service Unavailable"
        second.sendall(HEAD + b"connection: close\r\n\r\n")
        assert answer(second) == "HTTP/1.1 200 OK"
    until(lambda: not server.connections, "room")
    with server.connect() as fourth:
        fourth.sendall(HEAD + b"connection: close\r\n\r\n")
        assert answer(fourth) == "HTTP/1.1 200 OK"


@pytest.mark.parametrize(("protocol", "first"), [(SharedProtocol, 503), (BoundedProtocol, 200)])
def test_connections_of_an_address_are_bounded_where_it_is_the_clients(server, monkeypatch, first):
    """One address leaves room for others; one that has gone makes room; behind a proxy all are its own."""
    monkeypatch.setattr(connections, "MOST_OF_ADDRESS", 2)
    asking = HEAD + b"connection: close\r\n\r\n"
    with server.connect(), server.connect() as second:
        until(lambda: len(server.connections) == 2, "both")
        for source, status in (("127.0.0.1", first), ("127.0.0.2", 200)):
            with server.connect(source) as another:
                send(another, asking)
                assert answer(another).split()[1] == str(status)
        second.sendall(asking)
        assert answer(second) == "HTTP/1.1 200 OK"
        until(lambda: len(server.connections) == 1, "room")
        with server.connect() as fourth:
            fourth.sendall(asking)
            assert answer(fourth) == "HTTP/1.1 200 OK"


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"GET",
        HEAD,
        b"\r\n\r\n",
        HEAD + b"\r\n\r\n",
        HEAD + b"\r\nPOST",
        HEAD + b"content-length: 900\r\n\r\n",
    ],
    ids=["nothing", "a word", "headers", "empty lines", "after an answer", "a second request", "an answered body"],
)
def test_a_request_that_does_not_come_is_not_waited_for(server, monkeypatch, begun):
    """Nor by who sends a byte now and then, be it the first request or a later one."""
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.3)
    with server.connect() as connection:
        connection.sendall(begun)
        start = time.monotonic()
        until(lambda: len(server.connections) == 1, "it")
        while server.connections:
            assert time.monotonic() - start < 4, "uvicorn's own patience is 5 s, from the last byte on"
            send(connection, b"\r\n" if begun.endswith(b"\r\n") and not begun.startswith(HEAD[:9]) else b"x")
            time.sleep(0.05)


def test_a_connection_on_which_nothing_comes_is_closed(server, monkeypatch):
    """Many of them would leave none for others."""
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.2)
    with server.connect() as connection:
        assert answer(connection) == ""


def test_a_connection_is_kept_for_the_next_request(server, monkeypatch):
    """Its time begins anew with each."""
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.3)
    with server.connect() as connection:
        for _ in range(4):
            time.sleep(0.2)
            connection.sendall(HEAD + b"content-length: 0\r\n\r\n")
            found = b""
            while not found.endswith(b"\r\n\r\n0"):
                part = connection.recv(1000)
                assert part
                found += part


def test_a_request_that_is_answered_slowly_is_waited_for(server, monkeypatch):
    """The headers were there in time; a body has its own time, where it is read."""
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.1)
    with server.connect() as connection:
        connection.sendall(b"POST /body HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 2\r\n\r\n1")
        time.sleep(0.4)
        connection.sendall(b"2")
        assert answer(connection) == "HTTP/1.1 200 OK"


FILLING = {
    "one header": HEAD + b"x: " + b"a" * 300_000,
    "many headers": HEAD + b"x: a\r\n" * 60_000,
    "the first line": b"GET /" + b"a" * 300_000,
    "headers of a later request": HEAD + b"\r\n" + HEAD + b"x: " + b"a" * 600_000,
}


@pytest.mark.parametrize("sent", FILLING.values(), ids=FILLING)
def test_headers_are_bounded_in_bytes(server, monkeypatch, sent):
    """Whatever is long about them."""
    monkeypatch.setattr(connections, "MAX_HEAD", 20_000)
    with server.connect() as connection:
        send(connection, sent)
        until(lambda: not server.connections, "the end")


def test_headers_that_are_too_long_are_told(server):
    """Where nothing else is being answered."""
    with server.connect() as connection:
        connection.sendall(HEAD)
        for _ in range(3 * connections.MAX_HEAD // 1000):  # what is read together with the first line isn't counted
            connection.sendall(b"x: " + b"a" * 995 + b"\r\n")
            if select.select([connection], [], [], 0.001)[0]:
                break
        assert answer(connection) == "HTTP/1.1 431 Request Header Fields Too Large"


CHUNKED = b"POST /body HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "around", [b"0\r\nx: " + b"a" * 600_000, b"0\r\n" + b"x: a\r\n" * 100_000, b"1;" + b"a" * 600_000], ids=range(3)
)
def test_what_is_around_a_body_is_bounded(server, around):
    """Trailers, and what stands beside the length of a chunk."""
    with server.connect() as connection:
        send(connection, CHUNKED + around)
        assert answer(connection) == ""


@pytest.mark.parametrize("chunk", [1, 10, 100_000])
def test_bodies_in_chunks_are_no_headers(server, chunk):
    """However small the chunks are."""
    body = b"%x\r\n%b\r\n" % (chunk, bytes(chunk)) * (200_000 // chunk) + b"0\r\n\r\n"
    with server.connect() as connection:
        connection.sendall(CHUNKED + body)
        assert read(connection).endswith(b"\r\n\r\n200000")


def test_requests_that_wait_on_a_connection_are_bounded(server, monkeypatch):
    """A few may be sent before the first is answered; for thousands there is no reason."""
    monkeypatch.setattr(connections, "MOST_WAITING", 3)
    first, other = b"GET /never HTTP/1.1\r\nhost: a\r\n\r\n", HEAD + b"content-length: 0\r\n\r\n"
    with server.connect() as few, server.connect() as many:
        few.sendall(first + other * 3)
        many.sendall(first + other * 4)
        assert answer(many) == ""
        until(lambda: len(server.connections) == 1, "the other")


@pytest.mark.parametrize("path", PARTS)
def test_who_does_not_read_is_not_waited_for(server, monkeypatch, path):
    """Memory is held for readers, whether the answer is all on its way or not."""
    monkeypatch.setattr(connections, "STALL_SECONDS", 0.3)
    with server.connect() as connection:
        connection.sendall(b"GET %b HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n" % path.encode())
        until(lambda: len(server.connections) == 1, "it")
        until(lambda: not server.connections, "the end")


@pytest.mark.parametrize("path", PARTS)
def test_who_reads_slowly_is_waited_for(server, monkeypatch, path):
    """As long as it reads."""
    monkeypatch.setattr(connections, "STALL_SECONDS", 0.2)
    with server.connect() as connection:
        connection.sendall(b"GET %b HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n" % path.encode())
        size = 0
        while part := connection.recv(65_536):
            size += len(part)
            time.sleep(0.01)
        assert size > sum(map(len, PARTS[path]))


def test_who_stops_reading_is_not_waited_for(server, monkeypatch):
    """Having read before is no reason."""
    monkeypatch.setattr(connections, "STALL_SECONDS", 0.2)
    with server.connect() as connection:
        connection.sendall(b"GET /parts HTTP/1.1\r\nhost: a\r\n\r\n")
        until(lambda: len(server.connections) == 1, "it")
        size = 0
        while size < LARGE // 2:
            size += len(connection.recv(65_536))
        until(lambda: not server.connections, "the end")
