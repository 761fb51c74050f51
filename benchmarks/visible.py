"""How long it takes from a vote, posted as a page does, until the API shows it."""

import http.client
import json
import statistics
import threading
import time
from dataclasses import dataclass
from typing import Final

from benchmarks.load import Load
from benchmarks.process import Server

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


def _export(server: Server, body: bytes) -> None:
    while _call(server.http, "POST", "/v1/traces", body, "application/x-protobuf")[0] in (429, 503):
        time.sleep(_POLL)


def _vote_and_look(server: Server, trace_id: str, span_id: str) -> float:
    vote = {"handle": server.handle(trace_id, span_id), "signal": "thumbs", "value": "down", "id": f"seen-{span_id}"}
    begun = time.monotonic()
    while (status := _call(server.main, "POST", "/v1/feedback", json.dumps(vote).encode())[0]) != 202:
        if status not in (429, 503) or time.monotonic() > begun + _PATIENCE:
            raise RuntimeError(f"the vote was answered with {status}")
        time.sleep(_POLL)
    # Seen is what a reader of the newest bad answers sees, by the id of the vote.
    while True:
        status, said = _call(server.main, "GET", f"/api/answers/{trace_id}-{span_id}")
        if status == 200 and vote["id"].encode() in said:
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
