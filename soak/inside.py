"""The capture application in this process, for fuzzers that need it near."""

import asyncio
from typing import Any

from starlette.applications import Starlette

from otel_feedback._carrier import Carrier
from otel_feedback._handle import HandleCodec, Keyring
from otel_feedback._recorder import Recorder
from otel_feedback._settings import Settings
from otel_feedback.capture import capture_app
from soak.bodies import Sent
from soak.process import KEYS
from soak.watch import Watch
from soak.wire import Answer


class _Nowhere:
    """A delivery that keeps nothing."""

    def submit(self, carrier: Carrier) -> None:
        """Take a carrier."""


def application() -> Starlette:
    """Return the application; it accepts handles of ``soak.process.handles``."""
    codec = HandleCodec(Keyring.from_text(KEYS))
    recorder = Recorder(codec=codec, settings=Settings(handle_keys=KEYS), delivery=_Nowhere())
    return capture_app(recorder=recorder, limits=None, allow_origins=["https://chat.example.com"])


class Watched:
    """Sends requests to the application, without a client between, and looks at the answers."""

    def __init__(self) -> None:
        self.watch = Watch()
        self._app = application()
        self._loop = asyncio.new_event_loop()

    def close(self) -> None:
        """End what it runs on."""
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    def send(self, sent: Sent) -> Answer:
        """Send one and look at what comes of it."""
        answer = self._loop.run_until_complete(self._ask(sent))
        self.watch.see(b"\0".join(sent), answer)
        return answer

    async def _ask(self, sent: Sent) -> Answer:
        messages: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": sent.body, "more_body": False}

        async def send(message: Any) -> None:
            messages.append(message)

        lines = [line.partition(b": ") for line in sent.more.split(b"\r\n") if line]
        headers = [(b"host", b"a"), *((name, value) for name, _, value in lines)]
        if sent.content_type:
            headers.append((b"content-type", sent.content_type))
        scope = {"type": "http", "method": "POST", "path": "/v1/feedback", "root_path": "", "headers": headers}
        await self._app({**scope, "query_string": b""}, receive, send)
        start, *parts = messages
        pairs = tuple((name.decode(), value.decode()) for name, value in start["headers"])
        return Answer(start["status"], pairs, b"".join(part.get("body", b"") for part in parts))
