"""OpenLLMetry and OpenInference: one interaction with its facts results, whichever of them a service has.

All three families' packages call themselves ``openai``, so each of these two has an environment of its own:
``nox --session families``. The official one is everywhere else.
"""

import hashlib
import os
import time

import fastapi
import httpx
import openai
import pytest
from fastapi.responses import StreamingResponse
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

from otel_feedback import PromptTemplate, _ledger, _runtime, interaction
from otel_feedback.intake import complete_trace, decode_traces, read_traces, unpack

FAMILY = os.environ.get("FAMILY")
pytestmark = [
    pytest.mark.skipif(FAMILY is None, reason="needs an environment of its own: nox --session families"),
    # OpenLLMetry's own, of its own code
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20"),
]

SYSTEM = "Answer in one sentence, from the passages below only."
FINGERPRINT = hashlib.sha256(SYSTEM.encode()).hexdigest()[:12]
MESSAGES = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": "What is a list?"}]
ASKED, ANSWERED = "extract-1", "extract-1-2026-08-01"
PROVIDER = {"feedback.provider": "openai", "feedback.service.name": "test"}
DOCUMENTS = {
    "plain": {"gen_ai.retrieval.documents": '[{"id": "d1", "score": 0.5}]'},
    "openinference": {
        "openinference.span.kind": "RETRIEVER",
        "retrieval.documents.0.document.id": "d1",
        "retrieval.documents.0.document.score": 0.5,
        "retrieval.documents.0.document.content": "what a passage says",
    },
}


def facts(attributes):
    """What an interaction says by our names, the provider's id of the answer excepted."""
    left_out = ("feedback.interaction", "feedback.response.id")
    return {name: value for name, value in attributes.items() if name.startswith("feedback.") and name not in left_out}


def call(service, *, streamed):
    """Ask the model and read its answer to the end."""
    answer = service.client.chat.completions.create(model=ASKED, messages=MESSAGES, stream=streamed)
    if not streamed:
        return answer.choices[0].message.content
    return "".join(chunk.choices[0].delta.content or "" for chunk in answer if chunk.choices)


async def call_async(client, *, streamed):
    """The same with the asynchronous client."""
    answer = await client.chat.completions.create(model=ASKED, messages=MESSAGES, stream=streamed)
    if not streamed:
        return answer.choices[0].message.content
    return "".join([chunk.choices[0].delta.content or "" async for chunk in answer if chunk.choices])


@pytest.mark.parametrize("streamed", [False, True])
def test_a_call_alone(service, streamed):
    """A script's call is one interaction: what was asked for stands on it, what answered is known in this process."""
    assert call(service, streamed=streamed)
    (found,) = service.interactions()
    prompt = {"feedback.prompt.version": FINGERPRINT, "feedback.prompt.fingerprint": FINGERPRINT}
    assert {name: found[name] for name in prompt} == prompt
    assert found["feedback.model"] == ASKED
    ((trace_id, span_id),) = [(int(a, 16), int(b, 16)) for a, b in [service.spans()[0]["context"].split(":")]]
    known = _ledger.finished_facts(trace_id, span_id)
    assert known["feedback.model"] == ANSWERED
    assert known["feedback.provider"] == "openai"
    assert call(service, streamed=streamed)
    assert service.interactions()[1]["feedback.model"] == ANSWERED, "by the second call the exact model is known"


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("documents", DOCUMENTS)
def test_an_interaction(service, streamed, documents):
    """``interaction()`` gathers model, provider, documents and template; content stays where it was captured."""
    template = PromptTemplate("answer", SYSTEM, "2")
    with interaction("ask", tracer_provider=service.provider):
        service.tracer.start_span("search", attributes=DOCUMENTS[documents]).end()
        template.format()
        assert call(service, streamed=streamed)
    (found,) = service.interactions()
    assert facts(found) == {
        "feedback.prompt.name": "answer",
        "feedback.prompt.version": "2",
        "feedback.prompt.fingerprint": FINGERPRINT,
        "feedback.model": ANSWERED,
        "feedback.documents": '[{"id":"d1","score":0.5}]',
        **PROVIDER,
    }
    assert SYSTEM not in repr(found)
    inference = service.spans()[-1]
    assert SYSTEM in repr(inference["attributes"]), "this family captures content by default"
    assert inference["attributes"]["gen_ai.prompt.name"] == "answer"


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("documents", DOCUMENTS)
@pytest.mark.parametrize("ours", [True, False])
def test_what_the_embedded_server_makes_of_it(service, streamed, documents, ours):
    """The answer with model, template and documents, and what was asked and answered, from real spans over OTLP.

    Where nothing of ours is in the service, an answer is what somebody judges: its trace tells the rest.
    """
    if ours:
        with interaction("ask", tracer_provider=service.provider):
            service.tracer.start_span("search", attributes=DOCUMENTS[documents]).end()
            answered = call(service, streamed=streamed)
    else:
        with service.tracer.start_as_current_span("ask"):
            service.tracer.start_span("search", attributes=DOCUMENTS[documents]).end()
            answered = call(service, streamed=streamed)
    spans = service.exporter.get_finished_spans()
    raw = encode_spans(spans).SerializeToString()
    received_ns = time.time_ns()
    batch = read_traces(decode_traces(raw), received_ns=received_ns, raw=raw)
    assert (batch.spans, batch.rejected, batch.services) == (len(spans), 0, {"test"})
    [texts] = batch.texts
    assert (texts.question, texts.answer, texts.system) == ("What is a list?", answered, SYSTEM)
    if ours:
        [row], found = batch.interactions, batch.documents
    else:
        stored = list(unpack(batch.chunk))
        [root] = [span[:2] for span in stored if span.span.name == "ask"]
        [(row, found)] = [
            it for it in complete_trace(stored, targets=[root], received_ns=received_ns) if it[0][:2] == root
        ]
    assert (row.model, row.provider, row.service) == (ANSWERED, "openai", "test")
    assert [(document.document_id, document.score) for document in found] == [("d1", 0.5)]


@pytest.mark.parametrize("streamed", [False, True])
async def test_asynchronous_calls(service, streamed):
    """The asynchronous client's too; two calls are one answer."""
    async with service.async_client() as client, interaction("ask", tracer_provider=service.provider):
        await call_async(client, streamed=streamed)
        await call_async(client, streamed=not streamed)
    (found,) = service.interactions()
    assert facts(found) == {
        "feedback.prompt.name": "ask",
        "feedback.prompt.version": FINGERPRINT,
        "feedback.prompt.fingerprint": FINGERPRINT,
        "feedback.model": ANSWERED,
        **PROVIDER,
    }


@pytest.mark.parametrize("path", ["plain", "stream"])
async def test_a_request_without_a_changed_line(service, path):
    """Each answer's header holds the handle of its request, with model and template, streamed too."""
    app = fastapi.FastAPI()  # looked up now: its instrumentation puts another class there

    @app.get("/plain")
    def plain():
        return call(service, streamed=False)

    @app.get("/stream")
    def stream():
        service_answer = service.client.chat.completions.create

        def body():
            for chunk in service_answer(model=ASKED, messages=MESSAGES, stream=True):
                if chunk.choices:
                    yield chunk.choices[0].delta.content or ""

        return StreamingResponse(body())

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as client:
        for exact in (False, True):
            service.exporter.clear()
            response = await client.get(f"/{path}")
            handle = _runtime.codec().read(response.headers["feedback-handle"])
            (found,) = service.interactions()
            expected = {
                "feedback.prompt.name": f"/{path}",
                "feedback.prompt.version": FINGERPRINT,
                "feedback.prompt.fingerprint": FINGERPRINT,
                "feedback.model": ANSWERED,
                **PROVIDER,
            }
            assert facts(found) == expected
            server = next(span for span in service.spans() if span["attributes"].get("feedback.interaction"))
            assert server["context"] == f"{handle.trace_id:x}:{handle.span_id:x}"
            if path == "stream" and not exact:
                expected["feedback.model"] = ASKED  # its header leaves before the first answer ever names the exact one
            known = {name: handle.facts[name] for name in expected if name in handle.facts}
            assert known | {"feedback.provider": "openai"} == expected


def test_an_answer_that_fails(service):
    """The model that was asked for and how it failed stand on an answer that has a handle; the host sees it too."""

    def ask():
        with interaction("ask", tracer_provider=service.provider) as answer:
            assert answer.handle
            service.client.chat.completions.create(model="no-such-model", messages=MESSAGES)

    with pytest.raises(openai.NotFoundError):
        ask()
    (found,) = service.interactions()
    assert (found["feedback.model"], found["error.type"]) == ("no-such-model", "NotFoundError")
