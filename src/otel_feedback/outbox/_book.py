"""Votes in the outbox's file: the state of one interaction is one small text.

All that a transaction reads and writes goes in two statements, with JSON for many rows: each step of a statement lets
go of Python's lock, and gets it back late where the process has much to do.
"""

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

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
        self._known: dict[str, State] = {}
        self._changed: dict[str, None] = {}

    def fetch(self, keys: Iterable[VoteKey]) -> None:
        """Read the interactions that are going to be looked up."""
        missing = [target for target in dict.fromkeys(map(_target, keys)) if target not in self._known]
        if not missing:
            return
        (found,) = self._connection.execute(
            "SELECT json_group_array(json_array(target, json(state), expires_at)) FROM interactions "
            "WHERE target IN (SELECT value FROM json_each(?))",
            (_encode(missing),),
        ).fetchone()
        self._known.update((target, State()) for target in missing)
        self._known.update((target, _unpack(state, expires_at)) for target, state, expires_at in json.loads(found))

    def look_up(self, ballot: Ballot) -> tuple[State, Transition]:
        """Find out what a feedback does to its vote; nothing changes."""
        self.fetch((ballot.key,))
        state = self._known[_target(ballot.key)]
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
        if not self._changed:
            return
        states = ((target, self._known[target]) for target in self._changed)
        rows = [(target, _plain(state), state.expires_at) for target, state in states]
        self._connection.execute(
            "INSERT INTO interactions (target, state, expires_at) "
            "SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]') "
            "FROM json_each(?) WHERE true "
            "ON CONFLICT (target) DO UPDATE SET state = excluded.state, expires_at = excluded.expires_at",
            (_encode(rows),),
        )


def prune(connection: sqlite3.Connection, now: int) -> int:
    """Forget interactions whose handles have all expired, and return how many; ``now`` in seconds since 1970."""
    return connection.execute(
        "DELETE FROM interactions WHERE target IN (SELECT target FROM interactions WHERE expires_at < ? LIMIT ?)",
        (now, PRUNED_AT_ONCE),
    ).rowcount


def _target(key: VoteKey) -> str:
    return f"{key.trace_id:032x}{key.span_id:016x}"


def _name(key: VoteKey) -> str:
    return f"{key.signal}\n{key.submitter or ''}"


def _plain(state: State) -> tuple[bool, dict[str, Any]]:
    votes = {name: (vote.sentiment, vote.last_id, vote.seal, *vote.seen) for name, vote in state.votes.items()}
    return state.voted, votes


def _unpack(state: tuple[bool, dict[str, Any]], expires_at: int) -> State:
    voted, votes = state
    return State(
        voted=voted,
        expires_at=expires_at,
        votes={
            name: Vote(sentiment, last_id, tuple(seen), seal)
            for name, (sentiment, last_id, seal, *seen) in votes.items()
        },
    )
