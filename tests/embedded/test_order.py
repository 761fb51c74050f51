"""The same requests in any order, late and twice, give the same answers of the API."""

import json
import random
import re
import time

import pytest
from benchmarks.process import KEYS
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tests.embedded.wire import post_signal

from otel_feedback import semconv
from otel_feedback._carrier import SpanDelivery
from otel_feedback._handle import HandleCodec, Keyring
from otel_feedback._recorder import Recorder
from otel_feedback._settings import Settings

SHUFFLES = 16
SERVICE = "shop-00"
ONE, TWO = (f"k1:{digit * 32}" for digit in "12")


class Story:
    """Three answers and what users say of them: one tells all, one leaves its model to a child, one isn't flagged."""

    def __init__(self):
        resource = Resource({"service.name": SERVICE, "deployment.environment.name": "test"})
        memory = InMemorySpanExporter()
        provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(memory))
        tracer = provider.get_tracer("story")
        self.answers = [_tells_all(tracer), _leaves_it_to_a_child(tracer), _is_not_flagged(tracer)]
        _judged_by_another_producer(tracer, self.answers[0])
        spans = memory.get_finished_spans()
        carriers = _carriers(resource, self.answers)
        self.requests = [("traces", encode_spans([span]).SerializeToString()) for span in (*spans, *carriers)]
        self.requests.append(("logs", _log(self.answers[1])))
        self.ids = sorted({_hex(span)[0] for span in (*spans, *carriers)})

    def retold(self, number):
        """Return the requests and the answers with other trace ids, of another service."""
        service = f"shop-{number:02d}"
        names = {one: f"{number:02x}{one[2:]}" for one in self.ids}
        pairs = [(SERVICE.encode(), service.encode())]
        for old, new in names.items():
            pairs += [(bytes.fromhex(old), bytes.fromhex(new)), (old.encode(), new.encode())]
        answers = [f"{names[trace_id]}-{span_id}" for trace_id, span_id in map(_hex, self.answers)]
        return service, [(signal, _replaced(body, pairs)) for signal, body in self.requests], answers


def _replaced(body, pairs):
    for old, new in pairs:
        body = body.replace(old, new)
    return body


def _hex(span):
    context = span.get_span_context()
    return trace.format_trace_id(context.trace_id), trace.format_span_id(context.span_id)


def _message(role, text):
    return json.dumps([{"role": role, "parts": [{"type": "text", "content": text}]}])


def _call(model, number):
    return {
        semconv.GEN_AI_OPERATION_NAME: "chat",
        semconv.GEN_AI_RESPONSE_MODEL: model,
        semconv.GEN_AI_INPUT_MESSAGES: _message("user", f"Question {number}?"),
        semconv.GEN_AI_OUTPUT_MESSAGES: _message("assistant", f"Answer {number}."),
    }


def _tells_all(tracer):
    facts = {
        semconv.FEEDBACK_INTERACTION: True,
        semconv.FEEDBACK_PROMPT_NAME: "answer",
        semconv.FEEDBACK_PROMPT_VERSION: "3",
        semconv.FEEDBACK_MODEL: "model-1",
        semconv.FEEDBACK_DOCUMENTS: json.dumps([{"id": "d1", "score": 0.5}, {"id": "d2", "score": 0.25}]),
    }
    with tracer.start_as_current_span("POST /ask", attributes=facts) as answer:
        tracer.start_span("chat model-1", attributes=_call("model-1", 1)).end()
        tracer.start_span("GET /price").end()
    return answer


def _leaves_it_to_a_child(tracer):
    facts = {semconv.FEEDBACK_INTERACTION: True, semconv.FEEDBACK_PROMPT_NAME: "answer"}
    documents = json.dumps([{"id": "d3", "score": 0.75}])
    with tracer.start_as_current_span("POST /ask", attributes=facts) as answer:
        retrieval = {semconv.GEN_AI_OPERATION_NAME: "retrieval", semconv.GEN_AI_RETRIEVAL_DOCUMENTS: documents}
        tracer.start_span("retrieval", attributes=retrieval).end()
        tracer.start_span("chat model-1", attributes=_call("model-1", 2)).end()
        tracer.start_span("chat model-2", attributes=_call("model-2", 2)).end()
    return answer


def _is_not_flagged(tracer):
    with tracer.start_as_current_span("batch job"), tracer.start_as_current_span("chat model-3") as answer:
        answer.set_attributes(_call("model-3", 3))
    return answer


def _judged_by_another_producer(tracer, answer):
    context = trace.set_span_in_context(answer)
    attributes = {
        "openinference.span.kind": "EVALUATOR",
        "annotations.0.annotation.name": "quality",
        "annotations.0.annotation.label": "good",
        "annotations.0.annotation.annotator_kind": "HUMAN",
        "annotations.1.annotation.name": "toxicity",
        "annotations.1.annotation.score": 0.1,
        "annotations.1.annotation.annotator_kind": "LLM",
    }
    links = [trace.Link(answer.get_span_context())]
    tracer.start_span("annotation", context=context, attributes=attributes, links=links).end()


def _carriers(resource, answers):
    memory = InMemorySpanExporter()
    delivery = SpanDelivery(exporter=memory, resource=resource)
    codec = HandleCodec(Keyring.from_text(KEYS))
    # Two processes, neither of which knows the other's votes.
    recorder, another = (
        Recorder(codec=codec, settings=Settings(capture_text=True), delivery=delivery) for _ in range(2)
    )
    first, second, third = (
        codec.issue(
            trace_id=answer.get_span_context().trace_id,
            span_id=answer.get_span_context().span_id,
            sampled=True,
            facts={semconv.FEEDBACK_SERVICE_NAME: SERVICE},
        )
        for answer in answers
    )
    recorder.submit(first, "thumbs", "up", id="1")
    recorder.submit(first, "thumbs", "down", id="2", comment="No.", reasons=["outdated"])
    recorder.submit(first, "copy", True, id="3")
    recorder.submit(second, "stars", 4, id="4")
    recorder.submit(second, "stars", None, id="5")
    recorder.submit(second, "thumbs", "down", id="6", user=ONE)
    recorder.submit(second, "thumbs", "up", id="6", user=TWO)
    recorder.submit(second, "thumbs", "up", id="7", user=ONE)
    recorder.submit(third, "text", None, id="8", correction=("wrong", "right"))
    recorder.submit(third, "thumbs", "down", id="9")
    recorder.submit(third, "stars", 2, id="z")
    another.submit(third, "stars", 5, id="a")
    delivery.flush()
    delivery.shutdown()
    return memory.get_finished_spans()


def _log(answer):
    request = ExportLogsServiceRequest()
    record = request.resource_logs.add().scope_logs.add().log_records.add()
    record.trace_id, record.span_id = (bytes.fromhex(one) for one in _hex(answer))
    record.time_unix_nano = time.time_ns()
    record.event_name = "gen_ai.user.message"
    record.body.kvlist_value.values.add(key="content").value.string_value = "A question in a log?"
    return request.SerializeToString()


def told(server, service, answers, number):
    """Return what the API says of one telling, as text without what makes it different from others."""
    said = {
        path: server.get(f"{path}&service={service}")
        for path in (
            "/api/satisfaction?by=template,version,model",
            "/api/satisfaction?by=service,environment",
            "/api/trend?since=1h",
            "/api/answers?feedback=all",
            "/api/answers?feedback=bad",
        )
    }
    for place, answer in enumerate(answers):
        said[str(place)] = server.get(f"/api/answers/{answer}")
    text = json.dumps(said, sort_keys=True, indent=1).replace(service, SERVICE)
    for answer in server.story.ids:
        text = text.replace(f"{number:02x}{answer[2:]}", answer)
    # Another producer's feedback has an id made of its span's, which the retelling changed.
    return re.sub("[0-9a-f]{32}", lambda found: found[0] if found[0] in server.story.ids else "made", text)


@pytest.fixture
def storyteller(server):
    """The server, with the story that it is told."""
    server.story = Story()
    return server


def tell(server, number, *, order=None):
    """Send one telling; its order is shuffled by ``order``, which also sends some of it twice."""
    service, requests, answers = server.story.retold(number)
    if order is not None:
        requests += order.sample(requests, 6)
        order.shuffle(requests)
    for signal, body in requests:
        assert post_signal(server, body, signal=signal).status == 200
    return service, answers


def test_any_order_gives_the_same_answers(storyteller):
    """Carriers before their answer, children before their parent, everything late or twice."""
    service, answers = tell(storyteller, 1)
    wanted = told(storyteller, service, answers, 1)
    for word in ("model-2", "d3", "Question 1?", "outdated", "right", "quality"):
        assert word in wanted
    rows = storyteller.get(f"/api/satisfaction?by=model&service={service}")["rows"]
    assert {row["key"]["model"] for row in rows} == {"model-1", "model-2", "model-3"}
    for number in range(2, SHUFFLES + 2):
        service, answers = tell(storyteller, number, order=random.Random(number))  # noqa: S311
        deadline = time.monotonic() + 20
        while (found := told(storyteller, service, answers, number)) != wanted and time.monotonic() < deadline:
            time.sleep(0.1)
        assert found == wanted
