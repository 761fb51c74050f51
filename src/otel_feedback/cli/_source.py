"""Where the commands get what they show: from a running server, or from a data folder that none holds.

All sources give the JSON of the server's API as Python values, so that a command shows the same whichever it is.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from otel_feedback.cli import _addresses
from otel_feedback.cli._addresses import DEFAULT_URL
from otel_feedback.cli._http import HttpSource, Json, Progress, UnreachableError
from otel_feedback.cli._progress import show_waiting
from otel_feedback.server.options import usual_data


class Source(Protocol):
    """What can be asked, wherever it is."""

    @property
    def name(self) -> str:
        """What messages call it."""

    def status(self) -> Json:
        """Return what there is."""

    def satisfaction(self, query: Mapping[str, str]) -> Json:
        """Return satisfaction by group."""

    def answers(self, query: Mapping[str, str]) -> Json:
        """Return answers and what was said of them."""

    def answer(self, name: str) -> Json:
        """Return everything about one answer."""

    def db_info(self) -> Json:
        """Return files, rows and versions of the store."""

    def backup(self, target: str, progress: Progress) -> None:
        """Copy the store into a folder."""

    def check(self, progress: Progress) -> list[str]:
        """Read everything and return what is wrong."""

    def vacuum(self, progress: Progress) -> dict[str, int]:
        """Give room back that is not used; say how many bytes there were ``before`` and are ``after``."""

    def close(self) -> None:
        """Let go of what is open."""


@dataclass(frozen=True)
class Place:
    """Where somebody said that things are; what wasn't said is ``None``."""

    url: str | None
    data: Path | None

    @classmethod
    def choose(cls, url: str | None, data: Path | None, environ: Mapping[str, str] = os.environ) -> "Place":
        """Take the options; where neither is given, the environment."""
        if url is None and data is None:
            url = environ.get("OTEL_FEEDBACK_URL", "").strip() or None
            folder = environ.get("OTEL_FEEDBACK_DATA", "").strip()
            data = Path(os.path.expanduser(folder)) if folder else None  # noqa: PTH111 - Path's raises without a home
        return cls(url, None if data is None else data.absolute())

    @property
    def folder(self) -> Path:
        """The data folder: the one that was said, else the default."""
        return self.data or usual_data()

    def server(self) -> HttpSource | None:
        """Return the server that was said, or that runs on the folder; with nothing said, else at the usual address.

        With ``url`` given it is returned without a look; otherwise only if it answers.
        """
        if self.url is not None:
            return self._http(_addresses.own_url(self.url, self.folder))
        # The folder goes first: on a machine with several users anybody can have the usual address.
        usual = DEFAULT_URL if self.data is None else None
        for candidate in dict.fromkeys([_addresses.running_url(self.folder), usual]):
            if candidate is not None:
                source = self._http(candidate)
                if source.is_there():
                    return source
        return None

    def _http(self, url: str) -> HttpSource:
        return HttpSource(url, lambda known: self._token(url, known))

    def _token(self, url: str, known: Path | None) -> str | None:
        """Return the token for a server; ``known`` is the folder that it says it has."""
        folders = [folder for folder in (self.data, known, self.folder) if folder is not None]
        given = os.environ.get("OTEL_FEEDBACK_TOKEN", "").strip()
        # Never to whoever happens to have the usual address.
        if given and (self.url is not None or any(_addresses.is_server_of(folder, url) for folder in folders)):
            return given
        token = _addresses.find_token(url, folders)
        if token is None and self.url is not None and self.data is not None:
            return _addresses.read_token(self.data)  # whoever names both says that they belong together
        return token


@contextlib.contextmanager
def open_source(place: Place) -> Iterator[Source]:
    """Open what is there: the server, else the folder.

    Raises:
        UnreachableError: There is neither; the message says what to do.
        StoreError: The folder can't be opened.
        MissingExtraError: The folder needs parts that aren't installed.
    """
    source: Source | None = place.server()
    if source is None:
        if not _addresses.has_store(place.folder):
            raise UnreachableError(_nothing(place))
        with show_waiting(f"Opening {place.folder}"):
            from otel_feedback.cli._folder import FolderSource

            source = FolderSource(place.folder)
    with contextlib.closing(source):
        yield source


@contextlib.contextmanager
def open_server(place: Place) -> Iterator[HttpSource]:
    """Open the server, for what no folder can do.

    Raises:
        UnreachableError: None runs.
    """
    source = place.server()
    if source is None:
        raise UnreachableError(_no_server(place))
    with contextlib.closing(source):
        yield source


def _no_server(place: Place) -> str:
    where = DEFAULT_URL if place.data is None else f"{place.data}"
    return f"No server runs at {where}. Start one: {_addresses.start_command(folder=place.data)}"


def _nothing(place: Place) -> str:
    if place.data is not None:
        return (
            f"There is nothing in {place.data} yet. Start a server there: {_addresses.start_command(folder=place.data)}"
        )
    return (
        f"No server runs at {DEFAULT_URL}, and there is nothing in {place.folder} yet. Start one: otel-feedback up "
        "(or say where it is: --url, --data)"
    )
