"""From a handle over HTTP to the number in Prometheus and the trace in Jaeger, all of them real."""

import contextlib
from collections.abc import Callable, Iterator

import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import format_trace_id, get_current_span
from stack.client import span_tags
from stack.processes import Stack
from tests.unit.capture_process import capturing, post

from otel_feedback import PromptTemplate, Settings, configure, interaction, semconv
from otel_feedback._processor import FeedbackSpanProcessor, KeepForFeedback
from otel_feedback._runtime import reset
from otel_feedback.testing import TEST_KEYS

VOTES = semconv.METRIC_VOTES_BY_TEMPLATE.replace(".", "_") + "_total"
LABELS = tuple(name.replace(".", "_") for name in semconv.TRANSITION_DIMENSIONS)
TEMPLATE = semconv.FEEDBACK_PROMPT_NAME.replace(".", "_")

Ask = Callable[[str], tuple[str, str]]


@pytest.fixture
def ask(stack: Stack) -> Iterator[Ask]:
    """A service that answers: gives handle and trace id of an answer by a template; "...dropped" is sampled out."""
    configure(Settings(handle_keys=TEST_KEYS))
    with contextlib.ExitStack() as ending:

        def provider(*, sampled: bool) -> TracerProvider:
            made = TracerProvider(
                sampler=None if sampled else KeepForFeedback(ALWAYS_OFF),
                resource=Resource({"service.name": "capture-stack"}),
                shutdown_on_exit=False,
            )
            ending.callback(made.shutdown)
            made.add_span_processor(FeedbackSpanProcessor())
            made.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(endpoint=stack.otlp_grpc, insecure=True)))
            return made

        providers = {True: provider(sampled=True), False: provider(sampled=False)}

        def answer(template: str) -> tuple[str, str]:
            chosen = providers[not template.endswith("dropped")]
            with interaction("answer", tracer_provider=chosen) as one:
                PromptTemplate(template, "Answer {question}", version="1").format(question="?")
                handle = one.handle
                assert handle is not None
                return handle, format_trace_id(get_current_span().get_span_context().trace_id)

        yield answer
    reset()


@pytest.fixture
def capture(stack: Stack) -> Iterator[int]:
    """The port of a capture endpoint that sends to the stack's Collector."""
    with capturing(
        OTEL_FEEDBACK_HANDLE_KEYS=TEST_KEYS,
        OTEL_EXPORTER_OTLP_ENDPOINT=f"http://{stack.otlp_grpc}",
        OTEL_EXPORTER_OTLP_INSECURE="true",
    ) as (_, port):
        yield port


def counted(stack: Stack, template: str) -> dict[tuple[str, ...], float]:
    """How often each transition was counted for a template."""
    series = stack.query(f'sum by ({", ".join(LABELS)}) ({VOTES}{{{TEMPLATE}="{template}"}})')
    return {tuple(one["metric"][label] for label in LABELS): float(one["value"][1]) for one in series}


def test_a_vote_over_http_is_counted_and_stands_in_the_trace_of_its_answer(
    stack: Stack, ask: Ask, capture: int
) -> None:
    """A vote, its change and a retry: two carriers, each counted once as what it changed, both below the answer."""
    template = "capture-vote"
    handle, trace_id = ask(template)
    down = {"handle": handle, "signal": "thumbs", "value": "down", "id": "a", "reasons": ["outdated"]}
    up = {"handle": handle, "signal": "thumbs", "value": "up", "id": "b"}
    for body in (down, up, down):
        assert post(capture, body) == (202, {"id": body["id"]})

    wanted = {
        ("explicit", "thumbs", "negative", "unset", "true", "true"): 1,
        ("explicit", "thumbs", "positive", "negative", "false", "true"): 1,
    }
    stack.wait_until(lambda: counted(stack, template) == wanted, f"{wanted} in Prometheus")
    spans = stack.wait_until(lambda: len(found := stack.trace(trace_id)) == 3 and found, "answer and votes in Jaeger")
    tags = {span["spanID"]: span_tags(span) for span in spans}
    [answer] = [span for span, its in tags.items() if its.get(semconv.FEEDBACK_INTERACTION)]
    votes = [span for span in spans if semconv.FEEDBACK_SIGNAL in tags[span["spanID"]]]
    assert [{reference["spanID"] for reference in vote["references"]} for vote in votes] == [{answer}, {answer}]
    assert {vote["operationName"] for vote in votes} == {"feedback thumbs"}
    events = [{field["key"]: field["value"] for field in log["fields"]} for vote in votes for log in vote["logs"]]
    assert {event[semconv.GEN_AI_EVALUATION_SCORE_LABEL] for event in events} == {"down", "up"}


def test_a_vote_on_an_answer_that_was_sampled_out_counts(stack: Stack, ask: Ask, capture: int) -> None:
    """Its trace is nowhere; the carrier has a trace of its own, the facts of the answer, and says so in a label."""
    template = "capture-dropped"
    handle, trace_id = ask(template)
    assert post(capture, {"handle": handle, "signal": "stars", "value": 5})[0] == 202
    wanted = {("explicit", "stars", "positive", "unset", "true", "false"): 1}
    stack.wait_until(lambda: counted(stack, template) == wanted, f"{wanted} in Prometheus")
    assert stack.trace(trace_id) == []
    tags = {semconv.FEEDBACK_TARGET_TRACE_ID: trace_id}
    [trace] = stack.wait_until(
        lambda: stack.jaeger_client.search("otel-feedback-capture", tags=tags), "the carrier in Jaeger"
    )
    assert len(trace["spans"]) == 1


def test_what_was_refused_is_not_counted(stack: Stack, ask: Ask, capture: int) -> None:
    """A forged handle and a value that means nothing leave no number; the good vote after them is there alone."""
    template = "capture-refused"
    handle, _ = ask(template)
    head, payload, signature = handle.split(".")
    forged = f"{head}.{payload}.{signature[::-1]}"
    assert post(capture, {"handle": forged, "signal": "thumbs", "value": "up"})[0] == 401
    assert post(capture, {"handle": handle, "signal": "thumbs", "value": "sideways"})[0] == 422
    assert post(capture, {"handle": handle, "signal": "thumbs", "value": "up"})[0] == 202
    wanted = {("explicit", "thumbs", "positive", "unset", "true", "true"): 1}
    stack.wait_until(lambda: counted(stack, template) == wanted, f"{wanted} in Prometheus")
