"""Every signal of the table, from the browser or the service to its carrier, its number in Prometheus and its row."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from examples.satisfaction import Line
from stack.parts import Parts
from stack.ports import choose_free
from stack.processes import HOST
from tests.chromium import browser, chromium  # noqa: F401 - fixtures of this module
from tests.stack import grafana
from tests.stack.chat_services import settled
from tests.stack.cut_line import line_to
from tests.stack.reader_at_the_page import Reader
from tests.stack.signal_cases import BEFORE, CASES, EXPLICIT, JUDGED, Act
from tests.stack.signal_truth import carried, carriers, changes, counts, expected_changes, rows, stored
from tests.stack.whole_loop import Loop, running_loop

from otel_feedback import semconv
from otel_feedback.signals import DEFAULT_SIGNALS


@pytest.fixture(scope="module")
def loop(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loop]:
    """Everything that runs, with ten votes on each case's template, that everybody has counted."""
    with running_loop(tmp_path_factory.mktemp("every-signal"), parts) as running:
        running.vote_all(list(CASES), BEFORE)
        for template in CASES:
            assert settled(lambda template=template: running.counted(template), JUDGED) == JUDGED
            assert settled(lambda template=template: running.line(template).counts["voted"], len(BEFORE)) == len(BEFORE)
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

    wanted = loop.wanted[name] = JUDGED + counts(case)
    assert settled(lambda: loop.counted(name), wanted) == wanted
    assert settled(lambda: carried(loop, handle), carriers(case)) == carriers(case)
    assert settled(lambda: stored(loop, handle), rows(case)) == rows(case)
    expected = {reader: expected_changes(case, reader) for reader in before}
    assert settled(lambda: changed(loop, before, name), expected) == expected
    for reader, line in loop.lines(name).items():
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


def changed(loop: Loop, before: dict[str, Line], template: str) -> dict[str, dict[str, int]]:
    """By how much each reader's counts of a template changed."""
    return {reader: changes(before[reader], line) for reader, line in loop.lines(template).items()}


def pipeline_health(loop: Loop) -> tuple[float, ...]:
    """What the panel of acknowledged feedback shows of all that this loop ever did: its three numbers."""
    look = grafana.Look(loop.start, time.time())
    page = grafana.pages("grafana")["pipeline-health"]
    targets = [each for each in grafana.targets("grafana") if each.panel == "Feedback acknowledged minus counted"]
    assert [each.ref for each in targets] == ["acknowledged", "counted", "difference"]
    shown = [grafana.ask_prometheus(loop.stack, each, page, look) for each in targets]
    return tuple(float(series["value"][1]) for [series] in shown)


def test_nothing_is_counted_afterwards(loop: Loop) -> None:
    """What came late would have come by now: each case's numbers are still those of its own test."""
    assert loop.wanted, "it stands on the cases before it"
    assert {template: loop.counted(template) for template in loop.wanted} == loop.wanted
