"""A Flask service with the OpenAI SDK."""

import os

import flask
from openai import OpenAI

MESSAGES = [
    {"role": "system", "content": "Answer in one sentence."},
    {"role": "user", "content": "A list holds items.\n\nQuestion: what does a list hold?"},
]
CACHED = flask.Response("the same for everybody")

app = flask.Flask(__name__)
client = OpenAI()


def complete():
    answer = client.chat.completions.create(model="extract-1", messages=MESSAGES)
    return answer.choices[0].message.content


@app.get("/health")
def health():
    return {"pid": os.getpid()}


@app.get("/ask/<item>")
def ask(item):
    return {"answer": complete(), "pid": os.getpid()}


@app.get("/cached")
def cached():
    if "ask" in flask.request.args:
        complete()
    return CACHED


@app.get("/not-modified")
def not_modified():
    complete()
    response = flask.Response("x")
    response.set_etag("1")
    return response.make_conditional(flask.request)


@app.get("/stream")
def stream():
    def words():
        for chunk in client.chat.completions.create(model="extract-1", messages=MESSAGES, stream=True):
            if chunk.choices and chunk.choices[0].delta.content:
                yield chunk.choices[0].delta.content

    return flask.Response(words(), mimetype="text/plain")
