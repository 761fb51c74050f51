"""A service that our instrumentation joins: its provider, which keeps what it exports, and its application."""

from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from tests.unit.asgi_client import answering

from otel_feedback._processor import FeedbackSpanProcessor


def new_provider(sampler=ALWAYS_ON):
    """A provider of the service's own; ``exporter`` has what it exported."""
    provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
    provider.exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(provider.exporter))
    return provider


def ours_in(provider):
    """Our processors in a provider."""
    found = provider._active_span_processor._span_processors
    return [processor for processor in found if isinstance(processor, FeedbackSpanProcessor)]


def served(provider):
    """An ASGI application that calls a model, with OpenTelemetry's middleware as a service puts it around."""
    app = answering(provider.get_tracer("test"), text=b"")
    return OpenTelemetryMiddleware(app, tracer_provider=provider)
