"""Which feedback of a vote counts: a pure function of all that was sent for it, in whatever order it came."""

from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

from otel_feedback.intake.rows import UNKNOWN_FACTS, FeedbackRow

if TYPE_CHECKING:
    from collections.abc import Iterable

VoteKey = tuple[str, str, str, str]
"""Trace and span of the answer, signal, submitter."""

_FACTS: Final = frozenset(UNKNOWN_FACTS)
_TOLD: Final = tuple(index for index, name in enumerate(FeedbackRow._fields) if name not in _FACTS)


class Settled(NamedTuple):
    """One feedback and whether it is the one of its vote that counts."""

    row: FeedbackRow
    standing: bool


def vote_of(row: FeedbackRow) -> VoteKey:
    """The vote that a feedback belongs to."""
    return row[:4]


def settle_votes(rows: "Iterable[FeedbackRow]") -> list[Settled]:
    """Remove repeats and find what stands.

    A feedback's id counts once within its vote: the earliest stays, since a repeat is stamped later. Of those that no
    other feedback of the vote revises the latest stands; where each is revised (a circle), the latest of all.

    Args:
        rows: Feedback of any votes, repeats included.

    Returns:
        One entry per vote and id, votes in the order of their keys, each from the oldest to the newest.
    """
    votes: defaultdict[VoteKey, dict[str, FeedbackRow]] = defaultdict(dict)
    for row in rows:
        vote = votes[vote_of(row)]
        known = vote.get(row.feedback_id)
        if known is None or _age(row) < _age(known):
            vote[row.feedback_id] = row
    return [settled for key in sorted(votes) for settled in _settle(votes[key].values())]


def _settle(rows: "Iterable[FeedbackRow]") -> list[Settled]:
    ordered = sorted(rows, key=_moment)
    revised = {row.revises for row in ordered if row.revises != row.feedback_id}
    unrevised = [row for row in ordered if row.feedback_id not in revised]
    standing = (unrevised or ordered)[-1].feedback_id
    return [Settled(row, row.feedback_id == standing) for row in ordered]


def _moment(row: FeedbackRow) -> tuple[int, str]:
    return row.at_ns, row.feedback_id


def _age(row: FeedbackRow) -> tuple[int, list[str], list[str]]:
    # Repeats at the very same time differ in nothing, or by what is compared here so that the order they came in
    # doesn't matter. Facts last: a stored row may have its interaction's by now.
    return row.at_ns, [repr(row[index]) for index in _TOLD], [repr(getattr(row, name)) for name in UNKNOWN_FACTS]
