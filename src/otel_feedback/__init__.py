"""otel-feedback: closes the feedback loop of AI systems on OpenTelemetry.

    interaction      say which stretch of work is one answer; gives the answer's handle
    PromptTemplate   a prompt's text that says on the answer's span what it was
    record           bring a user's reaction to an answer in, by its handle
    FeedbackInstrumentor   do all that an existing service needs, without a changed line of its own

Everything else is private; names of spans, events, attributes and metrics are in ``otel_feedback.semconv``.
"""

from otel_feedback._interaction import interaction
from otel_feedback._prompts import PromptTemplate
from otel_feedback._runtime import configure
from otel_feedback._settings import Settings
from otel_feedback._signals import Correction
from otel_feedback._version import VERSION as __version__
from otel_feedback.exceptions import (
    ConfigurationError,
    DeliveryError,
    InvalidFeedbackError,
    InvalidHandleError,
    MissingExtraError,
    OtelFeedbackError,
    PromptError,
)
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
    "Settings",
    "__version__",
    "configure",
    "interaction",
]
