"""Compares what was acknowledged with what the store has: nothing lost, nothing twice, the last word stands."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from soak.line import Stored
from soak.voters import Sent, Vote


@dataclass
class Comparison:
    """What came of it.

    Attributes:
        acknowledged: Feedbacks that somebody was told to be safe.
        unanswered: Feedbacks that were sent, and given up without an answer: they may be there or not.
        stored: Feedbacks in the store.
        lost: Acknowledged ones that are not there.
        twice: That are there more than once.
        unknown: That are there and were never sent.
        wrong: Votes whose chain of changes, or whose standing state, isn't what was acknowledged.
    """

    acknowledged: int = 0
    unanswered: int = 0
    stored: int = 0
    lost: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def held(self) -> bool:
        """Whether all is as it should be."""
        return self.acknowledged > 0 and not (self.lost or self.twice or self.unknown or self.wrong)


def compare(votes: Sequence[Vote], rows: Iterable[Stored]) -> Comparison:
    """Compare all votes with all of the store's feedback."""
    found = Comparison()
    by_vote: defaultdict[tuple[str, str, str], list[Stored]] = defaultdict(list)
    for row in rows:
        by_vote[row[:3]].append(row)
        found.stored += 1
    for vote in votes:
        own = by_vote.pop((vote.trace_id, vote.span_id, vote.signal), [])
        name = f"{vote.trace_id} {vote.signal}"
        there = Counter(row.feedback_id for row in own)
        sent = {one.id: one for one in vote.sent}
        found.acknowledged += sum(one.acknowledged for one in vote.sent)
        found.unanswered += sum(not one.acknowledged for one in vote.sent)
        found.lost += [f"{name} {one.id}" for one in vote.sent if one.acknowledged and one.id not in there]
        found.twice += [f"{name} {id_}" for id_, count in there.items() if count > 1]
        found.unknown += [f"{name} {id_}" for id_ in there if id_ not in sent]
        found.wrong += [f"{name}: {what}" for what in _differences([sent[i] for i in sent if i in there], own)]
    found.unknown += [f"{' '.join(key)} {row.feedback_id}" for key, own in by_vote.items() for row in own]
    return found


def _differences(chain: Sequence[Sent], rows: Iterable[Stored]) -> Iterator[str]:
    """Say where one vote's rows are not the chain of what was sent, in that order, with its end standing."""
    by_id = {row.feedback_id: row for row in rows}
    before: Sent | None = None
    for place, one in enumerate(chain):
        row = by_id[one.id]
        wanted = (one.sentiment, before.sentiment if before else "unset", before.id if before else None)
        if (row.sentiment, row.previous_sentiment, row.revises) != wanted:
            yield f"{one.id} is {row.sentiment} after {row.previous_sentiment}, revises {row.revises}; not {wanted}"
        if row.standing != (place == len(chain) - 1):
            yield f"{one.id} {'stands' if row.standing else 'does not stand'}"
        before = one
