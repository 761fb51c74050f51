"""``otel-feedback tail``: votes as they come, one line each."""

import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from rich.text import Text

from otel_feedback.cli import _options, _show
from otel_feedback.cli._http import HttpSource, UnreachableError
from otel_feedback.cli._source import open_server

FIRST_WAIT: Final = 0.5
LONGEST_WAIT: Final = 10.0
"""Seconds between two attempts to come back; each is twice as long as the one before, up to the longest."""

SHORT_ID: Final = 12
"""Hex digits of an answer's id that a line has: enough for ``show``."""


def tail(
    *,
    url: _options.Url = None,
    data: _options.Data = None,
    as_json: _options.AsJson = False,
) -> None:
    """Follow votes live, one line each, until Ctrl-C.

    A line has the time, the signal and its value, what it makes of the vote, the template and its version, and the
    answer's id for `otel-feedback show`. With --json each line is a JSON object. A connection that breaks is said, on
    stderr, and taken up again; votes that came in between are not shown.

    \b
    Examples:
      otel-feedback tail
      otel-feedback tail --json | jq -r 'select(.sentiment == "negative") | .id'
    """  # noqa: D301 - \b keeps the lines below it as they are
    console = _show.console()
    with open_server(_options.place(url, data)) as source:
        for vote in follow(source):
            if as_json:
                _show.print_json_line(vote)
            else:
                console.print(_line(vote), soft_wrap=True)


def follow(source: HttpSource) -> Iterator[Mapping[str, Any]]:
    """Give votes for as long as somebody listens; connections that break are taken up again.

    Raises:
        UnreachableError: Nobody answers at the first attempt.
    """
    yield from source.votes(on_open=lambda: _show.note(f"Following {source.name}. Ctrl-C ends it."))
    wait = FIRST_WAIT
    _show.note(f"The connection to {source.name} broke. Trying again ...")
    while True:
        time.sleep(wait)
        wait = min(2 * wait, LONGEST_WAIT)
        try:
            for vote in source.votes(on_open=lambda: _show.note("Connected again.")):
                wait = FIRST_WAIT
                yield vote
        except UnreachableError:
            continue
        _show.note(f"The connection to {source.name} broke. Trying again ...")


def _line(vote: Mapping[str, Any]) -> Text:
    parts = [
        _show.when(vote["at"], date=False),
        _show.plain(f"{vote['signal']} {vote['label'] or ''}".strip(), longest=40),
        _show.transition(vote),
        _show.plain(f"{vote['template']} {vote['version']}", "cyan", longest=60),
        _show.plain(vote["id"][:SHORT_ID], "dim"),
    ]
    return Text("  ").join(parts)
