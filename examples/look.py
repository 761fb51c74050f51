"""Where to look while the demo runs: addresses that have something to see, and commands to copy."""

import json
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from dashboards.queries import BY_TEMPLATE, SENTIMENT, TEMPLATE, Increase
from stack.ports import Ports
from stack.processes import HOST
from stack.versions import JAEGER, PROMETHEUS

from examples.servers import SERVICE_NAME, Addresses
from otel_feedback import semconv

GRAFANA: Final = "http://127.0.0.1:3000"

PLACEHOLDER: Final = "This is not the Jaeger UI"
"""Says the page of a Jaeger that was built without its pages."""

FOLDED: Final = ")\n    ("
"""Where a query goes on in the next line, so that a narrow terminal shows it whole; PromQL doesn't mind."""

KEEP: Final = "make demo KEEP=1"


def has_page(url: str) -> bool:
    """Whether there is a page for people: no error, no JSON, not Jaeger's placeholder."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return "html" in answer.headers.get("content-type", "") and PLACEHOLDER not in answer.read().decode()
    except (OSError, ValueError):  # nobody there, a refusal, or no text
        return False


@dataclass(frozen=True)
class Sights:
    """What can be looked at.

    Attributes:
        jaeger: Its address.
        prometheus: Its address.
        addresses: Of the example's programs.
        bad_answer: Span of the bad answer that was shown, as Jaeger has it, or ``None``.
        logs: Folder of what the programs say.
    """

    jaeger: str
    prometheus: str
    addresses: Addresses
    bad_answer: Mapping[str, Any] | None
    logs: str

    def invite(self) -> str:
        """For a run that ends now: how to have it stay, and what there would be."""
        return (
            f"All of it ends now; `{KEEP}` keeps it running until Ctrl-C, and prints how to ask Jaeger for this trace "
            "and the others, Prometheus for every number, and the service a question of your own, to judge its answer."
        )

    @staticmethod
    def then() -> Iterator[str]:
        """Lines for a run that ends now: where everything is while it is kept running."""
        ports, addresses = Ports(), Addresses()
        yield "While it is kept running, it is at (other ports, if one of these is taken):"
        yield f"  the service  {addresses.service_url}"
        yield f"  capture      {addresses.capture_url}"
        yield f"  Jaeger       http://{HOST}:{ports.jaeger}"
        yield f"  Prometheus   http://{HOST}:{ports.prometheus}"

    def show(self) -> Iterator[str]:
        """Lines for a run that stays: links to pages that are there, else commands to copy."""
        if self.bad_answer is not None:
            yield "The bad answer above, in Jaeger:"
            yield f"  {self._trace(self.bad_answer['traceID'], self.bad_answer['spanID'])}"
        yield "All bad answers, out of Jaeger:"
        yield f"  curl -sG {self.jaeger}/api/traces -d service={SERVICE_NAME} \\"
        yield f"    --data-urlencode 'tags={json.dumps({semconv.FEEDBACK_SENTIMENT: semconv.NEGATIVE})}'"
        yield "Feedback by page and sentiment, copies included, out of Prometheus:"
        yield from self._feedback()
        yield "Ask a question yourself, and find the feedback-handle among the headers:"
        yield f"  curl -i {self.addresses.service_url}/ask \\"
        yield '    --json \'{"question": "What does the del statement do?"}\''
        yield "Judge the answer by that handle; the numbers above change within seconds:"
        yield f"  curl {self.addresses.capture_url}/v1/feedback \\"
        yield '    --json \'{"handle": "...", "signal": "thumbs", "value": "down"}\''
        yield "What the programs say (the folder goes when the demo ends):"
        yield f"  {self.logs}"

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
