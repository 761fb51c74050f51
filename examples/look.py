"""Where to look while a demo runs: addresses that have something to see, and commands to copy."""

import json
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from dashboards.queries import BY_TEMPLATE, SENTIMENT, TEMPLATE, Increase
from stack.ports import Ports
from stack.processes import HOST
from stack.versions import JAEGER, PROMETHEUS

from examples.servers import SERVICE_NAME, Addresses
from examples.trace_tree import Trace
from otel_feedback import semconv

GRAFANA: Final = "http://127.0.0.1:3000"

PLACEHOLDER: Final = "This is not the Jaeger UI"
"""Says the page of a Jaeger that was built without its pages."""

FOLDED: Final = ")\n    ("
"""Where a query goes on in the next line, so that a narrow terminal shows it whole; PromQL doesn't mind."""

KEEP: Final = "make stack-demo KEEP=1"


def invite(command: str, promise: str, places: Mapping[str, str]) -> Iterator[str]:
    """Lines for a run that ends now: how to have it stay, and where everything is then."""
    yield f"All of it ends now; `{command}` keeps it running until Ctrl-C, and {promise}."
    yield "While it is kept running, it is at (other ports, if one of these is taken):"
    width = max(map(len, places))
    for name, address in places.items():
        yield f"  {name:{width}}  {address}"


def judge_yourself(service: str, capture: str, result: str) -> Iterator[str]:
    """Lines on a question and a vote of one's own.

    Args:
        service: Its address.
        capture: Where votes go.
        result: What comes of it.
    """
    yield "Ask a question in the chat page, and judge the answer by the thumbs below it,"
    yield f"change your mind, add a comment: {result}:"
    yield f"  {service}/"
    yield "The same without a page; the feedback-handle is among the headers:"
    yield f"  curl -i {service}/ask \\"
    yield '    --json \'{"question": "What does the del statement do?"}\''
    yield f"  curl {capture}/v1/feedback \\"
    yield '    --json \'{"handle": "...", "signal": "thumbs", "value": "down"}\''


def has_page(url: str) -> bool:
    """Whether there is a page for people: no error, no JSON, not Jaeger's placeholder."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return "html" in answer.headers.get("content-type", "") and PLACEHOLDER not in answer.read().decode()
    except (OSError, ValueError):  # nobody there, a refusal, or no text
        return False


@dataclass(frozen=True)
class Sights:
    """What can be looked at beside the real parts.

    Attributes:
        jaeger: Its address.
        prometheus: Its address.
        addresses: Of the example's programs.
    """

    jaeger: str
    prometheus: str
    addresses: Addresses

    def leave(self) -> Iterator[str]:
        """Lines for a run that ends now."""
        ports, addresses = Ports(), Addresses()
        promise = (
            "prints how to ask Jaeger for this trace and the others, and Prometheus for every number. Its chat page "
            "takes questions of your own, and your votes on its answers"
        )
        places = {
            "the chat page": f"{addresses.service_url}/",
            "capture": addresses.capture_url,
            "Jaeger": f"http://{HOST}:{ports.jaeger}",
            "Prometheus": f"http://{HOST}:{ports.prometheus}",
        }
        return invite(KEEP, promise, places)

    def show(self, bad_answer: Trace | None) -> Iterator[str]:
        """Lines for a run that stays: links to pages that are there, else commands to copy."""
        if bad_answer is not None and bad_answer.answer is not None:
            yield "The bad answer above, in Jaeger:"
            yield f"  {self._trace(bad_answer.id, bad_answer.answer.id)}"
        yield "All bad answers, out of Jaeger:"
        yield f"  curl -sG {self.jaeger}/api/traces -d service={SERVICE_NAME} \\"
        yield f"    --data-urlencode 'tags={json.dumps({semconv.FEEDBACK_SENTIMENT: semconv.NEGATIVE})}'"
        yield "Feedback by page and sentiment, copies included, out of Prometheus:"
        yield from self._feedback()
        result = "the numbers above change within seconds"
        yield from judge_yourself(self.addresses.service_url, self.addresses.capture_url, result)

    def _trace(self, trace_id: str, span_id: str) -> str:
        page = f"{self.jaeger}/trace/{trace_id}?uiFind={span_id}"
        return page if has_page(page) else f"curl -s {self.jaeger}/api/traces/{trace_id}"

    def _feedback(self) -> Iterator[str]:
        query = Increase("1h").of(BY_TEMPLATE.votes, {}, (TEMPLATE, SENTIMENT))
        page = f"{self.prometheus}/query?g0.expr={quote(query)}"
        if has_page(page):
            yield f"  {page}"
            return
        yield f"  curl -s {self.prometheus}/api/v1/query --data-urlencode 'query="
        yield f"    {query.replace(') (', FOLDED)}'"

    def explain_pages(self) -> str:
        """Which of them have web pages, and where pages come from."""
        pages = {"Jaeger": f"{self.jaeger}/", "Prometheus": f"{self.prometheus}/query"}
        bare = [name for name, page in pages.items() if not has_page(page)]
        grafana = f"`docker compose --profile example up` (Grafana with the dashboards, {GRAFANA})"
        if not bare:
            return f"Jaeger and Prometheus have web pages here. Dashboards come with Docker: {grafana}."
        return (
            f"Without web pages: {' and '.join(bare)}, since what is built from source speaks JSON only. For pages, "
            f"put the makers' own Jaeger {JAEGER} and Prometheus {PROMETHEUS} on PATH or, with Docker, run {grafana}."
        )
