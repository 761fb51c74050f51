"""The carrier, as ``docs/carrier.md`` and the design have it, through a real tracer provider."""

import pytest
from opentelemetry import trace
from opentelemetry.context import attach, detach
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState
from tests.unit.feedback_parts import FACTS, SPAN, TRACE, Parts

from otel_feedback import semconv
from otel_feedback._settings import Settings
from otel_feedback._signals import DEFAULT_SIGNALS
from otel_feedback._version import VERSION
from otel_feedback.testing import START, TEST_KEYS


@pytest.fixture
def make():
    """Make parts with a setting or two; their threads end with the test."""
    made = []

    def make(**settings):
        options = {name: settings.pop(name) for name in ("handle_facts", "known_facts") if name in settings}
        made.append(Parts(settings=Settings(handle_keys=TEST_KEYS, **settings), **options))
        return made[-1]

    yield make
    for parts in made:
        parts.close()


def test_a_vote_is_one_linked_span_that_both_conventions_can_read(make):
    """The whole of a carrier: link, trace, judgement, facts, annotation and event."""
    parts = make(capture_text=True)
    parts.submit("thumbs", "down", reasons=["outdated", "long"], comment="Too old.", user="k1:" + "ab" * 16)
    assert parts.spans() == [
        {
            "name": "feedback thumbs",
            "kind": "INTERNAL",
            "context": "a1:1",
            "parent": "a1:b2",
            "start": 0,
            "end": 0,
            "status": "UNSET",
            "attributes": {
                "feedback.service.name": "rag",
                "feedback.service.namespace": "unknown",
                "feedback.environment": "test",
                "feedback.prompt.name": "qa",
                "feedback.prompt.version": "v2",
                "feedback.model": "m-1",
                "feedback.query.type": "unknown",
                "feedback.response.id": "r-9",
                "feedback.target.trace_id": "000000000000000000000000000000a1",
                "feedback.target.span_id": "00000000000000b2",
                "feedback.target.sampled": True,
                "feedback.source": "record",
                "user.hash": "k1:" + "ab" * 16,
                "feedback.id": "f1",
                "feedback.kind": "explicit",
                "feedback.signal": "thumbs",
                "feedback.sentiment": "negative",
                "feedback.previous_sentiment": "unset",
                "feedback.first": True,
                "feedback.reasons": ("outdated", "long"),
                "openinference.span.kind": "EVALUATOR",
                "annotations.0.annotation.name": "thumbs",
                "annotations.0.annotation.score": 0.0,
                "annotations.0.annotation.label": "down",
                "annotations.0.annotation.explanation": "Too old.",
                "annotations.0.annotation.annotator_kind": "HUMAN",
                "annotations.0.annotation.identifier": "e472ca75b99e75b6a02c45ace4609b90",
                "annotations.0.annotation.metadata": '{"id":"f1","reasons":["outdated","long"]}',
            },
            "events": [
                {
                    "name": "gen_ai.evaluation.result",
                    "attributes": {
                        "gen_ai.evaluation.name": "thumbs",
                        "gen_ai.evaluation.score.value": 0.0,
                        "gen_ai.evaluation.score.label": "down",
                        "gen_ai.evaluation.explanation": "Too old.",
                        "gen_ai.response.id": "r-9",
                    },
                }
            ],
            "links": ["a1:b2"],
        }
    ]


def test_a_retraction_has_no_score(make):
    """Taken back: label and sentiment say so, nothing claims a score, and what it replaces is named."""
    parts = make()
    parts.submit("stars", 5)
    parts.submit("stars", None)
    _, retraction = parts.spans()
    attributes = retraction["attributes"]
    assert attributes[semconv.FEEDBACK_SENTIMENT] == "retracted"
    assert attributes[semconv.FEEDBACK_PREVIOUS_SENTIMENT] == "positive"
    assert attributes[semconv.FEEDBACK_REVISES] == "f1"
    assert attributes[semconv.FEEDBACK_FIRST] is False
    assert attributes[semconv.ANNOTATION_LABEL] == "retracted"
    assert semconv.ANNOTATION_SCORE not in attributes
    assert retraction["events"] == [
        {
            "name": "gen_ai.evaluation.result",
            "attributes": {
                "gen_ai.evaluation.name": "stars",
                "gen_ai.evaluation.score.label": "retracted",
                "gen_ai.response.id": "r-9",
            },
        }
    ]


def test_a_derived_signal_is_said_by_code_and_how_surely(make):
    """An implicit signal is annotated as CODE, with its confidence, and is never the first opinion."""
    parts = make()
    parts.submit("edit", 0.75, confidence=0.5)
    (attributes,) = parts.attributes()
    assert attributes[semconv.FEEDBACK_KIND] == "implicit"
    assert attributes[semconv.ANNOTATION_ANNOTATOR_KIND] == "CODE"
    assert attributes[semconv.ANNOTATION_SCORE] == 0.25
    assert attributes[semconv.FEEDBACK_CONFIDENCE] == 0.5
    assert attributes[semconv.FEEDBACK_FIRST] is False


def test_a_derived_signal_has_its_rows_confidence_where_the_sender_gives_none(make):
    """What is given replaces the table's; a retraction says nothing that one could be sure of."""
    parts = make()
    parts.submit("edit", 0.75)
    parts.submit("edit", 0.75, confidence=0)
    parts.submit("edit", None)
    parts.submit("thumbs", "up")
    found = [attributes.get(semconv.FEEDBACK_CONFIDENCE) for attributes in parts.attributes()]
    assert found == [DEFAULT_SIGNALS["edit"].confidence, 0.0, None, None]


def test_a_correction_travels_as_an_event_of_its_own(make):
    """Where text is captured, the pair is on ``feedback.correction``."""
    parts = make(capture_text=True)
    parts.submit("label", None, correction=("spam", "ham"))
    (span,) = parts.spans()
    assert span["attributes"][semconv.FEEDBACK_KIND] == "correction"
    assert span["attributes"][semconv.ANNOTATION_ANNOTATOR_KIND] == "HUMAN"
    assert span["events"][1] == {
        "name": "feedback.correction",
        "attributes": {"feedback.correction.original": "spam", "feedback.correction.corrected": "ham"},
    }


def test_what_people_wrote_stays_out_unless_asked_for(make):
    """By default neither comment nor correction is anywhere on the carrier; the judgement is."""
    parts = make()
    parts.submit("thumbs", "down", comment="my secret words")
    parts.submit("text", None, correction=("secret original", "secret corrected"))
    spans = parts.spans()
    assert "secret" not in str(spans)
    assert [span["attributes"][semconv.FEEDBACK_SENTIMENT] for span in spans] == ["negative", "negative"]
    assert [len(span["events"]) for span in spans] == [1, 1]


def test_the_identifier_stays_over_revisions_and_tells_votes_apart(make):
    """The same on every revision of a vote; another for another signal or submitter."""
    parts = make()
    for signal, value, user in (
        ("thumbs", "up", None),
        ("thumbs", "down", None),
        ("thumbs", None, None),
        ("helpful", "no", None),
        ("thumbs", "up", "k1:" + "ab" * 16),
        ("thumbs", "up", "k1:" + "cd" * 16),
    ):
        parts.submit(signal, value, user=user)
    identifiers = [attributes[semconv.ANNOTATION_IDENTIFIER] for attributes in parts.attributes()]
    assert len(set(identifiers[:3])) == 1
    assert len(set(identifiers)) == 4
    assert all(len(identifier) == 32 and int(identifier, 16) for identifier in identifiers)


def test_labels_of_metrics_are_never_missing(make):
    """A handle without facts gives carriers whose dimensions are ``unknown``, so that they are counted all the same."""
    parts = make()
    parts.submit(handle=parts.handle(facts={}))
    (attributes,) = parts.attributes()
    labels = (*semconv.SERVICE_DIMENSIONS, *semconv.TEMPLATE_DIMENSIONS, *semconv.MODEL_DIMENSIONS)
    assert {name: attributes[name] for name in labels} == dict.fromkeys(labels, "unknown")
    assert set(semconv.TRANSITION_DIMENSIONS) <= set(attributes)
    assert semconv.FEEDBACK_RESPONSE_ID not in attributes


def test_what_this_process_learned_later_completes_the_handle(make):
    """Facts of the finished interaction win over those that were known when the handle left."""
    asked = []

    def known(trace_id, span_id):
        asked.append((trace_id, span_id))
        return {
            semconv.FEEDBACK_MODEL: "m-1-exact",
            semconv.FEEDBACK_QUERY_TYPE: "how-to",
            semconv.GEN_AI_CONVERSATION_ID: "c-1",
            semconv.USER_HASH: "k1:" + "00" * 16,
            semconv.FEEDBACK_DOCUMENTS: '[{"id":"d"}]',
        }

    parts = make(known_facts=known)
    parts.submit()
    (attributes,) = parts.attributes()
    assert asked == [(TRACE, SPAN)]
    assert attributes[semconv.FEEDBACK_MODEL] == "m-1-exact"
    assert attributes[semconv.FEEDBACK_QUERY_TYPE] == "how-to"
    assert attributes[semconv.FEEDBACK_PROMPT_NAME] == "qa"
    assert attributes[semconv.GEN_AI_CONVERSATION_ID] == "c-1"
    assert semconv.USER_HASH not in attributes, "on a carrier that is who judged, not who asked"
    assert semconv.FEEDBACK_DOCUMENTS not in attributes


@pytest.mark.parametrize(
    ("age", "sampled", "seconds", "joins"),
    [
        (0, True, 60, True),
        (59, True, 60, True),
        (60, True, 60, False),
        (3600, True, 60, False),
        (0, False, 60, False),
        (0, True, 0, False),
        (-30, True, 60, True),
        (-30, True, 0, False),
    ],
)
def test_a_young_carrier_joins_the_trace_of_a_sampled_interaction(make, age, sampled, seconds, joins):
    """Else it starts a trace of its own, so that an old timeline is not stretched; the link is there either way."""
    parts = make(same_trace_seconds=seconds)
    handle = parts.handle(sampled=sampled)
    parts.now = age
    parts.submit(handle=handle)
    (span,) = parts.spans()
    assert (span["context"], span["parent"]) == (("a1:1", "a1:b2") if joins else ("1:1", None))
    assert span["links"] == ["a1:b2"]
    assert span["attributes"][semconv.FEEDBACK_TARGET_SAMPLED] is sampled
    assert span["start"] == age


def test_the_link_says_whether_its_target_was_sampled(make):
    """The flag of the linked context is the interaction's; the carrier itself is always sampled."""
    parts = make()
    for number, sampled in enumerate((True, False)):
        parts.submit(handle=parts.handle(span_id=SPAN + number, sampled=sampled))
    parts.delivery.flush()
    spans = parts.exporter.get_finished_spans()
    assert [span.links[0].context.trace_flags.sampled for span in spans] == [True, False]
    assert [span.context.trace_flags.sampled for span in spans] == [True, True]


@pytest.mark.parametrize("seconds", [0, 60])
def test_nothing_of_the_current_context_reaches_a_carrier(make, seconds):
    """Neither the span in whose request ``record()`` runs nor its tracestate, which would multiply the vote."""
    hostile = SpanContext(0xEE, 0xEE, is_remote=True, trace_state=TraceState([("ot", "th:ffffffffff")]))
    token = attach(trace.set_span_in_context(NonRecordingSpan(hostile)))
    try:
        parts = make(same_trace_seconds=seconds)
        parts.submit()
    finally:
        detach(token)
    parts.delivery.flush()
    (span,) = parts.exporter.get_finished_spans()
    assert 0xEE not in (span.context.trace_id, span.parent and span.parent.trace_id)
    assert len(span.context.trace_state) == 0
    assert len(span.links[0].context.trace_state) == 0
    assert span.context.trace_flags & TraceFlags.SAMPLED


def test_the_scope_is_ours(make):
    """Name, version and schema of the instrumentation scope tell carriers from everything else."""
    parts = make()
    parts.submit()
    parts.delivery.flush()
    (span,) = parts.exporter.get_finished_spans()
    scope = span.instrumentation_scope
    assert (scope.name, scope.version, scope.schema_url) == (semconv.SCOPE, VERSION, semconv.SCHEMA_URL)


def test_lone_surrogates_never_reach_an_exporter(make):
    """They become U+FFFD in texts and facts: one would make the exporter drop its whole batch."""
    facts = {**FACTS, semconv.FEEDBACK_QUERY_TYPE: "how\udc00to", semconv.FEEDBACK_RESPONSE_ID: "r\ud800"}
    parts = make(capture_text=True, known_facts=lambda trace_id, span_id: facts)
    parts.submit("thumbs", "up", comment="cut \ud83d")
    parts.submit("text", None, correction=("a\udfff", "\ud83d\ude00 joined"))
    thumbs, text = parts.spans()
    assert thumbs["attributes"][semconv.ANNOTATION_EXPLANATION] == "cut \ufffd"
    assert thumbs["attributes"][semconv.FEEDBACK_QUERY_TYPE] == "how\ufffdto"
    assert thumbs["events"][0]["attributes"][semconv.GEN_AI_RESPONSE_ID] == "r\ufffd"
    assert text["events"][1]["attributes"] == {
        semconv.FEEDBACK_CORRECTION_ORIGINAL: "a\ufffd",
        semconv.FEEDBACK_CORRECTION_CORRECTED: "\U0001f600 joined",
    }
    str(parts.spans()).encode()


def test_the_time_is_when_the_feedback_came(make):
    """A feedback that comes with its time keeps it: one that waited somewhere is not younger than it is."""
    parts = make()
    parts.submit(time=(START + 7) * 10**9)
    (span,) = parts.spans()
    assert (span["start"], span["end"]) == (7, 7)


def test_a_carrier_takes_a_nanosecond(make):
    """Jaeger takes a span without any duration for a negative one, and shows it twice where it was delivered twice."""
    parts = make()
    parts.submit(time=START * 10**9)
    parts.delivery.flush()
    (span,) = parts.exporter.get_finished_spans()
    assert (span.start_time, span.end_time) == (START * 10**9, START * 10**9 + 1)
