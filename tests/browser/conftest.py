"""Chromium before the pages: a server of the pages with a stream of changes, and drivers that keep what a page says."""

import asyncio
import contextlib
import json
import os
import shutil
import threading

import pytest
import uvicorn
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from starlette.applications import Starlette
from starlette.responses import StreamingResponse
from starlette.routing import Route
from tests.unit.web_parts import Sender, context_of

from otel_feedback.store import Store
from otel_feedback.web import page_routes

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")


@pytest.fixture(scope="session", autouse=True)
def chromium():
    """A Chromium and its driver."""
    if not (CHROMIUM and DRIVER):
        assert not os.environ.get("CI"), "CI needs Chromium (Debian: apt-get install chromium chromium-driver)"
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium chromium-driver)")
    return CHROMIUM, DRIVER


class Site:
    """A running server of pages over a store."""

    def __init__(self, store, **context):
        self.store = store
        self.careless = ""
        self._streams = set()
        self._loop = None
        self._unsubscribe = store.subscribe(self._tell)
        routes = [Route("/api/live", self._live), Route("/careless", self._careless)]
        app = Starlette(routes=[*page_routes(context_of(store, **context)), *routes])
        config = uvicorn.Config(app, port=0, log_level="error", lifespan="off", timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        self._started = threading.Event()
        self._thread = threading.Thread(target=asyncio.run, args=(self._run(),))
        self._thread.start()
        assert self._started.wait(10)

    async def _run(self):
        self._loop = asyncio.get_running_loop()
        config = self._server.config
        config.load()
        self._server.lifespan = config.lifespan_class(config)
        await self._server.startup()
        port = self._server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self._started.set()
        await self._server.main_loop()
        for stream in self._streams:
            stream.put_nowait(None)
        await self._server.shutdown()

    def _tell(self, change):
        message = {"feedback": len(change.feedback), "interactions": change.interactions}
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(lambda: [stream.put_nowait(message) for stream in self._streams])

    async def _live(self, _):
        stream = asyncio.Queue()
        self._streams.add(stream)

        async def messages():
            try:
                yield ": hello\n\n"
                while (message := await stream.get()) is not None:
                    yield f"event: change\ndata: {json.dumps(message)}\n\n"
            finally:
                self._streams.discard(stream)

        return StreamingResponse(messages(), media_type="text/event-stream")

    async def _careless(self, _):
        async def page():
            yield self.careless

        return StreamingResponse(page(), media_type="text/html; charset=utf-8")

    def close(self):
        """End the server."""
        self._unsubscribe()
        self._server.should_exit = True
        self._thread.join(10)
        assert not self._thread.is_alive()


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store, empty at first."""
    with Store.open(tmp_path_factory.mktemp("browser") / "data") as opened:
        yield opened


@pytest.fixture(scope="module")
def sender(store):
    """A service and its users."""
    return Sender(store)


@pytest.fixture(scope="module")
def site(store):
    """The pages, served."""
    running = Site(store, jaeger_url="http://127.0.0.1:16686")
    yield running
    running.close()


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
