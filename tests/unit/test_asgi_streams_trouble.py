"""Streams whose start is held, in trouble: errors, cancellation, two senders, no event loop; nothing overtakes it."""

import asyncio
import gc

import pytest
from starlette.middleware.errors import ServerErrorMiddleware
from tests.unit.asgi_client import Wire, ask, body, chunks, instrumented, model_call, run, scope, start

pytestmark = pytest.mark.usefixtures("no_routes")


def test_an_error_before_the_first_chunk_leaves_a_started_response(seen, tracer):
    """As without us: what handles the error must not start a second response, and the error is the service's."""

    async def broken():
        with model_call(tracer):
            raise ValueError("the service's own")
        yield b""

    async def app(scope, receive, send):
        await chunks(send, broken())

    async def failing(app):
        wire = Wire()
        with pytest.raises(ValueError, match="the service's own"):
            await app(scope(), None, wire.send)
        return wire

    for place in (
        lambda app: ServerErrorMiddleware(instrumented(app, seen.provider)),
        lambda app: instrumented(ServerErrorMiddleware(app), seen.provider),
    ):
        wire = run(failing(place(app)))
        assert (wire.types, wire.messages[0]["status"]) == (["start"], 200)
        assert wire.handle is not None


def test_a_response_without_a_body_is_sent_at_the_end(seen):
    """An application that returns after its start only: the start isn't kept back."""

    async def app(scope, receive, send):
        await send(start(204))

    assert run(ask(instrumented(app, seen.provider))).types == ["start"]


def test_a_second_start_is_the_servers_to_refuse(seen):
    """A broken application gets the error that it would get: both starts leave, in order."""

    async def app(scope, receive, send):
        await send(start(200))
        await send(start(201))
        await send(body())

    wire = run(ask(instrumented(app, seen.provider)))
    assert [message.get("status") for message in wire.messages] == [200, 201, None]


class SlowWire(Wire):
    """A server whose transport is full for a while: sending the start takes half a second."""

    async def send(self, message):
        if message["type"] == "http.response.start":
            await asyncio.sleep(0.5)
        await super().send(message)


@pytest.mark.parametrize("first", [0.01, 0.1, 0.2])
def test_two_tasks_that_send_never_overtake_the_start(seen, first):
    """A stream and its pings from two tasks: whoever is first sends the start, the other waits for it."""

    async def app(scope, receive, send):
        async def piece(text):
            await asyncio.sleep(first)
            await send(body(text, more=True))

        await send(start())
        await asyncio.gather(piece(b"word"), piece(b"ping"))
        await send(body())

    async def slow():
        wire = SlowWire()
        await instrumented(app, seen.provider)(scope(), None, wire.send)
        return wire

    wire = run(slow())
    assert wire.types == ["start", "body", "body", "body"]
    assert wire.messages[-1] == body()


@pytest.mark.parametrize("first", [0.05, 0.3])
def test_an_error_of_the_server_reaches_the_application(seen, first):
    """Whether the timer or the first chunk sent the start: sending fails for the application, as it would have."""
    caught = []

    async def gone(message):
        raise OSError("the client has gone")

    async def app(scope, receive, send):
        await send(start())
        await asyncio.sleep(first)
        try:
            await send(body(b"x", more=True))
        except OSError as error:
            caught.append(str(error))
            raise

    async def serve():
        with pytest.raises(OSError, match="the client has gone"):
            await instrumented(app, seen.provider)(scope(), None, gone)

    run(serve())
    assert caught == ["the client has gone"]


def test_the_applications_error_wins_over_the_servers(seen):
    """If sending the held start fails while an error passes, the error that passes is told."""

    async def gone(message):
        raise OSError("the client has gone")

    async def app(scope, receive, send):
        await send(start())
        raise ValueError("the service's own")

    async def serve():
        with pytest.raises(ValueError, match="the service's own"):
            await instrumented(app, seen.provider)(scope(), None, gone)

    run(serve())


@pytest.mark.parametrize("cancelled_at", [0.05, 0.1, 0.3, 0.9])
def test_a_cancelled_request_leaves_nothing_behind(seen, cancelled_at):
    """A timeout around the application, before the start left, while it leaves, after: no task, no timer, no log."""

    async def app(scope, receive, send):
        await send(start())
        await asyncio.sleep(2)
        await send(body())

    async def impatient():
        wire = SlowWire()
        serving = asyncio.ensure_future(instrumented(app, seen.provider)(scope(), None, wire.send))
        await asyncio.sleep(cancelled_at)
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
        sent = list(wire.messages)
        await asyncio.sleep(10)
        assert wire.messages == sent, "nothing is sent for a request that has ended"

    run(impatient())


def test_an_error_that_nobody_asks_for_is_not_logged(seen):
    """The timer's send fails and the application never sends again: asyncio has nothing to complain about."""

    async def gone(message):
        raise OSError("the client has gone")

    async def app(scope, receive, send):
        await send(start())
        await asyncio.sleep(1)
        raise asyncio.CancelledError

    async def serve():
        with pytest.raises(asyncio.CancelledError):
            await instrumented(app, seen.provider)(scope(), None, gone)

    async def serve_and_forget():
        await serve()
        gc.collect()  # a task tells that nobody looked at its error when it is collected, and run() listens

    run(serve_and_forget())


def test_another_event_loop_holds_nothing(seen, tracer):
    """Under trio (no asyncio loop runs) the start leaves at once, and nothing breaks."""
    sent = []

    async def send(message):
        sent.append(message["type"])

    async def app(scope, receive, send):
        await send(start())
        assert sent == ["http.response.start"]
        with model_call(tracer):
            await send(body())

    serving = instrumented(app, seen.provider)(scope(), None, send)
    with pytest.raises(StopIteration):  # driven by hand: no loop of asyncio is there
        serving.send(None)
    assert sent == ["http.response.start", "http.response.body"]
