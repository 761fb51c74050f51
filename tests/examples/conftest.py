"""The example's provider and service, running bare: no instrumentation, none of our packages."""

import contextlib
import socket
from collections.abc import Iterator

import pytest

pytest.importorskip("bm25s", reason="the example's search library is in the dependency group stack")

from examples.servers import Addresses, make_provider, make_service


def free_addresses() -> Addresses:
    """Three ports of 127.0.0.1 that nobody uses, held at once while choosing."""
    with contextlib.ExitStack() as held:
        ports = []
        for _ in range(3):
            one = held.enter_context(contextlib.closing(socket.socket()))
            one.bind(("127.0.0.1", 0))
            ports.append(one.getsockname()[1])
        return Addresses(*ports)


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
