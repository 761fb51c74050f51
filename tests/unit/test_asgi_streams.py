"""Streams: a response's start waits for the first chunk, at most for ``stream_wait_ms``, and has that call's facts."""

import asyncio

import pytest
from starlette.applications import Starlette
from starlette.responses import StreamingResponse
from starlette.routing import Route
from tests.unit.asgi_client import (
    Wire,
    answers,
    ask,
    body,
    chunks,
    instrumented,
    model_call,
    run,
    scope,
    server_spans,
    start,
)

from otel_feedback import interaction, semconv
from otel_feedback.testing import telemetry

pytestmark = pytest.mark.usefixtures("no_routes")


def streaming(tracer, *, before=0.0, first=0.0, progress=None, model="m-1", calls=True):
    """An application that streams: ``before`` seconds until the model is called, ``first`` until its first word."""

    async def words():
        if progress is not None:
            yield progress
        await asyncio.sleep(before)
        if calls:
            with model_call(tracer, model):
                await asyncio.sleep(first)
                yield b"one "
                await asyncio.sleep(1)
                yield b"two"
        else:
            await asyncio.sleep(first)
            yield b"no model"

    async def app(scope, receive, send):
        await chunks(send, words())

    return app


def test_a_streams_header_has_the_facts_of_the_call_that_began(seen, tracer):
    """Trap: the start is sent before the generator runs. It waits for the first chunk, and has the model asked for."""
    wire = run(ask(instrumented(streaming(tracer, before=0.02, first=0.05), seen.provider)))
    assert wire.handle.facts[semconv.FEEDBACK_MODEL] == "m-1"
    assert wire.types == ["start", "body", "body", "body"]
    assert wire.times == [0.07, 0.07, 1.07, 1.07]


def test_the_first_chunk_leaves_at_once(seen, tracer):
    """No wait but that for the chunk itself: start and first chunk leave in the same moment."""
    wire = run(ask(instrumented(streaming(tracer), seen.provider)))
    assert wire.times == [0, 0, 1, 1]


def test_the_start_leaves_after_100_ms_at_the_latest(seen, tracer):
    """A slow first word: an EventSource opens in time, with the facts of the call that is running."""
    wire = run(ask(instrumented(streaming(tracer, before=0.01, first=5), seen.provider)))
    assert wire.times == [0.1, 5.01, 6.01, 6.01]
    assert wire.handle.facts[semconv.FEEDBACK_MODEL] == "m-1"


def test_the_wait_is_a_setting():
    """stream_wait_ms moves the limit; 0 holds nothing."""
    for wait, times in ((250, [0.25, 5.0]), (0, [0.0, 5.0])):
        with telemetry(stream_wait_ms=wait) as seen:
            app = streaming(seen.provider.get_tracer("test"), first=5)
            assert run(ask(instrumented(app, seen.provider))).times[:2] == times


def sent_at_once(seen, status=200, called=False):
    """Whether a response's start has left when the application's ``send`` returns."""
    left = []
    tracer = seen.provider.get_tracer("test")

    async def serve():
        wire = Wire()

        async def app(scope, receive, send):
            if called:
                with model_call(tracer):
                    pass
            await send(start(status))
            left.append(wire.types == ["start"])
            await send(body())

        await instrumented(app, seen.provider)(scope(), None, wire.send)
        return wire.types

    assert run(serve()) == ["start", "body"]
    return left == [True]


def test_only_a_start_that_may_get_a_handle_later_is_held(seen):
    """Not an error, not one for which a model has been called, and none where the wait is set to 0."""
    assert not sent_at_once(seen)
    assert sent_at_once(seen, called=True)
    assert sent_at_once(seen, status=404)
    with telemetry(stream_wait_ms=0) as unheld:
        assert sent_at_once(unheld)


def test_retrieval_longer_than_the_wait_gives_a_handle_from_the_second_answer_on(seen, tracer):
    """Trap: no inference has begun when the start must leave. Once this route has answered, it is expected to."""
    app = instrumented(streaming(tracer, before=0.3), seen.provider)
    first, second = run(ask(app)), run(ask(app))
    assert first.headers("feedback-handle") == []
    assert second.handle.facts == {
        semconv.FEEDBACK_SERVICE_NAME: "test",
        semconv.FEEDBACK_PROMPT_NAME: "/ask",
        semconv.FEEDBACK_PROMPT_VERSION: "unknown",
    }
    assert first.times == second.times == [0.1, 0.3, 1.3, 1.3]
    requests = server_spans(seen.exporter)
    assert [span.attributes[semconv.FEEDBACK_INTERACTION] for span in requests] == [True, True]
    assert second.handle.span_id == requests[1].context.span_id


def test_a_stream_that_is_not_held_gives_a_handle_from_the_second_answer_on():
    """With a wait of 0 nothing is known when the start leaves, but that the route answers."""
    with telemetry(stream_wait_ms=0) as seen:
        app = instrumented(streaming(seen.provider.get_tracer("test")), seen.provider)
        assert [run(ask(app)).headers("feedback-handle") != [] for _ in range(2)] == [False, True]


def test_a_progress_message_first_gives_a_handle_from_the_second_answer_on(seen, tracer):
    """Trap: the first chunk comes before any model was called; it is not held back any longer."""
    app = instrumented(streaming(tracer, before=0.05, progress=b"data: searching\n\n"), seen.provider)
    first, second = run(ask(app)), run(ask(app))
    assert first.headers("feedback-handle") == []
    assert second.handle is not None
    assert first.times[:2] == second.times[:2] == [0, 0]


def test_a_stream_that_calls_no_model_gets_no_handle(seen, tracer):
    """Not the first time, and not later."""
    app = instrumented(streaming(tracer, first=0.2, calls=False), seen.provider)
    assert [run(ask(app)).headers("feedback-handle") for _ in range(3)] == [[], [], []]


def test_routes_are_told_apart_by_method_and_path(seen, tracer):
    """That one route answers says nothing of another, nor of another method."""
    slow = streaming(tracer, before=0.3)
    other = streaming(tracer, first=0.2, calls=False)

    async def app(scope, receive, send):
        answers = scope["method"] == "POST" and scope["path"] == "/ask"
        await (slow if answers else other)(scope, receive, send)

    app_ = instrumented(app, seen.provider)
    run(ask(app_, method="POST"))
    assert run(ask(app_, method="POST")).handle is not None
    assert run(ask(app_, method="GET")).headers("feedback-handle") == []
    assert run(ask(app_, method="POST", path="/other")).headers("feedback-handle") == []


def test_a_route_whose_answers_belong_to_interactions_is_not_expected_to_answer(seen, tracer):
    """interaction() that comes too late for the header gives its handle by .handle: the request is no answer."""
    handles = []

    async def words():
        await asyncio.sleep(0.3)
        with interaction("late", tracer_provider=seen.provider) as it, model_call(tracer):
            handles.append(it.handle)
            yield b"x"

    async def app(scope, receive, send):
        await chunks(send, words())

    app_ = instrumented(app, seen.provider)
    assert [run(ask(app_)).headers("feedback-handle") for _ in range(2)] == [[], []]
    assert len(set(handles)) == 2


def test_several_interactions_leave_the_header_to_the_service_also_where_the_route_has_answered(seen, tracer):
    """That the route's request was the answer before doesn't make it one now."""

    async def words(several):
        for name in ("a", "b") if several else ():
            with interaction(name, tracer_provider=seen.provider), model_call(tracer):
                pass
        yield b"first"
        with model_call(tracer):
            yield b"second"

    async def app(scope, receive, send):
        await chunks(send, words(scope["query_string"] == b"several"))

    async def several():
        wire = Wire()
        request = {**scope(), "query_string": b"several"}
        await instrumented(app, seen.provider)(request, None, wire.send)
        return wire

    app_ = instrumented(app, seen.provider)
    assert [run(ask(app_)).headers("feedback-handle") != [] for _ in range(2)] == [False, True]
    assert run(several()).headers("feedback-handle") == []


def test_an_interaction_around_a_stream_owns_its_header(seen, tracer):
    """One that begins before the first chunk is known when the header leaves."""

    async def words():
        with interaction("chat", tracer_provider=seen.provider), model_call(tracer):
            yield b"x"

    async def app(scope, receive, send):
        await chunks(send, words())

    handle = run(ask(instrumented(app, seen.provider))).handle
    assert handle.facts[semconv.FEEDBACK_PROMPT_NAME] == "chat"
    [span] = answers(seen.exporter)
    assert handle.span_id == span.context.span_id


def test_streams_at_once_never_mix(seen, tracer):
    """Fifty streams under one traceparent, some held, some late: each header has its own call's model or none."""
    parent = (b"traceparent", b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01")

    async def app(scope, receive, send):
        n = int(scope["path"][1:])
        await streaming(tracer, before=n % 4 * 0.03, first=n % 3 * 0.04, model=f"m-{n}")(scope, receive, send)

    async def everyone():
        app_ = instrumented(app, seen.provider)
        return await asyncio.gather(*(ask(app_, path=f"/{n}", headers=(parent,)) for n in range(50)))

    for n, wire in enumerate(run(everyone())):
        assert wire.handle.facts[semconv.FEEDBACK_MODEL] == f"m-{n}"
        assert wire.types == ["start", "body", "body", "body"]


def test_plain_responses_of_a_framework_are_not_delayed(seen, tracer):
    """A response whose body follows its start: both leave at once, held or not."""

    async def endpoint(request):
        return StreamingResponse(iter([b"a"]))

    async def slow(scope, receive, send):
        await asyncio.sleep(3)
        with model_call(tracer):
            pass
        await send(start())
        await send(body())

    assert run(ask(instrumented(slow, seen.provider))).times == [3, 3]
    wire = asyncio.run(ask(instrumented(Starlette(routes=[Route("/ask", endpoint)]), seen.provider)))
    assert wire.types == ["start", "body", "body"]
