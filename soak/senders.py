"""Senders in a process of their own: ``python -m soak.senders PORT SECONDS CONNECTIONS AT_ONCE NUMBER``.

Each connection sends as soon as it is answered, and comes again where it is refused. Prints one JSON object.
"""

import asyncio
import contextlib
import json
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from soak.process import handles
from soak.wire import request

PAUSE = 0.05
"""Seconds that a sender waits where its connection was refused: none obeys Retry-After."""


@dataclass
class Sent:
    """What became of all that was sent.

    Attributes:
        statuses: Answers by status.
        acknowledged: Ids of the feedback that was answered by 202.
        without_later: Answers of 429 and 503 that don't say when to come again.
        cut: Connections that ended without an answer.
        by_second: How many were acknowledged in each second.
    """

    statuses: Counter[str] = field(default_factory=Counter)
    acknowledged: list[str] = field(default_factory=list)
    without_later: int = 0
    cut: int = 0
    by_second: Counter[str] = field(default_factory=Counter)


def _requests(number: int) -> Iterator[tuple[str, bytes]]:
    for place, handle in enumerate(handles(number << 40 | 1)):
        found = f"s{number}-{place}"
        yield (
            found,
            request(json.dumps({"handle": handle, "signal": "thumbs", "value": "up", "id": found}).encode()),
        )


async def _send(port: int, until: float, at_once: int, source: Iterator[tuple[str, bytes]], sent: Sent) -> None:
    while time.monotonic() < until:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            sent.cut += 1
        else:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                while time.monotonic() < until:
                    batch = [next(source) for _ in range(at_once)]
                    writer.write(b"".join(raw for _, raw in batch))
                    await _read(reader, [found for found, _ in batch], sent, until)
            writer.close()
        await asyncio.sleep(PAUSE * (1 + random.random()))


async def _read(reader: asyncio.StreamReader, ids: list[str], sent: Sent, until: float) -> None:
    for found in ids:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        except (OSError, asyncio.IncompleteReadError):
            sent.cut += 1
            raise
        length = int(head.partition("content-length:")[2].partition("\r\n")[0])
        await reader.readexactly(length)
        status = head.split(" ", 2)[1]
        sent.statuses[status] += 1
        if status == "202":
            sent.acknowledged.append(found)
            sent.by_second[str(int(until - time.monotonic()))] += 1
        elif status in ("429", "503") and "\r\nretry-after: " not in head:
            sent.without_later += 1


async def _all(port: int, seconds: float, connections: int, at_once: int, number: int) -> Sent:
    sent, source, until = Sent(), _requests(number), time.monotonic() + seconds
    await asyncio.gather(*(_send(port, until, at_once, source, sent) for _ in range(connections)))
    return sent


def main() -> None:
    """Send, and print what became of it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    port, seconds, connections, at_once, number = sys.argv[1:]
    sent = asyncio.run(_all(int(port), float(seconds), int(connections), int(at_once), int(number)))
    print(json.dumps(vars(sent)))


if __name__ == "__main__":
    main()
