"""Capture on the store: a vote becomes the same span that a service would send, and is durable when it is answered."""

import threading
import time
import weakref
from collections.abc import Callable
from typing import Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource

from otel_feedback import _runtime, semconv
from otel_feedback._carrier import Carrier
from otel_feedback._handle import HandleCodec, Keyring
from otel_feedback._recorder import Recorder
from otel_feedback._settings import Settings
from otel_feedback._version import VERSION
from otel_feedback._votes import Ballot, Transition, Vote, digest, transition_of
from otel_feedback.exceptions import DeliveryError, StoreError
from otel_feedback.intake import FeedbackRow, read_traces
from otel_feedback.outbox._encode import encode
from otel_feedback.outbox._rows import own_ids
from otel_feedback.outbox._spans import span_of
from otel_feedback.server.seals import Seals
from otel_feedback.store import Store
from otel_feedback.store._settle import settle_votes

_RESOURCE: Final = Resource({"service.name": "otel-feedback", "service.version": VERSION})
"""Of what this process itself sends."""


def make_recorder(store: Store, *, seals: Seals, keep_content: bool) -> Recorder:
    """Make what takes votes into a store.

    Handles are checked with the keys of the environment, else with the key in the data folder.

    Args:
        store: Where votes go, and where the earlier ones are.
        seals: Who may change them.
        keep_content: Whether comments and corrections are kept.

    Raises:
        ConfigurationError: The keys, or the file of the seals, can't be used.
    """
    seals.open()
    settings = Settings.from_env(capture_text=keep_content, state_dir=store.path)
    if settings.handle_keys is None and settings.handle_keys_file is None:
        keyring = Keyring.from_state_dir(store.path)
        codec = HandleCodec(keyring, ttl=settings.handle_ttl, facts_mode=settings.handle_facts)
    else:
        codec = _runtime.make_codec(settings, may_make_key=False)
    return Recorder(
        codec=codec,
        settings=settings,
        votes=StoreVoteBook(store, seals),
        delivery=StoreDelivery(store, keep_content=keep_content),
        text_switch="--keep-content keeps it.",
        known_facts=lambda *_: None,  # the store joins each vote to its answer
    )


class StoreDelivery:
    """Writes carriers into a store, the way that every span takes."""

    def __init__(self, store: Store, *, keep_content: bool, clock: Callable[[], int] = time.time_ns) -> None:
        """Prepare a delivery.

        Args:
            store: Where to.
            keep_content: Whether comments and corrections are kept.
            clock: Nanoseconds since 1970.
        """
        self._store = store
        self._keep_content = keep_content
        self._clock = clock

    def submit(self, carrier: Carrier) -> None:
        """See ``Delivery.submit``; it returns when the carrier is durable."""
        batch = read_traces(request_of(carrier), received_ns=self._clock(), keep_content=self._keep_content)
        if batch.rejected:
            raise DeliveryError("The store refuses the feedback.")
        try:
            self._store.write(batch)
        except StoreError as error:
            raise DeliveryError(str(error)) from error


class _Lock:
    """A lock that can be kept for only as long as somebody needs it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()


class StoreVoteBook:
    """Votes as the store has them: what was said before a restart, or by another way in, counts as well."""

    def __init__(self, store: Store, seals: Seals) -> None:
        """Remember votes in a store, which the delivery writes to.

        Args:
            store: Where votes are.
            seals: Who may change them.
        """
        self._store = store
        self._seals = seals
        self._locks: weakref.WeakValueDictionary[tuple[int, int], _Lock] = weakref.WeakValueDictionary()
        self._lock = threading.Lock()

    def cast(self, ballot: Ballot, deliver: Callable[[Transition], None]) -> Transition:
        """See ``VoteBook.cast``; one answer's votes wait for each other, and for no others."""
        key = ballot.key
        with self._lock:
            held = self._locks.setdefault((key.trace_id, key.span_id), _Lock())
        with held.lock:
            try:
                history = self._store.votes_of(f"{key.trace_id:032x}", f"{key.span_id:016x}")
            except StoreError as error:
                raise DeliveryError(str(error)) from error
            vote = self._vote(history, ballot)
            voted = any(row.kind == semconv.EXPLICIT and row.sentiment != semconv.RETRACTED for row in history)
            transition = transition_of(ballot, vote, voted=voted)
            if not transition.repeated:
                if vote is None:
                    self._seals.put(ballot)
                deliver(transition)
            return transition

    def _vote(self, history: list[FeedbackRow], ballot: Ballot) -> Vote | None:
        key = ballot.key
        rows = [row for row in history if (row.signal, row.submitter) == (key.signal, key.submitter or "")]
        standing = next((settled.row for settled in settle_votes(rows) if settled.standing), None)
        if standing is None:
            return None
        seen = tuple(digest(row.feedback_id) for row in rows)
        return Vote(standing.sentiment, standing.feedback_id, seen, self._seals.seal_of(ballot, seen))


def request_of(carrier: Carrier) -> ExportTraceServiceRequest:
    """Write a carrier as the request that exports it: the same span that ``SpanDelivery`` sends."""
    return encode([span_of(carrier, own_ids(carrier), _RESOURCE)])
