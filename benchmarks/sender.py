"""Sends the load over gRPC from a process of its own: ``python -m benchmarks.sender 127.0.0.1:4317 --spans 100000``.

Prints one JSON line when it is done. A request that is refused for now is sent again until it is taken.
"""

import argparse
import json
import os
import statistics
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Final

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from benchmarks.load import BATCH, Load, Request

EXPORT: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_FOR_NOW: Final = (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE)
_PAUSE: Final = 0.05
"""Seconds before a refused request is sent again."""


@dataclass(frozen=True)
class Sent:
    """What came of it.

    Attributes:
        spans: That were acknowledged.
        seconds: From the first request to the last acknowledgement.
        refused: Requests that had to be sent again.
        median: Seconds from a request to its acknowledgement.
        p99: The same, 99th percentile.
        cpu: Seconds of CPU that sending took.
    """

    spans: int
    seconds: float
    refused: int
    median: float
    p99: float
    cpu: float

    @property
    def rate(self) -> float:
        """Spans a second."""
        return self.spans / self.seconds


class Sender:
    """Sends requests, several at a time.

    Args:
        target: ``host:port``.
        in_flight: Requests that wait for their answer at a time.
        rate: Spans a second; as fast as they are taken by default.
    """

    def __init__(self, target: str, *, in_flight: int = 4, rate: float | None = None) -> None:
        self._channel = grpc.insecure_channel(target)
        self._export: grpc.UnaryUnaryMultiCallable[bytes, ExportTraceServiceResponse] = self._channel.unary_unary(
            EXPORT, None, ExportTraceServiceResponse.FromString
        )
        self._in_flight = in_flight
        self._rate = rate
        self._lock = threading.Lock()
        self._times: list[float] = []
        self._refused = 0
        self._spans = 0
        self._trouble: list[BaseException] = []

    def send(self, requests: Iterator[Request], *, spans: int) -> Sent:
        """Send so many spans.

        Raises:
            grpc.RpcError: A request was refused for good.
        """
        begun, cpu = time.monotonic(), time.process_time()
        left = [spans]
        due = [begun]
        threads = [threading.Thread(target=self._work, args=(requests, left, due)) for _ in range(self._in_flight)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self._trouble:
            raise self._trouble[0]
        return Sent(
            spans=self._spans,
            seconds=time.monotonic() - begun,
            refused=self._refused,
            median=statistics.median(self._times),
            p99=statistics.quantiles(self._times, n=100)[98] if len(self._times) > 1 else self._times[0],
            cpu=time.process_time() - cpu,
        )

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def _work(self, requests: Iterator[Request], left: list[int], due: list[float]) -> None:
        try:
            while True:
                with self._lock:
                    if left[0] <= 0 or self._trouble:
                        return
                    request = next(requests)
                    left[0] -= request.spans
                    if self._rate is not None:
                        due[0] += request.spans / self._rate
                    wait = due[0] - time.monotonic()
                if wait > 0:
                    time.sleep(wait)
                self._send(request)
        except BaseException as trouble:
            self._trouble.append(trouble)

    def _send(self, request: Request) -> None:
        begun = time.monotonic()
        while not self._is_taken(request):
            with self._lock:
                self._refused += 1
            time.sleep(_PAUSE)
        with self._lock:
            self._times.append(time.monotonic() - begun)
            self._spans += request.spans

    def _is_taken(self, request: Request) -> bool:
        try:
            self._export(request.body, timeout=60)
        except grpc.RpcError as refusal:
            if refusal.code() not in _FOR_NOW:
                raise
            return False
        return True


def main() -> None:
    """Send, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target")
    parser.add_argument("--spans", type=int, default=100_000)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--in-flight", type=int, default=4)
    parser.add_argument("--core", type=int)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if options.core is not None:
        os.sched_setaffinity(0, {options.core})
    sender = Sender(options.target, in_flight=options.in_flight, rate=options.rate)
    sent = sender.send(iter(Load(seed=options.seed, batch=options.batch)), spans=options.spans)
    sender.close()
    print(json.dumps({**asdict(sent), "rate": sent.rate}), flush=True)


if __name__ == "__main__":
    main()
