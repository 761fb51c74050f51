"""What the pages need to know of the process that serves them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from otel_feedback.store import Store


@dataclass(frozen=True)
class Context:
    """The parts of the running process that pages show."""

    store: Store
    status: Callable[[], Mapping[str, Any]]
    """What ``/api/status`` answers; it may block."""
    version: str
    requirement: str = "otel-feedback[otlp,capture]"
    """What pip is to be told for a service's environment."""
    jaeger_url: str | None = None
    """Base address of a Jaeger that has the traces too."""
    content_kept: bool = True
    """Whether questions, answers and comments are stored."""
    token_required: bool = False
    """Whether pages ask for a token: then they offer a way out."""
