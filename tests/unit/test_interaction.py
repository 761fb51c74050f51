"""``interaction()`` as a context manager: what it opens, takes, records and never does to its host."""

import asyncio
import contextvars
import json
import logging
import os
import re
import subprocess
import sys
import textwrap
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock

import pytest
from inline_snapshot import snapshot
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind
from tests.unit.spans_of_a_host import lenient

from otel_feedback import PromptTemplate, _ledger, _runtime, interaction, semconv
from otel_feedback._dialects import MAX_DOCUMENTS
from otel_feedback.testing import TEST_KEYS, Telemetry, telemetry

PSEUDONYM_KEYS = "p1:cHNldWRvbnltLWtleS1mb3ItdGVzdHMtb25seS0zMmI"
CHAT = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "m"}


def chat(seen, answered_by="m-1", **attributes):
    """An inference, as an instrumentation would show it."""
    with seen.provider.get_tracer("host").start_as_current_span("chat m", attributes=CHAT | attributes) as span:
        if answered_by:
            span.set_attribute("gen_ai.response.model", answered_by)


def attributes_of(seen, *names):
    """Some attributes of each span, in the order of their starts."""
    return [{name: span["attributes"][name] for name in names if name in span["attributes"]} for span in seen.spans()]


def test_the_page_s_example_runs():
    """What docs/interaction.md shows is so: two interactions with all that was said, and a vote on the second."""
    page = Path(__file__).parent.parent.parent / "docs" / "interaction.md"
    (example,) = re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL)
    with telemetry() as seen:
        with mock.patch.object(trace, "get_tracer_provider", return_value=seen.provider):
            exec(compile(example, str(page), "exec"), {})  # noqa: S102 - our own page
        first, second, vote = seen.spans()
    assert vote["links"] == [second["context"]]
    for span in (first, second):
        assert span["attributes"]["feedback.prompt.name"] == "brief"
        assert span["attributes"]["feedback.model"] == "model-1-2026-08-01"
        assert json.loads(span["attributes"]["feedback.documents"])[1] == {"id": "reference/12", "score": 0.41}


def test_an_interaction_is_one_span(seen):
    """Everything that was said and seen inside stands on one INTERNAL span, and the inference has its prompt's name."""
    with interaction(
        "answer", query_type="how-to", conversation_id="c-1", attributes={"tier": "gold"}, tracer_provider=seen.provider
    ) as answer:
        answer.documents([{"id": "d1", "score": 0.9}, "d2"])
        PromptTemplate("brief", "Be brief. {question}", "3").format(question="why?")
        chat(seen, **{"gen_ai.response.id": "r-1"})
    assert seen.spans() == snapshot(
        [
            {
                "name": "invoke_workflow answer",
                "kind": "INTERNAL",
                "context": "1:1",
                "parent": None,
                "start": 0,
                "end": 3,
                "status": "UNSET",
                "attributes": {
                    "gen_ai.operation.name": "invoke_workflow",
                    "gen_ai.workflow.name": "answer",
                    "tier": "gold",
                    "feedback.interaction": True,
                    "feedback.prompt.name": "brief",
                    "feedback.prompt.version": "3",
                    "feedback.prompt.fingerprint": "1137a267ce41",
                    "feedback.response.id": "r-1",
                    "feedback.provider": "openai",
                    "feedback.model": "m-1",
                    "feedback.query.type": "how-to",
                    "gen_ai.conversation.id": "c-1",
                    "feedback.service.name": "test",
                    "feedback.documents": '[{"id":"d1","score":0.9},{"id":"d2"}]',
                },
                "events": [],
                "links": [],
            },
            {
                "name": "chat m",
                "kind": "INTERNAL",
                "context": "1:2",
                "parent": "1:1",
                "start": 1,
                "end": 2,
                "status": "UNSET",
                "attributes": {
                    "gen_ai.operation.name": "chat",
                    "gen_ai.provider.name": "openai",
                    "gen_ai.request.model": "m",
                    "gen_ai.response.id": "r-1",
                    "gen_ai.prompt.name": "brief",
                    "gen_ai.prompt.version": "3",
                    "gen_ai.response.model": "m-1",
                },
                "events": [],
                "links": [],
            },
        ]
    )


def test_a_pseudonym_stands_for_the_user():
    """With a key the user is a keyed hash, without one nothing; whatever type the id has."""
    with telemetry(pseudonym_keys=PSEUDONYM_KEYS) as seen:
        for user in ("ada", 7, "7", ""):
            with interaction("answer", user=user, tracer_provider=seen.provider):
                pass
        ada, seven, same, nobody = (span["attributes"].get(semconv.USER_HASH) for span in seen.spans())
    assert ada.startswith("p1:")
    assert len(ada) == len("p1:") + 32
    assert seven == same != ada
    assert nobody is None
    with telemetry() as seen:
        with interaction("answer", user="ada", tracer_provider=seen.provider):
            pass
        assert "ada" not in repr(seen.spans())
        assert attributes_of(seen, semconv.USER_HASH) == [{}]


@pytest.mark.parametrize("capture", [True, False])
def test_question_and_answer_are_content(capture):
    """They are recorded, as messages of the GenAI conventions, only where content is captured."""
    with telemetry(capture_content=capture) as seen:
        with interaction("answer", input="Why\ud800?", tracer_provider=seen.provider) as answer:
            answer.documents([{"id": "d1", "content": "Because."}])
            answer.output("So.", model="m-1", provider="local", response_id="r-1")
        names = ("gen_ai.input.messages", "gen_ai.output.messages", "feedback.documents")
        found = attributes_of(seen, *names, "feedback.model", "feedback.provider", "feedback.response.id")
    facts = {"feedback.model": "m-1", "feedback.provider": "local", "feedback.response.id": "r-1"}
    if capture:
        assert found == [
            facts
            | {
                "gen_ai.input.messages": ('[{"role": "user", "parts": [{"type": "text", "content": "Why\\ud800?"}]}]'),
                "gen_ai.output.messages": '[{"role": "assistant", "parts": [{"type": "text", "content": "So."}]}]',
                "feedback.documents": '[{"id":"d1","content":"Because."}]',
            }
        ]
    else:
        assert found == [facts | {"feedback.documents": '[{"id":"d1"}]'}]


def test_what_the_service_says_wins(seen):
    """What ``output()`` names stands, whatever an instrumentation saw; what it doesn't name is taken from there."""
    with interaction("answer", tracer_provider=seen.provider) as answer:
        chat(seen)
        answer.output(model="fine-tuned")
    assert attributes_of(seen, "feedback.model", "feedback.provider")[0] == {
        "feedback.model": "fine-tuned",
        "feedback.provider": "openai",
    }


def test_documents_come_in_any_form_and_in_steps(seen):
    """Mappings, ids and pairs, said once or bit by bit; the first of an id stays."""
    with interaction("answer", tracer_provider=seen.provider) as answer:
        answer.documents([{"id": "a", "score": 0.5}, ("b", 1), "c"])
        answer.documents(document for document in ["a", uuid.UUID(int=0), 4])
        answer.documents("e")
        answer.documents([])
    assert attributes_of(seen, semconv.FEEDBACK_DOCUMENTS) == [
        {
            semconv.FEEDBACK_DOCUMENTS: (
                '[{"id":"a","score":0.5},{"id":"b","score":1.0},{"id":"c"},'
                '{"id":"00000000-0000-0000-0000-000000000000"},{"id":"4"},{"id":"e"}]'
            )
        }
    ]


def test_documents_have_an_end(seen):
    """Said bit by bit, too, so many are kept of one answer, the first ones."""
    with interaction("answer", tracer_provider=seen.provider) as answer:
        for number in range(200):
            answer.documents([f"{number}", "again"])
    text = seen.spans()[0]["attributes"][semconv.FEEDBACK_DOCUMENTS]
    assert [each["id"] for each in json.loads(text)] == ["0", "again", *map(str, range(1, MAX_DOCUMENTS - 1))]


def test_a_name_that_is_no_text_is_no_trouble():
    """It is never raised in the service, and no exporter is given what UTF-8 cannot hold."""

    class Wordless:
        def __str__(self):
            raise RuntimeError

    with telemetry() as seen, lenient():
        for name in (Wordless(), 7, "cut \ud83d"):
            with interaction(name, tracer_provider=seen.provider):
                pass
        names = [span["name"] for span in seen.spans()]
    assert names == ["invoke_workflow unknown", "invoke_workflow 7", "invoke_workflow cut \ufffd"]


def test_values_of_any_type_become_text(seen):
    """A service has numbers and UUIDs for ids: an attribute and a handle hold text that UTF-8 can hold."""
    with interaction("answer", query_type=3, conversation_id=uuid.UUID(int=1), tracer_provider=seen.provider) as answer:
        answer.output(7, model="half \ud83d", provider="", response_id=type("Empty", (), {"__str__": lambda _: ""})())
    assert attributes_of(seen, semconv.FEEDBACK_QUERY_TYPE, semconv.GEN_AI_CONVERSATION_ID, "feedback.model") == [
        {
            semconv.FEEDBACK_QUERY_TYPE: "3",
            semconv.GEN_AI_CONVERSATION_ID: str(uuid.UUID(int=1)),
            "feedback.model": "half \ufffd",
        }
    ]


class TestHandle:
    """The reference that the user's page gets."""

    def test_it_points_at_the_interaction_span(self, seen):
        """It decodes to the ids of the span and the facts that were known when it was made."""
        with interaction("answer", query_type="how-to", tracer_provider=seen.provider) as answer:
            before = answer.handle
            PromptTemplate("brief", "Be brief.", "3").format()
            chat(seen)
            after = answer.handle
        span, _ = seen.spans()
        read = _runtime.codec().read(after)
        assert (f"{read.trace_id:x}:{read.span_id:x}", read.sampled) == (span["context"], True)
        assert read.facts == snapshot(
            {
                "feedback.service.name": "test",
                "feedback.prompt.name": "brief",
                "feedback.prompt.version": "3",
                "feedback.prompt.fingerprint": "213c22ed7234",
                "feedback.model": "m-1",
                "feedback.provider": "openai",
                "feedback.query.type": "how-to",
            }
        )
        assert _runtime.codec().read(before).facts == snapshot(
            {
                "feedback.service.name": "test",
                "feedback.prompt.name": "answer",
                "feedback.prompt.version": "unknown",
                "feedback.query.type": "how-to",
            }
        )

    def test_it_can_be_made_afterwards(self, seen):
        """Behind the block it is still there, with all that was learned inside."""
        with interaction("answer", tracer_provider=seen.provider) as answer:
            chat(seen)
        read = _runtime.codec().read(answer.handle)
        assert (read.facts["feedback.prompt.name"], read.facts["feedback.model"]) == ("answer", "m-1")
        assert f"{read.trace_id:x}:{read.span_id:x}" == seen.spans()[0]["context"]

    def test_it_guesses_the_exact_model_of_a_stream(self, seen):
        """While a model is still answering, it is the one that answered for this name before."""
        with interaction("answer", tracer_provider=seen.provider):
            chat(seen, "m-2026-08-01")
        with interaction("answer", tracer_provider=seen.provider) as answer:
            span = seen.provider.get_tracer("host").start_span("chat m", attributes=CHAT)
            assert _runtime.codec().read(answer.handle).facts["feedback.model"] == "m-2026-08-01"
            span.end()

    def test_one_that_cannot_be_made(self, monkeypatch):
        """A codec that fails is ours to bear: the service gets no handle and goes on."""
        with telemetry() as seen, lenient(), interaction("answer", tracer_provider=seen.provider) as answer:
            monkeypatch.setattr(_runtime.codec(), "issue", None)
            assert answer.handle is None

    def test_before_it_is_opened_there_is_none(self, seen):
        """Nor is there anything to say to it, or to close."""
        answer = interaction("answer", tracer_provider=seen.provider)
        answer.__exit__(None, None, None)
        answer.documents(["a"])
        answer.output("text", model="m")
        assert answer.handle is None

    def test_a_dropped_interaction_has_one_too(self):
        """Where the service's sampler drops it, it can be voted on; the handle says so, and by whom it was given."""
        with telemetry(sampler=ALWAYS_OFF) as seen:
            with interaction("answer", tracer_provider=seen.provider) as answer:
                chat(seen)
                read = _runtime.codec().read(answer.handle)
            assert seen.spans() == []
        assert not read.sampled
        assert read.facts["feedback.model"] == "m-1"

    def test_a_dropped_interaction_without_our_sampler(self):
        """Even where nothing of ours is in the provider: the span is not recorded, and the service is known."""
        provider = TracerProvider(sampler=ALWAYS_OFF, resource=Telemetry().provider.resource, shutdown_on_exit=False)
        with telemetry():
            with interaction("answer", tracer_provider=provider) as answer:
                context = trace.get_current_span().get_span_context()
            read = _runtime.codec().read(answer.handle)
        assert (read.trace_id, read.span_id, read.sampled) == (context.trace_id, context.span_id, False)
        assert read.facts == {
            "feedback.prompt.name": "answer",
            "feedback.prompt.version": "unknown",
            "feedback.service.name": "test",
        }


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


class TestErrors:
    """What goes wrong inside, and around."""

    def test_an_error_inside_is_told_by_its_type(self, seen):
        """The host's exception passes as it is; the span has its type, not its message, which may hold text."""
        with pytest.raises(LookupError), interaction("answer", tracer_provider=seen.provider):
            raise LookupError("what a user wrote")
        (span,) = seen.spans()
        assert (span["status"], span["attributes"]["error.type"], span["events"]) == ("ERROR", "LookupError", [])
        assert "what a user wrote" not in repr(span)

    def test_what_failed_before_anybody_could_judge_it_is_not_counted(self, seen):
        """Without a handle there is nothing to judge; with one, people have seen the beginning."""

        def fail(name, *, handle):
            with interaction(name, tracer_provider=seen.provider) as answer:
                assert not handle or answer.handle
                raise LookupError

        for name, handle in (("lost", False), ("broken off", True)):
            with pytest.raises(LookupError):
                fail(name, handle=handle)
        marks = {span["name"]: span["attributes"][semconv.FEEDBACK_INTERACTION] for span in seen.spans()}
        assert marks == {"invoke_workflow lost": False, "invoke_workflow broken off": True}

    @pytest.mark.parametrize("left", [KeyboardInterrupt, asyncio.CancelledError, GeneratorExit])
    def test_leaving_early_is_no_error(self, seen, left):
        """A cancelled task, a user who goes away: the answer was given up, it did not fail."""
        with pytest.raises(left), interaction("answer", tracer_provider=seen.provider):
            raise left
        (span,) = seen.spans()
        assert (span["status"], span["attributes"].get("error.type")) == ("UNSET", None)

    @pytest.mark.parametrize("documents", [None, 7, [None], [{"id": []}], object(), [("a", "b", "c")], [b"a"]])
    def test_odd_documents(self, documents):
        """What can't be understood is left out, in silence or with one warning."""
        with telemetry() as seen, lenient():
            with interaction("answer", tracer_provider=seen.provider) as answer:
                answer.documents(documents)
                answer.documents(["good"])
            found = attributes_of(seen, semconv.FEEDBACK_DOCUMENTS)
        assert found == [{semconv.FEEDBACK_DOCUMENTS: '[{"id":"good"}]'}]

    @pytest.mark.parametrize(
        "arguments",
        [
            {"attributes": 7},
            {"attributes": [("a", 1)]},
            {"attributes": {"a": object(), "": 1}},
            {"query_type": object()},
            {"user": object(), "input": object()},
            {"tracer_provider": object()},
            {"name": 7},
            {"name": None},
        ],
        ids=str,
    )
    def test_odd_arguments(self, arguments):
        """Whatever is handed over, the block runs, and everything inside can be called."""
        with telemetry(pseudonym_keys=PSEUDONYM_KEYS, capture_content=True) as seen, lenient():
            with interaction(**{"name": "answer", "tracer_provider": seen.provider, **arguments}) as answer:
                answer.documents(["a"])
                answer.output(object(), model=object())
                handle = answer.handle
            assert handle is None or _runtime.codec().read(handle)

    def test_a_value_without_a_text(self):
        """An object that refuses to become text is left out."""

        class Refuses:
            def __str__(self):
                raise RuntimeError("what a user wrote")

        odd = Refuses()
        with telemetry(pseudonym_keys=PSEUDONYM_KEYS, capture_content=True) as seen, lenient():
            with interaction("answer", query_type=odd, user=odd, tracer_provider=seen.provider) as answer:
                answer.output(odd, model=odd, provider="local")
            assert attributes_of(seen, "feedback.query.type", "user.hash", "feedback.model", "feedback.provider") == [
                {"feedback.provider": "local"}
            ]

    def test_a_decorator_without_a_name_is_told_at_once(self):
        """``@interaction`` on a function would swallow the function: whoever writes it hears so when it is imported."""
        with pytest.raises(TypeError, match="needs a name"):

            @interaction
            def answer():
                """Never gets this far."""

    @pytest.mark.parametrize("when", ["on_start", "on_end", "export"])
    def test_a_broken_provider_of_the_host(self, when, caplog):
        """A processor or exporter of the host that raises doesn't reach the block, nor keeps its context."""

        class Broken(SpanProcessor, SpanExporter):
            """Fails at one point."""

        def fail(*_, **__):
            raise RuntimeError("what a user wrote")

        broken = Broken()
        setattr(broken, when, fail)
        with telemetry() as seen, lenient():
            seen.provider.add_span_processor(SimpleSpanProcessor(broken) if when == "export" else broken)
            before = _ledger.ledger.sizes()
            with interaction("answer", tracer_provider=seen.provider) as answer:
                answer.documents(["a"])
                assert answer.handle is None or when != "on_start"
            live, ended, _ = _ledger.ledger.sizes()
            assert (live, ended) == before[:2]
        ours = [record.getMessage() for record in caplog.records if record.name == "otel_feedback"]
        assert len(ours) == (when != "export")
        assert "what a user wrote" not in "".join(ours)


class TestWithoutTelemetry:
    """A service that has no OpenTelemetry works as before."""

    def test_no_sdk(self, caplog):
        """Without a provider there is no span and no handle, and one warning says what to do."""
        with telemetry():
            for _ in range(2):
                with interaction("answer", tracer_provider=trace.NoOpTracerProvider()) as answer:
                    answer.documents(["a"])
                    answer.output("text", model="m")
                    assert answer.handle is None
                assert answer.handle is None
            assert _ledger.ledger.sizes() == (0, 0, 0)
        (warning,) = caplog.records
        assert "there is no OpenTelemetry SDK" in warning.getMessage()
        assert "pip install 'otel-feedback[otlp]'" in warning.getMessage()

    def test_no_sdk_below_somebody_elses_span(self):
        """Where a caller's context came in, a tracer of no SDK passes it on: it is nobody's answer here."""
        with telemetry():
            caller = trace.NonRecordingSpan(trace.SpanContext(1, 2, is_remote=True))
            with trace.use_span(caller), interaction("answer", tracer_provider=trace.NoOpTracerProvider()) as answer:
                assert answer.handle is None
            assert _ledger.ledger.sizes() == (0, 0, 0)

    def test_no_sdk_inside_of_a_request(self, seen):
        """A provider of no SDK inside of a request doesn't take the request's place."""
        tracer = seen.provider.get_tracer("host")
        request = {"http.request.method": "POST", "http.route": "/ask"}
        with tracer.start_as_current_span("POST", kind=SpanKind.SERVER, attributes=request) as span:
            with interaction("answer", tracer_provider=trace.NoOpTracerProvider()) as answer:
                assert answer.handle is None
            context = span.get_span_context()
            sheet = _ledger.ledger.node((context.trace_id, context.span_id)).sheet
            assert sheet.span is span

    def test_a_provider_that_is_not_the_sdks(self, seen):
        """Another implementation of the API gets the facts by its public methods, and its spans have handles."""

        class Span(trace.NonRecordingSpan):
            ended, attributes = False, None

            def is_recording(self):
                return not self.ended

            def set_attributes(self, attributes):
                self.attributes |= attributes

            def end(self, end_time=None):
                self.ended = True

        class Provider(trace.TracerProvider, trace.Tracer):
            def get_tracer(self, *_, **__):
                return self

            def start_span(self, name, *_, attributes=None, **__):
                self.span = Span(trace.SpanContext(10, 11, is_remote=False, trace_flags=trace.TraceFlags(1)))
                self.span.attributes = dict(attributes)
                return self.span

            def start_as_current_span(self, *_, **__):
                raise NotImplementedError

        provider = Provider()
        with interaction("answer", tracer_provider=provider) as answer:
            answer.documents(["d1"])
            chat(seen)
        assert provider.span.ended
        assert provider.span.attributes["feedback.model"] == "m-1"
        assert provider.span.attributes["feedback.documents"] == '[{"id":"d1"}]'
        assert seen.read_handle(answer.handle)["context"] == "a:b"

    def test_a_global_provider_that_comes_late(self):
        """Before the service sets its provider there is nothing to record; from then on there is."""
        code = """
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        from otel_feedback import interaction
        with interaction("answer") as early:
            assert early.handle is None
        trace.set_tracer_provider(TracerProvider())
        with interaction("answer") as answer:
            assert trace.get_current_span().is_recording()
            assert answer.handle
        """
        environment = {**os.environ, "OTEL_FEEDBACK_HANDLE_KEYS": TEST_KEYS}
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)], env=environment, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
        assert done.stderr.count("there is no OpenTelemetry SDK") == 1

    def test_switched_off(self):
        """With the SDK disabled nothing is opened, and everything can be called."""
        with telemetry(disabled=True) as seen:
            with interaction("answer", user="ada", input="why?", tracer_provider=seen.provider) as answer:
                answer.documents(["a"])
                answer.output("text", model="m")
                assert answer.handle is None
                assert trace.get_current_span() is trace.INVALID_SPAN
            assert seen.spans() == []

    def test_no_key(self, tmp_path, caplog):
        """Without a key, and no folder to make one in, there is the span and no handle, after one warning."""
        (tmp_path / "file").touch()
        with telemetry(handle_keys=None, state_dir=tmp_path / "file" / "folder") as seen:
            for _ in range(2):
                with interaction("answer", tracer_provider=seen.provider) as answer:
                    assert answer.handle is None
            assert len(seen.spans()) == 2
        assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 1


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
