"""``@interaction()`` on asynchronous generators: what holds of generators, across waits, tasks and cancellation."""

import asyncio

import pytest
from tests.unit.interaction_parts import call_model, outside, tree

from otel_feedback import interaction
from otel_feedback.testing import telemetry


class TestAsyncGenerator:
    """The same of asynchronous generators."""

    async def test_values_pass_and_nothing_leaks(self, seen, answering):
        """What is yielded and sent arrives; the consumer stays outside, also while the body waits."""

        @answering
        async def answer(first):
            await asyncio.sleep(0)
            assert not outside()
            second = yield first
            call_model(seen, "inside")
            await asyncio.sleep(0)
            yield second * 2

        generator = answer(1)
        assert await anext(generator) == 1
        assert outside()
        call_model(seen, "consumer")
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
                call_model(seen)

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
                call_model(seen, "clean up")

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
                call_model(seen, f"m{number}")
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
