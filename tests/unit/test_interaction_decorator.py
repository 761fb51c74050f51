"""``@interaction()`` on functions, coroutines and generators: what they are and give stays, nothing leaks out."""

import asyncio
import contextlib
import contextvars
import gc
import inspect
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from inline_snapshot import snapshot
from opentelemetry import context as otel_context
from opentelemetry import trace

from otel_feedback import PromptTemplate, _runtime, interaction
from otel_feedback.testing import telemetry

CHAT = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"}


@pytest.fixture
def answering(seen):
    """The decorator under test."""
    return interaction("answer", query_type="how-to", tracer_provider=seen.provider)


def chat(seen, model="m"):
    """An inference."""
    seen.provider.get_tracer("host").start_span("chat", attributes=CHAT | {"gen_ai.request.model": model}).end()


def tree(seen):
    """Each span with its parent and, of an interaction, its model."""
    return [
        (span["name"], span["context"], span["parent"], span["attributes"].get("feedback.model"))
        for span in seen.spans()
    ]


def outside():
    """Say whether this code is outside of any span."""
    return trace.get_current_span() is trace.INVALID_SPAN


def test_a_function_stays_what_it_is(answering):
    """Name, signature, docstring and kind are kept, for frameworks look at them."""

    def plain(a: int, *, b: str = "b") -> str:
        """Say it."""

    async def coroutine():
        pass

    def generator():
        yield

    async def async_generator():
        yield

    assert inspect.signature(answering(plain)) == inspect.signature(plain)
    assert (answering(plain).__name__, answering(plain).__doc__) == ("plain", "Say it.")
    assert inspect.iscoroutinefunction(answering(coroutine))
    assert inspect.isgeneratorfunction(answering(generator))
    assert inspect.isasyncgenfunction(answering(async_generator))


def test_each_call_is_an_interaction(seen, answering):
    """Arguments and result pass through; each call has a span of its own, with what happened inside."""

    @answering
    def answer(question, *, model):
        chat(seen, model)
        return f"{question}!"

    assert [answer("why?", model="a"), answer("how?", model="b")] == ["why?!", "how?!"]
    assert tree(seen) == snapshot(
        [
            ("invoke_workflow answer", "1:1", None, "a"),
            ("chat", "1:2", "1:1", None),
            ("invoke_workflow answer", "2:3", None, "b"),
            ("chat", "2:4", "2:3", None),
        ]
    )


def test_methods_can_be_decorated(seen, answering):
    """``self`` is passed like any argument."""

    class Service:
        @answering
        def answer(self, question):
            return self, question

    service = Service()
    assert service.answer("why?") == (service, "why?")
    assert len(seen.spans()) == 1


async def test_a_coroutine(seen, answering):
    """From its start to its end, across its waits."""

    @answering
    async def answer(question):
        await asyncio.sleep(0)
        chat(seen)
        return f"{question}!"

    assert await answer("why?") == "why?!"
    assert tree(seen) == [("invoke_workflow answer", "1:1", None, "m"), ("chat", "1:2", "1:1", None)]


def test_an_error_passes_as_it_is(seen, answering):
    """The host sees its own exception; the span has its type."""
    error = LookupError("what a user wrote")

    @answering
    def answer():
        raise error

    with pytest.raises(LookupError) as caught:
        answer()
    assert caught.value is error
    assert caught.value.__cause__ is caught.value.__context__ is None
    assert seen.spans()[0]["attributes"]["error.type"] == "LookupError"


async def test_concurrent_calls_never_mix(seen, answering):
    """Coroutines and asynchronous generators that take turns keep their facts apart."""

    @answering
    async def answer(number):
        PromptTemplate(f"t{number}", "{x}", "1").format(x=1)
        await asyncio.sleep(0)
        chat(seen, f"m{number}")

    @answering
    async def stream(number):
        PromptTemplate(f"t{number}", "{x}", "1").format(x=1)
        yield
        await asyncio.sleep(0)
        chat(seen, f"m{number}")

    async def consume(number):
        async for _ in stream(number):
            await asyncio.sleep(0)

    await asyncio.gather(*map(answer, range(5)), *map(consume, range(5, 10)))
    found = [span["attributes"] for span in seen.spans() if span["parent"] is None]
    pairs = [(each["feedback.prompt.name"], each["feedback.model"]) for each in found]
    assert sorted(pairs) == [(f"t{number}", f"m{number}") for number in range(10)]


class TestCurrent:
    """How decorated code speaks to its interaction."""

    def test_a_decorated_function_finds_its_interaction(self, seen, answering):
        """Documents, output and handle are there in the function and in whatever it calls, below spans of its own."""

        def deeper():
            with seen.provider.get_tracer("host").start_as_current_span("deeper"):
                interaction.current().documents(["b"])

        @answering
        def answer():
            interaction.current().documents(["a"])
            deeper()
            interaction.current().output(model="local")
            return interaction.current().handle

        read = _runtime.codec().read(answer())
        span = seen.spans()[0]
        assert span["attributes"]["feedback.documents"] == '[{"id":"a"},{"id":"b"}]'
        assert (f"{read.trace_id:x}:{read.span_id:x}", read.facts["feedback.model"]) == (span["context"], "local")

    def test_content_is_recorded_through_it(self):
        """What was answered goes onto the interaction's span."""
        with telemetry(capture_content=True) as seen:
            with interaction("answer", tracer_provider=seen.provider):
                interaction.current().output("So.")
            assert "So." in seen.spans()[0]["attributes"]["gen_ai.output.messages"]

    def test_it_is_the_innermost(self, seen):
        """Of two around the code, the nearer one."""
        with interaction("outer", tracer_provider=seen.provider):
            with interaction("inner", tracer_provider=seen.provider):
                interaction.current().documents(["inner"])
            interaction.current().documents(["outer"])
        assert [span["attributes"]["feedback.documents"] for span in seen.spans()] == [
            '[{"id":"outer"}]',
            '[{"id":"inner"}]',
        ]

    def test_outside_of_any(self, seen):
        """Everything can be called and nothing happens; an ended one is not found either."""
        with interaction("answer", tracer_provider=seen.provider):
            inside = contextvars.copy_context()
        for run in (contextvars.copy_context().run, inside.run):
            current = run(interaction.current)
            current.documents(["a"])
            current.output("text", model="m")
            assert current.handle is None


class TestGenerator:
    """A generator's body runs inside, at each step; its consumer stays outside."""

    def test_values_and_results_pass(self, seen, answering):
        """What is yielded, sent and returned arrives, and the span lasts from the first step to the last."""

        @answering
        def answer(first):
            second = yield first
            third = yield second * 2
            return third

        generator = answer(1)
        assert seen.exporter.get_finished_spans() == ()
        assert next(generator) == 1
        assert generator.send(5) == 10
        with pytest.raises(StopIteration) as stop:
            generator.send("end")
        assert stop.value.value == "end"
        assert len(seen.spans()) == 1

    def test_nothing_leaks_between_steps(self, seen, answering):
        """The consumer's own spans are no children of the interaction, nor its inferences the answer's."""

        @answering
        def answer():
            for _ in range(2):
                assert not outside()
                chat(seen, "inside")
                yield

        for _ in answer():
            assert outside()
            chat(seen, "consumer")
        assert tree(seen) == snapshot(
            [
                ("invoke_workflow answer", "1:1", None, "inside"),
                ("chat", "1:2", "1:1", None),
                ("chat", "2:3", None, "consumer"),
                ("chat", "1:4", "1:1", None),
                ("chat", "3:5", None, "consumer"),
            ]
        )

    def test_a_span_that_is_open_while_it_yields(self, seen, answering):
        """What the body has as its current span at a step is its current span at the next."""
        tracer = seen.provider.get_tracer("host")

        @answering
        def answer():
            with tracer.start_as_current_span("generate"):
                yield 1
                chat(seen)
                yield 2
            chat(seen)

        assert list(answer()) == [1, 2]
        assert [(name, parent) for name, _, parent, _ in tree(seen)] == [
            ("invoke_workflow answer", None),
            ("generate", "1:1"),
            ("chat", "1:2"),
            ("chat", "1:1"),
        ]

    def test_an_exception_is_thrown_into_it(self, seen, answering):
        """It can handle it and go on, or let it pass."""

        @answering
        def answer():
            try:
                yield 1
            except KeyError:
                yield 2
            yield 3

        generator = answer()
        next(generator)
        assert generator.throw(KeyError("x")) == 2
        with pytest.raises(ValueError, match="y"):
            generator.throw(ValueError("y"))
        (span,) = seen.spans()
        assert (span["status"], span["attributes"]["error.type"]) == ("ERROR", "ValueError")

    @pytest.mark.parametrize("how", ["close", "forget", "break"])
    def test_early_abandon(self, seen, answering, how):
        """A consumer that goes away ends the interaction, without an error, and the body can clean up inside of it."""

        @answering
        def answer():
            try:
                yield 1
                yield 2
            finally:
                chat(seen, "clean up")

        generator = answer()
        if how == "break":
            for _ in generator:
                break
        else:
            next(generator)
        if how == "close":
            generator.close()
        del generator
        gc.collect()
        assert tree(seen) == [("invoke_workflow answer", "1:1", None, "clean up"), ("chat", "1:2", "1:1", None)]
        assert seen.spans()[0]["status"] == "UNSET"

    def test_a_generator_that_is_never_stepped(self, seen, answering):
        """It has not begun, so it is no interaction."""

        @answering
        def answer():
            yield 1

        answer().close()
        assert seen.spans() == []

    def test_one_that_refuses_to_close(self, seen, answering):
        """Python's own complaint reaches the consumer."""

        @answering
        def answer():
            with contextlib.suppress(GeneratorExit):
                yield 1
            yield 2

        generator = answer()
        next(generator)
        with pytest.raises(RuntimeError, match="ignored GeneratorExit"):
            generator.close()
        assert len(seen.spans()) == 1

    @pytest.mark.skipif(sys.version_info < (3, 13), reason="close() returns a value since Python 3.13")
    def test_what_closing_returns(self, answering):
        """A generator that returns when it is closed gives its result to whoever closes it."""

        @answering
        def answer():
            try:
                yield 1
            except GeneratorExit:
                return "total"

        generator = answer()
        next(generator)
        assert generator.close() == "total"

    def test_delegation(self, answering):
        """``yield from`` sees through."""

        @answering
        def inner():
            received = yield 1
            return received

        def outer():
            return (yield from inner())

        generator = outer()
        next(generator)
        with pytest.raises(StopIteration) as stop:
            generator.send("result")
        assert stop.value.value == "result"

    def test_nested(self, seen):
        """A generator interaction that consumes another: each keeps its own facts."""

        @interaction("inner", tracer_provider=seen.provider)
        def inner():
            chat(seen, "inner")
            yield 1
            chat(seen, "inner")

        @interaction("outer", tracer_provider=seen.provider)
        def outer():
            for item in inner():
                chat(seen, "outer")
                yield item

        assert list(outer()) == [1]
        assert [(name, parent, model) for name, _, parent, model in tree(seen)] == [
            ("invoke_workflow outer", None, "outer"),
            ("invoke_workflow inner", "1:1", "inner"),
            ("chat", "1:2", None),
            ("chat", "1:1", None),
            ("chat", "1:2", None),
        ]

    def test_two_in_turns(self, seen, answering):
        """Stepped in turns by one consumer, they don't mix."""

        @answering
        def answer(model):
            for _ in range(2):
                yield
                chat(seen, model)

        for _ in zip(answer("a"), answer("b"), strict=True):
            pass
        assert [model for _, _, parent, model in tree(seen) if parent is None] == ["a", "b"]

    def test_stepped_by_a_thread_pool(self, seen, answering, caplog):
        """As web frameworks do, each step in whichever thread and in a context of its own: the body stays inside."""

        @answering
        def answer():
            for number in range(4):
                chat(seen, f"m{number}")
                yield number

        generator = answer()
        with ThreadPoolExecutor(3) as pool:
            steps = [pool.submit(contextvars.copy_context().run, next, generator, None).result() for _ in range(5)]
        assert steps == [0, 1, 2, 3, None]
        assert tree(seen)[0] == ("invoke_workflow answer", "1:1", None, "m3")
        assert {parent for _, _, parent, _ in tree(seen)[1:]} == {"1:1"}
        assert not caplog.records

    def test_with_the_sdk_switched_off(self):
        """The generator works as if it weren't decorated."""
        with telemetry(disabled=True) as seen:

            @interaction("answer", tracer_provider=seen.provider)
            def answer():
                return (yield 1)

            assert list(answer()) == [1]
            assert seen.spans() == []


class TestAsyncGenerator:
    """The same of asynchronous generators."""

    async def test_values_pass_and_nothing_leaks(self, seen, answering):
        """What is yielded and sent arrives; the consumer stays outside, also while the body waits."""

        @answering
        async def answer(first):
            await asyncio.sleep(0)
            assert not outside()
            second = yield first
            chat(seen, "inside")
            await asyncio.sleep(0)
            yield second * 2

        generator = answer(1)
        assert await anext(generator) == 1
        assert outside()
        chat(seen, "consumer")
        assert await generator.asend(5) == 10
        with pytest.raises(StopAsyncIteration):
            await anext(generator)
        assert tree(seen) == [
            ("invoke_workflow answer", "1:1", None, "inside"),
            ("chat", "2:2", None, "consumer"),
            ("chat", "1:3", "1:1", None),
        ]

    async def test_a_span_that_is_open_while_it_yields(self, seen, answering):
        """What the body has as its current span at a step is its current span at the next."""
        tracer = seen.provider.get_tracer("host")

        @answering
        async def answer():
            with tracer.start_as_current_span("generate"):
                yield 1
                await asyncio.sleep(0)
                chat(seen)

        assert [item async for item in answer()] == [1]
        assert [(name, parent) for name, _, parent, _ in tree(seen)] == [
            ("invoke_workflow answer", None),
            ("generate", "1:1"),
            ("chat", "1:2"),
        ]

    async def test_an_exception_is_thrown_into_it(self, seen, answering):
        """It can handle it and go on, or let it pass."""

        @answering
        async def answer():
            try:
                yield 1
            except KeyError:
                yield 2
            yield 3

        generator = answer()
        await anext(generator)
        assert await generator.athrow(KeyError("x")) == 2
        with pytest.raises(ValueError, match="y"):
            await generator.athrow(ValueError("y"))
        assert seen.spans()[0]["attributes"]["error.type"] == "ValueError"

    @pytest.mark.parametrize("how", ["aclose", "forget"])
    async def test_early_abandon(self, seen, answering, how):
        """A consumer that goes away ends the interaction, without an error, and the body can clean up inside of it."""

        @answering
        async def answer():
            try:
                yield 1
                yield 2
            finally:
                await asyncio.sleep(0)
                chat(seen, "clean up")

        generator = answer()
        await anext(generator)
        if how == "aclose":
            await generator.aclose()
        del generator
        for _ in range(5):  # the event loop closes what was forgotten
            await asyncio.sleep(0)
        assert tree(seen) == [("invoke_workflow answer", "1:1", None, "clean up"), ("chat", "1:2", "1:1", None)]
        assert seen.spans()[0]["status"] == "UNSET"

    async def test_a_cancelled_step(self, seen, answering):
        """A request that is cancelled while the body waits ends the interaction, and the task's context is clean."""

        @answering
        async def answer():
            await asyncio.sleep(60)
            yield

        async def consume():
            try:
                await anext(answer())
            finally:
                assert outside()

        task = asyncio.create_task(consume())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (len(seen.spans()), seen.spans()[0]["status"]) == (1, "UNSET")

    async def test_each_step_in_a_task_of_its_own(self, seen, answering, caplog):
        """As a timeout around each step does: the body stays inside."""

        @answering
        async def answer():
            for number in range(3):
                await asyncio.sleep(0)
                chat(seen, f"m{number}")
                yield number

        generator = answer()
        steps = [await asyncio.create_task(anext(generator, None)) for _ in range(4)]
        assert steps == [0, 1, 2, None]
        assert {parent for _, _, parent, _ in tree(seen)[1:]} == {"1:1"}
        assert not caplog.records

    async def test_with_the_sdk_switched_off(self):
        """The generator works as if it weren't decorated."""
        with telemetry(disabled=True) as seen:

            @interaction("answer", tracer_provider=seen.provider)
            async def answer():
                yield 1

            assert [item async for item in answer()] == [1]
            assert seen.spans() == []


def test_the_consumers_context_is_its_own(answering):
    """What a consumer attaches between steps stays attached for it, and the body doesn't see it."""

    @answering
    def answer():
        yield otel_context.get_value("mine")
        yield otel_context.get_value("mine")

    generator = answer()
    next(generator)
    token = otel_context.attach(otel_context.set_value("mine", 1))
    assert next(generator) is None
    assert otel_context.get_value("mine") == 1
    otel_context.detach(token)
    generator.close()
