"""The same kind of service with Starlette alone, and a middleware that is added after OpenTelemetry's."""

from fastapi_app import MESSAGES, client, complete, words
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route


async def health(request):
    return PlainTextResponse("ok")


async def ask(request):
    return JSONResponse({"answer": await complete()})


async def stream(request):
    return StreamingResponse(words())


async def direct(request):
    answer = await client.chat.completions.create(model="extract-1", messages=MESSAGES)
    return PlainTextResponse(answer.choices[0].message.content)


class Outer:
    def __init__(self, app):
        self.inner = app

    async def __call__(self, scope, receive, send):
        await self.inner(scope, receive, send)


app = Starlette(
    routes=[
        Route("/health", health),
        Route("/ask/{item}", ask),
        Route("/stream", stream),
        Route("/direct", direct),
    ]
)
app.add_middleware(Outer)
