"""Chromium for tests that look at pages, and what they make of its screen; a folder's conftest imports the fixtures."""

import os
import shutil

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")


@pytest.fixture(scope="session")
def chromium():
    """A Chromium and its driver."""
    if not (CHROMIUM and DRIVER):
        assert not os.environ.get("CI"), "CI needs Chromium (Debian: apt-get install chromium chromium-driver)"
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium chromium-driver)")
    return CHROMIUM, DRIVER


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
