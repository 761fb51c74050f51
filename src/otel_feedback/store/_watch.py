"""What the writer remembers between commits, in bounded memory: answers seen lately and traces that may tell more."""

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    import duckdb

Target = tuple[str, str]
"""Trace and span of what is judged."""

WATCHED: Final = 100_000
"""Traces that are watched; of more the newest."""

RECENT: Final = 25_000
"""Answers in each of two generations whose facts are at hand without a look into the file."""


class Known(NamedTuple):
    """What a feedback takes from its answer."""

    started_us: int
    facts: tuple[str, ...]
    """In the order of ``UNKNOWN_FACTS``."""


class Recent:
    """Answers seen lately: the older of two generations goes when the younger is full."""

    def __init__(self) -> None:
        self._young: dict[Target, Known] = {}
        self._old: dict[Target, Known] = {}
        self._facts: dict[tuple[str, ...], tuple[str, ...]] = {}

    def get(self, target: Target) -> Known | None:
        """What is remembered of an answer."""
        return self._young.get(target) or self._old.get(target)

    def put(self, target: Target, known: Known) -> None:
        """Remember an answer, in place of what was known of it."""
        if len(self._young) >= RECENT:
            self._young, self._old, self._facts = {}, self._young, {}
        facts = self._facts.setdefault(known.facts, known.facts)
        self._young[target] = Known(known.started_us, facts)


class Watched(NamedTuple):
    """One span that is watched for more."""

    started_ns: int | None
    """``None`` while it hasn't come."""
    flagged: bool
    """Whether it says itself that it is an answer; else it is one because it was judged."""


class Watch:
    """Traces that are read again when a span comes: answers that lack facts, judged spans that aren't flagged."""

    def __init__(self, *, limit: int = WATCHED) -> None:
        self._limit = limit
        self._traces: dict[str, dict[str, Watched]] = {}

    def load(self, connection: "duckdb.DuckDBPyConnection") -> dict[Target, int]:
        """Read from the main tables what was watched before a start.

        Returns:
            Judged spans that hadn't come, with the time of the feedback in nanoseconds.
        """
        rows = connection.execute(
            """
            SELECT trace_id, span_id, epoch_us(started_at) * 1000, flagged, false, started_at AS moment
            FROM store.interactions WHERE NOT (complete AND flagged)
            UNION ALL
            SELECT trace_id, span_id, at_ns, false, true, given_at AS moment
            FROM store.feedback WHERE NOT joined AND target_sampled IS DISTINCT FROM false
            ORDER BY moment DESC LIMIT ?
            """,
            [self._limit],
        ).fetchall()
        missing: dict[Target, int] = {}
        for trace_id, span_id, time, flagged, is_missing, _ in reversed(rows):
            self.put((trace_id, span_id), None if is_missing else time, flagged=flagged)
            if is_missing:
                missing[trace_id, span_id] = time
        return missing

    def put(self, target: Target, started_ns: int | None, *, flagged: bool = False) -> None:
        """Watch a span, or know more about one that is watched."""
        if target[0] not in self._traces and len(self._traces) >= self._limit:
            del self._traces[next(iter(self._traces))]
        self._traces.setdefault(target[0], {})[target[1]] = Watched(started_ns, flagged)

    def drop(self, target: Target) -> None:
        """A watched span turned out to be an answer that says all itself."""
        spans = self._traces.get(target[0], {})
        spans.pop(target[1], None)
        if not spans:
            self._traces.pop(target[0], None)

    def has(self, target: Target) -> bool:
        """Whether a span is watched."""
        return target[1] in self._traces.get(target[0], ())

    def misses(self, target: Target) -> bool:
        """Whether a span is watched that hasn't come."""
        watched = self._traces.get(target[0], {}).get(target[1])
        return watched is not None and watched.started_ns is None

    def targets(self, trace_id: str) -> list[Target]:
        """The judged spans of a trace that aren't flagged as answers."""
        return [(trace_id, span_id) for span_id, it in self._traces.get(trace_id, {}).items() if not it.flagged]

    def start(self, trace_id: str) -> int | None:
        """When the first of a trace's watched spans started, in nanoseconds; ``None`` where none has come."""
        times = [it.started_ns for it in self._traces.get(trace_id, {}).values() if it.started_ns is not None]
        return min(times, default=None)

    def among(self, trace_ids: "Iterable[str]") -> set[str]:
        """Those of some traces that are watched."""
        return self._traces.keys() & trace_ids if self._traces else set()
