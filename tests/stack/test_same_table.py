"""One set of answers and votes, sent to the real parts and to one process: both tables equal it to the vote."""

import contextlib
import io
import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from examples.embedded import read_lines as read_embedded
from examples.prometheus import read_lines as read_prometheus
from examples.satisfaction import COUNTS, STANDING, Key, Lines, show_lines
from examples.servers import free_up_ports, make_up
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from rich.console import Console
from stack.client import NotYet, wait_until
from stack.processes import Stack

from otel_feedback import PromptTemplate, Settings, configure, interaction
from otel_feedback._carrier import SpanDelivery
from otel_feedback._processor import FeedbackSpanProcessor, KeepForFeedback
from otel_feedback._recorder import Recorder
from otel_feedback._runtime import codec, reset, settings
from otel_feedback.testing import TEST_KEYS

SERVICES = ("table-shop", "table-billing")
TEMPLATES = (("answer", "1"), ("answer", "2"), ("summary", "1"), ("rarely", "1"), ("silent", "1"))
ANSWERS = {"answer": 60, "summary": 40, "rarely": 3, "silent": 12}
"""Of each version, in each service."""

GESTURES = {"thumbs": ("up", "down"), "helpful": ("yes", "no")}
LATE_NS = 120 * 10**9
"""So long after its answer a vote has a trace of its own."""

BATCH = 16


class Town:
    """Two services with several templates, people who judge their answers, and the truth about both.

    Everything is made as a service and its capture endpoint make it; what would be sent is kept.
    """

    def __init__(self, seed: int) -> None:
        self.counts: dict[str, defaultdict[Key, Counter[str]]] = {name: defaultdict(Counter) for name in SERVICES}
        self._dice = random.Random(seed)  # noqa: S311 - votes, not secrets
        self._answers, self._carriers = InMemorySpanExporter(), InMemorySpanExporter()
        self._delivery = SpanDelivery(exporter=self._carriers, resource=Resource({"service.name": "table-capture"}))
        keys = codec()
        assert keys is not None
        self._recorder = Recorder(codec=keys, settings=settings(), delivery=self._delivery)
        self._now = time.time_ns()

    @property
    def answers(self) -> list[ReadableSpan]:
        """Spans of the services."""
        return list(self._answers.get_finished_spans())

    @property
    def carriers(self) -> list[ReadableSpan]:
        """Spans of feedback."""
        assert self._delivery.flush()
        return list(self._carriers.get_finished_spans())

    def live(self) -> None:
        """Let everybody ask and judge. The providers stay open: the end of one would end what they share."""
        for service in SERVICES:
            for sampled in (True, False):
                provider = TracerProvider(
                    sampler=None if sampled else KeepForFeedback(ALWAYS_OFF),
                    resource=Resource({"service.name": service}),
                    shutdown_on_exit=False,
                )
                provider.add_span_processor(FeedbackSpanProcessor())
                provider.add_span_processor(SimpleSpanProcessor(self._answers))
                for template, version in TEMPLATES:
                    for _ in range(ANSWERS[template] // (1 if sampled else 12)):
                        self._ask_and_judge(provider, service, (template, version), sampled=sampled)
        self._delivery.shutdown()

    def _ask_and_judge(self, provider: TracerProvider, service: str, key: Key, *, sampled: bool) -> None:
        counts = self.counts[service][key]
        with interaction("answer", tracer_provider=provider) as one:
            PromptTemplate(key[0], "Answer {question}", version=key[1]).format(question="?")
            handle = one.handle
        assert handle is not None
        counts["answers"] += sampled
        if key[0] == "silent":
            return
        said = False
        for signal, (good, bad) in GESTURES.items():
            if self._dice.random() < 0.6:
                said = True
                self._judge(counts, handle, signal, (good, bad))
        counts["voted"] += sampled and said
        for signal, value in (("copy", True), ("rephrase", 0.75)):
            if self._dice.random() < 0.3:
                self._submit(handle, signal, value)
                counts[signal] += 1

    def _judge(self, counts: Counter[str], handle: str, signal: str, values: tuple[str, str]) -> None:
        """Up to four states of one vote, details and repetitions among them; the last one stands."""
        names = dict(zip(values, ("positive", "negative"), strict=True))
        before: str | None = None
        for step in range(self._dice.choice((1, 1, 1, 2, 3, 4))):
            # Nobody takes back what was never said.
            value = self._dice.choice(values if step == 0 else (*values, None))
            late = self._dice.random() < 0.3
            comment = "As I said." if value is not None and value == before else None
            sent = self._submit(handle, signal, value, late=late, comment=comment)
            if self._dice.random() < 0.1:
                self._submit(
                    handle, signal, value, again=sent, comment=comment
                )  # the page had no answer, and sends again
            if value is not None and value != before:
                counts[names[value]] += 1
            counts["changes"] += step > 0 and value != before
            before = value
        if before is not None:
            counts[f"standing {names[before]}"] += 1

    def _submit(
        self,
        handle: str,
        signal: str,
        value: object,
        *,
        again: str | None = None,
        comment: str | None = None,
        late: bool = False,
    ) -> str:
        self._now += 10**6 + late * LATE_NS
        return self._recorder.submit(handle, signal, value, id=again, comment=comment, time=self._now).id


def batches(spans: Sequence[ReadableSpan]) -> Iterator[Sequence[ReadableSpan]]:
    for start in range(0, len(spans), BATCH):
        yield spans[start : start + BATCH]


def send(otlp_grpc: str, all_batches: Sequence[Sequence[ReadableSpan]]) -> None:
    exporter = OTLPSpanExporter(endpoint=f"http://{otlp_grpc}", insecure=True, timeout=10)
    for batch in all_batches:
        assert exporter.export(batch) is SpanExportResult.SUCCESS
    exporter.shutdown()


@pytest.fixture
def town() -> Iterator[Town]:
    configure(Settings(handle_keys=TEST_KEYS, capture_text=True))
    made = Town(seed=5)
    made.live()
    yield made
    reset()


def wanted(town: Town, service: str, names: Sequence[str]) -> dict[Key, dict[str, int]]:
    return {key: {name: counts[name] for name in names} for key, counts in town.counts[service].items()}


def counted(lines: Lines, names: Sequence[str]) -> dict[Key, dict[str, int]]:
    return {key: {name: line.counts.get(name, 0) for name in names} for key, line in lines.items()}


def read_when_equal(stack: Stack, service: str, truth: dict[Key, dict[str, int]]) -> Lines:
    """Prometheus' lines once they equal the truth; its last ones if they never do."""
    read: list[Lines] = []

    def equal() -> bool:
        read[:] = [read_prometheus(stack.prometheus_client, service)]
        return counted(read[0], COUNTS) == truth

    with contextlib.suppress(NotYet):
        wait_until(equal, "equal counts", timeout=30)
    return read[0]


def printed(lines: Lines) -> str:
    console = Console(file=io.StringIO(), width=120, color_system=None)
    console.print(show_lines(lines))
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text


def test_both_tables_equal_the_votes_and_each_other(stack: Stack, town: Town, tmp_path: Path) -> None:
    """Flips, retractions, late details, repetitions, signals nobody was asked for, answers that were sampled out.

    The real parts get everything in order and once. The embedded process gets it shuffled, carriers before their
    answers, and some batches twice, since its sender saw no acknowledgement.
    """
    in_order = [*batches(town.answers), *batches(town.carriers)]
    send(stack.otlp_grpc, in_order)
    ports = free_up_ports()
    up = make_up(tmp_path, ports, data=tmp_path / "data")
    up.start()
    try:
        dice = random.Random(7)  # noqa: S311 - the same
        shuffled = dice.sample(in_order, len(in_order))
        send(ports.otlp_grpc, [*shuffled, *dice.sample(shuffled, len(shuffled) // 3)])
        for service in SERVICES:
            truth = wanted(town, service, COUNTS)
            prometheus = read_when_equal(stack, service, truth)
            assert counted(prometheus, COUNTS) == truth
            embedded = read_embedded(ports.url, service)
            assert counted(embedded, COUNTS) == truth
            assert counted(embedded, STANDING) == wanted(town, service, STANDING)
            assert printed(embedded) == printed(prometheus)
            everything = sum((Counter(counts) for counts in town.counts[service].values()), Counter())
            assert min(everything[name] for name in (*COUNTS, *STANDING)) > 10  # nothing was left out by the dice
    finally:
        up.stop()
