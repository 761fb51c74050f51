"""A Django service with the OpenAI SDK."""

import os

from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path
from openai import AsyncOpenAI, OpenAI

MESSAGES = [
    {"role": "system", "content": "Answer in one sentence."},
    {"role": "user", "content": "A list holds items.\n\nQuestion: what does a list hold?"},
]
CACHED = HttpResponse("the same for everybody")

client = OpenAI()
async_client = AsyncOpenAI()


def complete():
    answer = client.chat.completions.create(model="extract-1", messages=MESSAGES)
    return answer.choices[0].message.content


def health(request):
    return JsonResponse({"pid": os.getpid()})


def ask(request, item):
    return JsonResponse({"answer": complete()}, headers={"X-API-Key": "1"})


async def async_ask(request):
    answer = await async_client.chat.completions.create(model="extract-1", messages=MESSAGES)
    return HttpResponse(answer.choices[0].message.content)


def cached(request):
    if "ask" in request.GET:
        complete()
    return CACHED


def not_modified(request):
    complete()
    return HttpResponse(status=304)


def stream(request):
    return StreamingHttpResponse(complete() for _ in range(2))


urlpatterns = [
    path("health", health),
    path("ask/<str:item>", ask),
    path("async-ask", async_ask),
    path("cached", cached),
    path("not-modified", not_modified),
    path("stream", stream),
]
