"""The processor's bounds: the host's span limits, memory, and what anybody who sends requests can choose."""

import gc
import json
import threading
import weakref
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor

import pytest
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind
from tests.unit.spans_of_a_host import CHAT, RETRIEVAL, Host, facts

from otel_feedback import PromptTemplate, _facts, _ledger, _limits, _runtime, interaction
from otel_feedback._processor import FeedbackSpanProcessor
from otel_feedback.testing import telemetry


class Limited:
    """A host with span limits, and what it exports."""

    def __init__(self, **limits):
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(span_limits=SpanLimits(**limits), shutdown_on_exit=False)
        self.provider.add_span_processor(FeedbackSpanProcessor())
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.provider.get_tracer("host")

    def answer(self, attributes):
        """Serve a request that retrieves and calls a model, and then say what its server span has."""
        attributes = {"http.request.method": "POST"} | attributes
        with self.tracer.start_as_current_span("POST /ask", kind=SpanKind.SERVER, attributes=attributes):
            documents = json.dumps([{"id": f"document-{number}"} for number in range(20)])
            self.tracer.start_span("search", attributes=RETRIEVAL | {"gen_ai.retrieval.documents": documents}).end()
            self.tracer.start_span("chat", attributes=CHAT | {"gen_ai.response.model": "m-1"}).end()
        return next(span for span in self.exporter.get_finished_spans() if span.kind is SpanKind.SERVER)


class TestLimits:
    """The host's span limits are the host's."""

    @pytest.mark.parametrize(
        ("limit", "of_the_host", "of_ours"),
        [
            (128, 125, ["feedback.interaction", "feedback.prompt.name"]),
            (128, 127, []),
            (5, 2, ["feedback.interaction", "feedback.prompt.name"]),
            (5, 0, ["feedback.interaction", "feedback.prompt.name", "feedback.prompt.version", "feedback.model"]),
            (1, 0, []),
        ],
    )
    def test_nothing_of_the_host_is_pushed_out(self, limit, of_the_host, of_ours):
        """What fits is set, the flag first; the SDK drops nothing, neither on the request nor on the inference."""
        with telemetry():
            host = Limited(max_span_attributes=limit)
            server = host.answer({f"host.{number}": number for number in range(of_the_host)})
        assert [name for name in server.attributes if name.startswith("feedback.")] == of_ours
        assert server.dropped_attributes == 0
        assert len(server.attributes) == 1 + of_the_host + len(of_ours)

    def test_a_host_without_attributes(self):
        """A limit of nothing is kept; the answer can be voted on all the same, by all that this process knows."""
        with telemetry():
            host = Limited(max_span_attributes=0)
            with interaction("answer", tracer_provider=host.provider) as answer:
                answer.output(model="m-1")
            (span,) = host.exporter.get_finished_spans()
            assert dict(span.attributes) == {}
            assert _runtime.codec().read(answer.handle).facts["feedback.model"] == "m-1"

    @pytest.mark.parametrize(("length", "kept"), [(0, 0), (21, 0), (22, 1), (42, 1), (43, 2), (10**6, 20)])
    def test_json_is_shortened_not_cut(self, length, kept):
        """Documents are left out from the end until the rest fits the host's length; or all of them."""
        with telemetry():
            host = Limited(max_span_attribute_length=length)
            with interaction("answer", tracer_provider=host.provider) as answer:
                answer.documents(f"document-{number}" for number in range(10, 30))
            (span,) = host.exporter.get_finished_spans()
        found = json.loads(span.attributes.get("feedback.documents", "[]"))
        assert found == [{"id": f"document-{number}"} for number in range(10, 10 + kept)]

    def test_json_that_the_host_has_cut(self):
        """What a limit cut on a span of the service's own is no JSON any more, and tells no documents."""
        with telemetry():
            server = Limited(max_span_attribute_length=50).answer({})
        assert "feedback.documents" not in server.attributes

    @pytest.mark.parametrize(("length", "kept"), [(0, 0), (76, 0), (77, 1), (80, 1), (81, 2)])
    def test_messages_are_whole_or_absent(self, length, kept):
        """Question and answer are JSON, too."""
        with telemetry(capture_content=True):
            host = Limited(max_span_attribute_length=length)
            with interaction("answer", input="Why is that so?", tracer_provider=host.provider) as answer:
                answer.output("Because it is.")
            (span,) = host.exporter.get_finished_spans()
        texts = [text for name, text in span.attributes.items() if name.endswith(".messages")]
        assert len([json.loads(text) for text in texts]) == kept

    def test_texts_of_documents_make_room_for_documents(self):
        """With content on, long texts are left out before any document is."""
        with telemetry(capture_content=True) as seen:
            with interaction("answer", tracer_provider=seen.provider) as answer:
                answer.documents({"id": str(number), "content": "x" * 1500} for number in range(20))
                answer.documents([{"id": "long", "content": "x" * 10**6}])
            text = seen.spans()[0]["attributes"]["feedback.documents"]
        found = json.loads(text)
        assert [each["id"] for each in found] == [*map(str, range(20)), "long"]
        assert [len(each.get("content", "")) for each in found] == [1500] * 5 + [0] * 16
        assert len(text) <= _limits.MAX_JSON


class TestMemory:
    """Whatever a service does, the tables stay small, and nothing is kept that isn't needed."""

    def test_what_has_ended_is_forgotten(self, seen, host):
        """After its end, of a request stays what ``record()`` needs; of others nothing."""
        for _ in range(20):
            with host.request():
                host.retrieve("d1")
                with host.span("helper"):
                    host.chat()
            with host.request("/health"):
                pass
            with host.span("job"):
                host.chat()
            with interaction("answer", tracer_provider=seen.provider):
                host.chat()
        assert _ledger.ledger.sizes() == (0, 0, 60)

    def test_spans_that_never_end(self):
        """They are forgotten, oldest first; what runs meanwhile is found."""
        with telemetry(live_spans=10, finished_interactions=5) as seen:
            host = Host(seen)
            kept = []
            for _ in range(100):
                kept.append(host.tracer.start_span("GET", kind=SpanKind.SERVER, attributes={"http.method": "GET"}))
                with trace.use_span(kept[-1]):
                    kept.append(host.start_chat())
                with host.request():
                    host.chat()
            assert _ledger.ledger.sizes() == (8, 0, 5)
            for span in kept:
                span.end()
            assert _ledger.ledger.sizes() == (0, 0, 5)

    def test_children_without_end(self):
        """A request with very many spans, and one that lasts for ever, fill no table."""
        with telemetry(finished_interactions=50) as seen:
            host = Host(seen)
            with host.request() as server:
                for _ in range(200):
                    host.retrieve("d")
                assert _ledger.ledger.sizes() == (1, 50, 0)
                sheet = _ledger.current_sheet()
            assert _ledger.ledger.sizes() == (0, 0, 0)
            assert len(sheet.ended) <= _ledger.MAX_ENDED
            assert not server.is_recording()

    def test_a_request_with_very_many_spans(self, seen, host):
        """What it can't forget at its end, the table forgets as its oldest."""
        with host.request():
            for _ in range(_ledger.MAX_ENDED + 5):
                host.tracer.start_span("work").end()
        assert _ledger.ledger.sizes() == (0, 5, 0)

    def test_a_table_that_others_empty(self):
        """While a thread makes room in a full table, others may have done so: nothing is missing and nothing fails."""

        class Emptied(OrderedDict):
            def __len__(self):
                return super().__len__() + 2  # as it was before the others came

        table = Emptied()
        _ledger.bounded_put(table, (1, 1), "last", 1)
        assert dict(table) == {}

    def test_no_span_outlives_its_end(self, seen, host):
        """Nothing of ours keeps a span of the host, nor a sheet: no ended child, no rendered template."""
        gone = []
        with host.request() as server, host.span("task") as task:
            PromptTemplate("t", "{x}").format(x=1)
            host.retrieve("d1")
            host.chat()
            with interaction("answer", tracer_provider=seen.provider) as answer:
                PromptTemplate("t", "{x}").format(x=1)
                gone.append(weakref.ref(_ledger.current_sheet()))
            gone += [weakref.ref(_ledger.current_sheet()), weakref.ref(server), weakref.ref(task)]
        assert answer.handle
        del server, task, answer
        seen.exporter.clear()
        gc.collect()
        assert [each() for each in gone] == [None] * 4

    def test_an_interaction_object_that_is_kept(self, seen, host):
        """One that serves for ever keeps an answer's small sheet for its handle: no span, of its own or around."""
        shared = interaction("answer", tracer_provider=seen.provider)
        gone = []
        for _ in range(2):
            with host.request() as server, shared:
                gone += [weakref.ref(server), weakref.ref(trace.get_current_span())]
        del server
        assert shared.handle
        seen.exporter.clear()
        gc.collect()
        assert [each() for each in gone] == [None] * 4

    def test_a_task_that_outlives_its_request_keeps_no_span(self, host):
        """A context with our sheet, copied into a background task, keeps the small sheet and not the span."""
        with host.request() as server:
            host.retrieve("d1")
            host.chat()
            late = host.tracer.start_span("search", attributes=RETRIEVAL | {"gen_ai.retrieval.documents": '["d2"]'})
            kept = _ledger.with_sheet(_ledger.current_sheet(), otel_context.Context())
            sheet = _ledger.current_sheet()
            gone = weakref.ref(server)
        late.end()
        assert sheet._documents == ()
        del server
        host.seen.exporter.clear()
        gc.collect()
        assert gone() is None
        assert _ledger.sheet_in(kept) is None

    def test_models_without_end(self):
        """A service that invents model names doesn't fill the memory."""
        with telemetry():
            for number in range(_ledger.MAX_MODELS + 10):
                _ledger.ledger.note_model(f"m{number}", "exact")
            assert _ledger.ledger.model(f"m{_ledger.MAX_MODELS - 1}") == "exact"
            assert _ledger.ledger.model(f"m{_ledger.MAX_MODELS}") == f"m{_ledger.MAX_MODELS}"
            _ledger.ledger.note_model("m0", "newer")
            assert _ledger.ledger.model("m0") == "newer"

    def test_threads_that_hammer(self):
        """Many threads, full tables, spans that end in other threads: no error, no mixed facts, bounded tables."""
        with telemetry(live_spans=3000, finished_interactions=20) as seen:
            host = Host(seen)
            orphans = [host.start_chat() for _ in range(3000)]
            start = threading.Barrier(8)

            def serve(worker):
                start.wait()
                found = []
                for number in range(40):
                    with host.request(f"/{worker}") as server:
                        host.retrieve(f"{worker}-{number}")
                        host.chat(f"{worker}-{number}")
                        orphans.append(host.start_chat(f"{worker}-{number}"))
                        orphans.pop(number).end()
                    told = facts({"attributes": server.attributes})
                    found.append((told["prompt.name"], told["model"], told["documents"]))
                return found

            with ThreadPoolExecutor(8) as pool:
                found = list(pool.map(serve, range(8)))
            live, ended, finished = _ledger.ledger.sizes()
        assert found == [
            [(f"/{worker}", f"{worker}-{number}", f'[{{"id":"{worker}-{number}"}}]') for number in range(40)]
            for worker in range(8)
        ]
        assert 2900 < live <= 3000
        assert ended <= 20
        assert finished == 20


METHOD = {"http.request.method": "GET"}


class TestLabels:
    """What anybody who sends requests can choose, and nothing may grow with."""

    def test_paths_without_a_route_have_an_end(self, host, seen, caplog):
        """Where no framework tells the route, anybody can call new paths: only the first ones name prompts."""
        for number in range(_facts.MAX_PATHS + 2):
            with host.span(f"GET /{number}", METHOD, kind=SpanKind.SERVER):
                host.chat()
        with host.span("GET /0", METHOD, kind=SpanKind.SERVER):
            host.chat()
        names = [facts(span)["prompt.name"] for span in seen.spans() if span["kind"] == "SERVER"]
        assert names == [*(f"/{number}" for number in range(_facts.MAX_PATHS)), "varies", "varies", "/0"]
        assert [record.message for record in caplog.records if "no route" in record.message] != []

    def test_paths_that_call_no_model_take_no_name_away(self, host, seen):
        """Files and health checks have any number of paths."""
        for number in range(_facts.MAX_PATHS + 1):
            with host.span(f"GET /static/{number}", METHOD, kind=SpanKind.SERVER):
                pass
        with host.span("GET /ask", METHOD, kind=SpanKind.SERVER):
            host.chat()
        assert facts(seen.spans()[-2])["prompt.name"] == "/ask"

    def test_a_route_is_never_taken_for_a_path(self, host, seen):
        """A framework's routes are as many as the service has."""
        for number in range(_facts.MAX_PATHS + 1):
            with host.span("GET", METHOD | {"http.route": f"/{number}"}, kind=SpanKind.SERVER):
                host.chat()
        assert facts(seen.spans()[-2])["prompt.name"] == f"/{_facts.MAX_PATHS}"

    @pytest.mark.parametrize(("length", "kept"), [(_limits.MAX_FACT, True), (_limits.MAX_FACT + 1, False)])
    def test_overlong_facts_are_left_out(self, seen, host, length, kept):
        """A caller's megabyte as a conversation's id is neither copied, nor kept for thousands of answers."""
        with host.request():
            host.chat(**{"session.id": "s" * length})
        with interaction("answer", conversation_id="c" * length, tracer_provider=seen.provider):
            pass
        first, _, second = seen.spans()
        assert ("gen_ai.conversation.id" in first["attributes"]) is kept
        assert ("gen_ai.conversation.id" in second["attributes"]) is kept
