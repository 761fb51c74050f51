"""From a click to the changed number in Prometheus, through the real capture endpoint, Collector and Prometheus."""

import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import httpx
from stack.client import answers, wait_until
from stack.ports import choose_free
from stack.processes import Stack

from otel_feedback import semconv
from otel_feedback._handle import HandleCodec, Keyring

_KEYS = "bench:HS256:" + "YmVuY2hlcy1rZXktZm9yLWJlbmNobWFya3Mtb25seS0"
_LABEL = semconv.FEEDBACK_PROMPT_NAME.replace(".", "_")
_METRIC = semconv.METRIC_VOTES_BY_TEMPLATE.replace(".", "_") + "_total"


_POLL = 0.02
"""Seconds between two looks at Prometheus: so much a time may be too long."""


def click_to_number(*, votes: int = 200, every: float = 0.1) -> tuple[float, float]:
    """Return seconds from a click to its number in Prometheus, median and 99th percentile.

    Args:
        votes: Clicks, each on a template of its own, so that its series is at one as soon as it is counted.
        every: Seconds between two clicks.
    """
    codec = HandleCodec(Keyring.from_text(_KEYS))
    with tempfile.TemporaryDirectory() as folder, Stack(Path(folder)) as stack:
        port = choose_free(1)[0]
        env = {
            **os.environ,
            "OTEL_FEEDBACK_HANDLE_KEYS": _KEYS,
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{stack.otlp_grpc}",
            "OTEL_SERVICE_NAME": "capture",
        }
        program = str(Path(sys.executable).with_name("otel-feedback"))
        capture = subprocess.Popen(
            [program, "capture", "--listen", f"127.0.0.1:{port}", "--outbox", f"{folder}/outbox.db"],
            env=env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
                wait_until(lambda: answers(f"http://127.0.0.1:{port}/healthz"), "capture")
                times = sorted(_watch(codec, client, stack, votes=votes, every=every).values())
        finally:
            capture.terminate()
            capture.wait()
    return statistics.median(times), statistics.quantiles(times, n=100)[98]


def _watch(codec: HandleCodec, client: httpx.Client, stack: Stack, *, votes: int, every: float) -> dict[str, float]:
    clicked: dict[str, float] = {}
    seen: dict[str, float] = {}

    def click() -> None:
        for number in range(1, votes + 1):
            facts = {semconv.FEEDBACK_PROMPT_NAME: f"click-{number}"}
            handle = codec.issue(trace_id=number, span_id=number, sampled=True, facts=facts)
            clicked[f"click-{number}"] = time.monotonic()
            client.post("/v1/feedback", json={"handle": handle, "signal": "thumbs", "value": "up"}).raise_for_status()
            time.sleep(every)

    clicks = threading.Thread(target=click, daemon=True)
    clicks.start()
    deadline = time.monotonic() + votes * every + 30
    while len(seen) < votes:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{votes - len(seen)} clicks are not in Prometheus")
        for series in stack.query(f"{_METRIC} > 0"):
            seen.setdefault(series["metric"][_LABEL], time.monotonic())
        time.sleep(_POLL)
    clicks.join()
    return {name: seen[name] - clicked[name] for name in clicked}
