"""What a vote was before: the state that turns a new click into "first", "changed", "taken back" or "sent twice".

A ``VoteBook`` is a seam: this module has the one in memory, right within one process; a shared one counts for several.
"""

import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from otel_feedback.semconv import RETRACTED, UNSET

MAX_INTERACTIONS: Final = 100_000
"""How many interactions with feedback a book in memory remembers: about 100 MB at most, in practice a fifth."""

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
        first: The first explicit opinion on this interaction, whatever its signal and submitter. A retraction is none,
            and what is said after it isn't the first again.
        repeated: The id has been seen on this vote: nothing is delivered and nothing changes.
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
        id: str,
        sentiment: str,
        explicit: bool,
        deliver: Callable[[Transition], None],
    ) -> Transition:
        """Find out what a feedback does to its vote, have it delivered, and remember it.

        The vote is held while ``deliver`` runs, so that two feedbacks on one vote never take one state for the state
        before. What ``deliver`` raises passes through, and then nothing has changed.

        Args:
            key: The vote.
            id: Id of the feedback. One that this vote has had, however long ago, is a repetition.
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
    votes: OrderedDict[tuple[str, str | None], _Vote] = field(default_factory=OrderedDict)


class MemoryVoteBook:
    """Votes of this process, gone with it. Thread-safe; bounded: what was used least lately is forgotten first.

    A forgotten vote counts as new when it is cast again.
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
        _renew_lock_after_fork(self)

    def cast(
        self,
        key: VoteKey,
        *,
        id: str,
        sentiment: str,
        explicit: bool,
        deliver: Callable[[Transition], None],
    ) -> Transition:
        """See ``VoteBook.cast``. One lock for all: delivering into memory takes microseconds."""
        with self._lock:
            interaction = self._interactions.get((key.trace_id, key.span_id)) or _Interaction()
            vote = interaction.votes.get((key.signal, key.submitter))
            if vote is None:
                transition = Transition(UNSET, None, first=False, repeated=False)
            else:
                transition = Transition(vote.sentiment, vote.ids[-1], first=False, repeated=id in vote.ids)
            if transition.repeated:
                return transition
            opinion = explicit and sentiment != RETRACTED
            if opinion and not interaction.voted:
                transition = replace(transition, first=True)
            deliver(transition)
            self._remember(key, interaction, vote, id, sentiment)
            interaction.voted |= opinion
            return transition
