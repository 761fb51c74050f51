"""The kit for tests: what its users see, and that it leaves nothing behind."""

import logging
import re
import threading
from pathlib import Path

import pytest
from inline_snapshot import snapshot
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from otel_feedback import (
    ConfigurationError,
    InvalidFeedbackError,
    InvalidHandleError,
    Settings,
    _guard,
    _ledger,
    _record,
    _runtime,
    configure,
    interaction,
    record,
    testing,
)
from otel_feedback.testing import TEST_KEYS, SequentialIds, TickingClock, telemetry

PAGE = Path(__file__).parent.parent.parent / "docs" / "testing.md"


def test_the_page_s_example_runs():
    """What docs/testing.md shows is so."""
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    exec(compile(example, str(PAGE), "exec"), {"__name__": "example"})  # noqa: S102 - our own page


def test_the_page_names_what_there_is():
    """Each public part of what ``telemetry()`` gives and takes is in the page's tables."""
    text = PAGE.read_text()
    with telemetry() as seen:
        parts = [name for name in dir(seen) if not name.startswith("_")]
    named = re.findall(r"^\| `(\w+)", text, flags=re.MULTILINE)
    assert sorted(named) == sorted([*parts, "sampler", "resource"])


def test_an_answer_and_its_vote_are_one_list(seen):
    """The carrier comes from the same exporter, by the same clock and ids: one comparison shows all."""
    with interaction("answer", tracer_provider=seen.provider) as answer:
        pass
    assert seen.read_handle(answer.handle) == snapshot(
        {
            "context": "1:1",
            "sampled": True,
            "facts": {
                "feedback.service.name": "test",
                "feedback.prompt.name": "answer",
                "feedback.prompt.version": "unknown",
            },
        }
    )
    receipt = record(answer.handle, "thumbs", "up")
    assert receipt.id == "feedback-1"
    assert seen.spans() == snapshot(
        [
            {
                "name": "invoke_workflow answer",
                "kind": "INTERNAL",
                "context": "1:1",
                "parent": None,
                "start": 0,
                "end": 1,
                "status": "UNSET",
                "attributes": {
                    "gen_ai.operation.name": "invoke_workflow",
                    "gen_ai.workflow.name": "answer",
                    "feedback.interaction": True,
                    "feedback.prompt.name": "answer",
                    "feedback.prompt.version": "unknown",
                    "feedback.service.name": "test",
                },
                "events": [],
                "links": [],
            },
            {
                "name": "feedback thumbs",
                "kind": "INTERNAL",
                "context": "1:2",
                "parent": "1:1",
                "start": 2,
                "end": 2,
                "status": "UNSET",
                "attributes": {
                    "feedback.service.name": "test",
                    "feedback.service.namespace": "unknown",
                    "feedback.environment": "unknown",
                    "feedback.prompt.name": "answer",
                    "feedback.prompt.version": "unknown",
                    "feedback.model": "unknown",
                    "feedback.query.type": "unknown",
                    "feedback.target.trace_id": "00000000000000000000000000000001",
                    "feedback.target.span_id": "0000000000000001",
                    "feedback.target.sampled": True,
                    "feedback.source": "record",
                    "feedback.id": "feedback-1",
                    "feedback.kind": "explicit",
                    "feedback.signal": "thumbs",
                    "feedback.sentiment": "positive",
                    "feedback.previous_sentiment": "unset",
                    "feedback.first": True,
                    "openinference.span.kind": "EVALUATOR",
                    "annotations.0.annotation.name": "thumbs",
                    "annotations.0.annotation.score": 1.0,
                    "annotations.0.annotation.label": "up",
                    "annotations.0.annotation.annotator_kind": "HUMAN",
                    "annotations.0.annotation.identifier": "f9716b931b9c2769d68c4e44a3e37a1a",
                    "annotations.0.annotation.metadata": '{"id":"feedback-1","reasons":[]}',
                },
                "events": [
                    {
                        "name": "gen_ai.evaluation.result",
                        "attributes": {
                            "gen_ai.evaluation.name": "thumbs",
                            "gen_ai.evaluation.score.value": 1.0,
                            "gen_ai.evaluation.score.label": "up",
                        },
                    }
                ],
                "links": ["1:1"],
            },
        ]
    )


def test_everything_is_the_same_each_time():
    """Spans, handles and feedback ids don't change from run to run."""

    def once():
        with telemetry() as seen:
            with interaction("answer", tracer_provider=seen.provider) as answer:
                handle = answer.handle
            record(handle, "stars", 4, comment="good")
            record(handle, "stars", 2)
            return handle, seen.spans()

    assert once() == once()


def test_time_can_pass(seen):
    """A vote long after its answer is a trace of its own; a handle that has expired is refused."""
    with interaction("answer", tracer_provider=seen.provider) as answer:
        handle = answer.handle
    seen.clock.now += 3600
    record(handle, "thumbs", "up")
    assert [span["context"] for span in seen.spans()] == ["1:1", "2:2"]
    seen.clock.now += 31 * 86_400
    with pytest.raises(InvalidHandleError):
        record(handle, "thumbs", "down")


def test_what_is_wrong_is_raised(seen):
    """A rejected feedback and a failure of ours don't pass unseen."""
    with interaction("answer", tracer_provider=seen.provider) as answer, pytest.raises(TypeError):
        answer.documents(7)
    with pytest.raises(InvalidFeedbackError):
        record(answer.handle, "thumbs", "sideways")
    with pytest.raises(InvalidHandleError):
        seen.read_handle("forged")
    with pytest.raises(ConfigurationError), telemetry(handle_ttl="soon"):
        pass


def test_settings_are_arguments(monkeypatch):
    """The environment is not read; what is passed is in force; without a key there is none."""
    monkeypatch.setenv("OTEL_FEEDBACK_CAPTURE_TEXT", "true")
    with telemetry(capture_content=True):
        assert (_runtime.settings().capture_content, _runtime.settings().capture_text) == (True, False)
    with telemetry(disabled=True) as seen:
        assert _runtime.codec() is None
        with pytest.raises(LookupError):
            seen.read_handle("any")
        assert record("any", "thumbs", "up").status == "rejected"


def test_the_sampler_is_the_services(seen):
    """It is wrapped as in a running service: what it drops is followed and not exported."""
    with telemetry(sampler=ALWAYS_OFF) as own:
        with interaction("answer", tracer_provider=own.provider) as answer:
            pass
        assert own.read_handle(answer.handle)["sampled"] is False
        assert own.spans() == []


def test_nothing_stays(caplog):
    """Settings, recorder, ledger, warnings and threads are what they were, also after a test that failed."""
    mine = Settings(handle_keys=TEST_KEYS, capture_text=True)
    configure(mine)
    chosen, threads = list(_record._chosen), set(threading.enumerate())
    provider = trace.get_tracer_provider()

    def fails():
        with telemetry() as seen:
            with interaction("answer", tracer_provider=seen.provider) as answer:
                pass
            record(answer.handle, "thumbs", "up")
            _guard.warn_once("a", "warned")
            seen.provider.get_tracer("host").start_span("never ends", attributes={"gen_ai.operation.name": "chat"})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert _runtime.settings() is mine
    assert _record._chosen == chosen
    assert _ledger.ledger.sizes() == (0, 0, 0)
    assert set(threading.enumerate()) == threads
    assert trace.get_tracer_provider() is provider
    _guard.warn_once("a", "warned")
    assert [each.message for each in caplog.records if each.levelno == logging.WARNING] == ["warned", "warned"]
    _runtime.reset()
    _guard.forget_warnings()


def test_plain_spans(seen):
    """Every part of a span is there, as plain data that a snapshot can hold."""
    tracer = seen.provider.get_tracer("host")
    with tracer.start_as_current_span("first") as first:
        first.add_event("happened", {"a": 1})
    link = trace.Link(first.get_span_context())
    tracer.start_span("second", kind=trace.SpanKind.CLIENT, links=[link], attributes={"b": [1]}).end()
    assert seen.spans() == snapshot(
        [
            {
                "name": "first",
                "kind": "INTERNAL",
                "context": "1:1",
                "parent": None,
                "start": 0,
                "end": 2,
                "status": "UNSET",
                "attributes": {},
                "events": [{"name": "happened", "attributes": {"a": 1}}],
                "links": [],
            },
            {
                "name": "second",
                "kind": "CLIENT",
                "context": "2:2",
                "parent": None,
                "start": 3,
                "end": 4,
                "status": "UNSET",
                "attributes": {"b": (1,)},
                "events": [],
                "links": ["1:1"],
            },
        ]
    )


def test_a_span_without_a_context_cannot_be_plain():
    """No exporter gives one; whoever makes one by hand is told its name."""
    with pytest.raises(ValueError, match="by hand"):
        testing.plain(ReadableSpan("by hand"))


def test_ids_and_clock_count():
    """One after the other, and never the same one twice, whichever threads ask."""
    ids, clock = SequentialIds(), TickingClock()
    assert (ids.generate_trace_id(), ids.generate_trace_id(), ids.generate_span_id()) == (1, 2, 1)
    assert [clock(), clock()] == [testing.START * 10**9, (testing.START + 1) * 10**9]
    looks = []
    threads = [threading.Thread(target=lambda: looks.extend(clock() for _ in range(500))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(looks)) == 2000
