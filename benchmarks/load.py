"""Telemetry as services send it, by the request: realistic spans, serialised once, with new ids and times each time.

A trace is one answered question of eight spans: the request (an interaction with its facts), retrieval with documents,
inference with messages, and five calls of clients. Every fifth batch is followed by a request of carriers, made as the
library makes them, that judge a tenth of the answers of the five.
"""

import itertools
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from benchmarks.answers import POOL, SPANS, TIME, Marked, Service, Trace, Words, random_facts
from otel_feedback import semconv
from otel_feedback._carrier import SpanDelivery
from otel_feedback._handle import HandleCodec, Keyring
from otel_feedback._recorder import Recorder
from otel_feedback._settings import Settings

BATCH: Final = 512
"""Spans in one request: what the SDK sends at most."""

VOTES_EVERY: Final = 5
"""Batches between two requests of carriers."""

_VOTE_POOL: Final = 16 + 8 + 16
"""Random bytes of one carrier: trace id, span id, feedback id."""

_KEYS: Final = Keyring.from_text("load:HS256:bG9hZC1sb2FkLWxvYWQtbG9hZC1sb2FkLWxvYWQtbG9hZC0")


class Place(NamedTuple):
    """Where bytes of the random pool stand in a serialised request."""

    offset: int
    length: int
    source: int
    """Offset in the pool."""
    of: int
    """0: this batch's pool; 1, 2, ...: that of so many batches before."""
    text: bool
    """Whether it stands there as hex digits."""


@dataclass(slots=True)
class Template:
    """One serialised request, and where its ids and times are."""

    body: bytearray
    places: list[Place] = field(default_factory=list)
    times: list[tuple[int, int]] = field(default_factory=list)
    """Offset of each time, and nanoseconds that it is before now."""


class Answer(NamedTuple):
    """The ids of one interaction, as hex digits."""

    trace_id: str
    span_id: str


class Request(NamedTuple):
    """One request to send, and what is in it."""

    body: bytes
    spans: int
    answers: list[Answer]
    feedback: list[str]
    """Ids."""


class Load:
    """An endless row of requests, the same for the same seed but for the times.

    Args:
        seed: Of the ids and texts.
        batch: Spans in a request, a multiple of eight.
        templates: How many different requests there are but for ids and times.
        votes: Whether carriers are among them.
    """

    def __init__(self, *, seed: int = 1, batch: int = BATCH, templates: int = 8, votes: bool = True) -> None:
        self._random = random.Random(seed)
        self._traces = batch // SPANS
        words = Words(self._random)
        self._batches = [_batch(self._random, words, self._traces) for _ in range(templates)]
        self._votes = _votes(self._random, self._traces) if votes else None
        self._pools: list[bytes] = []

    def __iter__(self) -> Iterator[Request]:
        """Return the requests."""
        for number in itertools.count():
            pool = self._random.randbytes(self._traces * POOL)
            self._pools = [pool, *self._pools[: VOTES_EVERY - 1]]
            body = self._fill(self._batches[number % len(self._batches)])
            yield Request(body, self._traces * SPANS, self._answers(pool), [])
            if self._votes is not None and number % VOTES_EVERY == VOTES_EVERY - 1:
                yield self._carriers(self._votes)

    def _fill(self, template: Template, own: bytes = b"") -> bytes:
        pools = (*self._pools, own)
        body = template.body
        for offset, length, source, of, text in template.places:
            piece = pools[of][source : source + length]
            if text:
                body[offset : offset + 2 * length] = piece.hex().encode()
            else:
                body[offset : offset + length] = piece
        now = time.time_ns()
        for offset, before in template.times:
            TIME.pack_into(body, offset, now - before)
        return bytes(body)

    def _answers(self, pool: bytes) -> list[Answer]:
        return [Answer(pool[at : at + 16].hex(), pool[at + 16 : at + 24].hex()) for at in range(0, len(pool), POOL)]

    def _carriers(self, template: Template) -> Request:
        own = self._random.randbytes(_VOTE_POOL * _vote_count(self._traces))
        ids = [own[at + 24 : at + 40].hex() for at in range(0, len(own), _VOTE_POOL)]
        return Request(self._fill(template, own), len(ids), [], ids)


def _vote_count(traces: int) -> int:
    return max(1, traces * VOTES_EVERY // 10)


def _batch(source: random.Random, words: Words, traces: int) -> Template:
    request = ExportTraceServiceRequest()
    resource_spans = request.resource_spans.add()
    service = Service(source, words)
    resource_spans.resource.attributes.extend(service.resource())
    answers = [Trace(service) for _ in range(traces)]
    marked: list[Marked] = []
    for name, kind in (
        ("fastapi", Trace.request),
        ("opentelemetry.instrumentation.genai.openai", Trace.model_spans),
        ("httpx", Trace.client_spans),
    ):
        scope = resource_spans.scope_spans.add()
        scope.scope.name, scope.scope.version = name, "0.66b1"
        for number, answer in enumerate(answers):
            for one in kind(answer):
                scope.spans.append(one.span)
                marked.append(one._replace(pool=number * POOL))
    return _find(request.SerializeToString(), marked)


def _find(body: bytes, marked: list[Marked]) -> Template:
    """Find the places in a request that has the spans in this order."""
    template = Template(bytearray(body))
    at = 0
    for span, ids, times, pool in marked:
        whole = span.SerializeToString()
        at = body.index(whole, at)
        for mark, source in ids:
            template.places.extend(Place(at + to, len(mark), pool + source, 0, text=False) for to in _all(whole, mark))
        for moment, before in times:
            template.times.extend((at + to, before) for to in _all(whole, TIME.pack(moment)))
        at += len(whole)
    return template


def _all(body: bytes, mark: bytes) -> Iterator[int]:
    offset = body.find(mark)
    while offset >= 0:
        yield offset
        offset = body.find(mark, offset + len(mark))


def _votes(source: random.Random, traces: int) -> Template:
    """Return a request of carriers whose targets are spread over the last batches."""
    targets = [
        _Target(source.randbytes(16), source.randbytes(8), place // traces, place % traces * POOL)
        for place in source.sample(range(traces * VOTES_EVERY), _vote_count(traces))
    ]
    now = time.time_ns()
    spans = _make_carriers(source, targets, now)
    body = encode_spans(spans).SerializeToString()
    template = Template(bytearray(body), times=[(offset, 0) for offset in _all(body, TIME.pack(now))])
    for number, (span, target) in enumerate(zip(spans, targets, strict=True)):
        template.places.extend(_places_of_carrier(body, span, target, number * _VOTE_POOL))
    return template


class _Target(NamedTuple):
    trace_id: bytes
    span_id: bytes
    of: int
    """How many batches ago it was sent."""
    source: int
    """Where its trace's part of that batch's pool begins."""


def _make_carriers(source: random.Random, targets: Sequence[_Target], now: int) -> Sequence[ReadableSpan]:
    """Return a thumb for each, as the library sends it."""
    codec = HandleCodec(_KEYS)
    memory = InMemorySpanExporter()
    delivery = SpanDelivery(exporter=memory)
    recorder = Recorder(codec=codec, settings=Settings(capture_text=True), delivery=delivery)
    words = Words(source)
    for target in targets:
        handle = codec.issue(
            trace_id=int.from_bytes(target.trace_id, "big"),
            span_id=int.from_bytes(target.span_id, "big"),
            sampled=True,
            facts=random_facts(source),
        )
        good = source.random() < 0.7
        recorder.submit(
            handle,
            "thumbs",
            "up" if good else "down",
            id=source.randbytes(16).hex(),
            reasons=() if good else ("outdated",),
            comment=None if good else words.text(80),
            time=now,
        )
    delivery.flush()
    delivery.shutdown()
    return memory.get_finished_spans()


def _places_of_carrier(body: bytes, span: ReadableSpan, target: _Target, own: int) -> Iterator[Place]:
    assert span.context is not None
    assert span.attributes is not None
    marks = [(span.context.span_id.to_bytes(8, "big"), own + 16, VOTES_EVERY)]
    trace_id = span.context.trace_id.to_bytes(16, "big")
    if trace_id != target.trace_id:
        marks.append((trace_id, own, VOTES_EVERY))
    marks.append((target.trace_id, target.source, target.of))
    marks.append((target.span_id, target.source + 16, target.of))
    marks.append((bytes.fromhex(str(span.attributes[semconv.FEEDBACK_ID])), own + 24, VOTES_EVERY))
    for mark, at, of in marks:
        for offset in _all(body, mark):
            yield Place(offset, len(mark), at, of, text=False)
        for offset in _all(body, mark.hex().encode()):
            yield Place(offset, len(mark), at, of, text=True)
