"""The processor as a guest: what fails stays ours, and it gets along with other processors and providers."""

from inline_snapshot import snapshot
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from tests.unit.spans_of_a_host import Host, facts, interactions, lenient

from otel_feedback import PromptTemplate, _ledger, _processor, interaction, semconv
from otel_feedback._processor import FeedbackSpanProcessor
from otel_feedback.testing import telemetry


class TestTrouble:
    """What goes wrong stays ours; what is switched off stays off."""

    def test_a_failure_of_ours_never_reaches_the_host(self, monkeypatch, caplog):
        """Whatever breaks in the processor: the request is served, its spans are exported, one warning is logged."""
        with telemetry() as seen, lenient():

            def fails(*_, **__):
                raise RuntimeError("what a user wrote")

            for name in ("_start", "_end"):
                monkeypatch.setattr(_processor, name, fails)
            host = Host(seen)
            for _ in range(2):
                with host.request():
                    host.chat()
            assert len(seen.spans()) == 4
        assert [record.getMessage().partition(";")[0] for record in caplog.records] == snapshot(
            [
                "otel-feedback: FeedbackSpanProcessor.on_start failed with RuntimeError",
                "otel-feedback: FeedbackSpanProcessor.on_end failed with RuntimeError",
            ]
        )
        assert "what a user wrote" not in caplog.text

    def test_a_processor_that_sleeps(self, seen, host):
        """Put to sleep, it follows nothing new, and finishes what it had begun."""
        ours = seen.provider._active_span_processor._span_processors[0]
        with host.request():
            chat = host.start_chat()
            ours.active = False
            host.end_chat(chat)
        with host.request("/asleep"):
            host.chat()
        assert interactions(seen) == [("POST /ask", "m-1")]
        assert _ledger.ledger.sizes()[:2] == (0, 0)
        ours.shutdown()
        assert ours.force_flush()

    def test_a_span_without_a_context(self):
        """Some make spans by hand, for their exporters: they are nobody's."""
        with telemetry():
            FeedbackSpanProcessor().on_end(ReadableSpan("by hand"))
            assert _ledger.ledger.sizes() == (0, 0, 0)

    def test_two_of_them_in_one_provider(self, seen, host):
        """A processor that was added twice finds what one finds."""
        seen.provider.add_span_processor(FeedbackSpanProcessor())
        with host.request():
            host.retrieve("d1")
            PromptTemplate("brief", "Be brief.", "3").format()
            host.chat()
        with interaction("answer", tracer_provider=seen.provider):
            host.chat()
        assert interactions(seen) == [("POST /ask", "m-1"), ("invoke_workflow answer", "m-1")]
        assert facts(seen.spans()[0])["prompt.name"] == "brief"
        assert _ledger.ledger.sizes()[:2] == (0, 0)

    def test_a_host_whose_processor_reads_ours(self, seen, host):
        """Another processor sees the facts on the span when it ends."""

        class Reader(SpanProcessor):
            def on_end(self, span):
                found.append(span.attributes.get(semconv.FEEDBACK_MODEL))

        found = []
        seen.provider.add_span_processor(Reader())
        with host.request():
            host.chat()
        assert found == [None, "m-1"]

    def test_a_service_with_two_providers(self, seen, host):
        """Spans of one provider below another's are one answer, each by its own service's name."""
        with telemetry(resource={"service.name": "other"}) as other:
            with Host(other).request():
                host.chat()
            with interaction("answer", tracer_provider=seen.provider):
                pass
            names = [span["attributes"].get("feedback.service.name") for span in (*other.spans(), *seen.spans())]
        assert names == ["other", None, "test"]
