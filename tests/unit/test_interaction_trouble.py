"""What goes wrong in or around an ``interaction()``, and a service without OpenTelemetry: its host never notices."""

import asyncio
import logging
import os
import subprocess
import sys
import textwrap

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter
from opentelemetry.trace import SpanKind
from tests.unit.interaction_parts import PSEUDONYM_KEYS, attributes_of, chat
from tests.unit.spans_of_a_host import lenient

from otel_feedback import _ledger, _runtime, interaction, semconv
from otel_feedback.testing import TEST_KEYS, telemetry


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
        ids=" and ".join,
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
