"""Satisfaction and lists of answers against a model in plain Python, for any history of votes and any filter."""

import datetime as dt
import tempfile
from collections import Counter, defaultdict
from pathlib import Path
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.store_parts import SECOND, STARTED, batch, feedback, interaction, opened, span

from otel_feedback.analysis.satisfaction import GROUPS, satisfaction, trend
from otel_feedback.intake.rows import UNKNOWN_FACTS, TextRow, WordsRow
from otel_feedback.store import _search
from otel_feedback.store._answers import answers
from otel_feedback.store.filters import FACTS, Filter

MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - many stores, each for a moment
START = dt.datetime.fromtimestamp(STARTED // SECOND, dt.timezone.utc)
HOUR = 3600 * SECOND
ANSWERS = 6
FEW = {
    "service": st.sampled_from(["rag", "bot"]),
    "prompt_name": st.sampled_from(["qa", "sum"]),
    "prompt_version": st.sampled_from(["v1", "v2"]),
    "model": st.sampled_from(["m-1", "m-2"]),
}
SIGNALS = {"thumbs": "explicit", "stars": "explicit", "copy": "implicit", "text": "correction"}
SENTIMENTS = st.sampled_from(["positive", "negative", "neutral", "retracted"])
PREVIOUS = st.sampled_from([None, "unset", "positive", "negative", "neutral", "retracted"])
_BOUNDS = ("NEAR", "MOST", "PASSED")
WORDS = st.sampled_from([None, "late", "Wrong price", "WRONG"])


@st.composite
def interactions(draw):
    made = []
    for number in draw(st.sets(st.integers(0, ANSWERS))):
        facts = tuple(draw(FEW[name]) if name in FEW else "unknown" for name in UNKNOWN_FACTS)
        flagged, hours = draw(st.integers(0, 4)) > 0, draw(st.integers(0, 3))
        made.append(interaction(number, started_ns=STARTED + hours * HOUR, facts=facts, flagged=flagged))
    return made


@st.composite
def votes(draw):
    made = []
    for index in range(draw(st.integers(0, 14))):
        signal = draw(st.sampled_from(sorted(SIGNALS)))
        made.append(
            feedback(
                draw(st.integers(0, ANSWERS)),
                f"f{index}",
                at_ns=STARTED + draw(st.integers(0, 9)) * HOUR // 2,
                signal=signal,
                kind=SIGNALS[signal],
                submitter=draw(st.sampled_from(["", "u"])),
                sentiment=draw(SENTIMENTS),
                previous_sentiment=draw(PREVIOUS),
                revises=draw(st.sampled_from([None, *(f"f{other}" for other in range(14))])),
                reasons=draw(st.sampled_from([(), ("late",), ("late", "wrong")])),
                target_sampled=draw(st.sampled_from([True, True, None, False])),
                **{name: draw(some) for name, some in FEW.items()},
            )
        )
    return made


FILTERS = st.builds(
    Filter,
    since=st.sampled_from([None, START, START + dt.timedelta(hours=1)]),
    until=st.sampled_from([None, START + dt.timedelta(hours=2), START + dt.timedelta(hours=3)]),
    service=st.sampled_from([None, "rag"]),
    template=st.sampled_from([None, "qa"]),
    version=st.sampled_from([None, "v2"]),
    model=st.sampled_from([None, "m-1"]),
)


class Judged:
    """One feedback as it counts: what stands, and the facts and the time of what it judges."""

    def __init__(self, row, history, known):
        vote = [other for other in history if other[:4] == row[:4]]
        revised = {other.revises for other in vote if other.revises != other.feedback_id}
        last = [other for other in vote if other.feedback_id not in revised] or vote
        self.row, self.target = row, row[:2]
        self.standing = row == max(last, key=lambda other: (other.at_ns, other.feedback_id))
        self.answer = None if row.target_sampled is False else known.get(self.target)
        self.facts = facts_of(self.answer or row)
        self.answered_ns = self.answer.started_ns if self.answer else row.at_ns


def facts_of(row):
    return {name: getattr(row, column) for name, column in FACTS.items()}


def passes(chosen, facts, at_ns):
    at = dt.datetime.fromtimestamp(at_ns // SECOND, dt.timezone.utc)
    in_time = (chosen.since is None or chosen.since <= at) and (chosen.until is None or at < chosen.until)
    return in_time and all(getattr(chosen, name) in {None, facts[name]} for name in FACTS)


def modelled(answered, history, by, chosen):
    """Satisfaction by group: the numbers of a row by its key."""
    known = {row[:2]: row for row in answered}
    groups = defaultdict(Counter)
    voted = defaultdict(set)
    for row in answered:
        if row.flagged and passes(chosen, facts_of(row), row.started_ns):
            groups[tuple(facts_of(row)[name] for name in by)]["interactions"] += 1
    for one in (Judged(row, history, known) for row in history):
        if not passes(chosen, one.facts, one.answered_ns):
            continue
        key = tuple(one.facts[name] for name in by)
        counts, row = groups[key], one.row
        if row.kind == "explicit":
            counts[row.sentiment] += one.standing
            if row.sentiment != row.previous_sentiment:
                counts[f"expressed {row.sentiment}"] += 1
                counts["changed"] += row.previous_sentiment not in {None, "unset"}
            if one.answer and one.answer.flagged and row.sentiment != "retracted":
                voted[key].add(one.target)
        elif one.standing and row.kind == "implicit" and row.sentiment != "retracted":
            counts[f"implicit {row.signal}"] += 1
        elif one.standing and row.kind == "correction" and row.sentiment in {"negative", "neutral"}:
            counts["corrections"] += 1
    return {key: +(counts | Counter(voted=len(voted[key]))) for key, counts in groups.items()}


def told(row):
    """The numbers of a row as the model has them."""
    plain = ("interactions", "voted", "positive", "negative", "neutral", "retracted", "changed", "corrections")
    counts = Counter({name: getattr(row, name) for name in plain})
    counts.update({f"expressed {sentiment}": count for sentiment, count in row.expressed.items()})
    counts.update({f"implicit {signal}": count for signal, count in row.implicit.items()})
    return +counts


def without_unseen(counts):
    """What a row doesn't tell: how many neutral opinions and retractions were expressed."""
    return Counter({name: n for name, n in counts.items() if name not in {"expressed neutral", "expressed retracted"}})


@given(interactions(), votes(), st.lists(st.tuples(st.sets(st.sampled_from(GROUPS), min_size=1), FILTERS), max_size=4))
@settings(max_examples=40, deadline=None)
def test_satisfaction_is_what_the_model_says(answered, history, questions):
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder, opened(Path(folder)) as store:
        store.write(batch(*history, *answered))
        store.settle()
        for groups, chosen in questions:
            by = sorted(groups)
            expected = modelled(answered, history, by, chosen)
            rows = satisfaction(store, by=by, filter=chosen)
            found = {tuple(row.key[name] for name in by): told(row) for row in rows}
            assert found == {key: without_unseen(counts) for key, counts in expected.items()}
            assert len(found) == len(rows)
            line = trend(store, chosen, bucket="hour")
            for name in ("interactions", "positive", "negative"):
                assert sum(getattr(point, name) for point in line) == sum(it[name] for it in expected.values())


def listed(answered, history, chosen, *, feedback, signal, reason, search, said):
    """Ids in the order of a list: what was said by target are its texts."""
    known = {row[:2]: row for row in answered}
    everything = [Judged(row, history, known) for row in history]
    places = {}
    if feedback == "all" and not signal and not reason:
        places = {row[:2]: row.started_ns for row in answered if passes(chosen, facts_of(row), row.started_ns)}
    for one in everything:
        row = one.row
        if not passes(chosen, one.facts, one.answered_ns):
            continue
        wanted = {"bad": {"negative"}, "good": {"positive"}}.get(feedback, {"positive", "negative", "neutral"})
        kinds = {"bad": {"explicit", "correction"}, "good": {"explicit"}}.get(feedback, {row.kind})
        matches = one.standing and row.sentiment in wanted and (signal == row.signal if signal else row.kind in kinds)
        matches = matches and (not reason or reason in row.reasons)
        if feedback == "all" and not signal and not reason:
            matches = not one.answer
        if matches:
            places[one.target] = max(places.get(one.target, 0), one.answered_ns)
    found = [(at, *target) for target, at in places.items()]
    found = [it for it in found if not search or any(search.lower() in text.lower() for text in said.get(it[1:], ()))]
    return [f"{trace_id}-{span_id}" for _, trace_id, span_id in sorted(found, reverse=True)]


@given(
    answered=interactions(),
    history=votes().map(lambda rows: [row._replace(target_sampled=True) for row in rows]),
    comments=st.lists(WORDS, min_size=14, max_size=14),
    texts=st.lists(WORDS, min_size=ANSWERS + 1, max_size=ANSWERS + 1),
    questions=st.lists(
        st.tuples(
            FILTERS,
            st.sampled_from(["bad", "good", "any", "all"]),
            st.sampled_from([None, "thumbs", "copy"]),
            st.sampled_from([None, "wrong"]),
            st.sampled_from([None, "wrong", "LATE", "rice", "."]),
            st.integers(1, 4),
            st.tuples(*(st.sampled_from([1, 2, 3, 1000]) for _ in _BOUNDS)),
        ),
        max_size=4,
    ),
)
@settings(max_examples=30, deadline=None)
def test_pages_of_answers_are_what_the_model_lists(answered, history, comments, texts, questions):
    said = defaultdict(list)
    rows = []
    for row, comment in zip(history, comments):  # noqa: B905 - there are more comments
        if comment:
            said[row[:2]].append(comment)
            rows.append(WordsRow(*row[:6], comment, None, None))
    for row in answered:
        text = texts[int(row.span_id, 16)]
        if text:
            said[row[:2]].append(text)
            # of a span below it, which only the raw spans tell
            rows.append(TextRow(row.trace_id, span(100), row.span_id, row.started_ns, None, text, None, "span"))
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder, opened(Path(folder)) as store:
        store.write(batch(*history, *answered, *rows))
        store.settle()
        ends_early = [(Filter(), which, None, None, "r", 2, (1, 1, 2)) for which in ("bad", "any", "all")]
        for chosen, feedback, signal, reason, search, limit, bounds in [*questions, *ends_early]:
            asked = {"feedback": feedback, "signal": signal, "reason": reason, "search": search}
            found, after = [], None
            while True:
                with patch.multiple(_search, **dict(zip(_BOUNDS, bounds, strict=True))):
                    page = answers(store, chosen, **asked, limit=limit, after=after)
                found += [row.id for row in page.rows]
                assert len(page.rows) <= limit
                assert page.next is None or page.next != after
                after = page.next
                if after is None:
                    break
                if page.looked_back_to is None:
                    assert len(page.rows) == limit
                    continue
                assert search is not None
                assert all(row.started_at >= page.looked_back_to for row in page.rows)
                assert int(after.split("-")[0]) == round(page.looked_back_to.timestamp() * 1e6)
            assert found == listed(answered, history, chosen, **asked, said=said)
