"""One commit: content first, then the main tables, so that what they say is always there to be shown.

DuckDB writes one file per transaction. A crash between the two leaves content that nothing names; its batches were not
acknowledged and come again.
"""

from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from otel_feedback.intake.members import members_of
from otel_feedback.intake.traces import complete_trace
from otel_feedback.store import _interactions as interactions
from otel_feedback.store._content import write_content
from otel_feedback.store._evaluations import add_evaluations
from otel_feedback.store._raw import find_spans, read_traces
from otel_feedback.store._votes import Votes
from otel_feedback.store._watch import Known, Recent, Target, Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from otel_feedback.intake.rows import Batch, FeedbackRow, InteractionRow
    from otel_feedback.store._databases import Databases
    from otel_feedback.store._interactions import Answered

LOOK_AT_ONCE: Final = 500_000
"""Rows that are looked through within a commit for an answer that isn't at hand; beyond, it is looked for later."""

Result = TypeVar("Result")


class Change(NamedTuple):
    """What a commit brought."""

    feedback: "tuple[FeedbackRow, ...]"
    """New feedback, as it is kept, oldest first."""
    interactions: int
    """How many new answers."""
    spans: int
    """How many raw spans."""


class Committer:
    """Writes batches; of one thread. What it remembers is only a short cut: the files have it all."""

    pending: dict[Target, int]
    """Judged spans that are to be looked for, with the time of the feedback in nanoseconds."""

    def __init__(self, databases: "Databases", *, look_at_once: int = LOOK_AT_ONCE) -> None:
        self._databases = databases
        self._look_at_once = look_at_once
        self._forget()

    def recall(self) -> None:
        """Forget what is remembered, and read from the files what has to be: before the first commit."""
        self._forget()
        self.pending = self._watch.load(self._databases.writer)
        tables = [("store", "interactions"), *((name, "traces") for name in self._databases.content())]
        self._rows = sum(_count(self._databases, name, table) for name, table in tables)

    def _forget(self) -> None:
        self._recent = Recent()
        self._watch = Watch()
        self._rows = 0
        self.pending = {}

    def commit(self, batches: "Sequence[Batch]") -> Change:
        """Make batches durable, all or none.

        Raises:
            duckdb.Error: Nothing of them is in the main tables.
        """
        write_content(self._databases, batches)
        change = self._in_transaction(lambda: self._write(batches))
        self._databases.keep_logs()
        self._rows += sum(len(batch.traces) for batch in batches) + change.interactions
        return change

    def look(self, most: int = 2_000) -> None:
        """Look for judged spans that weren't at hand when they were judged, the latest first."""
        some = dict(list(self.pending.items())[-most:])
        if some:
            self._in_transaction(lambda: self._look(some))

    def _in_transaction(self, write: "Callable[[], Result]") -> Result:
        writer = self._databases.writer
        writer.execute("BEGIN")
        try:
            result = write()
            writer.execute("COMMIT")
        except BaseException:
            self._databases.roll_back()
            raise
        return result

    def _write(self, batches: "Sequence[Batch]") -> Change:
        fresh = self._add_interactions(batches)
        add_evaluations(self._databases.writer, (row for batch in batches for row in batch.evaluations))
        feedback = [row for batch in batches for row in batch.feedback]
        traces = self._told_more(batches, fresh)
        given: list[FeedbackRow] = []
        if feedback or traces or fresh.keys() & self.pending.keys() or self._watch.among(key[0] for key in fresh):
            given = self._write_feedback(feedback, traces, fresh)
        for target, row in fresh.items():
            if row.complete:
                self._watch.drop(target)
                self.pending.pop(target, None)
        return Change(tuple(given), len(fresh), sum(batch.spans for batch in batches))

    def _write_feedback(
        self, feedback: "Sequence[FeedbackRow]", traces: set[str], fresh: "Mapping[Target, InteractionRow]"
    ) -> "list[FeedbackRow]":
        of_fresh = self._watch.among(key[0] for key in fresh)
        votes = Votes(self._databases.writer, {row.trace_id for row in feedback} | traces | of_fresh)
        known = self._at_hand(feedback, votes)
        if self.pending and self._rows <= self._look_at_once:
            more, found = self._search(self.pending)
            known |= more
            traces |= found
            self.pending.clear()
        changed = {target: interactions.known_of(row) for target, row in fresh.items()} | self._complete(traces)
        touched = [target for target in changed if votes.has(target)]
        return votes.settle(feedback, known | changed, touched)

    def _look(self, some: "Mapping[Target, int]") -> None:
        known, traces = self._search(some)
        known |= self._complete(traces)
        votes = Votes(self._databases.writer, {trace for trace, _ in known})
        votes.settle((), known, [target for target in known if votes.has(target)])
        for target in some:
            self.pending.pop(target, None)

    def _add_interactions(self, batches: "Sequence[Batch]") -> "dict[Target, InteractionRow]":
        """Put new answers in; one that was there because somebody judged it gives way to the one that says so."""
        gathered = interactions.gather(batches)
        if not gathered:
            return {}
        writer = self._databases.writer
        rows = [row for row, _ in gathered.values()]
        there = interactions.find(writer, rows)
        undated = {row[:2] for batch in batches for row in batch.interactions if row.started_ns == batch.received_ns}
        if undated:
            rows = [row for row in rows if row[:2] in undated and row[:2] not in there]
            there |= interactions.find(writer, rows, anytime=True)
        replaced = {target: number for target, (number, flagged) in there.items() if not flagged}
        if replaced:
            interactions.remove(writer, interactions.read(writer, list(replaced.values())).values())
        fresh = {target: it for target, it in gathered.items() if target not in there or target in replaced}
        interactions.add(writer, fresh.values())
        for target, (row, _) in fresh.items():
            self._recent.put(target, interactions.known_of(row))
        return {target: row for target, (row, _) in fresh.items()}

    def _told_more(self, batches: "Sequence[Batch]", fresh: "Mapping[Target, InteractionRow]") -> set[str]:
        """Traces of answers that lack facts, or are there by a judgement, of which spans have come."""
        for target, row in fresh.items():
            if not row.complete:
                self._watch.put(target, row.started_ns, flagged=True)
        rows = [row for batch in batches for row in batch.traces]
        watched = self._watch.among(row.trace_id for row in rows)
        for trace_id, members in [(row.trace_id, row.members) for row in rows if row.trace_id in watched]:
            for member in members_of(bytes.fromhex(members)):
                target = trace_id, member.span_id
                if self._watch.misses(target) and target not in fresh:
                    self._watch.put(target, member.started_us * 1000)
        return {trace for trace in watched if self._watch.start(trace) is not None}

    def _at_hand(self, feedback: "Iterable[FeedbackRow]", votes: Votes) -> "dict[Target, Known]":
        """The answers of feedback as far as they are remembered; the others are noted to be looked for."""
        known: dict[Target, Known] = {}
        for row in feedback:
            target = row[:2]
            if row.target_sampled is False or target in known:
                continue
            found = self._recent.get(target) or votes.known(target)
            if found is not None:
                known[target] = found
            elif not self._watch.misses(target):
                self._watch.put(target, None)
                self.pending[target] = row.at_ns
        return known

    def _search(self, some: "Mapping[Target, int]") -> "tuple[dict[Target, Known], set[str]]":
        """Look in the files for judged spans: those that are answers, and traces in which others have come."""
        answers = interactions.look_up(self._databases.writer, some)
        for target, found in answers.items():
            if found.flagged and found.complete:
                self._watch.drop(target)
            else:
                self._watch.put(target, found.known.started_us * 1000, flagged=found.flagged)
        rest = {target: at_ns for target, at_ns in some.items() if target not in answers and self._watch.misses(target)}
        started = find_spans(self._databases, rest) if rest else {}
        for target, started_ns in started.items():
            self._watch.put(target, started_ns)
        return {target: found.known for target, found in answers.items()}, {trace for trace, _ in started}

    def _complete(self, traces: "Collection[str]") -> "dict[Target, Known]":
        """Read traces again and write what they tell more; gives the answers that are new or have changed."""
        starts = {trace: start for trace in traces if (start := self._watch.start(trace)) is not None}
        if not starts:
            return {}
        wanted: dict[Target, Answered] = {}
        for trace, spans in read_traces(self._databases, starts).items():
            targets = self._watch.targets(trace)
            for row, documents in complete_trace(spans, targets=targets, received_ns=starts[trace]):
                if self._watch.has(row[:2]):  # others said all themselves
                    wanted[row[:2]] = interactions.kept(row, documents)
        writer = self._databases.writer
        numbers = [number for number, _ in interactions.find(writer, [row for row, _ in wanted.values()]).values()]
        there = interactions.read(writer, numbers) if numbers else {}
        same = {target for target, it in there.items() if wanted[target] == it.answered}
        changed = {target: it for target, it in wanted.items() if target not in same}
        interactions.remove(writer, [it for target, it in there.items() if target in changed])
        interactions.add(writer, changed.values())
        for target, (row, _) in changed.items():
            self._recent.put(target, interactions.known_of(row))
            self._watch.put(target, row.started_ns, flagged=row.flagged)
        return {target: interactions.known_of(row) for target, (row, _) in changed.items()}


def _count(databases: "Databases", name: str, table: str) -> int:
    counted: int = databases.writer.execute(f'SELECT count(*) FROM "{name}".{table}').fetchall()[0][0]  # noqa: S608
    return counted
