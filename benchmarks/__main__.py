"""Run all and print one table: ``python -m benchmarks [--json] [--no-stack] [--no-embedded] [--profile]``."""

import json
import os
import platform
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

# Read once, when the library is first asked: these figures are for a service that set its key, without content.
os.environ.setdefault("OTEL_FEEDBACK_HANDLE_KEYS", "bench:HS256:YmVuY2hlcy1rZXktZm9yLWJlbmNobWFya3Mtb25seS0")

from rich.console import Console

from benchmarks import breakdown, calls, capture, embedded, install, journey, likeness, queries, spans, widget
from benchmarks.measure import Comparison, Figure, table


def _ratio(what: str, found: Comparison, goal: float | None) -> Figure:
    detail = f"{found.ratio:.2f} ({found.low:.2f} to {found.high:.2f}); {found.bare:.0f} to {found.ours:.0f} µs"
    return Figure(what, detail, found.ratio, goal)


def figures() -> list[Figure]:
    """Measure everything; takes about fifteen minutes."""
    sdk, core = install.import_times()
    size = install.installed_mebibytes()
    rows = [
        _ratio("interaction of three spans, no handle", spans.compare_interaction(handle=False), 1.10),
        _ratio("interaction of three spans, with handle", spans.compare_interaction(handle=True), 1.25),
        _ratio("processor and hooks on an instrumented OpenAI call", calls.compare_instrumented_call(), 1.05),
        _ratio("request that is sampled out (no goal)", spans.compare_sampled_out(), None),
        _ratio("request that calls no model (no goal)", spans.compare_plain_request(), None),
        _ratio("record() to a bare linked span", calls.compare_record(), 1.5),
        Figure("import of the core to the SDK's", f"{core / sdk:.2f}; {sdk:.0f} to {core:.0f} ms", core / sdk, 2.0),
        Figure("installed beyond the SDK", f"{size:.2f} MiB", size, 10.0),
        *likeness.figures(),
        *capture.figures(),
        *widget.figures(),
    ]
    if "--no-stack" not in sys.argv:
        median, slowest = journey.click_to_number()
        rows.append(Figure("click to a changed number, p99", f"{slowest:.1f} s (median {median:.1f} s)", slowest, 5.0))
    if "--no-embedded" not in sys.argv:
        rows += embedded.figures(1_000_000)
        with tempfile.TemporaryDirectory() as folder:
            rows += queries.figures(Path(folder))
    return rows


def main() -> None:
    """Print the figures, or with ``--profile`` where the time goes."""
    if "--profile" in sys.argv:
        breakdown.show(Console())
        return
    rows = figures()
    if "--json" in sys.argv:
        print(json.dumps([{**asdict(row), "verdict": row.verdict} for row in rows], indent=2))
        return
    title = f"otel-feedback to the bare SDK, Python {platform.python_version()}, {os.cpu_count()} cores"
    Console().print(table(title, rows))


if __name__ == "__main__":
    main()
