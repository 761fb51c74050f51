"""Chromium before the real server, and a look at what a page does that it must not."""

import os
import shutil

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from tests.unit.web_parts import Sender

from otel_feedback.server.options import Address, ServerOptions
from otel_feedback.server.up import Embedded

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")


@pytest.fixture(scope="session", autouse=True)
def chromium():
    """A Chromium and its driver."""
    if not (CHROMIUM and DRIVER):
        assert not os.environ.get("CI"), "CI needs Chromium (Debian: apt-get install chromium chromium-driver)"
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium chromium-driver)")
    return CHROMIUM, DRIVER


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


@pytest.fixture(scope="module")
def browser(chromium):
    """A Chromium without a window."""
    options = webdriver.ChromeOptions()
    options.binary_location, path = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    options.set_capability("unhandledPromptBehavior", "ignore")  # a dialog fails whatever comes next
    driver = webdriver.Chrome(options=options, service=Service(path))
    yield driver
    driver.quit()


@pytest.fixture
def screen(browser):
    """A function that makes the screen a size, light or dark; afterwards it is a desk's, light."""

    def make(width=1280, height=900, scheme="light"):
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    make()
    yield make
    make()


def look(browser, site):
    """What a page did that it must not: messages in the console, requests to elsewhere."""
    # What is verbose is advice; that this page itself was answered with 400 is no fault of it.
    mine = f"{browser.current_url} - Failed to load resource: the server responded with a status of 400 (Bad Request)"
    said = [line["message"] for line in browser.get_log("browser") if line["level"] in ("SEVERE", "WARNING")]
    said = [message for message in said if message != mine]
    loaded = browser.execute_script("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    return said + [address for address in loaded if not address.startswith(site.url)]
