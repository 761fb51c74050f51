"""Chromium before the real server, and a look at what a page does that it must not."""

import pytest
from tests.chromium import browser, chromium, screen  # noqa: F401 - fixtures of this folder
from tests.unit.web_parts import Sender

from otel_feedback.server.options import Address, ServerOptions
from otel_feedback.server.up import Embedded


def serve(folder):
    """A server of everything on free ports, over a folder."""
    free = Address("127.0.0.1", 0)
    return Embedded(
        ServerOptions(data=folder, listen=free, otlp_grpc=None, otlp_http=None, jaeger_url="http://127.0.0.1:16686")
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A running server, empty at first."""
    with serve(tmp_path_factory.mktemp("browser") / "data") as server:
        yield server


@pytest.fixture(scope="module")
def sender(site):
    """A service and its users."""
    return Sender(site.store)


def look(page, site):
    """What a page did that it must not: messages in the console, requests to elsewhere."""
    # What is verbose is advice; that this page itself was answered with 400 is no fault of it.
    mine = f"{page.current_url} - Failed to load resource: the server responded with a status of 400 (Bad Request)"
    said = [line["message"] for line in page.get_log("browser") if line["level"] in ("SEVERE", "WARNING")]
    said = [message for message in said if message != mine]
    loaded = page.execute_script("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    return said + [address for address in loaded if not address.startswith(site.url)]
