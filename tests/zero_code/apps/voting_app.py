"""A service that answers and takes votes itself: the few lines of ours that it has are in ``vote``."""

import os

from fastapi import FastAPI
from fastapi_app import complete

from otel_feedback import record

app = FastAPI()


@app.get("/health")
def health():
    return {"pid": os.getpid()}


@app.get("/ask")
async def ask():
    return {"answer": await complete(), "pid": os.getpid()}


@app.post("/vote")
def vote(handle: str):
    return {"status": record(handle, "thumbs", "up").status, "pid": os.getpid()}
