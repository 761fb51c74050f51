"""What a vote was before: the memory that tells a first click from a change, a retraction and a repetition.

``VoteBook`` is a seam. The book in here is kept in memory and right within one process.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeVar

from otel_feedback._fork import renew_in_child
from otel_feedback.semconv import RETRACTED, UNSET

K = TypeVar("K")
V = TypeVar("V")

MAX_INTERACTIONS: Final = 50_000
"""How many interactions with feedback a book in memory remembers: 35 MB with one vote each."""

MAX_VOTES: Final = 256
"""How many votes of one interaction it remembers."""

MAX_IDS: Final = 32
"""How many ids of one vote it remembers, to tell a repetition."""


@dataclass(frozen=True, slots=True)
class VoteKey:
    """Whose vote on what: interaction span, signal and submitter (a pseudonym, or ``None``)."""

    trace_id: int
    span_id: int
    signal: str
    submitter: str | None


@dataclass(frozen=True, slots=True)
class Transition:
    """What a feedback does to its vote.

    Attributes:
        previous_sentiment: What the vote was: ``unset`` before any feedback, else a sentiment.
        revises: Id of the feedback that this one replaces; ``None`` on the first.
        first: The first explicit opinion on this interaction, whatever its signal and submitter. A retraction
            is none, and what is said after it isn't the first again.
        repeated: The id has been seen on this vote: nothing is delivered and nothing changes; the previous
            sentiment is the vote's present one.
    """

    previous_sentiment: str
    revises: str | None
    first: bool
    repeated: bool


class VoteBook(Protocol):
    """Remembers votes."""

    def cast(
        self,
        key: VoteKey,
        *,
        id: str,  # noqa: A002 - what it is called on every way in
        sentiment: str,
        explicit: bool,
        deliver: Callable[[Transition], None],
    ) -> Transition:
        """Find out what a feedback does to its vote, have it delivered, and remember it.

        The vote is held while ``deliver`` runs, so that two feedbacks never both follow the same state. What
        ``deliver`` raises passes through, and then nothing has changed.

        Args:
            key: The vote.
            id: Id of the feedback. One that this vote has had is a repetition, whatever came in between.
            sentiment: What the vote becomes.
            explicit: Whether the signal is explicit.
            deliver: Called with the transition, unless it is a repetition.
        """


@dataclass(slots=True)
class _Vote:
    sentiment: str
    ids: tuple[str, ...]
    """Oldest first; the last one is what a change revises."""


@dataclass(slots=True)
class _Interaction:
    voted: bool = False
    votes: dict[tuple[str, str | None], _Vote] = field(default_factory=dict)


class MemoryVoteBook:
    """Votes of this process, gone with it: thread-safe and bounded.

    What was cast least lately is forgotten first; when it is cast again, it counts as new.
    """

    def __init__(
        self,
        *,
        max_interactions: int = MAX_INTERACTIONS,
        max_votes: int = MAX_VOTES,
        max_ids: int = MAX_IDS,
    ) -> None:
        self._max_interactions = max_interactions
        self._max_votes = max_votes
        self._max_ids = max_ids
        self._interactions: OrderedDict[tuple[int, int], _Interaction] = OrderedDict()
        self._lock = threading.Lock()
        renew_in_child(self, _renew_lock)

    def cast(
        self,
        key: VoteKey,
        *,
        id: str,  # noqa: A002 - what it is called on every way in
        sentiment: str,
        explicit: bool,
        deliver: Callable[[Transition], None],
    ) -> Transition:
        """See ``VoteBook.cast``. One lock for all: delivering into memory takes microseconds."""
        with self._lock:
            interaction = self._interactions.get((key.trace_id, key.span_id)) or _Interaction()
            vote = interaction.votes.get((key.signal, key.submitter))
            repeated = vote is not None and id in vote.ids
            opinion = explicit and sentiment != RETRACTED and not repeated
            transition = Transition(
                previous_sentiment=vote.sentiment if vote else UNSET,
                revises=vote.ids[-1] if vote else None,
                first=opinion and not interaction.voted,
                repeated=repeated,
            )
            if not repeated:
                deliver(transition)
                ids = (*vote.ids, id)[-self._max_ids :] if vote else (id,)
                interaction.voted |= opinion
                self._remember(key, interaction, _Vote(sentiment, ids))
            return transition

    def _remember(self, key: VoteKey, interaction: _Interaction, vote: _Vote) -> None:
        _put_last(interaction.votes, (key.signal, key.submitter), vote, self._max_votes)
        _put_last(self._interactions, (key.trace_id, key.span_id), interaction, self._max_interactions)


def _put_last(entries: dict[K, V], key: K, value: V, most: int) -> None:
    entries.pop(key, None)
    entries[key] = value
    if len(entries) > most:
        del entries[next(iter(entries))]


def _renew_lock(book: MemoryVoteBook) -> None:
    """A fork copies a lock that another thread may hold, and the child has no such thread to let it go."""
    book._lock = threading.Lock()  # noqa: SLF001 - this module's own class
