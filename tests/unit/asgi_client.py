"""What tests of ASGI middleware share: a loop whose time passes at once, and a client that keeps every message."""

import asyncio
import contextlib
import selectors
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from typing import Any, TypeVar

from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, Tracer, TracerProvider

from otel_feedback import _runtime
from otel_feedback._handle import Handle
from otel_feedback.instrumentation import FeedbackMiddleware
from otel_feedback.semconv import FEEDBACK_INTERACTION

T = TypeVar("T")
Message = dict[str, Any]
App = Callable[..., Awaitable[None]]


class _NoWaiting(selectors.DefaultSelector):
    """Instead of waiting for ``timeout`` seconds, move the clock by them."""

    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready and timeout:
            self.now += timeout
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop in which sleeping takes no time and happens in exact order."""

    def __init__(self) -> None:
        self._clock = _NoWaiting()
        super().__init__(self._clock)

    def time(self) -> float:
        """Seconds since the loop was made."""
        return self._clock.now


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in virtual time; an error that asyncio would only log fails the test."""
    loop = VirtualTimeLoop()
    complaints: list[Any] = []
    loop.set_exception_handler(lambda _, complaint: complaints.append(complaint))
    try:
        result = loop.run_until_complete(main)
        left = asyncio.all_tasks(loop)
        assert not left, f"left behind: {left}"
    finally:
        loop.close()
    assert not complaints, complaints
    return result


class Wire:
    """The server's side of one request: what came out, and when by the loop's clock."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.times: list[float] = []

    async def send(self, message: Message) -> None:
        """Take one message, as a server does."""
        self.messages.append(message)
        self.times.append(round(asyncio.get_running_loop().time(), 6))

    @property
    def types(self) -> list[str]:
        """What came, without the prefix that all have."""
        return [message["type"].removeprefix("http.response.") for message in self.messages]

    def headers(self, name: str) -> list[str]:
        """All values of a header of the response."""
        start = next(message for message in self.messages if message["type"] == "http.response.start")
        return [value.decode() for key, value in start.get("headers", ()) if key.decode().lower() == name]

    @property
    def handle(self) -> Handle | None:
        """The handle in the response, checked; None without one."""
        values = self.headers("feedback-handle")
        assert len(values) < 2, values
        return read(values[0]) if values else None


def read(handle: str) -> Handle:
    """Check a handle with the keys of the test."""
    codec = _runtime.codec()
    assert codec is not None
    return codec.read(handle)


def scope(path: str = "/ask", method: str = "GET", headers: tuple[tuple[bytes, bytes], ...] = ()) -> Message:
    """A request as a server hands it to an application."""
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": list(headers),
        "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 1),
    }


def instrumented(app: App, provider: TracerProvider) -> App:
    """An application as OpenTelemetry and otel-feedback wrap it."""
    return OpenTelemetryMiddleware(FeedbackMiddleware(app), tracer_provider=provider)  # type: ignore[no-any-return]


async def ask(app: App, **request: Any) -> Wire:
    """Send one request to an application and return all that came back."""
    wire = Wire()
    whole = iter([{"type": "http.request", "body": b"", "more_body": False}])

    async def receive() -> Message:
        message = next(whole, None)
        if message is None:
            await asyncio.Event().wait()  # the client stays, and has no more to say
        return message or {}

    await app(scope(**request), receive, wire.send)
    return wire


@contextlib.contextmanager
def model_call(tracer: Tracer, model: str = "m-1") -> Iterator[None]:
    """An inference, as the official instrumentations show it: its request at the start, its response at the end."""
    at_start = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": model}
    with tracer.start_as_current_span(f"chat {model}", kind=SpanKind.CLIENT, attributes=at_start) as span:
        yield
        span.set_attribute("gen_ai.response.model", f"{model}-2026")


def start(status: int = 200, *headers: tuple[bytes, bytes]) -> Message:
    """The start of a response."""
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def body(text: bytes = b"", *, more: bool = False) -> Message:
    """A piece of a response's body."""
    return {"type": "http.response.body", "body": text, "more_body": more}


async def chunks(send: Callable[[Message], Awaitable[None]], source: AsyncIterator[bytes]) -> None:
    """Send a stream as frameworks do: its start first, then each chunk, then the end."""
    await send(start())
    async for chunk in source:
        await send(body(chunk, more=True))
    await send(body())


def answering(
    tracer: Tracer,
    *headers: tuple[bytes, bytes],
    model: str = "m-1",
    status: int = 200,
    text: bytes = b"answer",
) -> App:
    """A plain endpoint: a model is called, then the response leaves at once."""

    async def app(scope: Message, receive: Any, send: Any) -> None:
        with model_call(tracer, model):
            pass
        await send(start(status, *headers))
        await send(body(text))

    return app


def server_spans(exporter: InMemorySpanExporter) -> list[ReadableSpan]:
    """The server spans that were exported."""
    return [span for span in exporter.get_finished_spans() if span.kind is SpanKind.SERVER]


def server_span(exporter: InMemorySpanExporter) -> ReadableSpan:
    """The one server span that was exported."""
    (span,) = server_spans(exporter)
    return span


def answers(exporter: InMemorySpanExporter) -> list[ReadableSpan]:
    """The exported spans that say of themselves that they can be judged."""
    return [span for span in exporter.get_finished_spans() if (span.attributes or {}).get(FEEDBACK_INTERACTION)]
