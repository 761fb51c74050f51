"""One run of votes through the real parts, with everything in it that has made such numbers wrong before."""

import math
import time
from dataclasses import dataclass

from dashboards import collector_metrics, queries
from stack.processes import Collector, Stack
from tests.stack.carriers import NEGATIVE, NEUTRAL, POSITIVE, RETRACTED, Facts, Sender, Truth, Vote
from tests.stack.truth import Window

from otel_feedback import semconv

# Names that mean something in a regular expression, in logfmt or in a URL are names too.
ASK = Facts("POST /ask (streamed)")
ASK_2 = Facts("POST /ask (streamed)", version="2", model="gpt-5-mini")
LOVED = Facts("loved")
HATED = Facts("hated", model="gpt-5-mini", query_type="debug")
RARE = Facts("rare")
SILENT = Facts("silent", query_type="smalltalk")
OLD = Facts("old")
STAGING = Facts("POST /ask (streamed)", environment="staging")
OTHER_TEAM = Facts("POST /ask (streamed)", namespace="batch")
BILLING = Facts("loved", service="billing", namespace="finance", model="claude", query_type="lookup")

STEP = 5
"""Seconds that every part of the story is a multiple of: points of a trend."""


@dataclass(frozen=True)
class Story:
    """What happened, and when."""

    stack: Stack
    truth: Truth
    start: float
    """The range that is looked at starts here: what was before it changes inside it."""

    middle: float
    end: float
    jaeger_away: float
    """A moment when Jaeger was away and its bulk queue full, all reports of it in Prometheus."""

    batches_waiting: int
    """Batches of carriers that waited for Jaeger at that moment."""

    traced: list[Vote]
    """Negative votes whose answers have their whole trace in Jaeger."""

    @property
    def window(self) -> Window:
        """The whole range."""
        return Window(self.truth, self.start, self.end)


def tell(stack: Stack) -> Story:
    """Run the story; takes about half a minute of real time, since the counters' times are the servers' own."""
    truth = Truth()
    second = stack.add_collector("second")
    shop = Sender(stack.otlp_grpc, truth, instance="1")
    mirror = Sender(second.otlp_grpc, truth, instance="2")
    senders = [shop, mirror]

    early = _before(shop, mirror)
    start = _boundary(stack, truth)

    away, batches = _jaeger_away(stack, truth, shop)
    _minds_change(shop, mirror, early)
    _all_kinds(shop)
    _delivered(stack, truth)
    middle = _boundary(stack, truth, since=start)

    restarted = Sender(stack.otlp_grpc, truth, instance="3")
    billing = Sender(stack.otlp_grpc, truth, service="billing")
    senders += [restarted, billing]
    traced = _after_restart(restarted, billing)
    _killed(second, restarted)
    reborn = Sender(second.otlp_grpc, truth, instance="4")
    senders.append(reborn)
    reborn.votes(ASK, negative=6, positive=1)
    reborn.send()
    _delivered(stack, truth)
    end = _boundary(stack, truth, since=start)
    for sender in senders:
        sender.close()
    return Story(stack, truth, start, middle, end, away, batches, traced)


def _before(shop: Sender, mirror: Sender) -> dict[str, list[Vote]]:
    """What is voted before the range that is looked at."""
    early = {
        "liked": shop.votes(ASK, positive=6),
        "disliked": shop.votes(ASK_2, negative=5),
        "kept": shop.votes(OLD, positive=12),
    }
    shop.send()
    early["mirrored"] = mirror.votes(ASK, positive=4)
    mirror.send()
    return early


def _jaeger_away(stack: Stack, truth: Truth, shop: Sender) -> tuple[float, int]:
    """Jaeger is down and its bulk queue full: answers and votes count once all the same."""
    stack.jaeger_process.stop()
    batches = 0
    for _ in range(6):
        shop.votes(LOVED, positive=3, neutral=1)
        shop.send()
        batches += 1
    away = _boundary(stack, truth)
    full = f'{collector_metrics.NOT_QUEUED_SPANS}{{exporter="otlp_grpc/jaeger"}}'
    assert stack.value(f"sum({full})", time=away), "the queue never was full"
    stack.jaeger_process.start()
    return away, batches


def _minds_change(shop: Sender, mirror: Sender, early: dict[str, list[Vote]]) -> None:
    """Votes from before the range are flipped, retracted, and get a comment; some come back again."""
    liked, disliked = early["liked"], early["disliked"]
    for vote in liked[:3]:
        shop.vote(vote.answer, NEGATIVE, late=True)
    shop.vote(liked[3].answer, RETRACTED, late=True)
    shop.vote(liked[4].answer, POSITIVE, late=True)
    for vote in disliked[:2]:
        shop.vote(vote.answer, POSITIVE)
    shop.send()
    shop.vote(liked[0].answer, POSITIVE, late=True)
    shop.vote(liked[3].answer, NEGATIVE, late=True)
    shop.vote(disliked[0].answer, RETRACTED)
    shop.send()
    for vote in early["mirrored"]:
        mirror.vote(vote.answer, NEGATIVE)
    mirror.send()


def _all_kinds(shop: Sender) -> None:
    """Single votes, one kind only, no vote, several signals on one answer, signals nobody was asked for."""
    shop.votes(HATED, negative=14)
    shop.votes(RARE, positive=1)
    for _ in range(12):
        shop.answer(SILENT)
    unsampled = shop.answer(ASK, sampled=False)
    shop.vote(unsampled, NEGATIVE)
    several = shop.answer(ASK_2)
    shop.vote(several, POSITIVE)
    shop.vote(several, NEUTRAL, signal="stars")
    shop.vote(several, NEGATIVE, signal="helpful")
    for number in range(20):
        answer = shop.answer(ASK_2)
        for _ in range(1 + (number == 0)):
            shop.vote(answer, POSITIVE, signal="copy", kind=semconv.IMPLICIT)
        if number < 4:
            shop.vote(answer, NEGATIVE, signal="rephrase", kind=semconv.IMPLICIT)
        if number < 9:
            shop.vote(answer, POSITIVE if number % 3 else NEGATIVE)
    shop.vote(shop.answer(ASK_2, sampled=False), NEGATIVE, signal="rephrase", kind=semconv.IMPLICIT)
    shop.vote(shop.answer(SILENT), NEGATIVE, signal="abandon", kind=semconv.IMPLICIT)
    shop.send()


def _after_restart(restarted: Sender, billing: Sender) -> list[Vote]:
    """The service comes back as another instance; another service, namespace and environment vote, too."""
    traced = [
        restarted.vote(restarted.answer(facts, whole=True), NEGATIVE, late=late)
        for facts, late in ((ASK, False), (HATED, False), (ASK, True))
    ]
    restarted.votes(STAGING, negative=11, positive=2)
    restarted.votes(OTHER_TEAM, positive=10)
    restarted.send()
    billing.votes(BILLING, positive=7, negative=5, neutral=2)
    billing.send()
    return traced


def _killed(second: Collector, other: Sender) -> None:
    """One of two Collectors dies (its counts are out: a boundary was just waited for) and comes back."""
    second.kill()
    other.votes(ASK, positive=5)
    other.send()
    second.start()


def _delivered(stack: Stack, truth: Truth) -> None:
    """Wait until Jaeger has all feedback, nothing waits for it any more, and Prometheus has reports that say so."""
    sent = f'sum({collector_metrics.SENT_SPANS}{{exporter="otlp_grpc/jaeger_feedback"}})'
    waiting = f'sum({collector_metrics.QUEUE_SIZE}{{exporter=~"otlp_grpc/.*"}})'
    stack.wait_until(lambda: stack.value(sent) == len(truth.votes), f"{len(truth.votes)} in {sent}")
    stack.wait_until(lambda: stack.value(waiting) == 0, f"0 in {waiting}")


def _boundary(stack: Stack, truth: Truth, *, since: float | None = None) -> float:
    """Wait until Prometheus has all counts and all reports, and return the moment; whole steps since another one."""
    carriers = len(truth.votes)
    interactions = sum(one.sampled for one in truth.answers)
    filtered = queries.matchers({"filter": collector_metrics.CARRIERS_FILTER})
    wanted = {
        queries.BY_TEMPLATE.votes: carriers,
        queries.BY_MODEL.votes: carriers,
        queries.BY_TEMPLATE.interactions: interactions,
        queries.BY_MODEL.interactions: interactions,
        f"{collector_metrics.FILTERED}{filtered}": carriers,
    }
    for selector, count in wanted.items():
        stack.wait_until(
            lambda selector=selector, count=count: (stack.value(f"sum({selector})") or 0) >= count,
            f"{count} in {selector}",
        )
    now = time.time()
    if since is None:
        return now
    moment = since + math.ceil((now - since) / STEP) * STEP
    time.sleep(max(0.0, moment - time.time()))
    return moment
