"""A service as people write it, with FastAPI and the OpenAI SDK; it knows nothing of feedback."""

import asyncio
import json
import os
import time

from fastapi import BackgroundTasks, FastAPI, Request
from fastapi.middleware.cors import CORSMiddleware
from fastapi.middleware.gzip import GZipMiddleware
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from openai import AsyncOpenAI, OpenAI
from opentelemetry import trace
from starlette.middleware.base import BaseHTTPMiddleware

ORIGIN = "http://page.example"
SLOW = 0.8
SYSTEM = "Answer in one sentence."
QUESTION = "A generator is a function that yields. A list holds items.\n\nQuestion: what is a generator?"
MESSAGES = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": QUESTION}]

app = FastAPI()
client = AsyncOpenAI()
sync_client = OpenAI()


async def complete(system=SYSTEM, **more):
    answer = await client.chat.completions.create(
        model="extract-1",
        messages=[{"role": "system", "content": system}, {"role": "user", "content": QUESTION}],
        **more,
    )
    return answer.choices[0].message.content


async def words(wait=0):
    stream = await client.chat.completions.create(model="extract-1", messages=MESSAGES, stream=True)
    await asyncio.sleep(wait)
    async for chunk in stream:
        if chunk.choices and chunk.choices[0].delta.content:
            yield chunk.choices[0].delta.content


@app.get("/health")
async def health():
    return {"pid": os.getpid()}


@app.get("/ask")
async def ask():
    return {"answer": await complete()}


@app.get("/items/{item}")
async def of_item(item: str, request: Request):
    return PlainTextResponse(f"{item} {await complete(f'Answer about {item}.')}")


@app.get("/sync")
def sync():
    answer = sync_client.chat.completions.create(model="extract-1", messages=MESSAGES)
    return {"answer": answer.choices[0].message.content}


@app.get("/two-calls")
async def two_calls():
    await complete("Rewrite the question.")
    return {"answer": await complete()}


@app.get("/stream")
async def stream():
    return StreamingResponse(words(), media_type="text/plain")


@app.get("/sync-stream")
def sync_stream():
    def pieces():
        chunks = sync_client.chat.completions.create(model="extract-1", messages=MESSAGES, stream=True)
        for chunk in chunks:
            if chunk.choices and chunk.choices[0].delta.content:
                yield chunk.choices[0].delta.content

    return StreamingResponse(pieces(), media_type="text/plain")


@app.get("/sse")
async def sse():
    async def events():
        yield "event: progress\ndata: searching\n\n"
        async for word in words():
            yield f"data: {word}\n\n"

    return StreamingResponse(events(), media_type="text/event-stream")


@app.get("/slow-retrieval")
async def slow_retrieval():
    async def pieces():
        await asyncio.sleep(SLOW)
        async for word in words():
            yield word

    return StreamingResponse(pieces(), media_type="text/plain")


@app.get("/slow-first")
async def slow_first():
    return StreamingResponse(words(SLOW), media_type="text/plain")


@app.get("/no-model-stream")
async def no_model_stream():
    async def pieces():
        for n in range(3):
            yield f"{n}\n"

    return StreamingResponse(pieces(), media_type="text/plain")


CACHED = PlainTextResponse("the same for everybody")


@app.get("/cached")
async def cached(ask: bool = False):
    if ask:
        await complete()
    return CACHED


@app.get("/not-modified")
async def not_modified(request: Request):
    await complete()
    if request.headers.get("if-none-match") == '"1"':
        return Response(status_code=304, headers={"etag": '"1"'})
    return PlainTextResponse("x", headers={"etag": '"1"', "cache-control": "max-age=60"})


@app.get("/public")
async def public():
    return PlainTextResponse(await complete(), headers={"etag": '"1"', "cache-control": "public, max-age=60"})


@app.get("/before-start")
async def before_start():
    await complete()
    raise RuntimeError("before the start")


@app.get("/after-start")
async def after_start():
    async def pieces():
        async for word in words():
            yield word
            raise RuntimeError("after the start")

    return StreamingResponse(pieces(), media_type="text/plain")


@app.get("/refused")
async def refused():
    await complete()
    return JSONResponse({"detail": "no"}, status_code=422)


@app.get("/background")
async def background(tasks: BackgroundTasks):
    tasks.add_task(complete, "Summarise.")
    return {"answer": await complete()}


@app.get("/background-only")
async def background_only(tasks: BackgroundTasks):
    tasks.add_task(complete, "Summarise.")
    return {}


@app.get("/executor")
async def executor():
    loop = asyncio.get_running_loop()
    return {"answer": (await loop.run_in_executor(None, sync))["answer"]}


@app.get("/file")
async def file():
    return FileResponse(__file__)


@app.get("/concurrent/{n}")
async def concurrent(n: int):
    await asyncio.sleep(n % 5 * 0.01)
    answer = await complete(f"System {n}.")
    await asyncio.sleep(n % 3 * 0.01)
    return {"answer": answer}


tracer = trace.get_tracer("the service's own")


@app.get("/retrieve")
async def retrieve():
    with tracer.start_as_current_span("search") as span:
        documents = [{"id": "generators", "score": 0.75}, {"id": "lists", "score": 0.25}]
        span.set_attribute("gen_ai.retrieval.documents", json.dumps(documents))
    return {"answer": await complete()}


sub = FastAPI()


@sub.get("/ask/{item}")
async def sub_ask(item: str):
    return {"answer": await complete()}


app.mount("/sub", sub)

dressed = FastAPI()


class Stamp(BaseHTTPMiddleware):
    async def dispatch(self, request, call_next):
        response = await call_next(request)
        response.headers["x-stamp"] = "1"
        return response


dressed.add_middleware(Stamp)
dressed.add_middleware(GZipMiddleware, minimum_size=1)
dressed.add_middleware(CORSMiddleware, allow_origins=[ORIGIN], expose_headers=["x-total"], allow_credentials=True)
dressed.get("/ask")(ask)
dressed.get("/stream")(stream)
app.mount("/dressed", dressed)


@app.get("/time")
async def now():
    return {"now": time.time()}
