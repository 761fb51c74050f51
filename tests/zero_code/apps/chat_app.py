"""A chat service with FastAPI and the OpenAI SDK: it says which conversation a request belongs to, and no more."""

import asyncio

from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from openai import AsyncOpenAI, OpenAI
from opentelemetry import trace

SYSTEM = {"role": "system", "content": "Answer in one sentence."}

app = FastAPI()
client = AsyncOpenAI()
sync_client = OpenAI()


def belongs_to(conversation):
    if conversation:
        trace.get_current_span().set_attribute("gen_ai.conversation.id", conversation)


@app.get("/health")
async def health():
    return {}


@app.get("/chat")
async def chat(question: str, conversation: str = ""):
    belongs_to(conversation)
    messages = [SYSTEM, {"role": "user", "content": question}]
    answer = await client.chat.completions.create(model="extract-1", messages=messages)
    return {"answer": answer.choices[0].message.content}


@app.get("/sync-chat")
def sync_chat(question: str, conversation: str = ""):
    messages = [SYSTEM, {"role": "user", "content": question}]
    answer = sync_client.chat.completions.create(model="extract-1", messages=messages)
    belongs_to(conversation)
    return {"answer": answer.choices[0].message.content}


@app.get("/stream")
async def stream(question: str, conversation: str = "", wait: float = 0):
    belongs_to(conversation)

    async def words():
        messages = [SYSTEM, {"role": "user", "content": question}]
        chunks = await client.chat.completions.create(model="extract-1", messages=messages, stream=True)
        async for chunk in chunks:
            if chunk.choices and chunk.choices[0].delta.content:
                yield chunk.choices[0].delta.content
        for _ in range(20):
            yield " and so on"
            await asyncio.sleep(wait)

    return StreamingResponse(words(), media_type="text/plain")
