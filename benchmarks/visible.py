"""How long it takes from a vote, posted as a page does, until the API shows it, and an open page in Chromium."""

import http.client
import json
import shutil
import statistics
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from benchmarks.load import Load
from benchmarks.process import Server

if TYPE_CHECKING:
    from selenium import webdriver

EVERY: Final = 0.1
"""Seconds between two votes."""

_POLL: Final = 0.01
"""Seconds between two looks: so much a time may be too long."""

_PATIENCE: Final = 60


@dataclass(frozen=True)
class Times:
    """Seconds from a vote to its being seen."""

    median: float
    p99: float

    def __str__(self) -> str:
        return f"{self.p99:.2f} s (median {self.median:.2f} s)"


def watch(server: Server, *, votes: int) -> Times:
    """Vote, each time on an answer of its own, and look for each vote in what the API says of its answer."""
    request = next(iter(Load(seed=99, templates=1, batch=8 * votes)))
    _export(server, request.body)
    times: list[float] = []
    trouble: list[BaseException] = []

    def one(trace_id: str, span_id: str) -> None:
        try:
            times.append(_vote_and_look(server, trace_id, span_id))
        except BaseException as error:
            trouble.append(error)

    threads = []
    for answer in request.answers:
        threads.append(threading.Thread(target=one, args=answer))
        threads[-1].start()
        time.sleep(EVERY)
    for thread in threads:
        thread.join()
    if trouble:
        raise trouble[0]
    return Times(statistics.median(times), statistics.quantiles(times, n=100)[98])


_COUNT: Final = "document.querySelectorAll('.tiles dd')[2].textContent"
_NOTE_CHANGES: Final = f"""
    window.seen = [];
    let last = {_COUNT};
    new MutationObserver(() => {{
        const now = {_COUNT};
        if (now !== last) {{ last = now; window.seen.push(Date.now()); }}
    }}).observe(document.body, {{subtree: true, childList: true, characterData: true}});
"""


def open_chromium() -> "webdriver.Chrome":
    """Start Chromium without a screen; whoever asks ends it.

    Raises:
        FileNotFoundError: There is no Chromium, or no driver of it.
    """
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        raise FileNotFoundError("Chromium and chromedriver are needed (Debian: chromium, chromium-driver).")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(argument)
    return webdriver.Chrome(options=options, service=Service(driver))


def watch_page(server: Server, *, votes: int) -> Times:
    """Vote while *Satisfaction* is open in Chromium, one vote after the other, and take the time of each new figure.

    Raises:
        FileNotFoundError: There is no Chromium, or no driver of it.
    """
    request = next(iter(Load(seed=98, templates=1, batch=8 * votes)))
    _export(server, request.body)
    browser = open_chromium()
    try:
        browser.get(f"{server.url}/")
        while "Live" not in str(browser.execute_script("return document.body.textContent")):
            time.sleep(_POLL)
        browser.execute_script(_NOTE_CHANGES)
        times: list[float] = []
        for trace_id, span_id in request.answers:
            begun = time.time()
            _vote(server, trace_id, span_id)
            while len(seen := browser.execute_script("return window.seen")) == len(times):
                if time.time() > begun + _PATIENCE:
                    raise TimeoutError("the vote is not on the page")
                time.sleep(_POLL)
            times.append(seen[-1] / 1000 - begun)
            time.sleep(EVERY)
    finally:
        browser.quit()
    return Times(statistics.median(times), statistics.quantiles(times, n=100)[98])


def _export(server: Server, body: bytes) -> None:
    while _call(server.http, "POST", "/v1/traces", body, "application/x-protobuf")[0] in (429, 503):
        time.sleep(_POLL)


def _vote(server: Server, trace_id: str, span_id: str) -> tuple[str, float]:
    """Vote until it is taken, and return the vote's id and when it was begun."""
    vote = {"handle": server.handle(trace_id, span_id), "signal": "thumbs", "value": "down", "id": f"seen-{span_id}"}
    begun = time.monotonic()
    while (status := _call(server.main, "POST", "/v1/feedback", json.dumps(vote).encode())[0]) != 202:
        if status not in (429, 503) or time.monotonic() > begun + _PATIENCE:
            raise RuntimeError(f"the vote was answered with {status}")
        time.sleep(_POLL)
    return vote["id"], begun


def _vote_and_look(server: Server, trace_id: str, span_id: str) -> float:
    vote, begun = _vote(server, trace_id, span_id)
    # Seen is what a reader of the newest bad answers sees, by the id of the vote.
    while True:
        status, said = _call(server.main, "GET", f"/api/answers/{trace_id}-{span_id}")
        if status == 200 and vote.encode() in said:
            return time.monotonic() - begun
        if time.monotonic() > begun + _PATIENCE:
            raise TimeoutError("the vote is not in the API")
        time.sleep(_POLL)


def _call(
    address: str, method: str, path: str, body: bytes | None = None, content_type: str = "application/json"
) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(address, timeout=_PATIENCE)
    try:
        connection.request(method, path, body, {"content-type": content_type} if body else {})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()
