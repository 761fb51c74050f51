"""Feedback on disk until it is delivered: vote book and queue in one SQLite file, and what sends from it."""

from otel_feedback.outbox._outbox import Outbox
from otel_feedback.outbox._rows import Counts, Row

__all__ = ["Counts", "Outbox", "Row"]
