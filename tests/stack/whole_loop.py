"""The whole loop as processes: chat services, captures, the Collector, Jaeger, Prometheus and a store; and its readers.

Two captures take feedback in, one of which records what people write. They and the services keep it in outboxes until
the Collector has it.
"""

import contextlib
import json
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from examples.prometheus import read_lines
from examples.satisfaction import Line
from examples.servers import UpPorts, free_up_ports
from opentelemetry.trace import format_span_id, format_trace_id
from stack.parts import Parts
from stack.ports import choose_free
from stack.processes import HOST, Process, Stack
from tests.stack.chat_services import SERVICE, Chats
from tests.zero_code.conftest import PROGRAMS

from otel_feedback import semconv

VOTES = semconv.METRIC_VOTES_BY_TEMPLATE.replace(".", "_") + "_total"
COUNTED = (
    semconv.FEEDBACK_KIND,
    semconv.FEEDBACK_SIGNAL,
    semconv.FEEDBACK_SENTIMENT,
    semconv.FEEDBACK_PREVIOUS_SENTIMENT,
)
"""What tells the numbers of one template apart."""

Counts = Counter[tuple[str, ...]]


class Loop(Chats):
    """Everything that runs, and what its readers see of it."""

    def __init__(self, folder: Path, up: UpPorts, stack: Stack) -> None:
        self.stack, self.start = stack, time.time()
        capture, terse = choose_free(2)
        captures = {True: f"http://{HOST}:{capture}", False: f"http://{HOST}:{terse}"}
        super().__init__(folder, up, otlp=stack.otlp_http, captures=captures)
        self.processes += [
            self.make_capture("capture", capture, OTEL_FEEDBACK_CAPTURE_TEXT="true"),
            self.make_capture("terse-capture", terse),
        ]
        self.wanted: dict[str, Counts] = {}
        """What Prometheus should have of each template, when its test was over."""

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

    def lines(self, template: str) -> dict[str, Line]:
        """A template's line of the table *satisfaction*, by Prometheus' queries of the dashboards and by the store."""
        key = template, "1"
        in_prometheus = read_lines(self.stack.prometheus_client, SERVICE)
        return {"Prometheus": in_prometheus.get(key, Line(*key)), "store": self.line(template)}

    def waiting(self, name: str) -> int:
        """How much feedback waits in the outbox of a capture."""
        command = [
            str(PROGRAMS / "otel-feedback"),
            *("outbox", "--json", "--outbox", str(self._folder / name / "outbox.db")),
        ]
        said = subprocess.run(command, capture_output=True, text=True, check=True)
        return int(json.loads(said.stdout)["depth"])

    def make_capture(self, name: str, port: int, **more: str) -> Process:
        """A capture, not started yet, with an outbox of its own."""
        command = [str(PROGRAMS / "otel-feedback"), "capture", "--listen", f"{HOST}:{port}", "--rate-address", "none"]
        for origin in self.services.values():
            command += ["--allow-origin", origin]
        env = self.environment(name) | {"OTEL_SERVICE_NAME": "capture"}
        return Process(name, command, folder=self._folder, env=env | more, ready_url=f"http://{HOST}:{port}/healthz")


@contextlib.contextmanager
def running_loop(folder: Path, parts: Parts) -> Iterator[Loop]:
    """Run everything; the Collector keeps content, and sends to the store what it sends to Jaeger."""
    up = free_up_ports()
    env = {"OTEL_FEEDBACK_COLLECTOR_CONTENT": "keep", "OTEL_FEEDBACK_TEST_STORE": up.otlp_grpc}
    stack = Stack(folder, parts=parts, env=env, more_config=[Path(__file__).with_name("collector-store.yaml")])
    loop = Loop(folder, up, stack)
    with contextlib.ExitStack() as ending:
        loop.launch(ending)
        ending.enter_context(stack)
        loop.await_ready()
        yield loop


def _tag(span: Mapping[str, Any], name: str) -> Any:
    return next((tag["value"] for tag in span["tags"] if tag["key"] == name), None)
