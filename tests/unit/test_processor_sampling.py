"""What the service's sampler drops is followed for ourselves, and never exported."""

import pytest
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    Decision,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import SpanKind
from tests.unit.spans_of_a_host import CHAT, TOOL, Host, interactions, lenient, remote

from otel_feedback import _ledger, _runtime, interaction
from otel_feedback._processor import KeepForFeedback
from otel_feedback.testing import telemetry


class TestSampling:
    """What the service's sampler drops is followed for ourselves, and never exported."""

    def test_a_dropped_request_is_followed(self):
        """Its handle holds what was learned, and says that its span was dropped; nothing is exported."""
        with telemetry(sampler=ALWAYS_OFF) as seen:
            host = Host(seen)
            with host.request() as server:
                host.retrieve("d1")
                host.chat()
                handle = _ledger.handle_of(_ledger.current_sheet())
                assert server.is_recording()
                assert server.attributes["feedback.documents"] == '[{"id":"d1"}]'
            read = _runtime.codec().read(handle)
            assert (read.sampled, read.facts["feedback.model"]) == (False, "m-1")
            assert seen.spans() == []

    def test_spans_between_request_and_inference(self):
        """Where nothing else leads from one to the other, the service's own spans in between are followed too."""
        with telemetry(sampler=ALWAYS_OFF) as seen:
            host = Host(seen)
            with host.request() as server, host.span("answer the question"), host.span("deeper"):
                host.chat()
            assert server.attributes["feedback.model"] == "m-1"

    def test_a_context_that_carries_the_sheet(self):
        """Below our ASGI middleware, spans in between stay dropped, at no cost, and the inference is found."""
        with telemetry(sampler=ALWAYS_OFF) as seen:
            host = Host(seen)
            with host.request() as server:
                token = otel_context.attach(_ledger.with_sheet(_ledger.current_sheet()))
                with host.span("answer the question") as between:
                    assert not between.is_recording()
                    host.chat()
                otel_context.detach(token)
            assert server.attributes["feedback.model"] == "m-1"

    def test_an_interaction_below_a_dropped_request(self):
        """``interaction()`` carries its sheet past dropped spans as well."""
        with telemetry(sampler=ParentBased(ALWAYS_OFF)) as seen:
            host = Host(seen)
            with host.request(), interaction("answer", tracer_provider=seen.provider) as answer:
                with host.span("answer the question") as between:
                    assert not between.is_recording()
                    host.chat()
                assert _runtime.codec().read(answer.handle).facts["feedback.model"] == "m-1"

    @pytest.mark.parametrize(
        ("kind", "attributes", "kept"),
        [
            (SpanKind.SERVER, None, True),
            (SpanKind.CLIENT, CHAT, True),
            (SpanKind.INTERNAL, TOOL, True),
            (SpanKind.INTERNAL, {"openinference.span.kind": "LLM"}, True),
            (SpanKind.CLIENT, {"http.request.method": "GET"}, False),
            (SpanKind.INTERNAL, None, False),
            (SpanKind.CONSUMER, None, False),
            (SpanKind.INTERNAL, 7, False),
        ],
    )
    def test_what_is_kept_of_dropped_spans(self, kind, attributes, kept):
        """Requests and what follows a GenAI convention; the rest stays as cheap as the service chose."""
        with telemetry(), lenient():
            result = KeepForFeedback(ALWAYS_OFF).should_sample(None, 1, "x", kind, attributes, ())
        assert result.decision is (Decision.RECORD_ONLY if kept else Decision.DROP)

    def test_what_a_caller_dropped(self):
        """A parent-based sampler drops what its caller did; we follow it, from the remote parent on."""
        with telemetry(sampler=ParentBased(ALWAYS_ON)) as seen:
            host = Host(seen)
            with host.request(context=remote(sampled=False)) as server:
                host.chat()
            assert server.attributes["feedback.model"] == "m-1"
            assert seen.spans() == []

    def test_a_sampled_request_is_sampled_as_before(self):
        """The service's own decision, attributes and trace state pass through, and its name is told."""

        class Marks(Sampler):
            def should_sample(self, *args, **kwargs):
                return SamplingResult(Decision.RECORD_AND_SAMPLE, {"marked": True}, trace.TraceState([("a", "b")]))

            def get_description(self):
                return "Marks"

        sampler = KeepForFeedback(Marks())
        result = sampler.should_sample(None, 1, "x", SpanKind.SERVER, {})
        assert (result.decision, dict(result.attributes)) == (Decision.RECORD_AND_SAMPLE, {"marked": True})
        assert result.trace_state.to_header() == "a=b"
        assert sampler.get_description() == "KeepForFeedback{Marks}"

    def test_a_ratio(self):
        """Of many requests, those that the ratio samples are exported, each whole; all are followed."""
        with telemetry(sampler=ParentBased(TraceIdRatioBased(0.5))) as seen:
            host = Host(seen)
            followed = 0
            for number in range(64):
                trace_id = (number << 58) + 1  # the sampler reads the lower 64 bits
                with host.request(context=remote(trace_id, sampled=number % 4 == 0)) as server:
                    host.chat()
                    followed += server.attributes["feedback.model"] == "m-1"
            exported = seen.spans()
        assert followed == 64
        assert len(interactions(seen)) == 16
        assert len(exported) == 32

    def test_a_broken_sampler_of_the_host(self):
        """Its exception is the host's business, as it was without us."""

        class Broken(Sampler):
            def should_sample(self, *args, **kwargs):
                raise ZeroDivisionError

            def get_description(self):
                return "Broken"

        with pytest.raises(ZeroDivisionError):
            KeepForFeedback(Broken()).should_sample(None, 1, "x")
