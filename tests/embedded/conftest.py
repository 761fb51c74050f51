"""``otel-feedback up`` as a real process on free ports, started and ended by the test."""

import contextlib

import pytest
from benchmarks.process import Server


@pytest.fixture
def servers(tmp_path):
    """Makes servers, not started, each on a data folder of its own unless told; all of them end with the test."""
    with contextlib.ExitStack() as stack:
        made = []

        def make(data=None, **options):
            server = Server(data or tmp_path / f"data-{len(made)}", **options)
            made.append(server)
            stack.callback(server.__exit__)
            return server

        yield make


@pytest.fixture
def server(servers):
    """A server that runs."""
    one = servers()
    one.start()
    return one
