"""``@interaction()`` on generators: the body runs inside at each step, and nothing leaks out to its consumer."""

import contextlib
import contextvars
import gc
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from inline_snapshot import snapshot
from opentelemetry import context as otel_context
from tests.unit.interaction_parts import call_model, outside, tree

from otel_feedback import interaction
from otel_feedback.testing import telemetry


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
                call_model(seen, "inside")
                yield

        for _ in answer():
            assert outside()
            call_model(seen, "consumer")
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
                call_model(seen)
                yield 2
            call_model(seen)

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
                call_model(seen, "clean up")

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
            call_model(seen, "inner")
            yield 1
            call_model(seen, "inner")

        @interaction("outer", tracer_provider=seen.provider)
        def outer():
            for item in inner():
                call_model(seen, "outer")
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
                call_model(seen, model)

        for _ in zip(answer("a"), answer("b"), strict=True):
            pass
        assert [model for _, _, parent, model in tree(seen) if parent is None] == ["a", "b"]

    def test_stepped_by_a_thread_pool(self, seen, answering, caplog):
        """As web frameworks do, each step in whichever thread and in a context of its own: the body stays inside."""

        @answering
        def answer():
            for number in range(4):
                call_model(seen, f"m{number}")
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
