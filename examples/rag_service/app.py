"""Answers questions on Python from its language reference: passages by BM25, the answer by a model.

Configured by the environment as the OpenAI SDK is (``OPENAI_BASE_URL``, ``OPENAI_API_KEY``), and by
``MODEL``, ``ALLOWED_ORIGINS`` (separated by commas), and what ``page`` reads.
"""

import json
import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import FastAPI, HTTPException, Request
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import StreamingResponse
from openai import AsyncOpenAI, OpenAIError
from openai.types.chat import ChatCompletionMessageParam
from opentelemetry import trace
from pydantic import BaseModel, Field

from .corpus import Hit, Library, read_passages
from .page import add_page
from .prompts import ASK, STREAM, Prompt, choose, fill

MODEL = os.environ.get("MODEL", "extract-1")
ORIGINS = os.environ.get("ALLOWED_ORIGINS", "http://localhost:3000").split(",")

tracer = trace.get_tracer("rag_service")
library = Library(read_passages())


def new_conversation() -> str:
    """An id for a page that brings none."""
    return uuid.uuid4().hex


class Query(BaseModel):
    """What a page sends."""

    question: Annotated[str, Field(min_length=1, max_length=2000)]
    conversation: Annotated[str, Field(min_length=1, max_length=100, default_factory=new_conversation)]


class Answer(BaseModel):
    """What a page gets."""

    answer: str
    sources: list[str]
    prompt: str


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """One client of the model provider for the life of the process."""
    async with AsyncOpenAI() as client:
        app.state.openai = client
        yield


app = FastAPI(title="Ask Python's reference", lifespan=lifespan)
app.add_middleware(CORSMiddleware, allow_origins=ORIGINS, allow_methods=["POST"], allow_headers=["content-type"])
add_page(app, os.environ.get("FEEDBACK_URL", ""), os.environ.get("DASHBOARD_URL", ""))


def begin(query: Query, prompts: tuple[Prompt, ...]) -> Prompt:
    """The prompt of a question's conversation, whose id is said on the request's span."""
    trace.get_current_span().set_attribute("gen_ai.conversation.id", query.conversation)
    return choose(prompts, query.conversation)


def retrieve(question: str, count: int) -> list[Hit]:
    """The passages for a question, in a span that says which ones with which scores."""
    with tracer.start_as_current_span("retrieval python-reference") as span:
        hits = library.search(question, count)
        span.set_attribute("gen_ai.operation.name", "retrieval")
        span.set_attribute("gen_ai.data_source.id", "python-reference")
        documents = [{"id": hit.passage.id, "score": hit.score} for hit in hits]
        span.set_attribute("gen_ai.retrieval.documents", json.dumps(documents))
    return hits


def build_messages(prompt: Prompt, hits: list[Hit], question: str) -> list[ChatCompletionMessageParam]:
    """The messages for the model."""
    passages = [(hit.passage.id, hit.passage.text) for hit in hits]
    return [
        {"role": "system", "content": prompt.instruction},
        {"role": "user", "content": fill(passages)},
        {"role": "user", "content": " ".join(question.split())},
    ]


@app.post("/ask")
async def ask(query: Query, request: Request) -> Answer:
    """Answer a question in one piece."""
    prompt = begin(query, ASK)
    hits = retrieve(query.question, prompt.passages)
    client: AsyncOpenAI = request.app.state.openai
    try:
        completion = await client.chat.completions.create(
            model=MODEL, messages=build_messages(prompt, hits, query.question)
        )
    except OpenAIError as error:
        raise HTTPException(502, "The model did not answer.") from error
    text = completion.choices[0].message.content or ""
    return Answer(answer=text, sources=[hit.passage.id for hit in hits], prompt=prompt.name)


@app.post("/ask/stream")
async def ask_stream(query: Query, request: Request) -> StreamingResponse:
    """Answer a question as server-sent events: ``text`` as it comes, then ``done``, or ``error``."""
    prompt = begin(query, STREAM)
    client: AsyncOpenAI = request.app.state.openai

    async def events() -> AsyncIterator[str]:
        hits = retrieve(query.question, prompt.passages)
        try:
            stream = await client.chat.completions.create(
                model=MODEL,
                messages=build_messages(prompt, hits, query.question),
                stream=True,
                stream_options={"include_usage": True},
            )
            async for chunk in stream:
                if chunk.choices and chunk.choices[0].delta.content:
                    yield server_event("text", chunk.choices[0].delta.content)
        except OpenAIError:
            yield server_event("error", "The model did not answer.")
            return
        yield server_event("done", {"sources": [hit.passage.id for hit in hits], "prompt": prompt.name})

    return StreamingResponse(events(), media_type="text/event-stream", headers={"cache-control": "no-store"})


def server_event(name: str, data: object) -> str:
    """One server-sent event."""
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"


@app.get("/health")
async def health() -> dict[str, str]:
    """Whether the service is up."""
    return {"status": "ok"}
