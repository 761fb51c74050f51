"""Every signal of the table, from the browser or the service to its carrier, its number in Prometheus and its row."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from examples.satisfaction import Line
from stack.client import span_tags
from stack.parts import Parts
from stack.ports import choose_free
from stack.processes import HOST
from tests.chromium import browser, chromium  # noqa: F401 - fixtures of this module
from tests.stack import grafana
from tests.stack.cut_line import line_to
from tests.stack.reader_at_the_page import Reader
from tests.stack.signal_cases import BEFORE, CASES, EXPLICIT, IMPLICIT, JUDGED, Act, Case
from tests.stack.whole_loop import Counts, Loop, running_loop, settled

from otel_feedback import semconv
from otel_feedback.signals import DEFAULT_SIGNALS

CORRECTED = (semconv.FEEDBACK_CORRECTION_ORIGINAL, semconv.FEEDBACK_CORRECTION_CORRECTED)
ON_CARRIERS = (
    semconv.FEEDBACK_KIND,
    semconv.FEEDBACK_SIGNAL,
    semconv.FEEDBACK_SENTIMENT,
    semconv.FEEDBACK_PREVIOUS_SENTIMENT,
    semconv.FEEDBACK_SOURCE,
    semconv.FEEDBACK_CONFIDENCE,
    semconv.ANNOTATION_NAME,
    semconv.ANNOTATION_LABEL,
    semconv.ANNOTATION_SCORE,
    semconv.ANNOTATION_ANNOTATOR_KIND,
)
IN_ROWS = [
    "signal",
    "kind",
    "sentiment",
    "previous_sentiment",
    "label",
    "score",
    "confidence",
    "source",
    "standing",
    "correction",
]


@pytest.fixture(scope="module")
def loop(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loop]:
    """Everything that runs, with ten votes on each case's template, that everybody has counted."""
    with running_loop(tmp_path_factory.mktemp("every-signal"), parts) as running:
        running.vote_all(list(CASES), BEFORE)
        for template in CASES:
            assert settled(lambda template=template: running.counted(template), JUDGED) == JUDGED
        yield running


@pytest.fixture
def page(request: pytest.FixtureRequest, loop: Loop) -> Callable[[], Reader]:
    """The reader at the page; only who needs one needs Chromium."""
    return lambda: Reader(request.getfixturevalue("browser"), loop)


@pytest.mark.parametrize("name", CASES)
def test_every_signal_comes_to_its_carrier_its_number_and_its_row(
    name: str, loop: Loop, page: Callable[[], Reader]
) -> None:
    """What was done is carried, counted and stored once, as its kind; only a person's opinion moves satisfaction."""
    case = CASES[name]
    before = loop.lines(name)
    assert [line.shares["satisfaction"] for line in before.values()] == [0.7, 0.7]

    handle = case.act(Act(loop, name, page, case.texts))

    wanted = JUDGED + counts(case)
    assert settled(lambda: loop.counted(name), wanted) == wanted
    assert settled(lambda: carried(loop, handle), carriers(case)) == carriers(case)
    assert settled(lambda: stored(loop, handle), rows(case)) == rows(case)
    for reader, line in loop.lines(name).items():
        assert changes(before[reader], line) == expected_changes(case, reader)
        assert (line.shares == before[reader].shares) is (case.kind != EXPLICIT)
    assert "Negative duration" not in str(loop.carriers(handle))
    told = str(loop.carriers(handle)), str(loop.stored(handle))
    assert [any(town in each for town in ("Valmar", "Ostrava")) for each in told] == [case.keeps_words] * 2


def test_every_signal_of_the_table_has_a_case() -> None:
    """A signal that is added without a way to its number fails here."""
    table = {(signal.name, signal.kind) for signal in DEFAULT_SIGNALS.values()}
    assert {(case.signal, case.kind) for case in CASES.values()} == table


def test_a_delivery_whose_answer_is_lost_counts_twice_and_stands_once(loop: Loop) -> None:
    """Killed between the delivery and its note, capture delivers again: two in the counters, one in Jaeger and store.

    Pipeline health says that nothing is missing: acknowledged and counted are two more, both. It can't tell that they
    are one; the store does.
    """
    template, [port] = "delivered twice", choose_free(1)
    assert settled(lambda: pipeline_health(loop)[2], 0) == 0
    acknowledged, counted, _ = pipeline_health(loop)
    handle, told = loop.ask(template, "Is there a ferry?"), threading.Event()
    with line_to(loop.stack.otlp_http) as line:
        capture = loop.make_capture("cut-off", port, OTEL_EXPORTER_OTLP_ENDPOINT=line.url)
        line.cut = lambda: (told.wait(10), capture.kill())
        capture.start(timeout=60)
        try:
            loop.post_to(f"http://{HOST}:{port}", {"handle": handle, "signal": "thumbs", "value": "up"})
            told.set()
            assert settled(lambda: capture.running, wanted=False) is False
            assert (line.delivered, loop.waiting("cut-off")) == (1, 1)
            line.cut = None
            capture.start(timeout=60)
            assert settled(lambda: line.delivered, 2) == 2
            assert settled(lambda: loop.waiting("cut-off"), 0) == 0
        finally:
            capture.stop()
    twice = Counter({(EXPLICIT, "thumbs", semconv.POSITIVE, semconv.UNSET): 2})
    assert settled(lambda: loop.counted(template), twice) == twice
    wanted = acknowledged + 2, counted + 2, 0
    assert settled(lambda: pipeline_health(loop), wanted) == wanted
    lines = loop.lines(template)
    assert {reader: line.counts["positive"] for reader, line in lines.items()} == {"Prometheus": 2, "store": 1}
    assert lines["store"].counts["standing positive"] == 1
    assert [len(loop.carriers(handle)), len(stored(loop, handle))] == [1, 1]


def pipeline_health(loop: Loop) -> tuple[float, ...]:
    """What the panel of acknowledged feedback shows of all that this loop ever did: its three numbers."""
    look = grafana.Look(loop.start, time.time())
    page = grafana.pages("grafana")["pipeline-health"]
    targets = [each for each in grafana.targets("grafana") if each.panel == "Feedback acknowledged minus counted"]
    assert [each.ref for each in targets] == ["acknowledged", "counted", "difference"]
    shown = [grafana.ask_prometheus(loop.stack, each, page, look) for each in targets]
    return tuple(float(series["value"][1]) for [series] in shown)


def counts(case: Case) -> Counts:
    """What Prometheus should count for a case."""
    return Counter(
        {(case.kind, case.signal, said.sentiment, was): 1 for was, said in zip(previous(case), case.said, strict=True)}
    )


def previous(case: Case) -> list[str]:
    """What the vote was before each carrier."""
    return [semconv.UNSET, *(said.sentiment for said in case.said)][:-1]


def carriers(case: Case) -> list[dict[str, Any]]:
    """What the carriers of a case should say."""
    found = []
    for was, said in zip(previous(case), case.said, strict=True):
        evaluation = {
            semconv.GEN_AI_EVALUATION_NAME: case.signal,
            semconv.GEN_AI_EVALUATION_SCORE_LABEL: said.label,
            semconv.GEN_AI_EVALUATION_SCORE_VALUE: about(said.score),
        }
        words = dict(zip(CORRECTED, case.correction, strict=True)) if case.correction and case.texts else None
        found.append(
            {
                "name": f"feedback {case.signal}",
                semconv.FEEDBACK_KIND: case.kind,
                semconv.FEEDBACK_SIGNAL: case.signal,
                semconv.FEEDBACK_SENTIMENT: said.sentiment,
                semconv.FEEDBACK_PREVIOUS_SENTIMENT: was,
                semconv.FEEDBACK_SOURCE: case.source,
                semconv.FEEDBACK_CONFIDENCE: about(case.confidence),
                semconv.ANNOTATION_NAME: case.signal,
                semconv.ANNOTATION_LABEL: said.label,
                semconv.ANNOTATION_SCORE: about(said.score),
                semconv.ANNOTATION_ANNOTATOR_KIND: semconv.CODE if case.kind == IMPLICIT else semconv.HUMAN,
                semconv.EVENT_EVALUATION_RESULT: evaluation,
                semconv.EVENT_CORRECTION: words,
            }
        )
    return found


def carried(loop: Loop, handle: str) -> list[dict[str, Any]]:
    """What the carriers on an answer say, by the names that ``carriers`` gives."""
    found = []
    for span in loop.carriers(handle):
        tags = span_tags(span)
        events = {event.pop("event"): event for event in map(fields_of, span["logs"])}
        evaluation = events.get(semconv.EVENT_EVALUATION_RESULT, {})
        evaluation.pop(semconv.GEN_AI_RESPONSE_ID, None)
        found.append(
            {name: tags.get(name) for name in ON_CARRIERS}
            | {"name": span["operationName"], semconv.EVENT_EVALUATION_RESULT: evaluation}
            | {semconv.EVENT_CORRECTION: events.get(semconv.EVENT_CORRECTION)}
        )
    return found


def fields_of(event: dict[str, Any]) -> dict[str, Any]:
    """The attributes of an event, and its name as ``event``, as Jaeger has it."""
    return {field["key"]: field["value"] for field in event["fields"]}


def rows(case: Case) -> list[dict[str, Any]]:
    """What the store should have of a case: its history, of which the last one stands."""
    words = dict(zip(("original", "corrected"), case.correction, strict=True)) if case.correction else None
    return [
        {
            "signal": case.signal,
            "kind": case.kind,
            "sentiment": said.sentiment,
            "previous_sentiment": was,
            "label": said.label,
            "score": about(said.score),
            "confidence": about(case.confidence),
            "source": case.source,
            "standing": said is case.said[-1],
            "correction": words if case.texts else None,
        }
        for was, said in zip(previous(case), case.said, strict=True)
    ]


def stored(loop: Loop, handle: str) -> list[dict[str, Any]]:
    """What the store has of an answer, by the names that ``rows`` gives."""
    return [{name: row[name] for name in IN_ROWS} for row in loop.stored(handle)["feedback"]]


def about(number: float | None) -> Any:
    """A number to be equal to the precision of floating point."""
    return None if number is None else pytest.approx(number)


def changes(before: Line, after: Line) -> dict[str, int]:
    """By how much the counts of a line changed, but for its answers."""
    names = {*before.counts, *after.counts} - {"answers"}
    found = {name: after.counts.get(name, 0) - before.counts.get(name, 0) for name in names}
    return {name: number for name, number in found.items() if number}


def expected_changes(case: Case, reader: str) -> dict[str, int]:
    """By how much a case should change them: votes as they stand are known to the store only."""
    if case.kind != EXPLICIT:
        return {case.signal: 1} if case.kind == IMPLICIT else {}
    expected = Counter({"voted": 1, "changes": len(case.said) - 1})
    expected.update(said.sentiment for said in case.said)
    if reader == "store":
        expected[f"standing {case.said[-1].sentiment}"] += 1
    return dict(+expected)
