"""The carrier: what a feedback looks like in telemetry, and the only place that makes it a span and sends it.

``docs/carrier.md`` describes it for other producers and for readers.
"""

import atexit
import hashlib
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from otel_feedback import semconv
from otel_feedback._export import MAX_BATCH, MAX_PENDING, WatchedExporter, exporters_from_env
from otel_feedback._feedback import Feedback
from otel_feedback._fork import renew_in_child
from otel_feedback._guard import logger, warn_once
from otel_feedback._handle import Handle
from otel_feedback._limits import MAX_FACT, clean_text
from otel_feedback._settings import Settings
from otel_feedback._version import VERSION
from otel_feedback._votes import Transition
from otel_feedback.exceptions import DeliveryError, OtelFeedbackError

EXPORT_DELAY_MS: Final = 500
"""Milliseconds that a carrier waits for others, to be exported with them."""

CARRIER_FACTS: Final = (
    *semconv.SERVICE_DIMENSIONS,
    *semconv.TEMPLATE_DIMENSIONS,
    semconv.FEEDBACK_PROMPT_FINGERPRINT,
    *semconv.MODEL_DIMENSIONS,
    semconv.FEEDBACK_PROVIDER,
    semconv.FEEDBACK_RESPONSE_ID,
    semconv.GEN_AI_CONVERSATION_ID,
)
"""The facts that a carrier repeats. Not the documents, which a reader finds by the link, nor ``user.hash``, which
on a carrier is who judged."""

# Explicit in every part: where one is left out, the SDK takes the host's environment, which may say 0.
_LIMITS: Final = SpanLimits(
    max_attributes=64,
    max_events=8,
    max_links=1,
    max_span_attributes=64,
    max_event_attributes=16,
    max_link_attributes=1,
    max_attribute_length=SpanLimits.UNSET,
    max_span_attribute_length=SpanLimits.UNSET,
)

_to_json: Final = json.JSONEncoder(separators=(",", ":")).encode
_LABELS: Final = (*semconv.SERVICE_DIMENSIONS, *semconv.TEMPLATE_DIMENSIONS, *semconv.MODEL_DIMENSIONS)
_UNKNOWN: Final = dict.fromkeys(_LABELS, semconv.UNKNOWN)

AttributeValue = str | bool | float | tuple[str, ...]
Attributes = dict[str, AttributeValue]


@dataclass(frozen=True, slots=True)
class Carrier:
    """One feedback as plain data, that can be stored and sent later.

    Attributes:
        name: Of the span.
        time_ns: When the feedback came, in nanoseconds since 1970.
        trace_id: Of the interaction span, the target of the carrier's one link.
        span_id: Of the interaction span.
        sampled: Whether the interaction span was sampled.
        same_trace: Whether the carrier joins the interaction's trace, as a child of its span.
        attributes: Of the span.
        events: Name and attributes of each.
    """

    name: str
    time_ns: int
    trace_id: int
    span_id: int
    sampled: bool
    same_trace: bool
    attributes: Attributes
    events: tuple[tuple[str, Attributes], ...]

    @property
    def end_ns(self) -> int:
        """When its span ends. Without a duration Jaeger calls it negative, and shows what came twice as two spans."""
        return self.time_ns + 1


def build_carrier(
    feedback: Feedback,
    transition: Transition,
    handle: Handle,
    *,
    facts: Mapping[str, str],
    submitter: str | None,
    source: str,
    time_ns: int,
    settings: Settings,
) -> Carrier:
    """Write a feedback down as a carrier.

    Args:
        feedback: What was said.
        transition: What it does to its vote.
        handle: The interaction that it is about.
        facts: What is known of the interaction, by the names of ``semconv``.
        submitter: Pseudonym of who said it.
        source: One of the sources in ``semconv``.
        time_ns: When it came, in nanoseconds since 1970.
        settings: Whether text is captured, and for how long carriers join the interaction's trace.
    """
    comment = feedback.comment if settings.capture_text else None
    attributes = {
        **_UNKNOWN,
        **{name: clean_text(facts[name]) for name in CARRIER_FACTS if 0 < len(facts.get(name, "")) <= MAX_FACT},
        semconv.FEEDBACK_TARGET_TRACE_ID: trace.format_trace_id(handle.trace_id),
        semconv.FEEDBACK_TARGET_SPAN_ID: trace.format_span_id(handle.span_id),
        semconv.FEEDBACK_TARGET_SAMPLED: handle.sampled,
        semconv.FEEDBACK_SOURCE: source,
        **_known({semconv.USER_HASH: submitter}),
        **_judgement(feedback, transition),
        **_annotation(feedback, submitter, comment),
    }
    events = [(semconv.EVENT_EVALUATION_RESULT, _evaluation(feedback, comment, facts))]
    if settings.capture_text and feedback.correction is not None:
        correction: Attributes = {
            semconv.FEEDBACK_CORRECTION_ORIGINAL: feedback.correction.original,
            semconv.FEEDBACK_CORRECTION_CORRECTED: feedback.correction.corrected,
        }
        events.append((semconv.EVENT_CORRECTION, correction))
    age = time_ns / 1e9 - handle.issued_at
    return Carrier(
        name=semconv.SPAN_FEEDBACK.format(signal=feedback.signal.name),
        time_ns=time_ns,
        trace_id=handle.trace_id,
        span_id=handle.span_id,
        sampled=handle.sampled,
        # 0 is never, even where the clock of whoever made the handle is ahead of ours.
        same_trace=handle.sampled and 0 < settings.same_trace_seconds > age,
        attributes=attributes,
        events=tuple(events),
    )


def _known(values: Mapping[str, AttributeValue | None]) -> Attributes:
    return {name: value for name, value in values.items() if value is not None}


def _judgement(feedback: Feedback, transition: Transition) -> Attributes:
    return _known(
        {
            semconv.FEEDBACK_ID: feedback.id,
            semconv.FEEDBACK_KIND: feedback.signal.kind,
            semconv.FEEDBACK_SIGNAL: feedback.signal.name,
            semconv.FEEDBACK_SENTIMENT: feedback.judgement.sentiment,
            semconv.FEEDBACK_PREVIOUS_SENTIMENT: transition.previous_sentiment,
            semconv.FEEDBACK_FIRST: transition.first,
            semconv.FEEDBACK_REVISES: transition.revises,
            semconv.FEEDBACK_REASONS: feedback.reasons or None,
            semconv.FEEDBACK_CONFIDENCE: feedback.confidence,
        }
    )


def _annotation(feedback: Feedback, submitter: str | None, comment: str | None) -> Attributes:
    metadata = {"id": feedback.id, "reasons": feedback.reasons}
    return _known(
        {
            semconv.OPENINFERENCE_SPAN_KIND: semconv.EVALUATOR,
            semconv.ANNOTATION_NAME: feedback.signal.name,
            semconv.ANNOTATION_SCORE: feedback.judgement.score,
            semconv.ANNOTATION_LABEL: feedback.judgement.label,
            semconv.ANNOTATION_EXPLANATION: comment,
            semconv.ANNOTATION_ANNOTATOR_KIND: feedback.signal.annotator_kind,
            semconv.ANNOTATION_IDENTIFIER: _identifier(submitter, feedback.signal.name),
            semconv.ANNOTATION_METADATA: _to_json(metadata),
        }
    )


def _evaluation(feedback: Feedback, comment: str | None, facts: Mapping[str, str]) -> Attributes:
    response_id = facts.get(semconv.FEEDBACK_RESPONSE_ID)
    return _known(
        {
            semconv.GEN_AI_EVALUATION_NAME: feedback.signal.name,
            semconv.GEN_AI_EVALUATION_SCORE_VALUE: feedback.judgement.score,
            semconv.GEN_AI_EVALUATION_SCORE_LABEL: feedback.judgement.label,
            semconv.GEN_AI_EVALUATION_EXPLANATION: comment,
            semconv.GEN_AI_RESPONSE_ID: clean_text(response_id) if response_id else None,
        }
    )


def _identifier(submitter: str | None, signal: str) -> str:
    return hashlib.sha256(f"{submitter or ''}\n{signal}".encode()).hexdigest()[:32]


class Delivery(Protocol):
    """Takes carriers on their way. A seam: a delivery that survives a crash keeps them on disk first."""

    def submit(self, carrier: Carrier) -> None:
        """Return when the carrier is as safe as this delivery makes it.

        Raises:
            DeliveryError: It is not safe, and nothing of it was kept.
        """


class _Pipeline(NamedTuple):
    provider: TracerProvider
    tracer: trace.Tracer
    exporter: WatchedExporter


class SpanDelivery:
    """Sends carriers as spans, in batches, from a tracer provider of its own that the host doesn't touch.

    Safe means in memory here, until the next export: at most half a second, or as long as the exporter tries.
    Nothing is opened before the first carrier, and a forked child opens its own.
    """

    def __init__(
        self,
        *,
        exporter: SpanExporter | None = None,
        resource: Resource | None = None,
        id_generator: IdGenerator | None = None,
    ) -> None:
        """Prepare a delivery.

        Args:
            exporter: Where carriers go; by default what the environment says, as for the SDK.
            resource: Who sends them; by default the global tracer provider's, else the environment's.
            id_generator: Makes trace and span ids.
        """
        self._exporter = exporter
        self._resource = resource
        self._id_generator = id_generator
        self._pipeline: _Pipeline | None = None
        self._closed = False
        self._lock = threading.Lock()
        renew_in_child(self, _start_anew)

    def submit(self, carrier: Carrier) -> None:
        """See ``Delivery.submit``. Where OpenTelemetry is switched off, this does nothing but warn once."""
        if self._closed:
            raise DeliveryError("The delivery has been shut down.")
        try:
            pipeline = self._pipeline or self._open()
        except OtelFeedbackError as error:
            raise DeliveryError(str(error)) from error
        span = _start_span(pipeline.tracer, carrier)
        if not span.is_recording():
            warn_once(
                "carriers-off",
                "otel-feedback: feedback goes nowhere, since OTEL_SDK_DISABLED switches OpenTelemetry off.",
            )
            return
        if not pipeline.exporter.admit():
            raise DeliveryError("Too much feedback waits for export. Is the Collector there?")
        span.end(carrier.end_ns)

    def open(self) -> None:
        """Open what sends now, and not with the first carrier.

        Raises:
            ConfigurationError: The environment names an exporter that isn't there.
            MissingExtraError: The OTLP exporter is not installed.
        """
        self._open()

    def _open(self) -> _Pipeline:
        with self._lock:
            if self._pipeline is None:
                self._pipeline = self._make_pipeline()
                atexit.register(self.shutdown)
            return self._pipeline

    def flush(self) -> bool:
        """Export what waits, for as long as the exporter tries, and return whether it arrived."""
        pipeline = self._pipeline
        if pipeline is None:
            return True
        lost = pipeline.exporter.lost
        pipeline.provider.force_flush()
        return pipeline.exporter.lost == lost and not pipeline.exporter.pending

    def shutdown(self) -> None:
        """Export what waits, for some seconds at most, and take no more. Runs when the process ends, too."""
        with self._lock:
            pipeline, self._pipeline, self._closed = self._pipeline, None, True
        if pipeline is None:
            return
        atexit.unregister(self.shutdown)
        pipeline.exporter.hurry()
        pipeline.provider.shutdown()
        if unsent := pipeline.exporter.lost + pipeline.exporter.pending:
            logger.error("otel-feedback: %d feedbacks could not be exported and are lost.", unsent)

    def _make_pipeline(self) -> _Pipeline:
        exporters = [self._exporter] if self._exporter is not None else exporters_from_env()
        if not exporters:
            warn_once("carriers-none", "otel-feedback: feedback goes nowhere, since OTEL_TRACES_EXPORTER is none.")
        watched = WatchedExporter(exporters)
        provider = TracerProvider(
            sampler=ALWAYS_ON,
            resource=self._resource or host_resource(),
            id_generator=self._id_generator,
            span_limits=_LIMITS,
            shutdown_on_exit=False,
        )
        provider.add_span_processor(
            BatchSpanProcessor(
                watched,
                max_queue_size=MAX_PENDING,
                max_export_batch_size=MAX_BATCH,
                schedule_delay_millis=EXPORT_DELAY_MS,
            )
        )
        return _Pipeline(provider, provider.get_tracer(semconv.SCOPE, VERSION, semconv.SCHEMA_URL), watched)


def host_resource() -> Resource:
    resource = getattr(trace.get_tracer_provider(), "resource", None)
    return resource if isinstance(resource, Resource) else Resource.create()


def _start_span(tracer: trace.Tracer, carrier: Carrier) -> trace.Span:
    target = trace.SpanContext(
        carrier.trace_id,
        carrier.span_id,
        is_remote=True,
        trace_flags=trace.TraceFlags(trace.TraceFlags.SAMPLED if carrier.sampled else trace.TraceFlags.DEFAULT),
    )
    # A context of our own, without the current span and without tracestate, which counters multiply votes by.
    context = Context()
    if carrier.same_trace:
        context = trace.set_span_in_context(trace.NonRecordingSpan(target), context)
    span = tracer.start_span(
        carrier.name,
        context=context,
        kind=trace.SpanKind.INTERNAL,
        attributes=carrier.attributes,
        links=[trace.Link(target)],
        start_time=carrier.time_ns,
    )
    for name, attributes in carrier.events:
        span.add_event(name, attributes, carrier.time_ns)
    return span


def _start_anew(delivery: SpanDelivery) -> None:
    """A forked child has neither the parent's export thread nor its connection."""
    delivery._lock, delivery._pipeline = threading.Lock(), None  # noqa: SLF001 - this module's own class
