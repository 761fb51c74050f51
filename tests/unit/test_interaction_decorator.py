"""``@interaction()`` on functions and coroutines: they stay what they are, and can speak to their interaction."""

import asyncio
import contextvars
import inspect

import pytest
from inline_snapshot import snapshot
from tests.unit.interaction_parts import call_model, tree

from otel_feedback import PromptTemplate, _runtime, interaction
from otel_feedback.testing import telemetry


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
        call_model(seen, model)
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
        call_model(seen)
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
        call_model(seen, f"m{number}")

    @answering
    async def stream(number):
        PromptTemplate(f"t{number}", "{x}", "1").format(x=1)
        yield
        await asyncio.sleep(0)
        call_model(seen, f"m{number}")

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
