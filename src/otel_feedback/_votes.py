"""What a vote was before: the memory that tells a first click from a change, a retraction and a repetition.

``VoteBook`` is a seam. The book in here is kept in memory and right within one process; ``outbox`` keeps one in a file.
What a feedback does to its vote is the same in every book: ``transition_of``.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeVar

from otel_feedback._fork import renew_in_child
from otel_feedback.exceptions import TooManyChangesError, VoteConflictError
from otel_feedback.semconv import RETRACTED, UNSET

K = TypeVar("K")
V = TypeVar("V")

MAX_INTERACTIONS: Final = 50_000
"""How many interactions with feedback a book in memory remembers: 35 MB with one vote each."""

MAX_VOTES: Final = 256
"""How many votes of one interaction it remembers."""

MAX_CHANGES: Final = 100
"""How often one vote may be changed: each change is an opinion expressed, and no person needs more."""


@dataclass(frozen=True, slots=True)
class VoteKey:
    """Whose vote on what: interaction span, signal and submitter (a pseudonym, or ``None``)."""

    trace_id: int
    span_id: int
    signal: str
    submitter: str | None


@dataclass(frozen=True, slots=True)
class Ballot:
    """One feedback, as far as a book needs to know it.

    Attributes:
        key: The vote.
        id: Id of the feedback. One that this vote has had is a repetition, whatever came in between.
        sentiment: What the vote becomes.
        explicit: Whether the signal is explicit.
        nonce: The secret of the browser that sent it. Where a vote's first feedback came with one, only who has the
            same may change it.
        expires_at: Second since 1970 from which on nobody has a handle that could change the vote.
    """

    key: VoteKey
    id: str
    sentiment: str
    explicit: bool
    nonce: str | None = None
    expires_at: int = 2**62

    @property
    def opinion(self) -> bool:
        """Whether it is somebody's word; to take one's word back is none."""
        return self.explicit and self.sentiment != RETRACTED


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

    def cast(self, ballot: Ballot, deliver: Callable[[Transition], None]) -> Transition:
        """Find out what a feedback does to its vote, have it delivered, and remember it.

        The vote is held while ``deliver`` runs, so that two feedbacks never both follow the same state. What
        ``deliver`` raises passes through, and then nothing has changed.

        Args:
            ballot: The feedback.
            deliver: Called with the transition, unless it is a repetition.

        Raises:
            VoteConflictError: The vote was given with another nonce.
            TooManyChangesError: It was changed ``MAX_CHANGES`` times.
            DeliveryError: The book can't be asked or written.
        """


@dataclass(frozen=True, slots=True)
class Vote:
    """A vote as a book remembers it.

    Attributes:
        sentiment: What it is.
        last_id: Id of the feedback that made it so: what a change revises.
        seen: Digests of the ids that it has had.
        seal: Digest of the nonce that it was first given with, if any.
    """

    sentiment: str
    last_id: str
    seen: tuple[str, ...]
    seal: str | None


def transition_of(ballot: Ballot, vote: Vote | None, *, voted: bool) -> Transition:
    """Say what a feedback does to its vote.

    Args:
        ballot: The feedback.
        vote: The vote as it is; ``None`` before any feedback.
        voted: Whether the interaction has had an explicit opinion.

    Raises:
        VoteConflictError: The vote was given with another nonce.
        TooManyChangesError: It was changed ``MAX_CHANGES`` times, and this takes nothing back.
    """
    if vote is None:
        return Transition(UNSET, None, first=ballot.opinion and not voted, repeated=False)
    if digest(ballot.id) in vote.seen:
        return Transition(vote.sentiment, vote.last_id, first=False, repeated=True)
    if vote.seal is not None and (ballot.nonce is None or digest(ballot.nonce) != vote.seal):
        raise VoteConflictError
    # Taking one's word back is always possible, once.
    if len(vote.seen) > MAX_CHANGES and (ballot.sentiment != RETRACTED or vote.sentiment == RETRACTED):
        raise TooManyChangesError
    return Transition(vote.sentiment, vote.last_id, first=ballot.opinion and not voted, repeated=False)


def vote_after(ballot: Ballot, vote: Vote | None) -> Vote:
    """Return the vote once a feedback that is no repetition was delivered."""
    own = digest(ballot.id)
    if vote is None:
        return Vote(ballot.sentiment, ballot.id, (own,), None if ballot.nonce is None else digest(ballot.nonce))
    return Vote(ballot.sentiment, ballot.id, (*vote.seen, own), vote.seal)


def digest(text: str) -> str:
    """Return 24 hex digits that stand for an id or a nonce, whatever its length: a book holds no secret."""
    return hashlib.sha256(text.encode()).hexdigest()[:24]


@dataclass(slots=True)
class _Interaction:
    voted: bool = False
    votes: dict[tuple[str, str | None], Vote] = field(default_factory=dict)


class MemoryVoteBook:
    """Votes of this process, gone with it: thread-safe and bounded.

    What was cast least lately is forgotten first; when it is cast again, it counts as new.
    """

    def __init__(self, *, max_interactions: int = MAX_INTERACTIONS, max_votes: int = MAX_VOTES) -> None:
        self._max_interactions = max_interactions
        self._max_votes = max_votes
        self._interactions: OrderedDict[tuple[int, int], _Interaction] = OrderedDict()
        self._lock = threading.Lock()
        renew_in_child(self, _renew_lock)

    def cast(self, ballot: Ballot, deliver: Callable[[Transition], None]) -> Transition:
        """See ``VoteBook.cast``. One lock for all: delivering into memory takes microseconds."""
        key = ballot.key
        with self._lock:
            interaction = self._interactions.get((key.trace_id, key.span_id)) or _Interaction()
            vote = interaction.votes.get((key.signal, key.submitter))
            transition = transition_of(ballot, vote, voted=interaction.voted)
            if not transition.repeated:
                deliver(transition)
                interaction.voted |= ballot.opinion
                _put_last(interaction.votes, (key.signal, key.submitter), vote_after(ballot, vote), self._max_votes)
                _put_last(self._interactions, (key.trace_id, key.span_id), interaction, self._max_interactions)
            return transition


def _put_last(entries: dict[K, V], key: K, value: V, most: int) -> None:
    entries.pop(key, None)
    entries[key] = value
    if len(entries) > most:
        del entries[next(iter(entries))]


def _renew_lock(book: MemoryVoteBook) -> None:
    """A fork copies a lock that another thread may hold, and the child has no such thread to let it go."""
    book._lock = threading.Lock()  # noqa: SLF001 - this module's own class
