"""The service on its own: it answers, plain and streamed, and knows nothing of us."""

import json
import subprocess
import sys

import httpx
import pytest
from examples.rag_service import app as service
from examples.rag_service.prompts import ASK, STREAM, choose
from examples.servers import EXAMPLES, Addresses
from examples.users import ask
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

QUESTION = "Can a lambda expression contain statements or annotations?"


def conversation_with(prompts: tuple, name: str) -> str:
    return next(str(n) for n in range(100) if choose(prompts, str(n)).name == name)


def test_the_service_imports_nothing_of_ours() -> None:
    """It is a stranger's service: none of our modules is loaded, nor does a span of its own need the SDK."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import rag_service.app, model_provider.app; "
        "print([n for n in sys.modules if n.startswith(('otel_feedback', 'opentelemetry.sdk', 'stack'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(EXAMPLES)], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(("page", "prompts"), [("/ask", ASK), ("/ask/stream", STREAM)])
async def test_each_prompt_answers_and_names_itself(bare: Addresses, page: str, prompts: tuple) -> None:
    """Both prompts of both pages answer from the reference; without telemetry no handle comes with it."""
    async with httpx.AsyncClient(base_url=bare.service_url) as client:
        answers = [await ask(client, page, QUESTION, conversation_with(prompts, p.name)) for p in prompts]
    assert [answer.prompt for answer in answers] == [prompt.name for prompt in prompts]
    assert all("lambda expressions cannot contain statements" in answer.text for answer in answers)
    assert [answer.handle for answer in answers] == [None, None]


def test_a_conversation_keeps_its_prompt_and_both_get_their_share() -> None:
    """The choice depends on the conversation alone, and divides them about evenly."""
    chosen = [choose(ASK, f"{n:016x}").name for n in range(1000)]
    assert chosen == [choose(ASK, f"{n:016x}").name for n in range(1000)]
    assert 400 < chosen.count("terse") < 600


async def test_a_stream_is_server_sent_events(bare: Addresses) -> None:
    """Text comes in several events, then one that ends the answer and names its sources."""
    async with httpx.AsyncClient(base_url=bare.service_url) as client:
        body = {"question": QUESTION, "conversation": conversation_with(STREAM, "frugal")}
        response = await client.post("/ask/stream", json=body)
    assert response.headers["content-type"].startswith("text/event-stream")
    events = [block.split("\n") for block in response.text.strip().split("\n\n")]
    assert [event[0] for event in events] == ["event: text"] * (len(events) - 1) + ["event: done"]
    assert len(events) > 2
    assert json.loads(events[-1][1].removeprefix("data: ")) == {"sources": ["lambda#0"], "prompt": "frugal"}


@pytest.mark.parametrize("page", ["/ask", "/ask/stream"])
async def test_pages_of_the_allowed_origin_may_ask(bare: Addresses, page: str) -> None:
    """CORS is set as such services set it."""
    headers = {"origin": "http://localhost:3000", "access-control-request-method": "POST"}
    async with httpx.AsyncClient(base_url=bare.service_url) as client:
        allowed = await client.options(page, headers=headers)
        refused = await client.options(page, headers=headers | {"origin": "http://elsewhere.example"})
    assert allowed.headers["access-control-allow-origin"] == "http://localhost:3000"
    assert "access-control-allow-origin" not in refused.headers


async def test_a_question_is_needed(bare: Addresses) -> None:
    """An empty question is refused before any model is asked."""
    async with httpx.AsyncClient(base_url=bare.service_url) as client:
        assert (await client.post("/ask", json={"question": ""})).status_code == 422


async def test_without_its_provider_the_service_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider that refuses is a 502 on the plain page and an ``error`` event on the streamed one."""
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    transport = httpx.ASGITransport(app=service.app)
    async with service.app.router.lifespan_context(service.app):
        service.app.state.openai.max_retries = 0
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            plain = await client.post("/ask", json={"question": QUESTION})
            streamed = await client.post("/ask/stream", json={"question": QUESTION})
    assert plain.status_code == 502
    assert streamed.text == 'event: error\ndata: "The model did not answer."\n\n'


def test_the_retrieval_span_names_the_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    """The span holds ids and scores of the passages in the names of the GenAI conventions, and no text."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(service, "tracer", trace.get_tracer("rag_service", tracer_provider=provider))
    hits = service.retrieve(QUESTION, 2)
    (span,) = exporter.get_finished_spans()
    assert span.name == "retrieval python-reference"
    attributes = dict(span.attributes or {})
    assert json.loads(str(attributes.pop("gen_ai.retrieval.documents"))) == [
        {"id": hit.passage.id, "score": hit.score} for hit in hits
    ]
    assert attributes == {"gen_ai.operation.name": "retrieval", "gen_ai.data_source.id": "python-reference"}
