"""Small clients for Prometheus and Jaeger, by the standard library alone: what tests and the demo ask."""

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

T = TypeVar("T")


class NotYet(AssertionError):  # noqa: N818 - an AssertionError, so that a test that waits in vain fails, not errs
    """What was waited for did not come in time."""


def get_json(url: str, params: Mapping[str, str] | None = None, *, timeout: float = 10) -> Any:
    """Return the JSON answer of a GET; ``None`` for a 404, which Jaeger gives for a trace that is not there.

    Raises:
        urllib.error.HTTPError: any other refusal; its text carries the server's own explanation.
        urllib.error.URLError: nobody answers.
    """
    full = f"{url}?{urllib.parse.urlencode(params)}" if params else url
    try:
        with urllib.request.urlopen(full, timeout=timeout) as answer:
            return json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as refusal:
        with refusal:
            if refusal.code == 404:
                return None
            body = refusal.read().decode(errors="replace")
        raise urllib.error.HTTPError(full, refusal.code, f"{refusal.reason}: {body}", refusal.headers, None) from None


def answers(url: str) -> bool:
    """Return whether a GET gets a 2xx."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(200 <= answer.status < 300)
    except (OSError, urllib.error.URLError):
        return False


def wait_until(ask: Callable[[], T], what: str, *, timeout: float = 30, every: float = 0.1) -> T:
    """Ask until the answer is true, and return it.

    A server that does not answer yet counts as "not yet".

    Args:
        ask: called again and again.
        what: what is waited for, in words, for the error.
        timeout: seconds until giving up.
        every: seconds between two questions.

    Raises:
        NotYet: time is up; names the last answer.
    """
    deadline = time.monotonic() + timeout
    while True:
        last: object
        try:
            last = answer = ask()
            if answer:
                return answer
        except urllib.error.URLError as trouble:
            last = trouble
        if time.monotonic() > deadline:
            raise NotYet(f"{what}: not within {timeout:g} s; the last answer was {last!r}")
        time.sleep(every)


class PrometheusClient:
    """Asks one Prometheus."""

    def __init__(self, url: str) -> None:
        self.url = url

    def query(self, promql: str, *, time: float | None = None) -> list[dict[str, Any]]:
        """Return the series of an instant query: ``[{"metric": {label: value}, "value": [time, "number"]}]``.

        Args:
            promql: the query.
            time: Unix time in seconds; now without one.

        Raises:
            urllib.error.HTTPError: Prometheus does not accept the query.
        """
        params = {"query": promql} | ({} if time is None else {"time": repr(time)})
        data = get_json(f"{self.url}/api/v1/query", params)["data"]
        if data["resultType"] == "scalar":
            return [{"metric": {}, "value": data["result"]}]
        result: list[dict[str, Any]] = data["result"]
        return result

    def value(self, promql: str, *, time: float | None = None) -> float | None:
        """Return the one number of a query, or ``None`` where it has no series.

        Raises:
            ValueError: the query has several series.
        """
        series = self.query(promql, time=time)
        if len(series) > 1:
            raise ValueError(f"{promql} has {len(series)} series, not one")
        return float(series[0]["value"][1]) if series else None

    def exemplars(self, promql: str, *, start: float, end: float) -> list[dict[str, Any]]:
        """Return a selector's exemplars: ``[{"seriesLabels": {}, "exemplars": [{"labels", "value"}]}]``."""
        params = {"query": promql, "start": repr(start), "end": repr(end)}
        data: list[dict[str, Any]] = get_json(f"{self.url}/api/v1/query_exemplars", params)["data"]
        return data


class JaegerClient:
    """Asks one Jaeger, by the interface that its own page and Grafana's data source use."""

    def __init__(self, url: str) -> None:
        self.url = url

    def trace(self, trace_id: str) -> list[dict[str, Any]]:
        """Return the spans of a trace as Jaeger's JSON has them; none where it is not there."""
        found = get_json(f"{self.url}/api/traces/{trace_id}")
        spans: list[dict[str, Any]] = found["data"][0]["spans"] if found and found["data"] else []
        return spans

    def search(self, service: str, *, tags: Mapping[str, str] | None = None, limit: int = 100) -> list[dict[str, Any]]:
        """Return a service's traces (``{"traceID", "spans", ...}``) that have a span with the tags."""
        params = {"service": service, "limit": str(limit), "tags": json.dumps(dict(tags or {}))}
        found = get_json(f"{self.url}/api/traces", params)
        traces: list[dict[str, Any]] = (found or {}).get("data") or []
        return traces


def span_tags(span: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of a span out of Jaeger's JSON by name."""
    return {tag["key"]: tag["value"] for tag in span["tags"]}
