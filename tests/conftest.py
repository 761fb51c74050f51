"""What all tests share: telemetry in memory, and the check that no test leaves its context behind."""

from collections.abc import Iterator

import pytest
from opentelemetry import context as otel_context

from otel_feedback import _guard
from otel_feedback.testing import Telemetry, telemetry


@pytest.fixture
def seen() -> Iterator[Telemetry]:
    """Telemetry of the test's own: a provider with our processor, and what it exports."""
    with telemetry() as own:
        yield own


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Whatever a test opens, afterwards the context is what it was before, and the guard is no test's any more."""
    before = otel_context.get_current()
    yield
    assert otel_context.get_current() == before, "this test left a context attached"
    assert not _guard.is_strict(), "this test left the guard strict"
