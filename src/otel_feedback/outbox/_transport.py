"""What takes spans to a receiver and says what became of them."""

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from otel_feedback._fork import renew_in_child

REMEMBERED: Final = 4_096
"""Spans of which it is remembered that one of several receivers has them, while another has not."""


class Fate(enum.Enum):
    """What became of a batch."""

    DELIVERED = "delivered"
    LATER = "later"
    """The receiver can't be reached, is overloaded or doesn't let us in: the same batch may go another time."""

    REJECTED = "rejected"
    """The receiver doesn't want something in this batch, and doesn't say what."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a batch, and why.

    Attributes:
        fate: What became of it.
        why: The receiver's status, in words of ours; never its own, which may repeat what it was sent.
        wait: Seconds that the receiver asks to be left alone for.
    """

    fate: Fate
    why: str = ""
    wait: float = 0.0


DELIVERED: Final = Outcome(Fate.DELIVERED)


class Transport(Protocol):
    """Takes spans to a receiver, one batch at a time, from one thread; a forked child opens what it needs anew."""

    def send(self, spans: Sequence[ReadableSpan]) -> Outcome:
        """Send one batch, once, and say what became of it. It doesn't raise."""

    def close(self) -> None:
        """Let go of connections. A later ``send`` opens them again."""


class ExporterTransport:
    """Any span exporter: it says whether it failed, and neither why nor which span."""

    def __init__(self, make: Callable[[], SpanExporter], name: str) -> None:
        self._make, self._name = make, name
        self._exporter: SpanExporter | None = None
        renew_in_child(self, _forget_exporter)

    def send(self, spans: Sequence[ReadableSpan]) -> Outcome:
        """See ``Transport.send``."""
        try:
            if self._exporter is None:
                self._exporter = self._make()
            if self._exporter.export(spans) is SpanExportResult.SUCCESS:
                return DELIVERED
        except Exception as error:
            return Outcome(Fate.LATER, f"exporter {self._name} raised {type(error).__name__}")
        return Outcome(Fate.LATER, f"exporter {self._name} reported a failure")

    def close(self) -> None:
        """See ``Transport.close``."""
        exporter, self._exporter = self._exporter, None
        if exporter is not None:
            exporter.shutdown()


class Several:
    """Several receivers: a batch is delivered when all of them have it.

    One that has taken a span is not sent it again while another has not: it is remembered, in this process, for the
    spans that were sent last.
    """

    def __init__(self, transports: Sequence[Transport]) -> None:
        self._transports = tuple(transports)
        self._taken: list[dict[tuple[int, int], None]] = [{} for _ in transports]

    def send(self, spans: Sequence[ReadableSpan]) -> Outcome:
        """See ``Transport.send``: what is worst for the batch, ``LATER`` before ``REJECTED``."""
        outcomes = [
            self._send(transport, taken, spans) for transport, taken in zip(self._transports, self._taken, strict=True)
        ]
        later = [one for one in outcomes if one.fate is Fate.LATER]
        if later:
            return max(later, key=lambda one: one.wait)
        rejected = [one for one in outcomes if one.fate is Fate.REJECTED]
        if rejected:
            return rejected[0]
        for taken in self._taken:
            for span in spans:
                taken.pop(_ids(span), None)
        return DELIVERED

    def close(self) -> None:
        """See ``Transport.close``."""
        for transport in self._transports:
            transport.close()

    @staticmethod
    def _send(transport: Transport, taken: dict[tuple[int, int], None], spans: Sequence[ReadableSpan]) -> Outcome:
        missing = [span for span in spans if _ids(span) not in taken]
        if not missing:
            return DELIVERED
        outcome = transport.send(missing)
        if outcome.fate is Fate.DELIVERED:
            taken.update((_ids(span), None) for span in missing)
            while len(taken) > REMEMBERED:
                del taken[next(iter(taken))]
        return outcome


def _ids(span: ReadableSpan) -> tuple[int, int]:
    context = span.get_span_context()
    return (context.trace_id, context.span_id) if context else (0, 0)


def _forget_exporter(transport: ExporterTransport) -> None:
    """A forked child has neither the parent's threads nor a connection of its own."""
    transport._exporter = None  # noqa: SLF001 - this module's own class
