"""Users who vote, change their minds and take them back, and pages that send again until it is acknowledged."""

import contextlib
import http.client
import json
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from otel_feedback._signals import DEFAULT_SIGNALS

VALUES: Final[dict[str, tuple[Any, ...]]] = {
    "thumbs": ("up", "down", None),
    "stars": (1, 2, 3, 4, 5, None),
    "helpful": ("yes", "no", None),
    "copy": (0.1, 0.9, True),
    "edit": (0.0, 0.4, 0.9),
}
"""What is sent of each signal; ``None`` takes it back."""

MOST_CHANGES: Final = 40
"""Of one vote; an endpoint takes a hundred."""

AGAIN_SECONDS: Final = 0.05
"""Until a refused feedback is sent again; a page waits for as long as it is told to."""

GIVES_UP: Final = 0.003
"""Share of the feedback that a page stops to send after a failure: its user has gone."""

REPEATS: Final = 0.05
"""Share that is sent once more although it was acknowledged: the answer did not reach the page."""

_TIMEOUT: Final = 20.0


@dataclass(slots=True)
class Sent:
    """One feedback of a vote.

    Attributes:
        id: Of it.
        sentiment: What its vote becomes.
        acknowledged: Whether somebody answered 202.
    """

    id: str
    sentiment: str
    acknowledged: bool = False


@dataclass(slots=True)
class Vote:
    """One user's word on one answer, by one signal."""

    trace_id: str
    span_id: str
    signal: str
    handle: str
    value: Any = None
    sent: list[Sent] = field(default_factory=list)


class Voters:
    """Threads that each have answers of their own to judge, one request at a time.

    Args:
        handle: Makes the handle of an answer by trace and span id.
        ports: Of the endpoints; each request goes to one of them by chance, and so does its repetition.
        senders: How many threads.
        pause: Seconds between two feedbacks of one thread, on average.
        seed: Of what they do.
    """

    def __init__(
        self,
        handle: Callable[[str, str], str],
        ports: Sequence[int],
        *,
        senders: int = 6,
        pause: float = 0.01,
        seed: int = 1,
    ) -> None:
        self._handle, self._ports, self._pause, self._seed = handle, ports, pause, seed
        self._votes: list[list[Vote]] = [[] for _ in range(senders)]
        self.acknowledged = self.refused = self.broken = 0
        """Feedbacks that were acknowledged; 503s; connections that broke or could not be made. About: not locked."""
        self._ended = threading.Event()
        self._trouble: list[BaseException] = []

    @property
    def votes(self) -> list[Vote]:
        """All votes so far."""
        return [vote for own in self._votes for vote in own]

    @contextlib.contextmanager
    def voting(self) -> Iterator[None]:
        """Vote until the end of the block, and then until all is acknowledged or given up."""
        threads = [threading.Thread(target=self._run, args=(number,)) for number in range(len(self._votes))]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._ended.set()
            for thread in threads:
                thread.join()
            self._ended.clear()
        if self._trouble:
            raise self._trouble[0]

    def _run(self, number: int) -> None:
        try:
            _Sender(self, number).run()
        except BaseException as error:
            self._trouble.append(error)


class _Sender:
    """One thread's work."""

    def __init__(self, all_of_them: Voters, number: int) -> None:
        self._all, self._own = all_of_them, all_of_them._votes[number]  # noqa: SLF001 - this module's own class
        self._place, self._seed = number, all_of_them._seed  # noqa: SLF001 - as above
        self._chance = random.Random(f"{self._seed} {number} {len(self._own)}")
        self._connections: dict[int, http.client.HTTPConnection] = {}

    def run(self) -> None:
        """Vote until the end."""
        try:
            while not self._all._ended.is_set():  # noqa: SLF001 - as above
                self._vote()
                time.sleep(self._chance.expovariate(1 / self._all._pause))  # noqa: SLF001 - as above
        finally:
            for connection in self._connections.values():
                connection.close()

    def _vote(self) -> None:
        vote = self._which()
        body: dict[str, Any] = {"handle": vote.handle, "signal": vote.signal}
        late = vote.sent and vote.value is not None and self._chance.random() < 0.2
        if late:  # a detail after the click is the same opinion
            body["reasons"] = ["outdated"]
        else:
            vote.value = self._chance.choice(VALUES[vote.signal])
        if vote.signal in ("thumbs", "stars", "helpful"):
            body["nonce"] = vote.trace_id  # every request of this browser has the same
        body["value"] = vote.value
        name = f"{self._place}-{len(self._own)}-{self._own.index(vote)}-{len(vote.sent)}"
        sent = Sent(name, DEFAULT_SIGNALS.judge(vote.signal, vote.value).sentiment)
        vote.sent.append(sent)
        self._insist(json.dumps({**body, "id": sent.id}).encode(), sent)

    def _which(self) -> Vote:
        recent = [vote for vote in self._own[-12:] if len(vote.sent) < MOST_CHANGES]
        if recent and self._chance.random() < 0.7:
            return self._chance.choice(recent)
        number = len(self._own)
        place = f"{self._place + 1:04x}"
        trace_id, span_id = f"{self._seed:012x}{place}{number:016x}", f"{place}{number:012x}"
        other = self._own[-1] if number % 3 and number else None  # several signals on one answer
        if other is not None:
            trace_id, span_id = other.trace_id, other.span_id
        used = {vote.signal for vote in self._own[-6:] if vote.trace_id == trace_id}
        signal = self._chance.choice([name for name in VALUES if name not in used])
        handle = other.handle if other else self._all._handle(trace_id, span_id)  # noqa: SLF001 - as above
        self._own.append(Vote(trace_id, span_id, signal, handle))
        return self._own[-1]

    def _insist(self, body: bytes, sent: Sent) -> None:
        deadline = time.monotonic() + 180
        while not sent.acknowledged:
            if time.monotonic() > deadline:
                raise AssertionError("a feedback was not taken for three minutes")
            status = self._post(body)
            if status == http.HTTPStatus.ACCEPTED:
                sent.acknowledged = True
                self._all.acknowledged += 1
                if self._chance.random() < REPEATS:
                    self._post(body)
            elif status is None or status == http.HTTPStatus.SERVICE_UNAVAILABLE:
                if status is None:
                    self._all.broken += 1
                else:
                    self._all.refused += 1
                if self._chance.random() < GIVES_UP:
                    return
                time.sleep(AGAIN_SECONDS)
            else:
                raise AssertionError(f"a good feedback got {status}")

    def _post(self, body: bytes) -> int | None:
        """Send one feedback to one of the endpoints; ``None`` where there was no answer."""
        port = self._chance.choice(self._all._ports)  # noqa: SLF001 - as above
        connection = self._connections.get(port)
        if connection is None:
            connection = self._connections[port] = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT)
        try:
            connection.request("POST", "/v1/feedback", body, {"content-type": "application/json"})
            response = connection.getresponse()
            response.read()
        except TimeoutError:
            raise AssertionError(f"the endpoint did not answer within {_TIMEOUT:g} s") from None
        except (OSError, http.client.HTTPException):
            connection.close()
            return None
        return response.status
