"""The whole loop as processes: chat services, captures, the Collector, Jaeger, Prometheus and a store; and its readers.

Two services answer: ``chat`` records what people write, ``terse`` doesn't, and calls an answer abandoned after a while.
Two captures take feedback in, one of either kind. All four keep it in outboxes until the Collector has it.
"""

import contextlib
import json
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import httpx
from examples.embedded import read_lines as read_embedded
from examples.prometheus import read_lines as read_prometheus
from examples.satisfaction import Line
from examples.servers import ONE_TRACE, UpPorts, free_addresses, free_up_ports, make_provider, make_up
from opentelemetry.trace import format_span_id, format_trace_id
from stack.client import NotYet, get_json, wait_until
from stack.parts import Parts
from stack.ports import choose_free
from stack.processes import HOST, Process, Stack
from tests.zero_code.conftest import PROGRAMS, environment, uvicorn

from otel_feedback import semconv
from otel_feedback._handle import Handle, HandleCodec
from otel_feedback._keys import Keyring
from otel_feedback.testing import TEST_KEYS

T = TypeVar("T")

HERE = Path(__file__).parent
SERVICE = "every-signal"
KNOWN = "The ferry leaves the harbour of Valmar at dawn and returns at dusk."
"""What the services' model can say: it has no other words."""
ABANDONED_AFTER = 1.5
"""Seconds after which ``terse`` calls an answer abandoned."""

VOTES = semconv.METRIC_VOTES_BY_TEMPLATE.replace(".", "_") + "_total"
COUNTED = (
    semconv.FEEDBACK_KIND,
    semconv.FEEDBACK_SIGNAL,
    semconv.FEEDBACK_SENTIMENT,
    semconv.FEEDBACK_PREVIOUS_SENTIMENT,
)
"""What tells the numbers of one template apart."""

Counts = Counter[tuple[str, ...]]


class Loop:
    """Everything that runs, and what its readers see of it."""

    def __init__(self, stack: Stack, up: UpPorts, folder: Path, provider: str) -> None:
        self.stack, self.up, self.start = stack, up, time.time()
        self._folder, self._provider = folder, provider
        self._codec = HandleCodec(Keyring.from_text(TEST_KEYS))
        chat, terse, capture, terse_capture = choose_free(4)
        self.services = {True: f"http://{HOST}:{chat}", False: f"http://{HOST}:{terse}"}
        """Of the services, and next of the captures: the one that records texts, and the one that doesn't."""
        self.captures = {True: f"http://{HOST}:{capture}", False: f"http://{HOST}:{terse_capture}"}
        self.processes = [
            self._service("chat", chat, OTEL_FEEDBACK_CAPTURE_TEXT="true"),
            self._service("terse", terse, OTEL_FEEDBACK_ABANDON_SECONDS=str(ABANDONED_AFTER)),
            self.make_capture("capture", capture, OTEL_FEEDBACK_CAPTURE_TEXT="true"),
            self.make_capture("terse-capture", terse_capture),
        ]
        self.client = httpx.Client(timeout=20, trust_env=False)

    # --- What people and programs do ------------------------------------------------------------------------------

    def ask(self, template: str, question: str, conversation: str = "", *, texts: bool = True) -> str:
        """Ask a service; gives the handle of its answer."""
        asked = {"template": template, "question": question, "conversation": conversation}
        response = self.client.get(f"{self.services[texts]}/chat", params=asked)
        assert response.status_code == 200, response.text
        return response.headers["feedback-handle"]

    def stop_reading(self, template: str, question: str) -> str:
        """Ask for an answer in pieces, and go away with the first; gives its handle."""
        asked = {"template": template, "question": question, "endless": "true"}
        with self.client.stream("GET", f"{self.services[True]}/stream", params=asked) as response:
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

    # --- What readers see -----------------------------------------------------------------------------------------

    def read(self, handle: str) -> Handle:
        """What a handle says."""
        return self._codec.read(handle)

    def carriers(self, handle: str) -> list[dict[str, Any]]:
        """The carriers on an answer in its trace, the first one first, as Jaeger has them."""
        target = self.read(handle)
        spans = self.stack.trace(format_trace_id(target.trace_id))
        found = [
            span for span in spans if _tag(span, semconv.FEEDBACK_TARGET_SPAN_ID) == format_span_id(target.span_id)
        ]
        return sorted(found, key=lambda span: span["startTime"])

    def counted(self, template: str) -> Counts:
        """How often Prometheus counted what, for a template."""
        labels = {name: name.replace(".", "_") for name in COUNTED}
        chosen = f'{semconv.FEEDBACK_PROMPT_NAME.replace(".", "_")}="{template}"'
        series = self.stack.query(f"sum by ({', '.join(labels.values())}) ({VOTES}{{{chosen}}})")
        counts = Counter(
            {tuple(one["metric"][label] for label in labels.values()): int(one["value"][1]) for one in series}
        )
        return +counts

    def stored(self, handle: str) -> dict[str, Any]:
        """What the store has of an answer."""
        target = self.read(handle)
        found = get_json(
            f"{self.up.url}/api/answers/{format_trace_id(target.trace_id)}-{format_span_id(target.span_id)}"
        )
        return found or {"feedback": []}

    def lines(self, template: str) -> dict[str, Line]:
        """A template's line of the table *satisfaction*, by Prometheus' queries of the dashboards and by the store."""
        key = template, "1"
        in_prometheus, in_store = (
            read_prometheus(self.stack.prometheus_client, SERVICE),
            read_embedded(self.up.url, SERVICE),
        )
        return {"Prometheus": in_prometheus.get(key, Line(*key)), "store": in_store.get(key, Line(*key))}

    # --- How it runs ----------------------------------------------------------------------------------------------

    def waiting(self, name: str) -> int:
        """How much feedback waits in the outbox of a capture."""
        command = [
            str(PROGRAMS / "otel-feedback"),
            *("outbox", "--json", "--outbox", str(self._folder / name / "outbox.db")),
        ]
        said = subprocess.run(command, capture_output=True, text=True, check=True)
        return int(json.loads(said.stdout)["depth"])

    def _service(self, name: str, port: int, **more: str) -> Process:
        words = [
            str(PROGRAMS / "opentelemetry-instrument"),
            str(PROGRAMS / "uvicorn"),
            *uvicorn("tests.stack.chat_app:app")[1:],
        ]
        command = [word.replace("{port}", str(port)) for word in words]
        env = self._environment(name) | {
            "OTEL_FEEDBACK_OUTBOX": str(self._folder / name / "outbox.db"),
            "CHAT_KNOWS": KNOWN,
            "PYTHONPATH": str(HERE.parents[1]),
        }
        return Process(name, command, folder=self._folder, env=env | more, ready_url=f"http://{HOST}:{port}/")

    def make_capture(self, name: str, port: int, **more: str) -> Process:
        """A capture, not started yet, with an outbox of its own."""
        command = [str(PROGRAMS / "otel-feedback"), "capture", "--listen", f"{HOST}:{port}", "--rate-address", "none"]
        for origin in self.services.values():
            command += ["--allow-origin", origin]
        env = self._environment(name) | {"OTEL_SERVICE_NAME": "capture"}
        return Process(name, command, folder=self._folder, env=env | more, ready_url=f"http://{HOST}:{port}/healthz")

    def _environment(self, name: str) -> dict[str, str]:
        return {
            **environment(self._provider, self.stack.otlp_http),
            **ONE_TRACE,
            "OTEL_SERVICE_NAME": SERVICE,
            "OTEL_FEEDBACK_HANDLE_KEYS": TEST_KEYS,
            "OTEL_FEEDBACK_STATE_DIR": str(self._folder / name),
        }


@contextlib.contextmanager
def running_loop(folder: Path, parts: Parts) -> Iterator[Loop]:
    """Run everything; the Collector keeps content, and sends to the store what it sends to Jaeger."""
    addresses, up = free_addresses(), free_up_ports()
    env = {"OTEL_FEEDBACK_COLLECTOR_CONTENT": "keep", "OTEL_FEEDBACK_TEST_STORE": up.otlp_grpc}
    stack = Stack(folder, parts=parts, env=env, more_config=[HERE / "collector-store.yaml"])
    loop = Loop(stack, up, folder, f"{addresses.provider_url}/v1")
    processes = [
        make_provider(folder, addresses),
        make_up(folder, up, data=folder / "data"),
        *loop.processes,
    ]
    with contextlib.ExitStack() as ending:
        ending.callback(loop.client.close)
        for process in processes:
            ending.callback(process.stop)
            process.launch()
        ending.enter_context(stack)
        for process in processes:
            process.await_ready(timeout=60)
        yield loop


def settled(read: Callable[[], T], wanted: T, *, timeout: float = 20) -> T:
    """Read until it is what is wanted, and return it; the last that was read if it never is."""
    last: list[T] = []

    def equal() -> bool:
        last[:] = [read()]
        return last[0] == wanted

    with contextlib.suppress(NotYet):
        wait_until(equal, "what is wanted", timeout=timeout)
    return last[0]


def _tag(span: Mapping[str, Any], name: str) -> Any:
    return next((tag["value"] for tag in span["tags"] if tag["key"] == name), None)
