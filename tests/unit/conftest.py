"""What unit tests share: a host under a provider with our processor, a guard as in production, and a clean process."""

import pytest
from opentelemetry.instrumentation import propagators
from tests.unit.capture_http import client
from tests.unit.spans_of_a_host import Host, lenient

from otel_feedback import _guard, _ledger, _runtime, interaction
from otel_feedback._settings import Settings
from otel_feedback.capture import capture_app
from otel_feedback.instrumentation import FeedbackInstrumentor, _frameworks, _propagator, asgi
from otel_feedback.testing import TEST_KEYS


@pytest.fixture
def tracer(seen):
    """The tracer of a service's own code."""
    return seen.provider.get_tracer("test")


@pytest.fixture
def host(seen):
    """A service whose spans are made by hand."""
    return Host(seen)


@pytest.fixture
def guarded():
    """As in a service: the guard swallows what fails. A test names it after the fixture that makes the guard strict."""
    assert _guard.is_strict(), "what comes later would make the guard strict again"
    with lenient():
        yield


@pytest.fixture
def no_routes():
    """The ASGI middleware has not learned of any route yet that it answers."""
    asgi._answering_routes.clear()


@pytest.fixture
def own_process():
    """Settings and warnings of nobody else; an error of ours is raised."""
    _runtime.reset()
    _runtime.configure(Settings(handle_keys=TEST_KEYS))
    with _guard.strict():
        yield
    _runtime.reset()


@pytest.fixture
async def http(parts):
    """A client of the capture endpoint over the module's own ``parts``."""
    async with client(capture_app(recorder=parts.recorder)) as http:
        yield http


@pytest.fixture
def answering(seen):
    """A decorator that makes functions interactions."""
    return interaction("answer", query_type="how-to", tracer_provider=seen.provider)


@pytest.fixture
def instrumentor(no_routes):
    """Our instrumentor, not joined to anything; it leaves again after the test."""
    _runtime.configure(Settings(handle_keys=TEST_KEYS))
    _ledger.ledger.clear()
    instrumentor = FeedbackInstrumentor()
    with _guard.strict():
        yield instrumentor
        if instrumentor.is_instrumented_by_opentelemetry:
            instrumentor.uninstrument()
    _runtime.reset()


@pytest.fixture
def propagator():
    """Our response propagator is the process's, as in a service that was joined."""
    before = propagators.get_global_response_propagator()
    _frameworks.patch()
    _propagator.install()
    yield
    propagators.set_global_response_propagator(before)
    _frameworks.unpatch()
