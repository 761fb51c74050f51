"""A site with the widget: its pages, capture as it is, and a switch for what capture answers."""

import asyncio
import itertools
import json
import socket
import threading
import time

import uvicorn
from starlette.applications import Starlette
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from tests.unit.feedback_parts import Outbox, Parts

from otel_feedback.capture import capture_app

PAGE = """<!doctype html>
<html lang="{lang}" dir="{dir}"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Chat</title><link rel="icon" href="data:,"><link rel="stylesheet" href="/style.css">
<script type="module" src="{script}"></script></head><body><main><h1>Chat</h1>{body}</main></body></html>"""

STYLE = """
html { color-scheme: light dark; background: Canvas; color: CanvasText; font: 16px/1.5 sans-serif }
main { max-width: 40rem; margin: auto }
"""

ANSWER = "Install the package, set a key and start your service."


class Site:
    """Pages on ``localhost``, script and capture on ``127.0.0.1``: another origin, as in earnest.

    Attributes:
        bodies: What came in, as JSON, in order.
        trouble: What capture answers instead: ``(status, headers)``.
        carriers: What capture delivered.
    """

    def __init__(self):
        self.outbox = Outbox()
        self.parts = Parts(delivery=self.outbox)
        self.bodies, self.trouble, self.delay = [], None, 0.0
        self.pages, self.reports = {}, []
        self._spans = itertools.count(1)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.own, self.capture = f"http://localhost:{self.port}", f"http://127.0.0.1:{self.port}"
        self.script = f"{self.capture}/v1/widget.js"
        self._server = None

    @property
    def carriers(self):
        return self.outbox.carriers

    def handle(self, **details):
        """The handle of a new answer."""
        return self.parts.handle(span_id=next(self._spans), **details)

    def page(self, body, *, lang="en", direction="ltr", headers=None, script=None):
        """Put up a page; returns its address."""
        path = f"/page/{len(self.pages)}"
        filled = PAGE.format(lang=lang, dir=direction, script=script or self.script, body=body)
        self.pages[path] = HTMLResponse(filled, headers=headers)
        return self.own + path

    def reset(self):
        """Forget what came in, and let capture answer."""
        self.bodies.clear()
        self.carriers.clear()
        self.reports.clear()
        self.trouble, self.delay = None, 0.0
        self.start()

    def start(self):
        """Serve, unless it does."""
        if self._server:
            return
        config = uvicorn.Config(self._app(), host="127.0.0.1", port=self.port, log_config=None, lifespan="off")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run)
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)

    def stop(self):
        """Serve no longer: whoever calls is refused."""
        if self._server:
            self._server.should_exit = self._server.force_exit = True
            self._thread.join()
            self._server = None

    def _app(self):
        taking = capture_app(recorder=self.parts.recorder, allow_origins=[self.own])
        return Starlette(
            routes=[
                Route("/page/{n}", lambda request: self.pages[request.url.path]),
                Route("/style.css", lambda request: Response(STYLE, media_type="text/css")),
                Route("/chat", self._chat),
                Route("/report", self._report, methods=["POST"]),
                Mount("/", self._watched(taking)),
            ]
        )

    async def _chat(self, request):
        """An answer in pieces; its handle is in the header, which leaves before the last piece does."""

        async def pieces():
            for word in ANSWER.split():
                yield word + " "
                await asyncio.sleep(0.05)

        return StreamingResponse(pieces(), headers={"feedback-handle": self.handle()}, media_type="text/plain")

    async def _report(self, request):
        self.reports.append(await request.json())
        return Response(status_code=204)

    def _watched(self, app):
        async def watched(scope, receive, send):
            await asyncio.sleep(self.delay)
            if scope["method"] == "POST":
                message = await receive()
                body = json.loads(message["body"])
                self.bodies.append(body)
                if self.trouble:
                    status, headers = self.trouble
                    cors = {"access-control-allow-origin": self.own, "access-control-expose-headers": "retry-after"}
                    return await Response(status_code=status, headers=headers | cors)(scope, receive, send)
                sent, more = message, receive

                async def receive():
                    nonlocal sent
                    if sent:
                        now, sent = sent, None
                        return now
                    return await more()

            return await app(scope, receive, send)

        return watched
