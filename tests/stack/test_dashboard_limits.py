"""What the dashboards' numbers cannot know, shown because it cannot be mended here, and what Pipeline health says."""

import math
import time
import urllib.error
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from dashboards import collector_metrics, queries
from stack.parts import Parts
from stack.processes import Stack
from tests.stack import grafana, otlp
from tests.stack.carriers import Facts, Sender, Truth
from tests.stack.grafana import Look

FLUSH = 1.0
REPORT = 5.0
"""Seconds between two flushes of the counters, and between two reports of the Collector of itself."""

MARGIN = 0.25

OPINIONS = ("satisfaction", "Satisfaction, all by template", "n")
DIFFERENCE = ("pipeline-health", "Feedback acknowledged minus counted", "difference")
COUNTED = ("pipeline-health", "Feedback acknowledged minus counted", "counted")


@pytest.fixture(scope="module")
def lossy(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack whose Collector is stopped and killed; each test looks at a range of its own."""
    with Stack(tmp_path_factory.mktemp("lossy"), parts=parts) as stack:
        _vote(stack, 1)
        _settled(stack)
        yield stack


@pytest.fixture(scope="module")
def narrow(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with room for three label combinations."""
    env = {"OTEL_FEEDBACK_COLLECTOR_CARDINALITY": "3"}
    with Stack(tmp_path_factory.mktemp("narrow"), parts=parts, env=env) as stack:
        yield stack


def test_repeated_delivery_counts_again_and_jaeger_shows_it_once(lossy: Stack) -> None:
    """Two deliveries of the same five votes are ten opinions; nothing is missing, so the difference is zero."""
    start = time.time()
    votes = _vote(lossy, 5, times=2)
    look = _look(lossy, start)
    assert _number(lossy, OPINIONS, look) == 10
    assert _number(lossy, COUNTED, look) == 10
    assert _number(lossy, DIFFERENCE, look) == 0
    carriers = [one for one in lossy.trace(votes[0]) if one["operationName"].startswith("feedback")]
    assert len({one["spanID"] for one in carriers}) == len(carriers) == 1


def test_stop_within_a_flush_loses_counts_and_pipeline_health_shows_them(lossy: Stack) -> None:
    """A Collector that is stopped (SIGTERM) at once after it took seven votes does not count them: the difference."""
    start = time.time()
    _between_flushes(lossy)
    _vote(lossy, 7)
    lossy.collector.stop()
    lossy.collector.start()
    look = _look(lossy, start)
    assert _number(lossy, OPINIONS, look) == 0
    assert _number(lossy, DIFFERENCE, look) == 7


def test_crash_within_a_flush_loses_counts_and_nothing_here_shows_them(lossy: Stack) -> None:
    """A Collector that is killed at once after it took seven votes takes both numbers along; the votes reach Jaeger."""
    start = time.time()
    _between_flushes(lossy)
    votes = _vote(lossy, 7)
    lossy.collector.kill()
    lossy.collector.start()
    _vote(lossy, 1)
    look = _look(lossy, start)
    assert _number(lossy, OPINIONS, look) == 1
    assert _number(lossy, DIFFERENCE, look) == 0
    lossy.wait_until(lambda: all(lossy.trace(one) for one in votes), "the votes in Jaeger")


def test_combinations_beyond_the_limit_are_counted_without_their_facts(narrow: Stack) -> None:
    """Of five templates, three have rows; the votes and answers of the other two are counted together."""
    truth = Truth()
    sender = Sender(narrow.otlp_grpc, truth)
    start = time.time()
    for name in ("a", "b", "c"):
        sender.votes(Facts(name), positive=2)
    sender.send()
    sender.votes(Facts("d"), positive=3)
    sender.votes(Facts("e"), positive=4)
    sender.send()
    sender.close()
    look = _look(narrow, start)
    overflow = ("pipeline-health", "Counted without facts (cardinality overflow)", "template")
    assert _number(narrow, overflow, look) == 7 + 7
    assert _number(narrow, COUNTED, look) == 13
    assert _number(narrow, DIFFERENCE, look) == 0
    rows = _numbers(narrow, ("satisfaction", "Satisfaction by template and version", "n"), look)
    assert {row[queries.TEMPLATE]: number for row, number in rows if row} == {"a": 2, "b": 2, "c": 2}


def test_full_queue_of_feedback_refuses_and_each_attempt_counts(narrow: Stack) -> None:
    """With Jaeger away and no room left, feedback is refused, counted all the same, and counted again when repeated."""
    narrow.jaeger_process.stop()
    narrow.collector.stop()
    narrow.collector.start(OTEL_FEEDBACK_COLLECTOR_FEEDBACK_QUEUE="1")
    start = time.time()
    otlp.send(narrow.otlp_http, otlp.vote("a"))
    for _ in range(2):
        with pytest.raises(urllib.error.HTTPError, match="503"):
            otlp.send(narrow.otlp_http, otlp.vote("a"))
    look = _look(narrow, start)
    assert _number(narrow, COUNTED, look) == 3
    refused = _numbers(narrow, ("pipeline-health", "Refused, by receiver", "refused"), look)
    assert [number for row, number in refused if row[collector_metrics.TRANSPORT] == "http"] == [2]
    full = _numbers(narrow, ("pipeline-health", "Dropped, by exporter", "full"), look)
    assert {row[collector_metrics.EXPORTER]: number for row, number in full}["otlp_grpc/jaeger_feedback"] == 2
    assert _use(narrow, look) == 1


def test_portable_edition_runs_without_the_feature_and_extrapolates(parts: Parts, tmp_path: Path) -> None:
    """A Prometheus without ``anchored`` takes every portable query; its counts are near the truth, above it."""
    flags = ("--web.enable-otlp-receiver", "--enable-feature=exemplar-storage")
    pages = grafana.pages("grafana-portable")
    with Stack(tmp_path / "portable", parts=parts, prometheus_flags=flags) as stack:
        start = time.time()
        _vote(stack, 101)
        look = _look(stack, start)
        for target in grafana.targets("grafana-portable"):
            if "expr" in target.json:
                grafana.ask_prometheus(stack, target, pages[target.page], look)
        [n] = [number for _, number in _numbers(stack, OPINIONS, look, folder="grafana-portable")]
        assert 101 < n < 101 * 1.25
        with pytest.raises(urllib.error.HTTPError, match="anchored"):
            _number(stack, OPINIONS, look)


def _vote(stack: Stack, count: int, *, times: int = 1) -> list[str]:
    """Cast positive votes on one template, send them as often as asked, and return their traces."""
    sender = Sender(stack.otlp_grpc, Truth())
    votes = sender.votes(Facts("answer"), positive=count)
    sender.send(times=times)
    sender.close()
    return [one.trace_id for one in votes]


def _settled(stack: Stack) -> None:
    """Wait until everything sent so far is counted and reported."""
    sent = time.time()
    newest = f"max(timestamp({collector_metrics.UPTIME}))"
    stack.wait_until(lambda: (stack.value(newest) or 0) > sent, "a report of the Collector")
    # A new series is written as zero first, and with its number at the flush after that.
    time.sleep(max(0.0, sent + 2.5 * FLUSH - time.time()))


def _between_flushes(stack: Stack) -> None:
    """Wait until the next flush of the counters and the next report are both some time away."""
    flush = stack.value(f"max(timestamp({queries.BY_TEMPLATE.votes}))")
    report = stack.value(f"max(timestamp({collector_metrics.UPTIME}))")
    assert flush
    assert report

    def clear() -> bool:
        now = time.time()
        return all(
            MARGIN < (now - last) % every < every - 2 * MARGIN for last, every in ((flush, FLUSH), (report, REPORT))
        )

    stack.wait_until(clear, "a moment between two flushes", timeout=10)


def _look(stack: Stack, start: float) -> Look:
    """Return the range since a moment, in whole seconds as Grafana's ``$__range`` is, once all of it is counted."""
    _settled(stack)
    end = start + math.ceil(time.time() - start)
    time.sleep(max(0.0, end - time.time()))
    return Look(start, end)


def _numbers(
    stack: Stack, name: tuple[str, str, str], look: Look, *, folder: str = "grafana"
) -> list[tuple[Mapping[str, str], float]]:
    """Return what a query shows, with labels."""
    target = next(one for one in grafana.targets(folder) if one.name == name)
    series = grafana.ask_prometheus(stack, target, grafana.pages(folder)[target.page], look)
    return [(one["metric"], float(one["value"][1])) for one in series]


def _number(stack: Stack, name: tuple[str, str, str], look: Look, *, folder: str = "grafana") -> float:
    [(_, number)] = _numbers(stack, name, look, folder=folder)
    return number


def _use(stack: Stack, look: Look) -> float:
    use = _numbers(stack, ("pipeline-health", "Queued now, by exporter", "use"), look)
    return {row[collector_metrics.EXPORTER]: number for row, number in use}["otlp_grpc/jaeger_feedback"]
