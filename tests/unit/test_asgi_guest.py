"""The ASGI middleware as a guest: other scopes, middlewares, messages and errors are what they were without it."""

import asyncio
import contextlib

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import FileResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route
from tests.unit.asgi_client import Wire, answering, ask, body, instrumented, model_call, run, scope, start

from otel_feedback import _record, semconv
from otel_feedback.instrumentation import FeedbackMiddleware, asgi
from otel_feedback.testing import telemetry

pytestmark = pytest.mark.usefixtures("no_routes")


def test_other_scopes_pass(seen):
    """A websocket is none of its business; trap: its server span has no method."""
    got = []

    async def app(scope, receive, send):
        got.append((scope["type"], receive, send))

    wire = Wire()
    request = {**scope(), "type": "websocket"}
    run(FeedbackMiddleware(app)(request, run, wire.send))
    assert got == [("websocket", run, wire.send)]
    assert "otel_feedback" not in request


@pytest.mark.parametrize("last", ["lifespan.shutdown.complete", "lifespan.shutdown.failed"])
def test_feedback_is_sent_before_a_server_hears_that_the_application_has_ended(monkeypatch, last):
    """Servers end by the signal that they got, so exit handlers never run: what waits leaves before the last word."""
    heard = []
    monkeypatch.setattr(_record, "send_what_waits", lambda: heard.append("feedback is sent"))

    async def app(scope, receive, send):
        await send({"type": "lifespan.startup.complete"})
        await send({"type": last})

    async def server(message):
        heard.append(message["type"])

    run(FeedbackMiddleware(app)({"type": "lifespan"}, run, server))
    assert heard == ["lifespan.startup.complete", "feedback is sent", last]


def test_middlewares_inside_keep_working(seen, tracer):
    """GZip, CORS and a BaseHTTPMiddleware of the service: one handle, exposed beside what CORS exposes."""

    class Stamp(BaseHTTPMiddleware):
        async def dispatch(self, request, call_next):
            response = await call_next(request)
            response.headers["x-stamp"] = "1"
            return response

    async def endpoint(request):
        with model_call(tracer):
            pass
        return PlainTextResponse("x" * 2000)

    cors = Middleware(CORSMiddleware, allow_origins=["*"], expose_headers=["x-total"])
    stack = [cors, Middleware(GZipMiddleware), Middleware(Stamp)]
    app = instrumented(Starlette(routes=[Route("/ask", endpoint)], middleware=stack), seen.provider)
    wire = run(ask(app, headers=((b"origin", b"http://a"), (b"accept-encoding", b"gzip"))))
    assert wire.handle.facts[semconv.FEEDBACK_MODEL] == "m-1-2026"
    assert wire.headers("access-control-expose-headers") == ["x-total, feedback-handle"]
    assert wire.headers("content-encoding") == ["gzip"]
    assert wire.headers("x-stamp") == ["1"]


def test_files_are_sent_as_before(seen, tmp_path):
    """FileResponse by http.response.pathsend and in pieces: the same messages with and without us."""
    file = tmp_path / "f"
    file.write_bytes(b"x" * 200_000)
    app = Starlette(routes=[Route("/ask", lambda _: FileResponse(file))])

    async def get(app, **extensions):
        wire = Wire()
        await app({**scope(), "extensions": extensions}, asyncio.Event().wait, wire.send)
        return wire

    for extensions in ({}, {"http.response.pathsend": {}}):
        ours = asyncio.run(get(instrumented(app, seen.provider), **extensions))
        assert ours.messages == asyncio.run(get(app, **extensions)).messages
    assert ours.types == ["start", "pathsend"]


def test_messages_of_extensions_pass_in_order(seen, tracer):
    """Early hints and debug before the start, trailers after the body: nothing overtakes."""
    sent = [
        {"type": "http.response.early_hint", "links": [b"</a>"]},
        {"type": "http.response.debug", "info": {}},
        {**start(), "trailers": True},
        body(b"a", more=True),
        {"type": "http.response.zerocopysend", "file": None},
        body(b"b"),
        {"type": "http.response.trailers", "headers": []},
    ]

    async def app(scope, receive, send):
        for message in sent:
            await send(message)

    assert run(ask(instrumented(app, seen.provider))).messages == sent


def test_an_error_before_the_response_stays_the_services(seen, tracer):
    """The exception reaches whoever served it before, and no header is added to what handles it."""

    async def endpoint(request):
        with model_call(tracer):
            pass
        raise ValueError("the service's own")

    async def failing():
        wire = Wire()
        with pytest.raises(ValueError, match="the service's own"):
            await instrumented(Starlette(routes=[Route("/ask", endpoint)]), seen.provider)(scope(), None, wire.send)
        return wire

    wire = run(failing())
    assert wire.messages[0]["status"] == 500
    assert wire.headers("feedback-handle") == []


def test_a_failure_of_ours_leaves_the_response_alone(seen, tracer, monkeypatch, guarded):
    """A guest catches everything: the answer goes out as the service made it, and one warning is logged."""
    monkeypatch.setattr(asgi._headers, "with_handle", lambda *_: 1 / 0)
    app = answering(tracer, (b"x-a", b"1"))
    assert run(ask(instrumented(app, seen.provider))).messages == run(ask(app)).messages


def test_without_a_key_there_is_no_handle_and_nothing_else_changes(tmp_path, caplog):
    """The key's place can't be written: the service goes on, one warning names the setting."""
    (tmp_path / "file").touch()
    with telemetry(handle_keys=None, state_dir=tmp_path / "file" / "x") as seen:
        app = answering(seen.provider.get_tracer("test"))
        app_ = instrumented(app, seen.provider)
        assert [run(ask(app_)).messages for _ in range(2)] == [run(ask(app)).messages] * 2
    assert [record.message for record in caplog.records if "OTEL_FEEDBACK_HANDLE_KEYS" in record.message] == [
        caplog.records[0].message
    ]


def test_it_does_nothing_where_nobody_opens_a_server_span(seen, tracer):
    """The middleware alone, without an instrumentation: requests pass."""
    app = answering(tracer)
    assert run(ask(FeedbackMiddleware(app))).messages == run(ask(app)).messages


def test_many_requests_leave_nothing_behind(seen, tracer):
    """Tables are bounded, the memory of routes too; ended requests are forgotten but for the last ones' facts."""
    from otel_feedback import _ledger  # the table is looked at, not used

    app = instrumented(answering(tracer), seen.provider)

    async def many():
        for n in range(1200):
            await ask(app, path=f"/{n}")
            if n in {0, 500}:
                await ask(app, path="/busy")

    run(many())
    live, _, finished = _ledger.ledger.sizes()
    assert (live, finished) == (0, 1202)
    assert len(asgi._answering_routes) == asgi._MAX_ROUTES
    assert list(asgi._answering_routes)[:2] == ["GET /201", "GET /202"], "the longest unused are forgotten"
    assert "GET /busy" in asgi._answering_routes
    assert "GET /1199" in asgi._answering_routes


async def _disconnect(app):
    """A client that goes away after the first chunk: servers say so by receive() and ignore what is sent."""
    wire = Wire()

    async def receive():
        while len(wire.messages) < 2:  # noqa: ASYNC110 - virtual time
            await asyncio.sleep(0.01)
        return {"type": "http.disconnect"}

    with contextlib.suppress(Exception):
        await app({**scope(), "asgi": {"version": "3.0", "spec_version": "2.3"}}, receive, wire.send)
    return wire


def test_a_client_that_leaves_ends_the_stream_as_before(seen, tracer):
    """A disconnect in the middle of a stream cancels the generator; the handle had left with the start."""
    ended = []

    async def endpoint(request):
        async def words():
            try:
                with model_call(tracer):
                    while True:
                        yield "word "
                        await asyncio.sleep(1)
            finally:
                ended.append(True)

        return StreamingResponse(words())

    app = Starlette(routes=[Route("/ask", endpoint)])
    wire = run(_disconnect(instrumented(app, seen.provider)))
    assert ended == [True]
    assert wire.handle.facts[semconv.FEEDBACK_MODEL] == "m-1"
    assert wire.types[:2] == ["start", "body"]
