"""Votes in the outbox's file: the state of one interaction is one small text."""

import json
import sqlite3
from dataclasses import dataclass, field
from typing import Final

from otel_feedback._votes import MAX_VOTES, Ballot, Transition, Vote, VoteKey, transition_of, vote_after

PRUNED_AT_ONCE: Final = 500
"""Interactions that are forgotten in one transaction, when no handle for them can be valid any more."""

GRACE_SECONDS: Final = 86_400
"""For which an interaction is remembered longer, since clocks differ."""

_encode: Final = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(slots=True)
class State:
    """What the book knows of one interaction.

    Attributes:
        voted: Whether somebody gave an explicit opinion.
        expires_at: Second since 1970 from which on it may be forgotten.
        votes: By signal and submitter, the one cast least lately first.
    """

    voted: bool = False
    expires_at: int = 0
    votes: dict[str, Vote] = field(default_factory=dict)


class Book:
    """The votes that one transaction reads and changes."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Open the book for one transaction, which has begun."""
        self._connection = connection
        self._known: dict[bytes, State] = {}
        self._changed: dict[bytes, None] = {}

    def look_up(self, ballot: Ballot) -> tuple[State, Transition]:
        """Find out what a feedback does to its vote; nothing changes."""
        target = _target(ballot.key)
        state = self._known.get(target)
        if state is None:
            state = self._known[target] = self._read(target)
        return state, transition_of(ballot, state.votes.get(_name(ballot.key)), voted=state.voted)

    def note(self, ballot: Ballot, state: State) -> None:
        """Remember a feedback that is no repetition."""
        name = _name(ballot.key)
        before = state.votes.pop(name, None)
        state.votes[name] = vote_after(ballot, before)
        if len(state.votes) > MAX_VOTES:
            del state.votes[next(iter(state.votes))]
        state.voted |= ballot.opinion
        state.expires_at = max(state.expires_at, min(ballot.expires_at + GRACE_SECONDS, 2**62))
        self._changed[_target(ballot.key)] = None

    def write(self) -> None:
        """Write what changed."""
        self._connection.executemany(
            "INSERT INTO interactions VALUES (?, ?, ?) "
            "ON CONFLICT (target) DO UPDATE SET state = excluded.state, expires_at = excluded.expires_at",
            [(target, _pack(self._known[target]), self._known[target].expires_at) for target in self._changed],
        )

    def _read(self, target: bytes) -> State:
        found = self._connection.execute(
            "SELECT state, expires_at FROM interactions WHERE target = ?", (target,)
        ).fetchone()
        return State() if found is None else _unpack(*found)


def prune(connection: sqlite3.Connection, now: int) -> int:
    """Forget interactions whose handles have all expired, and return how many; ``now`` in seconds since 1970."""
    return connection.execute(
        "DELETE FROM interactions WHERE target IN (SELECT target FROM interactions WHERE expires_at < ? LIMIT ?)",
        (now, PRUNED_AT_ONCE),
    ).rowcount


def _target(key: VoteKey) -> bytes:
    return key.trace_id.to_bytes(16, "big") + key.span_id.to_bytes(8, "big")


def _name(key: VoteKey) -> str:
    return f"{key.signal}\n{key.submitter or ''}"


def _pack(state: State) -> str:
    votes = {name: (vote.sentiment, vote.last_id, vote.seal, *vote.seen) for name, vote in state.votes.items()}
    return _encode((state.voted, votes))


def _unpack(text: str, expires_at: int) -> State:
    voted, votes = json.loads(text)
    return State(
        voted=voted,
        expires_at=expires_at,
        votes={
            name: Vote(sentiment, last_id, tuple(seen), seal)
            for name, (sentiment, last_id, seal, *seen) in votes.items()
        },
    )
