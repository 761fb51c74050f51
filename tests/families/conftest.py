"""The real OpenAI SDK under one family's instrumentation, against the stand-in for its provider."""

import functools
import importlib
import os
import socket
import threading
import time
from collections.abc import Iterator

import openai
import pytest
import uvicorn
from examples.model_provider.app import app
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_feedback import FeedbackInstrumentor
from otel_feedback.testing import SequentialIds, plain, telemetry

INSTRUMENTORS = {
    "openllmetry": "opentelemetry.instrumentation.openai",
    "openinference": "openinference.instrumentation.openai",
}


@pytest.fixture(scope="session")
def provider_url() -> Iterator[str]:
    """The stand-in, on a free port."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        server.should_exit = True
        thread.join()


class Service:
    """An instrumented service, its OpenAI clients, and what it exports."""

    def __init__(self, provider_url: str) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(
            resource=Resource({"service.name": "test"}), id_generator=SequentialIds(), shutdown_on_exit=False
        )
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.provider.get_tracer("service")
        self.client = openai.OpenAI(base_url=provider_url, api_key="the-stand-in-asks-for-none")
        self.async_client = functools.partial(
            openai.AsyncOpenAI, base_url=provider_url, api_key="the-stand-in-asks-for-none"
        )

    def spans(self):
        """All exported spans as plain data, in the order of their starts."""
        return [plain(span) for span in sorted(self.exporter.get_finished_spans(), key=lambda each: each.start_time)]

    def interactions(self):
        """The attributes of those that can be judged."""
        return [span["attributes"] for span in self.spans() if span["attributes"].get("feedback.interaction")]


@pytest.fixture(scope="session")
def running(provider_url: str) -> Iterator[Service]:
    """A service, instrumented once: whoever uninstruments takes off the outermost wrapper, be it its own or not.

    Which wrapper is the outer one is up to the order of instrumentors, and that to the file system, so ``FIRST`` says
    it: ``family`` or ``ours``.
    """
    service = Service(provider_url)
    theirs = importlib.import_module(INSTRUMENTORS[os.environ["FAMILY"]]).OpenAIInstrumentor()
    both = (theirs, FeedbackInstrumentor())
    with telemetry():
        for one in (*(both if os.environ["FIRST"] == "family" else both[::-1]), FastAPIInstrumentor()):
            one.instrument(tracer_provider=service.provider)
    yield service
    service.client.close()
    service.provider.shutdown()


@pytest.fixture
def service(running: Service) -> Iterator[Service]:
    """The service, with nothing seen yet."""
    running.exporter.clear()
    with telemetry():
        yield running
