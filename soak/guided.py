"""Requests guided by what code they reach: ``python -m soak.guided (body|app) [options of libFuzzer]``; by atheris."""

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Any

import atheris

with atheris.instrument_imports(include=["otel_feedback.capture", "otel_feedback._feedback", "json"]):
    from otel_feedback import _guard
    from otel_feedback.capture import body
    from otel_feedback.capture.problems import Problem
    from soak.inside import application

from soak.bodies import SECRET, seeds
from soak.process import handles
from soak.watch import Watch
from soak.wire import Answer


def try_body(data: bytes) -> None:
    """Parse bytes: what can't be understood is a problem, and says nothing of them."""
    try:
        body._shaped(body._parsed(data))  # noqa: SLF001 - what is tried
    except Problem as problem:
        _require_silence(problem.detail)


def _require_silence(said: str) -> None:
    assert SECRET not in said


class TryApp:
    """Sends bytes to the whole application."""

    def __init__(self) -> None:
        self._app = application()
        self._loop = asyncio.new_event_loop()
        self._watch = Watch()

    def __call__(self, data: bytes) -> None:
        """Send them as a body, and look at the answer."""
        self._watch.see(data, self._loop.run_until_complete(self._ask(data)))

    async def _ask(self, data: bytes) -> Answer:
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": data, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        headers = [(b"content-type", b"application/json"), (b"host", b"a")]
        scope = {"type": "http", "method": "POST", "path": "/v1/feedback", "root_path": "", "headers": headers}
        await self._app({**scope, "query_string": b""}, receive, send)
        start, *parts = sent
        pairs = tuple((name.decode(), value.decode()) for name, value in start["headers"])
        return Answer(start["status"], pairs, b"".join(part.get("body", b"") for part in parts))


def main() -> None:
    """Fuzz until libFuzzer's options say that it is enough; it ends the process."""
    what, *options = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder, _guard.strict():
        for number, text in enumerate(seeds(next(handles()))):
            Path(folder, str(number)).write_bytes(text[:4_096])
        atheris.Setup([sys.argv[0], *options, "-max_len=4096", folder], TryApp() if what == "app" else try_body)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
