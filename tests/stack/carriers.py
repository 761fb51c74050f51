"""Emits answers and known votes on them by the plain OTel SDK, and keeps a list of what was emitted: the truth."""

import itertools
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, TraceFlags

from otel_feedback import semconv

POSITIVE, NEGATIVE, NEUTRAL, RETRACTED = semconv.SENTIMENTS
DOCUMENT = json.dumps([{"id": "import", "score": 0.9}])


@dataclass(frozen=True)
class Facts:
    """What produced an answer: the labels of every number."""

    template: str
    version: str = "1"
    service: str = "shop"
    namespace: str = "web"
    environment: str = "production"
    model: str = "gpt-5"
    query_type: str = "how-to"

    def attributes(self) -> dict[str, str]:
        """Return them as spans carry them."""
        return {
            semconv.FEEDBACK_PROMPT_NAME: self.template,
            semconv.FEEDBACK_PROMPT_VERSION: self.version,
            semconv.FEEDBACK_SERVICE_NAME: self.service,
            semconv.FEEDBACK_SERVICE_NAMESPACE: self.namespace,
            semconv.FEEDBACK_ENVIRONMENT: self.environment,
            semconv.FEEDBACK_MODEL: self.model,
            semconv.FEEDBACK_QUERY_TYPE: self.query_type,
        }


@dataclass(frozen=True)
class Answer:
    """One interaction, as it was emitted."""

    facts: Facts
    at: float
    context: SpanContext

    @property
    def sampled(self) -> bool:
        """Whether its span was sent."""
        return self.context.trace_flags.sampled

    @property
    def trace_id(self) -> str:
        """Its trace, as 32 hex digits."""
        return trace.format_trace_id(self.context.trace_id)


@dataclass(frozen=True)
class Vote:
    """One carrier, as it was emitted."""

    answer: Answer
    at: float
    sender: str
    trace_id: str
    kind: str
    signal: str
    sentiment: str
    previous: str
    first: bool

    @property
    def is_opinion(self) -> bool:
        """Whether it says something new, by a person who was asked."""
        return self.kind == semconv.EXPLICIT and self.sentiment != self.previous

    @property
    def is_change(self) -> bool:
        """Whether it replaces another sentiment."""
        return self.is_opinion and self.previous != semconv.UNSET


@dataclass
class Truth:
    """Everything that was emitted, in order."""

    answers: list[Answer] = field(default_factory=list)
    votes: list[Vote] = field(default_factory=list)

    def between(self, start: float, end: float) -> "Truth":
        """Return what was emitted after ``start`` and no later than ``end``."""
        return Truth(
            [one for one in self.answers if start < one.at <= end],
            [one for one in self.votes if start < one.at <= end],
        )

    def where(self, wanted: Mapping[str, str | tuple[str, ...]]) -> "Truth":
        """Return what belongs to some facts: a name of ``Facts`` to the value, or the values, that count."""

        def fits(facts: Facts) -> bool:
            return all(
                getattr(facts, name) in ((value,) if isinstance(value, str) else value)
                for name, value in wanted.items()
            )

        return Truth(
            [one for one in self.answers if fits(one.facts)],
            [one for one in self.votes if fits(one.answer.facts)],
        )


class Sender:
    """One process of a service (or of a capture service) that sends spans to one Collector.

    What was sent is in ``truth`` once ``send`` has returned: the Collector has acknowledged it.
    """

    def __init__(self, otlp_grpc: str, truth: Truth, *, service: str = "shop", instance: str = "1") -> None:
        self.service = service
        self._truth = truth
        self._pending = Truth()
        self._memory = InMemorySpanExporter()
        self._exporter = OTLPSpanExporter(endpoint=f"http://{otlp_grpc}", insecure=True, timeout=10)
        resource = Resource({"service.name": service, "service.instance.id": instance})
        self._provider = TracerProvider(resource=resource)
        self._provider.add_span_processor(SimpleSpanProcessor(self._memory))
        self._tracer = self._provider.get_tracer(semconv.SCOPE, schema_url=semconv.SCHEMA_URL)

    def answer(self, facts: Facts, *, sampled: bool = True, whole: bool = False) -> Answer:
        """Emit one interaction.

        Args:
            facts: what produced it.
            sampled: else its span is not sent, as a head sampler would have it, and it has only an id.
            whole: with the retrieval of documents and the call of the model below it.
        """
        if not sampled:
            generator = self._provider.id_generator
            context = SpanContext(
                generator.generate_trace_id(), generator.generate_span_id(), is_remote=True, trace_flags=TraceFlags(0)
            )
            return self._answered(Answer(facts, time.time(), context))
        attributes = facts.attributes() | {semconv.FEEDBACK_INTERACTION: True}
        if whole:
            attributes[semconv.FEEDBACK_DOCUMENTS] = DOCUMENT
        with self._tracer.start_as_current_span("POST /ask", kind=SpanKind.SERVER, attributes=attributes) as span:
            if whole:
                retrieval = {
                    semconv.GEN_AI_OPERATION_NAME: "retrieval",
                    semconv.GEN_AI_RETRIEVAL_DOCUMENTS: DOCUMENT,
                }
                with self._tracer.start_as_current_span("retrieval", attributes=retrieval):
                    pass
                call = {semconv.GEN_AI_OPERATION_NAME: "chat", semconv.GEN_AI_REQUEST_MODEL: facts.model}
                name = f"chat {facts.model}"
                with self._tracer.start_as_current_span(name, kind=SpanKind.CLIENT, attributes=call):
                    pass
        return self._answered(Answer(facts, time.time(), span.get_span_context()))

    def vote(
        self,
        answer: Answer,
        sentiment: str,
        *,
        signal: str = "thumbs",
        kind: str = semconv.EXPLICIT,
        late: bool = False,
    ) -> Vote:
        """Emit one carrier; what the vote was before is looked up in what was emitted.

        Args:
            answer: what is judged.
            sentiment: what the vote becomes.
            signal: the gesture.
            kind: explicit or implicit.
            late: in a trace of its own, as feedback that comes long after its answer.
        """
        earlier = [one for one in itertools.chain(self._truth.votes, self._pending.votes) if one.answer is answer]
        same = [one for one in earlier if one.signal == signal]
        previous = same[-1].sentiment if same else semconv.UNSET
        explicit = kind == semconv.EXPLICIT
        first = explicit and all(one.kind != semconv.EXPLICIT for one in earlier)
        target = answer.context
        attributes = answer.facts.attributes() | {
            semconv.FEEDBACK_TARGET_TRACE_ID: answer.trace_id,
            semconv.FEEDBACK_TARGET_SPAN_ID: trace.format_span_id(target.span_id),
            semconv.FEEDBACK_TARGET_SAMPLED: answer.sampled,
            semconv.FEEDBACK_KIND: kind,
            semconv.FEEDBACK_SIGNAL: signal,
            semconv.FEEDBACK_SENTIMENT: sentiment,
            semconv.FEEDBACK_PREVIOUS_SENTIMENT: previous,
            semconv.FEEDBACK_FIRST: first,
        }
        with self._tracer.start_as_current_span(
            semconv.SPAN_FEEDBACK.format(signal=signal),
            context=_carrier_context(answer, late=late),
            links=[Link(target)],
            attributes=attributes,
        ) as span:
            pass
        trace_id = trace.format_trace_id(span.get_span_context().trace_id)
        vote = Vote(answer, time.time(), self.service, trace_id, kind, signal, sentiment, previous, first)
        self._pending.votes.append(vote)
        return vote

    def votes(self, facts: Facts, **counts: int) -> list[Vote]:
        """Emit answers with one vote each: so many ``positive``, ``negative``, ...; return the votes."""
        return [self.vote(self.answer(facts), sentiment) for sentiment, count in counts.items() for _ in range(count)]

    def send(self, *, times: int = 1) -> list[ReadableSpan]:
        """Send what was emitted since the last time as one batch, and return its spans; more than once on request."""
        spans = list(self._memory.get_finished_spans())
        self._memory.clear()
        for _ in range(times):
            assert self._exporter.export(spans) is SpanExportResult.SUCCESS
        self._truth.answers += self._pending.answers
        self._truth.votes += self._pending.votes
        self._pending = Truth()
        return spans

    def close(self) -> None:
        """Close the connection."""
        self._exporter.shutdown()
        self._provider.shutdown()

    def _answered(self, answer: Answer) -> Answer:
        self._pending.answers.append(answer)
        return answer


def _carrier_context(answer: Answer, *, late: bool) -> trace.Context:
    empty = trace.Context()
    if late or not answer.sampled:
        return empty
    return trace.set_span_in_context(NonRecordingSpan(answer.context), empty)


def trace_ids(votes: Iterable[Vote]) -> set[str]:
    """Return the traces that hold the carriers."""
    return {one.trace_id for one in votes}
