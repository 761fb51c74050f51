"""otel-feedback: closes the feedback loop of AI systems on OpenTelemetry.

    interaction      say which stretch of work is one answer; gives the answer's handle
    PromptTemplate   a prompt's text that says on the answer's span what it was
    record           bring a user's reaction to an answer in, by its handle
    FeedbackInstrumentor   do all that an existing service needs, without a changed line of its own

    replace_signals  give a signal another rule, or add one

Public modules beside: ``semconv`` (names of spans, events, attributes and metrics), ``signals``, ``testing``,
``instrumentation``, ``capture`` and ``exceptions``. Everything else is private.
"""

from typing import TYPE_CHECKING, Any

from otel_feedback._interaction import interaction
from otel_feedback._prompts import PromptTemplate
from otel_feedback._record import record, replace_signals
from otel_feedback._recorder import Receipt
from otel_feedback._runtime import configure
from otel_feedback._settings import Settings
from otel_feedback._signals import Correction
from otel_feedback._version import VERSION as __version__  # noqa: N811 - Python's name for it
from otel_feedback.exceptions import (
    ConfigurationError,
    DeliveryError,
    InvalidFeedbackError,
    InvalidHandleError,
    MissingExtraError,
    OtelFeedbackError,
    PromptError,
)

if TYPE_CHECKING:
    from otel_feedback.instrumentation import FeedbackInstrumentor

__all__ = [
    "ConfigurationError",
    "Correction",
    "DeliveryError",
    "FeedbackInstrumentor",
    "InvalidFeedbackError",
    "InvalidHandleError",
    "MissingExtraError",
    "OtelFeedbackError",
    "PromptError",
    "PromptTemplate",
    "Receipt",
    "Settings",
    "__version__",
    "configure",
    "interaction",
    "record",
    "replace_signals",
]


def __getattr__(name: str) -> Any:
    """Import the instrumentor when it is asked for: it takes as long as all the rest."""
    if name == "FeedbackInstrumentor":
        from otel_feedback.instrumentation import FeedbackInstrumentor

        return FeedbackInstrumentor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
