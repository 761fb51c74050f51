"""``otel-feedback outbox``: what waits to be delivered, and sending it."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.text import Text

from otel_feedback._settings import Settings, outbox_path
from otel_feedback.cli import _options, _show
from otel_feedback.cli._progress import show_progress
from otel_feedback.exceptions import ConfigurationError
from otel_feedback.outbox import Outbox
from otel_feedback.outbox._lock import is_held
from otel_feedback.outbox._otlp import transport_from_env
from otel_feedback.outbox._sender import Sender

app = typer.Typer(invoke_without_command=True, rich_markup_mode=None)

_SECOND: Final = 1_000_000_000

File = Annotated[
    Path | None,
    typer.Option(
        "--outbox",
        metavar="FILE",
        help="File of the outbox; else outbox.db in the state folder. [env: OTEL_FEEDBACK_OUTBOX]",
    ),
]


@app.callback()
def show(context: typer.Context, *, outbox: File = None, as_json: _options.AsJson = False) -> None:
    """Show what waits to be delivered, for how long, and what receivers rejected.

    `sender` says whether a process is at work on it. What was set aside was rejected five times by its receiver, for
    the reasons that are shown; it is kept, and `drain --retry` sends it again.

    \b
    Examples:
      otel-feedback outbox
      otel-feedback outbox --json --outbox /var/lib/app/outbox.db
    """  # noqa: D301 - \b keeps the lines below it as they are
    context.obj = outbox
    if context.invoked_subcommand is not None:
        return
    opened = _open(outbox)
    try:
        found = _look(opened)
    finally:
        opened.close()
    if as_json:
        _show.print_json(found)
    else:
        _show.console().print(_show.new_list(_facts(found)))


@app.command("drain")
def drain(
    context: typer.Context,
    *,
    outbox: File = None,
    timeout: Annotated[
        float | None, typer.Option(min=0, metavar="SECONDS", help="Give up after that time; else never.")
    ] = None,
    retry: Annotated[
        bool, typer.Option("--retry", help="Send what was set aside, too: it waits again as it did before.")
    ] = False,
    as_json: _options.AsJson = False,
) -> None:
    """Send until nothing waits.

    It goes where OpenTelemetry's variables say, as for the process that took it in. Where such a process is at work,
    this watches it. Exit code 1 where the time is over and something still waits.

    \b
    Examples:
      otel-feedback outbox drain
      otel-feedback outbox drain --retry --timeout 60
    """  # noqa: D301 - \b keeps the lines below it as they are
    opened = _open(outbox or context.obj)
    try:
        transport = transport_from_env()
        if transport is None:
            raise ConfigurationError("OTEL_TRACES_EXPORTER is none, so there is nowhere to send to.")
        put_back = opened.put_back() if retry else 0
        sender = Sender(opened, transport, lock_path=opened.lock_path)
        with show_progress("Sending") as tell:
            is_empty = sender.drain(math.inf if timeout is None else timeout, _Progress(tell))
        found = _look(opened)
    finally:
        opened.close()
    if as_json:
        _show.print_json({**found, "put_back": put_back})
    else:
        _tell(found, put_back)
    if not is_empty:
        raise typer.Exit(1)


class _Progress:
    """Makes of how many wait how many are done: more may come meanwhile."""

    def __init__(self, tell: Callable[[int, int], None]) -> None:
        self._tell, self._before, self._done = tell, 0, 0

    def __call__(self, depth: int) -> None:
        self._done += max(0, self._before - depth)
        self._before = depth
        self._tell(self._done, self._done + depth)


def _open(given: Path | None) -> Outbox:
    path = outbox_path(Settings.from_env(outbox=given))
    if not path.is_file():
        raise ConfigurationError(
            f"There is no outbox at {path}: the first feedback makes it. Name another by --outbox or "
            "OTEL_FEEDBACK_OUTBOX."
        )
    opened = Outbox(path)
    opened.open()
    return opened


def _look(outbox: Outbox) -> dict[str, Any]:
    counts = outbox.counts()
    age = None if counts.oldest_ns is None else max(0.0, (time.time_ns() - counts.oldest_ns) / _SECOND)
    return {
        "file": str(outbox.path),
        "depth": counts.depth,
        "bytes": counts.bytes,
        "oldest_seconds": None if age is None else round(age, 1),
        "set_aside": counts.set_aside,
        "why": dict(counts.why),
        "sender": is_held(outbox.lock_path),
    }


def _facts(found: Mapping[str, Any]) -> Iterator[tuple[str, Text]]:
    yield "file", _show.plain(found["file"])
    waiting = _show.number(found["depth"])
    yield "waiting", _show.plain(f"{waiting}, {_show.size(found['bytes'])}" if found["depth"] else waiting)
    if found["oldest_seconds"] is not None:
        yield "oldest", _show.plain(f"{_duration(found['oldest_seconds'])} old")
    yield "set aside", _show.plain(_show.number(found["set_aside"]))
    for why, count in found["why"].items():
        yield "", _show.plain(f"{_show.number(count)} by {why}")
    yield "sender", _show.plain("at work" if found["sender"] else "none runs")


def _tell(found: Mapping[str, Any], put_back: int) -> None:
    if put_back:
        print(f"{_show.number(put_back)} that were set aside were put back.")
    print(f"{_show.number(found['depth'])} still wait." if found["depth"] else "Nothing waits.")
    if found["set_aside"]:
        print(f"{_show.number(found['set_aside'])} are set aside: their receiver rejected them.")


def _duration(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
