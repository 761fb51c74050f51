"""The real Collector, Jaeger and Prometheus for tests: one shared stack, or a fresh one to break."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from stack.parts import Parts, PartsMissing, find_parts
from stack.processes import Stack


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder, so that `-m "not stack"` leaves them out."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.stack)


@pytest.fixture(scope="session")
def parts() -> Parts:
    """The real programs; where one is missing, tests are skipped with what to do, and fail in CI."""
    try:
        return find_parts(build=False)
    except PartsMissing as missing:
        if os.environ.get("CI"):
            pytest.fail(str(missing), pytrace=False)
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def stack(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One running stack for all tests that leave it as they found it."""
    with Stack(tmp_path_factory.mktemp("stack"), parts=parts) as running:
        yield running


@pytest.fixture
def fresh_stack(parts: Parts, tmp_path: Path) -> Iterator[Stack]:
    """A running stack of one test's own, which it may break."""
    with Stack(tmp_path / "stack", parts=parts) as running:
        yield running
