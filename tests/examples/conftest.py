"""The example's provider and service, running bare: no instrumentation, none of our packages."""

import contextlib
from collections.abc import Iterator

import pytest
from examples.servers import Addresses, free_addresses, make_provider, make_service


@pytest.fixture(scope="session")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Addresses]:
    """Provider and service, without telemetry."""
    folder = tmp_path_factory.mktemp("bare")
    addresses = free_addresses()
    with contextlib.ExitStack() as running:
        for process in (make_provider(folder, addresses), make_service(folder, addresses)):
            running.callback(process.stop)
            process.start()
        yield addresses
