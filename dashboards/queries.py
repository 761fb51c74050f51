"""PromQL for every number that dashboards, alerts and the demo show, built from the names in ``semconv``.

Counting *expressed* opinions (a carrier counts for what it became, unless it repeats what it was) keeps every share
within [0, 1]; a late detail is no opinion. The interval is Wilson's score interval (E. B. Wilson, "Probable inference,
the law of succession, and statistical inference", JASA 22, 1927).
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from otel_feedback import semconv

Z: Final = 1.96
"""Quantile of the normal distribution for a two-sided interval of 95 %."""

ENOUGH: Final = 10
"""Fewer opinions, or fewer answers behind a response rate, give no number: at n = 9 the interval is 0.5 wide."""

OVERFLOW_LABEL: Final = "otel_metric_overflow"
"""What the Collector puts on the one series that takes everything beyond its cardinality limit."""

RANGE: Final = "$__range"
INTERVAL: Final = "$__interval"
"""Grafana's own variables: the whole range of the page, and the distance of two points of a trend."""


def label(name: str) -> str:
    """Return the Prometheus label that an attribute becomes."""
    return name.replace(".", "_")


def counter(name: str) -> str:
    """Return the Prometheus name that a counter becomes."""
    return f"{label(name)}_total"


def grouping(labels: tuple[str, ...]) -> str:
    """Return the clause that makes an aggregation keep labels; nothing for none."""
    return f" by ({', '.join(labels)}) " if labels else ""


def matchers(wanted: Mapping[str, str]) -> str:
    """Return ``{label="value", ...}``; a value that opens with an operator (``!=``, ``=~``, ``!~``) keeps it."""
    parts = []
    for name, value in wanted.items():
        operator = value[:2] if value[:2] in {"!=", "=~", "!~"} else ""
        parts.append(f'{name}{operator or "="}"{value[len(operator) :]}"')
    return "{" + ",".join(parts) + "}"


@dataclass(frozen=True)
class View:
    """One pair of counters, carriers and interactions, and how a page cuts and filters them."""

    votes: str
    """Prometheus counter of carriers."""

    interactions: str
    """Prometheus counter of sampled interactions."""

    rows: tuple[str, ...]
    """Labels that make one row of a table."""

    filters: Mapping[str, str]
    """Label to matcher, as ``matchers`` takes it."""


SERVICE: Final = label(semconv.FEEDBACK_SERVICE_NAME)
NAMESPACE: Final = label(semconv.FEEDBACK_SERVICE_NAMESPACE)
ENVIRONMENT: Final = label(semconv.FEEDBACK_ENVIRONMENT)
TEMPLATE: Final = label(semconv.FEEDBACK_PROMPT_NAME)
VERSION: Final = label(semconv.FEEDBACK_PROMPT_VERSION)
MODEL: Final = label(semconv.FEEDBACK_MODEL)
QUERY_TYPE: Final = label(semconv.FEEDBACK_QUERY_TYPE)
KIND: Final = label(semconv.FEEDBACK_KIND)
SIGNAL: Final = label(semconv.FEEDBACK_SIGNAL)
SENTIMENT: Final = label(semconv.FEEDBACK_SENTIMENT)
PREVIOUS: Final = label(semconv.FEEDBACK_PREVIOUS_SENTIMENT)
FIRST: Final = label(semconv.FEEDBACK_FIRST)
SAMPLED: Final = label(semconv.FEEDBACK_TARGET_SAMPLED)

VARIABLES: Final = {
    SERVICE: "service",
    NAMESPACE: "namespace",
    ENVIRONMENT: "environment",
    TEMPLATE: "template",
    VERSION: "version",
    MODEL: "model",
    QUERY_TYPE: "query_type",
}
"""Label to the Grafana variable that filters by it."""

ATTRIBUTES: Final = {
    label(name): name for name in (*semconv.SERVICE_DIMENSIONS, *semconv.TEMPLATE_DIMENSIONS, *semconv.MODEL_DIMENSIONS)
}
"""Label to the attribute that it comes from."""


def _filters(*labels: str) -> dict[str, str]:
    return {name: f"=~${VARIABLES[name]}" for name in labels}


BY_TEMPLATE: Final = View(
    votes=counter(semconv.METRIC_VOTES_BY_TEMPLATE),
    interactions=counter(semconv.METRIC_INTERACTIONS_BY_TEMPLATE),
    rows=(SERVICE, TEMPLATE, VERSION),
    filters=_filters(SERVICE, NAMESPACE, ENVIRONMENT, TEMPLATE, VERSION),
)
BY_MODEL: Final = View(
    votes=counter(semconv.METRIC_VOTES_BY_MODEL),
    interactions=counter(semconv.METRIC_INTERACTIONS_BY_MODEL),
    rows=(SERVICE, MODEL, QUERY_TYPE),
    filters=_filters(SERVICE, NAMESPACE, ENVIRONMENT, MODEL, QUERY_TYPE),
)


class How(enum.Enum):
    """Three ways to ask by how much a counter grew in a window."""

    ANCHORED = "anchored"
    """``increase(... anchored)``: equals the truth. Needs Prometheus' promql-extended-range-selectors."""

    PLAIN = "plain"
    """``increase()``: extrapolates to the edges of the window."""

    DIFFERENCE = "difference"
    """The last value in the window minus the value at its start, 0 for a series that began later: equals the truth
    where no series ever falls, which ``collector.instance.id`` sees to. Rules use it: ``promtool test rules`` cannot
    be told of ``anchored`` (3.13.1)."""


@dataclass(frozen=True)
class Increase:
    """How the growth of a counter is asked for.

    Args:
        window: PromQL duration, or a variable of Grafana's.
        how: see ``How``.
        offset: PromQL duration from the end of the window to now; empty for none.
        start: PromQL duration from the start of the window to now; ``window`` by default.
    """

    window: str = RANGE
    how: How = How.ANCHORED
    offset: str = ""
    start: str = ""

    def of(self, metric: str, wanted: Mapping[str, str], by: tuple[str, ...] = ()) -> str:
        """Return the growth of all series of a metric that match, summed by labels."""
        return f"sum{grouping(by)}({self.each(metric, wanted)})"

    def each(self, metric: str, wanted: Mapping[str, str]) -> str:
        """Return the growth of each series."""
        selector = metric + (matchers(wanted) if wanted else "")
        offset = f" offset {self.offset}" if self.offset else ""
        if self.how is How.DIFFERENCE:
            last = f"last_over_time({selector}[{self.window}]{offset})"
            return f"({last} - {selector} offset {self.start or self.window}) or {last}"
        modifier = " anchored" if self.how is How.ANCHORED else ""
        return f"increase({selector}[{self.window}]{modifier}{offset})"


@dataclass(frozen=True)
class Numbers:
    """The numbers of a view: by row, or their total with ``by=()``.

    Every method returns one PromQL expression. Counts have a value for every row that has any interaction or carrier
    in the window, 0 included; shares have one only where ``ENOUGH`` stand behind it.
    """

    view: View
    by: tuple[str, ...] = field(default=())
    increase: Increase = field(default_factory=Increase)

    def positive(self) -> str:
        """Positive opinions expressed."""
        return self._expressed(semconv.POSITIVE)

    def negative(self) -> str:
        """Negative opinions expressed."""
        return self._expressed(semconv.NEGATIVE)

    def neutral(self) -> str:
        """Neutral opinions expressed: they stand beside satisfaction, never in it."""
        return self._expressed(semconv.NEUTRAL)

    def opinions(self) -> str:
        """The n of satisfaction: positive and negative opinions expressed."""
        return f"{self.positive()} + {self.negative()}"

    def satisfaction(self) -> str:
        """Positive opinions by positive and negative ones, where there are enough."""
        p, n = self._pair()
        return f"{p} / ({p} + {n} >= {ENOUGH})"

    def dissatisfaction(self) -> str:
        """Negative opinions by positive and negative ones, where there are enough."""
        p, n = self._pair()
        return f"{n} / ({p} + {n} >= {ENOUGH})"

    def satisfaction_low(self) -> str:
        """Lower bound of the 95 % Wilson interval of satisfaction."""
        return self._wilson("-")

    def satisfaction_high(self) -> str:
        """Upper bound of the 95 % Wilson interval of satisfaction."""
        return self._wilson("+")

    def rank(self) -> str:
        """Sort key, worst first: the interval's upper bound; 2, beyond every bound, where there are not enough."""
        return f"{self.satisfaction_high()} or 2 + {self._zero()}"

    def changes(self) -> str:
        """Changes of mind: carriers that replace another sentiment, retractions included."""
        transitions = []
        for now in semconv.SENTIMENTS:
            others = "|".join(one for one in semconv.SENTIMENTS if one != now)
            wanted = self._explicit(**{SENTIMENT: now, PREVIOUS: f"=~{others}"})
            transitions.append(self.increase.each(self.view.votes, wanted))
        return self._or_zero(f"sum{grouping(self.by)}({' or '.join(transitions)})")

    def interactions(self) -> str:
        """The n of the response rate: sampled answers."""
        return self._or_zero(self.increase.of(self.view.interactions, self.view.filters, self.by))

    def voted(self) -> str:
        """Sampled answers that got their first explicit feedback."""
        wanted = self._explicit(**{FIRST: "true", SAMPLED: "true"})
        return self._or_zero(self.increase.of(self.view.votes, wanted, self.by))

    def response_rate(self) -> str:
        """Answers voted on by answers, where there are enough answers."""
        return f"{self.voted()} / {self._enough_interactions()}"

    def implicit(self) -> str:
        """Implicit signals, by row and signal: copied, edited, asked again, ..."""
        return self.increase.of(self.view.votes, self._implicit(), (*self.by, SIGNAL))

    def implicit_share(self) -> str:
        """Implicit signals per sampled answer, by row and signal, where there are enough answers."""
        signals = self.increase.of(self.view.votes, self._implicit(**{SAMPLED: "true"}), (*self.by, SIGNAL))
        return f"{signals} / on ({', '.join(self.by)}) group_left () {self._enough_interactions()}"

    def implicit_answers(self) -> str:
        """The n of ``implicit_share``: sampled answers, repeated for every signal of the row."""
        return f"0 * {self.implicit()} + on ({', '.join(self.by)}) group_left () ({self.interactions()})"

    def _expressed(self, sentiment: str) -> str:
        return self._or_zero(self._became(sentiment))

    def _became(self, sentiment: str) -> str:
        wanted = self._explicit(**{SENTIMENT: sentiment, PREVIOUS: f"!={sentiment}"})
        return self.increase.of(self.view.votes, wanted, self.by)

    def _explicit(self, **more: str) -> dict[str, str]:
        return {**self.view.filters, KIND: semconv.EXPLICIT, **more}

    def _implicit(self, **more: str) -> dict[str, str]:
        """Match each signal on an answer once: who copies more of it later has not copied it twice."""
        return {**self.view.filters, KIND: semconv.IMPLICIT, PREVIOUS: semconv.UNSET, **more}

    def _enough_interactions(self) -> str:
        return f"({self.interactions()} >= {ENOUGH})"

    def _pair(self) -> tuple[str, str]:
        """Positive and negative where there is either: rows with one kind stay, rows with none need no number."""
        p, n = self._became(semconv.POSITIVE), self._became(semconv.NEGATIVE)
        return f"({p} or 0 * {n})", f"({n} or 0 * {p})"

    def _wilson(self, sign: str) -> str:
        """Build (P + z^2/2 -+ z sqrt(P N / n + z^2/4)) / (n + z^2) with n = P + N: the textbook form times n."""
        p, n = self._pair()
        root = f"sqrt({p} * {n} / ({p} + {n} >= {ENOUGH}) + {Z**2 / 4:.6g})"
        return f"({p} + {Z**2 / 2:.6g} {sign} {Z:g} * {root}) / ({p} + {n} + {Z**2:.6g})"

    def _or_zero(self, expression: str) -> str:
        """A row without a series of its own counts 0, lest templates with one kind of vote vanish."""
        return f"({expression} or {self._zero()})"

    def _zero(self) -> str:
        if not self.by:
            return "vector(0)"
        votes = self.increase.of(self.view.votes, self.view.filters, self.by)
        interactions = self.increase.of(self.view.interactions, self.view.filters, self.by)
        return f"0 * ({votes} or {interactions})"
