"""Join a tracer provider, by our span processor and our sampler around the service's, and find its requests."""

import weakref
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.context import Context

from otel_feedback import _guard, _ledger
from otel_feedback._facts import FactSheet, Kind
from otel_feedback._processor import FeedbackSpanProcessor, KeepForFeedback

_joined: "weakref.WeakKeyDictionary[Any, FeedbackSpanProcessor]" = weakref.WeakKeyDictionary()
_waiting = False
"""Whether the service had no provider yet when it was instrumented."""

_NO_PROVIDER: Final = (
    "otel-feedback: there is no OpenTelemetry SDK tracer provider (found %s), so answers have no handles until one is "
    "set. Install opentelemetry-distro (pip install 'otel-feedback[otlp]') and run the service by "
    "opentelemetry-instrument, or call FeedbackInstrumentor().instrument(tracer_provider=...)."
)


def attach(provider: Any = None) -> None:
    """Join a provider, once; warn where it is none that can be joined.

    Args:
        provider: The provider; None for the global one, and then for one that is set later.
    """
    global _waiting  # noqa: PLW0603 - one process, one global provider
    chosen: Any = provider if provider is not None else trace.get_tracer_provider()
    if not callable(getattr(chosen, "add_span_processor", None)):
        _waiting = provider is None
        _guard.warn_once("no-provider", _NO_PROVIDER, type(chosen).__name__)
        return
    _waiting = False
    processor = _joined.get(chosen)
    if processor is None:
        processor = FeedbackSpanProcessor()
        chosen.add_span_processor(processor)
        _joined[chosen] = processor
        _keep_dropped(chosen)
    processor.active = True


def attach_late() -> None:
    """Join a global provider that the service set only after it was instrumented: looked for while there is none."""
    if _waiting:
        attach()


@_guard.guarded()
def request_sheet(context: Context | None = None) -> FactSheet | None:
    """Return the sheet of the request that is being served; None outside of any that can be an answer."""
    attach_late()
    node = _ledger.ledger.node(_ledger.key_of(trace.get_current_span(context).get_span_context()))
    return node.sheet if node is not None and node.sheet.kind is Kind.REQUEST else None


def detach() -> None:
    """Stop following spans; a provider gives no processor back, so ours are only put to sleep."""
    global _waiting  # noqa: PLW0603 - one process, one global provider
    _waiting = False
    for processor in _joined.values():
        processor.active = False


def _keep_dropped(provider: Any) -> None:
    sampler = getattr(provider, "sampler", None)
    if sampler is None or isinstance(sampler, KeepForFeedback):
        return
    with _guard.guard("sampler"):
        # A tracer takes the sampler when it is made: those that exist already go on with the service's own.
        provider.sampler = KeepForFeedback(sampler)
