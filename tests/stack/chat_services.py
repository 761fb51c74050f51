"""Chat services as processes, what people do with their answers, and what a store has of that.

Two services answer. ``chat`` records what people write, and leaves it to its page to say that an answer was abandoned:
when a browser closes the connection of a page that was left is its own affair. ``terse`` records no words, and finds
abandoned answers by the connection and after a while.
"""

import contextlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import httpx
from examples.embedded import read_lines
from examples.satisfaction import Line
from examples.servers import ONE_TRACE, UpPorts, free_addresses, make_provider, make_up
from opentelemetry.trace import format_span_id, format_trace_id
from stack.client import NotYet, get_json, wait_until
from stack.ports import choose_free
from stack.processes import HOST, Process
from tests.zero_code.conftest import PROGRAMS, environment, uvicorn

from otel_feedback._handle import Handle, HandleCodec
from otel_feedback._keys import Keyring
from otel_feedback.testing import TEST_KEYS

T = TypeVar("T")

REPOSITORY = Path(__file__).parents[2]
SERVICE = "every-signal"
KNOWN = "The ferry leaves the harbour of Valmar at dawn and returns at dusk."
"""What the services' model can say: it has no other words."""
ABANDONED_AFTER = 1.5
"""Seconds after which ``terse`` calls an answer abandoned."""


class Chats:
    """Two services and an embedded process that keeps what it is sent; whoever extends it says what sends to it.

    Args:
        folder: Logs and state go here.
        up: Where the embedded process listens.
        otlp: The URL that services send spans to, by HTTP.
        captures: The URL that takes feedback in with what people write, and the one that leaves that out.
    """

    def __init__(self, folder: Path, up: UpPorts, *, otlp: str, captures: Mapping[bool, str]) -> None:
        self.up, self.captures = up, captures
        self._folder, self._otlp = folder, otlp
        self._addresses = free_addresses()
        self._codec = HandleCodec(Keyring.from_text(TEST_KEYS))
        chat, terse = choose_free(2)
        self.services = {True: f"http://{HOST}:{chat}", False: f"http://{HOST}:{terse}"}
        """By whether they record texts."""
        self.processes = [
            make_provider(folder, self._addresses),
            make_up(folder, up, data=folder / "data"),
            self._service("chat", chat, OTEL_FEEDBACK_CAPTURE_TEXT="true", OTEL_FEEDBACK_DERIVE="rephrase,regenerate"),
            self._service("terse", terse, OTEL_FEEDBACK_ABANDON_SECONDS=str(ABANDONED_AFTER)),
        ]
        self.client = httpx.Client(timeout=20, trust_env=False)

    def ask(self, template: str, question: str, conversation: str = "", *, texts: bool = True) -> str:
        """Ask a service; gives the handle of its answer."""
        asked = {"template": template, "question": question, "conversation": conversation}
        response = self.client.get(f"{self.services[texts]}/chat", params=asked)
        assert response.status_code == 200, response.text
        return response.headers["feedback-handle"]

    def stop_reading(self, template: str, question: str) -> str:
        """Ask for an answer in pieces, and go away with the first; gives its handle."""
        asked = {"template": template, "question": question, "endless": "true"}
        with self.client.stream("GET", f"{self.services[False]}/stream", params=asked) as response:
            assert next(response.iter_raw())
            return response.headers["feedback-handle"]

    def correct(self, handle: str, signal: str, original: str, corrected: str, *, texts: bool) -> None:
        """Tell a service of a correction."""
        body = {"handle": handle, "signal": signal, "original": original, "corrected": corrected}
        response = self.client.post(f"{self.services[texts]}/corrections", json=body)
        assert (response.status_code, response.json()) == (200, {"status": "recorded"})

    def post(self, body: Mapping[str, Any], *, texts: bool = True) -> None:
        """Send feedback to a capture."""
        self.post_to(self.captures[texts], body)

    def post_to(self, capture: str, body: Mapping[str, Any]) -> None:
        """Send feedback to the capture at an address."""
        response = self.client.post(f"{capture}/v1/feedback", json=body)
        assert response.status_code == 202, response.text

    def vote(self, template: str, value: str) -> None:
        """Ask, and judge the answer by a thumb."""
        self.post({"handle": self.ask(template, "Is there a ferry?"), "signal": "thumbs", "value": value})

    def vote_all(self, templates: list[str], values: list[str]) -> None:
        """Give each template's answers the same votes, several people at once."""
        with ThreadPoolExecutor(4) as people:
            list(people.map(lambda one: self.vote(*one), [(name, value) for name in templates for value in values]))

    def read(self, handle: str) -> Handle:
        """What a handle says."""
        return self._codec.read(handle)

    def stored(self, handle: str) -> dict[str, Any]:
        """What the store has of an answer."""
        target = self.read(handle)
        found = get_json(
            f"{self.up.url}/api/answers/{format_trace_id(target.trace_id)}-{format_span_id(target.span_id)}"
        )
        return found or {"feedback": []}

    def line(self, template: str) -> Line:
        """A template's line of the table *satisfaction*, by the store."""
        key = template, "1"
        return read_lines(self.up.url, SERVICE).get(key, Line(*key))

    def launch(self, ending: contextlib.ExitStack) -> None:
        """Start all processes, without waiting for them; they end with the stack."""
        ending.callback(self.client.close)
        for process in self.processes:
            ending.callback(process.stop)
            process.launch(**({"OTEL_FEEDBACK_HANDLE_KEYS": TEST_KEYS} if process.name == "up" else {}))

    def await_ready(self) -> None:
        """Wait for all processes."""
        for process in self.processes:
            process.await_ready(timeout=60)

    def _service(self, name: str, port: int, **more: str) -> Process:
        words = [
            str(PROGRAMS / "opentelemetry-instrument"),
            str(PROGRAMS / "uvicorn"),
            *uvicorn("tests.stack.chat_app:app")[1:],
        ]
        command = [word.replace("{port}", str(port)) for word in words]
        env = self.environment(name) | {
            "OTEL_FEEDBACK_OUTBOX": str(self._folder / name / "outbox.db"),
            "CHAT_KNOWS": KNOWN,
            "PYTHONPATH": str(REPOSITORY),
        }
        return Process(name, command, folder=self._folder, env=env | more, ready_url=f"http://{HOST}:{port}/")

    def environment(self, name: str) -> dict[str, str]:
        """What services and captures share, and a state folder of their own."""
        return {
            **environment(f"{self._addresses.provider_url}/v1", self._otlp),
            **ONE_TRACE,
            "OTEL_SERVICE_NAME": SERVICE,
            "OTEL_FEEDBACK_HANDLE_KEYS": TEST_KEYS,
            "OTEL_FEEDBACK_STATE_DIR": str(self._folder / name),
        }


def settled(read: Callable[[], T], wanted: T, *, timeout: float = 20) -> T:
    """Read until it is what is wanted, and return it; the last that was read if it never is."""
    last: list[T] = []

    def equal() -> bool:
        last[:] = [read()]
        return last[0] == wanted

    with contextlib.suppress(NotYet):
        wait_until(equal, "what is wanted", timeout=timeout)
    return last[0]
