"""A service that uses the library, from `interaction()` and `record()` to the numbers on the dashboards."""

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

from stack.client import span_tags
from stack.processes import Stack
from tests.stack import grafana
from tests.stack.grafana import Look

from otel_feedback import semconv
from otel_feedback.testing import TEST_KEYS

SERVICE = """
import json
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from otel_feedback import FeedbackInstrumentor, PromptTemplate, interaction, record

provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(provider)
FeedbackInstrumentor().instrument(tracer_provider=provider)
tracer = trace.get_tracer("service")
template = PromptTemplate("library", "Answer {question}", version="7")

def answer(number):
    with interaction("answer", query_type="test") as one:
        template.format(question=number)
        one.documents([{"id": f"document {number}", "score": 0.5}])
        call = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "small"}
        with tracer.start_as_current_span("chat small", kind=trace.SpanKind.CLIENT, attributes=call) as span:
            pass
        return one.handle, trace.format_trace_id(span.get_span_context().trace_id)

answers = [answer(number) for number in range(14)]
handles = [handle for handle, _ in answers]
for handle in handles[:8]:
    record(handle, "thumbs", "up")
for handle in handles[8:12]:
    record(handle, "thumbs", "down")
record(handles[0], "thumbs", "down")
record(handles[1], "thumbs", None)
record(handles[8], "thumbs", "up")
record(handles[2], "thumbs", "up", comment="just what I needed")
record(handles[3], "stars", 1)
record(handles[13], "copy", True)
record(handles[9], "thumbs", "down", id="the same")
record(handles[9], "thumbs", "down", id="the same")
provider.shutdown()
print(json.dumps([trace_id for _, trace_id in answers]))
"""
"""14 answers: 8 liked and 4 disliked, then one minded otherwise in either direction, one taken back, one commented on,
one with a second signal, one copied, and one feedback that came twice by the same id."""

NUMBERS = {
    ("Satisfaction by template and version", "n"): 9 + 6,
    ("Satisfaction by template and version", "satisfaction"): 9 / 15,
    ("Satisfaction by template and version", "neutral"): 0,
    ("Satisfaction by template and version", "changes"): 3,
    ("Satisfaction by template and version", "answers"): 14,
    ("Satisfaction by template and version", "rate"): 12 / 14,
    ("Implicit signals by template and version", "signals"): 1,
    ("Implicit signals by template and version", "share"): 1 / 14,
}


def test_the_librarys_feedback_is_on_the_dashboards(stack: Stack, tmp_path: Path) -> None:
    """Every number of the template's row is what the service's users did; each bad answer leads to its trace."""
    environment = {
        "OTEL_SERVICE_NAME": "library-service",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{stack.otlp_grpc}",
        "OTEL_EXPORTER_OTLP_INSECURE": "true",
        "OTEL_FEEDBACK_HANDLE_KEYS": TEST_KEYS,
    }
    start = time.time()
    ran = subprocess.run(
        [sys.executable, "-c", SERVICE],
        env={**os.environ, **environment},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    answers = json.loads(ran.stdout)
    page = grafana.pages("grafana")["satisfaction"]
    targets = {one.name[1:]: one for one in grafana.targets("grafana") if one.page == "satisfaction"}

    def shown() -> dict[tuple[str, str], float]:
        look = Look(start, start + math.ceil(time.time() - start), {"service": "library-service", "version": "7"})
        found = {name: grafana.ask_prometheus(stack, targets[name], page, look) for name in NUMBERS}
        return {name: float(one["value"][1]) for name, series in found.items() for one in series}

    stack.wait_until(lambda: shown() == NUMBERS, f"{NUMBERS} on the dashboard")
    bad = {answers[number] for number in (0, 3, 8, 9, 10, 11)}
    page = grafana.pages("grafana")["bad-answers"]
    target = next(one for one in grafana.targets("grafana") if one.ref == "traces")
    look = Look(start, time.time(), {"sender": "library-service"})
    traces = grafana.ask_jaeger(stack, target, page, look)
    assert {one["traceID"] for one in traces} == bad
    for one in traces:
        tags = [span_tags(span) for span in one["spans"]]
        [asked] = [each for each in tags if each.get(semconv.FEEDBACK_INTERACTION)]
        assert json.loads(asked[semconv.FEEDBACK_DOCUMENTS])
        assert [each for each in tags if each.get(semconv.GEN_AI_OPERATION_NAME) == "chat"]
        assert [each for each in tags if each.get(semconv.FEEDBACK_SENTIMENT) == semconv.NEGATIVE]
