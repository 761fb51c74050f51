"""A recorder over real parts, with ids and a clock that count: what the tests of feedback share."""

import itertools
from dataclasses import dataclass, field

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_feedback import semconv
from otel_feedback._carrier import SpanDelivery
from otel_feedback._handle import HandleCodec, Keyring
from otel_feedback._recorder import Recorder
from otel_feedback._settings import Settings
from otel_feedback.exceptions import DeliveryError
from otel_feedback.testing import START, TEST_KEYS, SequentialIds, plain

TRACE, SPAN = 0xA1, 0xB2
FACTS = {
    semconv.FEEDBACK_SERVICE_NAME: "rag",
    semconv.FEEDBACK_ENVIRONMENT: "test",
    semconv.FEEDBACK_PROMPT_NAME: "qa",
    semconv.FEEDBACK_PROMPT_VERSION: "v2",
    semconv.FEEDBACK_MODEL: "m-1",
    semconv.FEEDBACK_RESPONSE_ID: "r-9",
}


class Outbox:
    """A delivery that keeps carriers, or refuses them while ``full``."""

    def __init__(self):
        self.carriers = []
        self.full = False

    def submit(self, carrier):
        if self.full:
            raise DeliveryError("The outbox is full.")
        self.carriers.append(carrier)

    def flush(self):
        """Nothing waits here."""

    def shutdown(self):
        """Nothing to end."""


@dataclass
class Parts:
    """What a recorder is made of; ``now`` is the second at which all clocks stand, counted from ``START``."""

    settings: Settings = field(default_factory=lambda: Settings(handle_keys=TEST_KEYS))
    handle_facts: str = "plain"
    known_facts: object = lambda trace_id, span_id: None
    delivery: object = None
    now: int = 0

    def __post_init__(self):
        self.exporter = InMemorySpanExporter()
        self.codec = HandleCodec(
            Keyring.from_text(TEST_KEYS), facts_mode=self.handle_facts, clock=lambda: START + self.now
        )
        self.delivery = self.delivery or SpanDelivery(
            exporter=self.exporter, resource=Resource({"service.name": "test"}), id_generator=SequentialIds()
        )
        ids = itertools.count(1)
        self.recorder = Recorder(
            codec=self.codec,
            settings=self.settings,
            delivery=self.delivery,
            known_facts=self.known_facts,
            new_id=lambda: f"f{next(ids)}",
            clock=lambda: (START + self.now) * 10**9,
        )

    def handle(self, *, trace_id=TRACE, span_id=SPAN, sampled=True, facts=FACTS, user=None):
        """The handle of an interaction, made now."""
        return self.codec.issue(trace_id=trace_id, span_id=span_id, sampled=sampled, facts=facts, user=user)

    def submit(self, signal="thumbs", value="up", *, handle=None, **details):
        """Record a feedback on the one interaction, or on that of ``handle``."""
        return self.recorder.submit(handle or self.handle(), signal, value, **details)

    def spans(self):
        """All carriers so far, as plain data."""
        self.delivery.flush()
        return [plain(span) for span in self.exporter.get_finished_spans()]

    def attributes(self):
        """The attributes of each carrier so far."""
        return [span["attributes"] for span in self.spans()]

    def close(self):
        """End the delivery's thread."""
        self.delivery.shutdown()


def other_keys():
    """A handle that another deployment made."""
    codec = HandleCodec(Keyring.from_text(Keyring.generate_text("test")), clock=lambda: START)
    return codec.issue(trace_id=TRACE, span_id=SPAN, sampled=True, facts={})


BAD_HANDLES = [None, "", "x", "a.b.c", 5, b"bytes", ["list"], "\ud800", "x" * 1_000_000, other_keys()]
