"""The embedded process: opens everything, serves until it is told to end, and closes everything."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

import uvicorn
from starlette.types import ASGIApp

from otel_feedback._files import SERVER_FILE, TOKEN_FILE
from otel_feedback._files import replace as replace_file
from otel_feedback._requirement import requirement
from otel_feedback._version import VERSION
from otel_feedback.capture.connections import BoundedProtocol
from otel_feedback.server.api import Api
from otel_feedback.server.app import main_app, otlp_app
from otel_feedback.server.door import Door, Hosts
from otel_feedback.server.grpc_receiver import GrpcReceiver
from otel_feedback.server.listening import bind, probe_all
from otel_feedback.server.live import Live
from otel_feedback.server.options import Address, ServerOptions
from otel_feedback.server.receiving import Receiver
from otel_feedback.server.seals import Seals
from otel_feedback.server.status import Place, Status
from otel_feedback.server.token import Token
from otel_feedback.server.voting import make_recorder
from otel_feedback.store import Store

if TYPE_CHECKING:
    from otel_feedback.web.context import Context

GRACE_SECONDS: Final = 1
"""Time that requests under way get at the end; the store's own end takes some more."""


@dataclass(frozen=True)
class Running:
    """A server that takes requests."""

    options: ServerOptions
    """As given, but for ports that were 0."""
    store: Store
    token: Token

    @property
    def token_file(self) -> Path:
        """Where the token is."""
        return self.options.data / TOKEN_FILE


def run(options: ServerOptions, *, on_ready: Callable[[Running], None] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; a second one ends the process at once.

    Args:
        options: What is served where.
        on_ready: Called when requests are taken, with where.

    Returns:
        The exit code.

    Raises:
        ConfigurationError: An address can't be listened on, or a setting can't be used.
        StoreError: The data folder can't be opened.
    """

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()

        def end() -> None:
            if stop.is_set():
                os._exit(1)
            stop.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, end)
        await serve(options, stop=stop, on_ready=on_ready or (lambda _: None))

    asyncio.run(main())
    return 0


class Embedded:
    """The same in a thread, for tests: ``with Embedded(options) as server: ...``."""

    def __init__(self, options: ServerOptions) -> None:
        """Prepare a server; ports that are 0 are free ones."""
        self._options = options
        self._ready = threading.Event()
        self._running: Running | None = None
        self._error: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="otel-feedback-up", daemon=True)

    def __enter__(self) -> "Embedded":  # noqa: PYI034 - Self is of Python 3.11
        """Start it, and wait until it takes requests.

        Raises:
            OtelFeedbackError: As ``run``.
        """
        self._thread.start()
        self._ready.wait()
        if self._error is not None:
            self._thread.join()
            raise self._error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it, and wait until all is written."""
        self.close()

    def close(self) -> None:
        """End it, and wait until all is written. Can be repeated."""
        if self._loop is not None and self._stop is not None and self._thread.is_alive():
            with contextlib.suppress(RuntimeError):  # it has just ended by itself
                self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    @property
    def running(self) -> Running:
        """What runs."""
        if self._running is None:
            raise RuntimeError("It doesn't run.")
        return self._running

    @property
    def url(self) -> str:
        """Of pages, API and capture; OTLP/HTTP goes there too."""
        return self.running.options.listen.url

    @property
    def otlp_grpc(self) -> str | None:
        """Address of OTLP/gRPC as ``HOST:PORT``."""
        return _text(self.running.options.otlp_grpc)

    @property
    def otlp_http(self) -> str | None:
        """Address of OTLP/HTTP as a URL."""
        address = self.running.options.otlp_http
        return None if address is None else address.url

    @property
    def store(self) -> Store:
        """Its store."""
        return self.running.store

    @property
    def token(self) -> str:
        """Its token."""
        return self.running.token.secret

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:
            self._error = error
        finally:
            self._ready.set()

    async def _main(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()

        def on_ready(running: Running) -> None:
            self._running = running
            self._ready.set()

        await serve(self._options, stop=self._stop, on_ready=on_ready)


async def serve(options: ServerOptions, *, stop: asyncio.Event, on_ready: Callable[[Running], None]) -> None:
    """Open everything, serve until told to stop, and close everything: what was acknowledged is in the files.

    Raises:
        ConfigurationError: As ``run``.
        StoreError: As ``run``.
    """
    options = replace(options, data=options.data.absolute())
    probe_all(options)
    with contextlib.ExitStack() as stack:
        main_socket = stack.enter_context(_listening(options.listen, "--listen"))
        http_socket = stack.enter_context(_listening(options.otlp_http, "--otlp-http")) if options.otlp_http else None
        options = replace(
            options,
            listen=_bound(options.listen, main_socket),
            otlp_http=_bound(options.otlp_http, http_socket) if options.otlp_http and http_socket else None,
        )
        store = stack.enter_context(contextlib.closing(Store.open(options.data)))
        token = Token.of(options.data)
        receiver = Receiver(store, keep_content=options.content_kept)
        seals = stack.enter_context(contextlib.closing(Seals(options.data)))
        recorder = make_recorder(store, seals=seals, keep_content=options.content_kept)
        grpc_server = None
        if options.otlp_grpc:
            grpc_server = GrpcReceiver(receiver, options.otlp_grpc, token=token)
            stack.callback(grpc_server.stop, 0)
            options = replace(options, otlp_grpc=grpc_server.address)
        live = Live(store, asyncio.get_running_loop())
        stack.callback(live.close)
        status = Status(store, receiver.seen, _place(options))
        app = main_app(
            receiver=receiver,
            recorder=recorder,
            api=Api(store, status, live),
            context=partial(_make_context, options, store, status),
            token=token,
            allow_origins=options.allow_origins,
            allow_loopback_origins=options.listen.is_loopback,
        )
        servers = [_server(app, options.listen, main_socket, options, token)]
        if options.otlp_http and http_socket:
            servers.append(_server(otlp_app(receiver), options.otlp_http, http_socket, options, token))
        stack.enter_context(_note(options))
        await _until_stopped(servers, grpc_server, live, stop, lambda: on_ready(Running(options, store, token)))


async def _until_stopped(
    servers: "list[_Server]",
    grpc_server: GrpcReceiver | None,
    live: Live,
    stop: asyncio.Event,
    on_ready: Callable[[], None],
) -> None:
    tasks = [asyncio.create_task(server.serve([server.socket])) for server in servers]
    stopping = asyncio.create_task(stop.wait())
    try:
        for server in servers:
            await server.is_up.wait()
        if grpc_server:
            grpc_server.start()
        on_ready()
        await asyncio.wait([stopping, *tasks], return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        live.close()
        stopped = grpc_server.stop(GRACE_SECONDS) if grpc_server else None
        for server in servers:
            server.should_exit = True
        await asyncio.gather(*tasks)
        if stopped:
            await asyncio.to_thread(stopped.wait)


class _Server(uvicorn.Server):
    """A server that leaves the process's signals alone, and says when it is up."""

    def __init__(self, config: uvicorn.Config, listening: socket.socket) -> None:
        super().__init__(config)
        self.is_up = asyncio.Event()
        self.socket = listening

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take none."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve."""
        await super().startup(sockets)
        self.is_up.set()


def _server(app: ASGIApp, address: Address, listening: socket.socket, options: ServerOptions, token: Token) -> _Server:
    door = Door(app, hosts=Hosts(address, options.allow_hosts), token=token, is_local=address.is_loopback)
    config = uvicorn.Config(
        door,
        http=BoundedProtocol,
        lifespan="off",
        ws="none",
        log_config=None,
        log_level="error",  # below it anybody who sends nonsense fills the log
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    return _Server(config, listening)


@contextlib.contextmanager
def _listening(address: Address, option: str) -> Iterator[socket.socket]:
    """Listen on an address as long as the block lasts; connections wait until somebody serves them."""
    with bind(address, option) as listening:
        listening.setblocking(False)
        yield listening


def _bound(address: Address, listening: socket.socket) -> Address:
    return Address(address.host, listening.getsockname()[1])


def _make_context(options: ServerOptions, store: Store, status: Status) -> "Context":
    from otel_feedback.web.context import Context

    return Context(
        store=store,
        status=status,
        version=VERSION,
        requirement=requirement("otlp,capture"),
        jaeger_url=options.jaeger_url,
        content_kept=options.content_kept,
        token_required=not options.listen.is_loopback,
    )


def _place(options: ServerOptions) -> Place:
    return Place(
        data=str(options.data),
        url=options.listen.url,
        otlp_grpc=options.otlp_grpc.url if options.otlp_grpc else None,
        otlp_http=options.otlp_http.url if options.otlp_http else None,
        content_kept=options.content_kept,
    )


@contextlib.contextmanager
def _note(options: ServerOptions) -> Iterator[None]:
    """Say in the data folder where its server is, as long as it is there."""
    path = options.data / SERVER_FILE
    listen = options.listen
    near = replace(listen, host="::1" if ":" in listen.host else "127.0.0.1") if listen.is_any else listen
    note: dict[str, Any] = {
        "url": near.url,
        "pid": os.getpid(),
        "otlp_grpc": _text(options.otlp_grpc),
        "otlp_http": _text(options.otlp_http),
        "version": VERSION,
    }
    replace_file(path, json.dumps(note))
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _text(address: Address | None) -> str | None:
    return None if address is None else str(address)
