"""A chat service with a page: FastAPI, the OpenAI SDK, the widget, and `record()` where it is told of corrections.

It is started under ``opentelemetry-instrument``; the page's capture, template and signal come with its address.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

from fastapi import Body, FastAPI
from fastapi.responses import HTMLResponse, StreamingResponse
from openai import AsyncOpenAI
from opentelemetry import trace

from otel_feedback import PromptTemplate, record

PAGE = (Path(__file__).parent / "chat_page.html").read_text()

app = FastAPI()
client = AsyncOpenAI()


def messages(template: str, question: str, conversation: str) -> list[Any]:
    """What the model is asked; the template says so, and the span of the request which conversation it is."""
    if conversation:
        trace.get_current_span().set_attribute("gen_ai.conversation.id", conversation)
    asked = PromptTemplate(template, "{question}", version="1").format(question=question)
    return [{"role": "user", "content": os.environ["CHAT_KNOWS"]}, {"role": "user", "content": asked}]


@app.get("/", response_class=HTMLResponse)
async def page() -> str:
    """The page of the chat."""
    return PAGE


@app.get("/chat")
async def chat(template: str, question: str, conversation: str = "") -> dict[str, Any]:
    """An answer in one piece."""
    asked = messages(template, question, conversation)
    completion = await client.chat.completions.create(model="extract-1", messages=asked)
    return {"answer": completion.choices[0].message.content}


@app.get("/stream")
async def stream(template: str, question: str, conversation: str = "", endless: bool = False) -> StreamingResponse:
    """An answer in pieces; an endless one goes on until its reader leaves."""
    asked = messages(template, question, conversation)

    async def pieces() -> AsyncIterator[str]:
        chunks = await client.chat.completions.create(model="extract-1", messages=asked, stream=True)
        async for chunk in chunks:
            if chunk.choices and chunk.choices[0].delta.content:
                yield chunk.choices[0].delta.content
        while endless:
            yield " and so on"
            await asyncio.sleep(0.1)

    return StreamingResponse(pieces(), media_type="text/plain")


@app.post("/corrections")
async def correct(
    handle: Annotated[str, Body()],
    signal: Annotated[str, Body()],
    original: Annotated[str, Body()],
    corrected: Annotated[str, Body()],
) -> dict[str, str]:
    """What a clerk made of an answer, by whatever program the clerk works with."""
    receipt = record(handle, signal, None, correction=(original, corrected))
    return {"status": receipt.status}
