"""Who leaves in the middle of a streamed answer has abandoned it: what the middleware can tell, and what not."""

import asyncio
import contextlib

import pytest
from tests.unit.asgi_client import Wire, body, chunks, instrumented, model_call, run, scope, start

from otel_feedback import semconv
from otel_feedback.testing import telemetry

pytestmark = pytest.mark.usefixtures("no_routes")


class Client(Wire):
    """Reads so many messages, then is gone: its server says so to who receives, and may refuse what is sent."""

    def __init__(self, messages, *, refuses=False):
        super().__init__()
        self.left = messages
        self.refuses = refuses
        self.gone = asyncio.Event()

    async def receive(self):
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message):
        if self.refuses and self.gone.is_set():
            raise OSError("closed")
        await super().send(message)
        if len(self.messages) == self.left:
            self.gone.set()


def streaming(tracer, *, listens=False, calls=True):
    """Stream three words; an application that listens stops when nobody reads."""

    async def words():
        for number in range(3):
            if calls and number == 0:
                with model_call(tracer):
                    pass
            yield b"word"
            await asyncio.sleep(0.01)

    async def app(scope, receive, send):
        if not listens:
            async with contextlib.aclosing(words()) as source:
                await chunks(send, source)
            return
        work = asyncio.ensure_future(chunks(send, words()))
        while (await receive())["type"] != "http.disconnect":
            pass
        if not work.done():
            work.cancel()
        await asyncio.wait([work])

    return app


async def serve(app, client):
    await app(scope(), client.receive, client.send)


async def try_to_serve(app, client):
    with pytest.raises(OSError, match="closed"):
        await serve(app, client)


def abandoned(seen):
    return [
        (span["links"], span["attributes"][semconv.FEEDBACK_CONFIDENCE])
        for span in seen.spans()
        if span["attributes"].get(semconv.FEEDBACK_SIGNAL) == "abandon"
    ]


def test_an_application_that_listens_hears_who_leaves(seen, tracer):
    """As Starlette's own streams do with most servers."""

    async def main():
        await serve(instrumented(streaming(tracer, listens=True), seen.provider), Client(2))

    run(main())
    ((links, confidence),) = abandoned(seen)
    (server,) = [span for span in seen.spans() if span["kind"] == "SERVER"]
    assert (links, confidence) == ([server["context"]], 0.7)


def test_a_server_that_refuses_to_send_tells_it_too(seen, tracer):
    """The error is the application's to see."""

    async def main():
        await try_to_serve(instrumented(streaming(tracer), seen.provider), Client(2, refuses=True))

    run(main())
    assert len(abandoned(seen)) == 1


@pytest.mark.parametrize(
    ("messages", "listens", "calls"),
    [(99, False, True), (5, True, True), (2, True, False)],
    ids=["read to the end", "left after the end", "no model was called"],
)
def test_who_reads_to_the_end_or_had_no_answer_abandons_nothing(seen, tracer, messages, listens, calls):
    """A server says that a client has gone after every response."""

    async def main():
        await serve(instrumented(streaming(tracer, listens=listens, calls=calls), seen.provider), Client(messages))

    run(main())
    assert abandoned(seen) == []


def test_who_leaves_before_anything_came_has_seen_no_answer(seen, tracer):
    """What was never shown can't be abandoned."""

    async def app(scope, receive, send):
        with model_call(tracer):
            await receive()
        await send(start())
        await send(body(b"too late"))

    async def main():
        client = Client(99)
        client.gone.set()
        await serve(instrumented(app, seen.provider), client)

    run(main())
    assert abandoned(seen) == []


def test_a_setting_switches_it_off():
    """Only what is to be found is found."""
    with telemetry(derive="rephrase") as seen:

        async def main():
            app = instrumented(streaming(seen.provider.get_tracer("test"), listens=True), seen.provider)
            await serve(app, Client(2))

        run(main())
        assert abandoned(seen) == []


@pytest.mark.parametrize(
    ("headers", "heard"),
    [([(b"sec-gpc", b"1")], 0), ([(b"dnt", b"1")], 0), ([(b"sec-gpc", b"0"), (b"dnt", b"0")], 1)],
    ids=["gpc", "dnt", "neither"],
)
def test_who_does_not_want_to_be_watched_is_not(seen, tracer, headers, heard):
    """Global Privacy Control and Do Not Track hold for what a service finds by itself."""

    async def main():
        client = Client(2)
        asked = {**scope(), "headers": [*scope()["headers"], *headers]}
        await instrumented(streaming(tracer, listens=True), seen.provider)(asked, client.receive, client.send)

    run(main())
    assert len(abandoned(seen)) == heard
