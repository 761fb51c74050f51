"""Where an ``interaction()`` stands among others, in tasks and threads, and what is current in and after it."""

import asyncio
import contextvars
import threading
from concurrent.futures import ThreadPoolExecutor

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import SpanKind
from tests.unit.interaction_parts import attributes_of, chat

from otel_feedback import PromptTemplate, _runtime, interaction, semconv


def assert_apart(seen, handles):
    """Each interaction has the facts of its own number only, and its handle points at it."""
    spans = {span["attributes"]["feedback.query.type"]: span for span in seen.spans() if span["parent"] is None}
    assert len(spans) == len(handles)
    for number, handle in handles:
        attributes = spans[f"q{number}"]["attributes"]
        assert attributes["feedback.model"] == f"m{number}"
        assert attributes["feedback.prompt.version"] == str(number)
        documents = ",".join(f'{{"id":"{number}.{step}"}}' for step in range(3))
        assert attributes[semconv.FEEDBACK_DOCUMENTS] == f"[{documents}]"
        read = _runtime.codec().read(handle)
        assert f"{read.trace_id:x}:{read.span_id:x}" == spans[f"q{number}"]["context"]


class TestPlace:
    """Where an interaction stands among others, tasks and threads."""

    def test_what_an_interaction_encloses_is_its_own(self, seen):
        """Of two, one inside of the other, each is one answer with its own model."""
        with interaction("outer", tracer_provider=seen.provider):
            chat(seen, "outer-model")
            with interaction("inner", tracer_provider=seen.provider):
                chat(seen, "inner-model")
        assert attributes_of(seen, "gen_ai.workflow.name", "feedback.model") == [
            {"gen_ai.workflow.name": "outer", "feedback.model": "outer-model"},
            {},
            {"gen_ai.workflow.name": "inner", "feedback.model": "inner-model"},
            {},
        ]

    def test_one_object_can_be_used_again(self, seen):
        """One after the other, and inside of itself: each use is an interaction of its own."""
        answer = interaction("answer", tracer_provider=seen.provider)
        with answer:
            answer.documents(["first"])
            with answer:
                answer.documents(["inner"])
                with interaction("other", tracer_provider=seen.provider):
                    answer.documents(["inner again"])
            answer.documents(["first again"])
        with answer:
            answer.documents(["second"])
        assert attributes_of(seen, semconv.FEEDBACK_DOCUMENTS) == [
            {semconv.FEEDBACK_DOCUMENTS: '[{"id":"first"},{"id":"first again"}]'},
            {semconv.FEEDBACK_DOCUMENTS: '[{"id":"inner"},{"id":"inner again"}]'},
            {},
            {semconv.FEEDBACK_DOCUMENTS: '[{"id":"second"}]'},
        ]

    async def test_tasks_may_share_one_object(self, seen):
        """A service may keep one for all its requests: each task speaks to its own, in whatever order they end."""
        shared = interaction("answer", tracer_provider=seen.provider)

        async def ask(number):
            before = otel_context.get_current()
            async with shared:
                await asyncio.sleep(0)
                shared.documents([str(number)])
                await asyncio.sleep(0.001 * (number % 3))
                chat(seen, str(number))
            assert otel_context.get_current() == before

        await asyncio.gather(*map(ask, range(9)))
        assert attributes_of(seen, semconv.FEEDBACK_DOCUMENTS, "feedback.model")[:9] == [
            {semconv.FEEDBACK_DOCUMENTS: f'[{{"id":"{number}"}}]', "feedback.model": str(number)} for number in range(9)
        ]

    async def test_a_shared_object_gives_each_task_its_own_handle_after_the_block_too(self, seen):
        """Whoever asks for the handle outside of the block never gets that of another user."""
        shared = interaction("answer", tracer_provider=seen.provider)

        async def ask(number):
            async with shared as answer:
                inside = seen.read_handle(answer.handle)["context"]
                await asyncio.sleep(0.001 * number)
            await asyncio.sleep(0.002)
            return inside, seen.read_handle(shared.handle)["context"]

        handles = await asyncio.gather(*map(ask, range(3)))
        assert [after for _, after in handles] == [inside for inside, _ in handles]

    def test_a_shared_object_gives_no_handle_where_it_cant_tell_whose(self, seen, caplog):
        """A generator whose steps run in contexts of their own can't be told from another's: a warning says so."""
        shared = interaction("answer", tracer_provider=seen.provider)

        def stream():
            with shared as answer:
                yield answer.handle
                yield answer.handle

        def step(generator):
            return contextvars.copy_context().run(next, generator, "end")

        one, other = stream(), stream()
        assert step(one) is not None
        assert step(other) is not None
        assert step(one) is None
        assert step(other) is None
        assert step(one) == step(other) == "end"
        assert [record.message for record in caplog.records if "one interaction object" in record.message] != []
        assert [span["name"] for span in seen.spans()] == ["invoke_workflow answer"] * 2

    async def test_concurrent_tasks_never_mix(self, seen):
        """Facts, documents and templates of tasks that take turns stay with their own interaction."""

        async def ask(number):
            async with interaction("answer", query_type=f"q{number}", tracer_provider=seen.provider) as answer:
                for step in range(3):
                    answer.documents([f"{number}.{step}"])
                    await asyncio.sleep(0)
                PromptTemplate("t", f"Be {number}.", str(number)).format()
                await asyncio.sleep(0)
                chat(seen, f"m{number}")
                return number, answer.handle

        handles = await asyncio.gather(*map(ask, range(20)))
        assert_apart(seen, handles)

    def test_concurrent_threads_never_mix(self, seen):
        """The same of threads."""
        start = threading.Barrier(8)

        def ask(number):
            start.wait()
            with interaction("answer", query_type=f"q{number}", tracer_provider=seen.provider) as answer:
                for step in range(3):
                    answer.documents([f"{number}.{step}"])
                PromptTemplate("t", f"Be {number}.", str(number)).format()
                chat(seen, f"m{number}")
                return number, answer.handle

        with ThreadPoolExecutor(8) as pool:
            handles = list(pool.map(ask, range(8)))
        assert_apart(seen, handles)

    async def test_parallel_calls_below_one_answer_keep_their_templates(self, seen):
        """Each task's call has the template that this task rendered, even if others rendered theirs meanwhile."""

        async def call(number):
            PromptTemplate(f"t{number}", "{x}", "1").format(x=number)
            await asyncio.sleep(0)
            chat(seen)

        async with interaction("answer", tracer_provider=seen.provider):
            await asyncio.gather(*map(call, range(5)))
        names = [span["attributes"]["gen_ai.prompt.name"] for span in seen.spans()[1:]]
        assert names == [f"t{number}" for number in range(5)]

    async def test_a_template_that_a_helper_thread_rendered(self, seen):
        """What a thread rendered for an interaction, after an earlier call, is the template of the next call."""
        async with interaction("answer", tracer_provider=seen.provider):
            PromptTemplate("rewrite", "{x}", "1").format(x=1)
            chat(seen)
            await asyncio.to_thread(PromptTemplate("answer", "{x}", "1").format, x=1)
            chat(seen)
            chat(seen)
        names = [span["attributes"]["gen_ai.prompt.name"] for span in seen.spans()[1:]]
        assert names == ["rewrite", "answer", "answer"]

    def test_what_was_gathered_before_it(self, seen):
        """Documents, conversation and template that a request had before its only interaction are that one's."""
        tracer = seen.provider.get_tracer("host")
        with tracer.start_as_current_span("POST", kind=SpanKind.SERVER, attributes={"http.request.method": "POST"}):
            found = {"gen_ai.operation.name": "retrieval", "gen_ai.retrieval.documents": '["a"]', "session.id": "c"}
            tracer.start_span("search", attributes=found).end()
            PromptTemplate("brief", "Be brief.", "3").format()
            with interaction("answer", tracer_provider=seen.provider):
                pass
        assert attributes_of(
            seen, "feedback.prompt.name", semconv.FEEDBACK_DOCUMENTS, semconv.GEN_AI_CONVERSATION_ID
        ) == [
            {},
            {},
            {
                "feedback.prompt.name": "brief",
                semconv.FEEDBACK_DOCUMENTS: '[{"id":"a"}]',
                semconv.GEN_AI_CONVERSATION_ID: "c",
            },
        ]

    def test_it_takes_the_place_of_a_workflow_around_it(self, seen):
        """Where an instrumented workflow encloses it, the interaction is the answer, not the workflow too."""
        tracer = seen.provider.get_tracer("host")
        with tracer.start_as_current_span("workflow", attributes={"openinference.span.kind": "CHAIN"}):
            chat(seen)
            with interaction("answer", tracer_provider=seen.provider):
                chat(seen)
        flags = [span["attributes"].get(semconv.FEEDBACK_INTERACTION) for span in seen.spans()]
        assert flags == [False, None, True, None]


class TestContext:
    """What is current inside, and afterwards."""

    def test_the_span_is_current_inside(self, seen):
        """Spans that are started inside are its children; afterwards the context is what it was."""
        before = otel_context.get_current()
        with interaction("answer", tracer_provider=seen.provider):
            seen.provider.get_tracer("host").start_span("inside").end()
        assert otel_context.get_current() == before
        assert [(span["name"], span["parent"]) for span in seen.spans()] == [
            ("invoke_workflow answer", None),
            ("inside", "1:1"),
        ]

    def test_a_context_that_was_left_attached_inside(self, seen):
        """A host that attaches a context inside and forgets it doesn't go on inside of an ended interaction."""
        with interaction("answer", tracer_provider=seen.provider):
            otel_context.attach(otel_context.set_value("baggage", "forgotten"))
        assert trace.get_current_span() is trace.INVALID_SPAN

    def test_left_in_another_context_than_entered(self, seen, caplog):
        """A generator that a thread pool steps through ends elsewhere: the span is closed, and nobody is told off."""
        answer = interaction("answer", tracer_provider=seen.provider)
        contextvars.copy_context().run(answer.__enter__)
        contextvars.copy_context().run(answer.__exit__, None, None, None)
        assert len(seen.spans()) == 1
        assert not caplog.records
