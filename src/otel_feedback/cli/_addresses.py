"""Where servers and data folders are, and which token belongs to which server."""

import contextlib
import json
import os
import shlex
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from otel_feedback._files import MAIN_FILE, SERVER_FILE, TOKEN_FILE
from otel_feedback.server.options import is_loopback

DEFAULT_URL: Final = "http://127.0.0.1:8484"
"""Where ``otel-feedback up`` listens unless it is told otherwise."""


def start_command(url: str = DEFAULT_URL, folder: Path | None = None) -> str:
    """Return the command that starts a server at an address of this machine, and on a folder where one is given."""
    words = ["otel-feedback", "up"]
    parts = urlsplit(url)
    if url.rstrip("/") != DEFAULT_URL and parts.scheme == "http" and is_loopback(parts.hostname):
        words += ["--listen", parts.netloc if parts.port else f"{parts.netloc}:80"]
    if folder is not None:
        words += ["--data", str(folder)]
    return shlex.join(words)


def is_loopback_url(url: str) -> bool:
    """Whether an address leads to this machine, as seen from itself only."""
    try:
        return is_loopback(urlsplit(url).hostname)
    except ValueError:
        return False


def has_store(folder: Path) -> bool:
    """Whether a server has kept something there."""
    return (folder / MAIN_FILE).exists()


def running_url(folder: Path) -> str | None:
    """Return the address of the server that says it has this folder, if its process is alive."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
        file = folder / SERVER_FILE
        note = json.loads(file.read_text(encoding="utf-8"))
        if _is_alive(int(note["pid"]), is_mine=os.name != "nt" and file.stat().st_uid == os.getuid()):
            return str(note["url"]).rstrip("/")
    return None


def is_server_of(folder: Path, url: str) -> bool:
    """Whether a folder of this machine is that of the server at an address, which may have this machine's own name."""
    at = running_url(folder)
    return at is not None and _same_server(at, own_url(url, folder))


def is_ours(folder: Path, url: str) -> bool:
    """Whether a folder is that of the server at an address, and the note that says so is this user's.

    The folder may be one that the server names itself: another user can name any, and write a folder for it, but
    not as this user.
    """
    try:
        owner = (folder / SERVER_FILE).stat().st_uid
    except (OSError, ValueError):
        return False
    return is_server_of(folder, url) and (os.name == "nt" or owner == os.getuid())


def own_url(url: str, folder: Path) -> str:
    """Return the address that a folder's running server gives itself, if another one leads there too; else that one.

    It does with the same port and any name or number of this machine. What is sent then goes where the folder, which
    only its owner can write, says; and not to who else has that port at another of the machine's numbers.
    """
    at = running_url(folder)
    if at is None or urlsplit(url).scheme != "http" or _place(at)[1] != _place(url)[1]:
        return url
    own, named = urlsplit(at).hostname or "", urlsplit(url).hostname or ""
    numbers = _numbers(named)
    if not numbers.isdisjoint(_numbers(own)):
        return at
    is_this_machine = named == socket.gethostname().lower() or any(map(_is_this_machine, numbers))
    return at if is_loopback(own) and is_this_machine else url


def find_token(url: str, folders: Iterable[Path]) -> str | None:
    """Return the token of the server at an address, from the first folder that says it belongs to it.

    Whoever listens on a port of this machine isn't thereby ours: the folder, which only its owner can write, has to
    name address and a live process.
    """
    for folder in folders:
        at = running_url(folder)
        if at is not None and _same_server(at, url):
            return read_token(folder)
    return None


def read_token(folder: Path) -> str | None:
    """Return the token that a data folder holds; ``None`` where there is none or it isn't ours to read."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return (folder / TOKEN_FILE).read_text(encoding="utf-8").strip() or None
    return None


def _is_alive(pid: int, *, is_mine: bool) -> bool:
    """Whether a process runs that wrote a note; where that is this user's, nobody else's process did."""
    if pid <= 0:
        return False
    if os.name == "nt":  # pragma: no cover - os.kill ends a process there
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's, and alive
        return not is_mine
    return True


def _numbers(host: str) -> set[str]:
    """Return the IP addresses of a name; none where it has none."""
    with contextlib.suppress(OSError, UnicodeError):
        return {str(found[4][0]) for found in socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)}
    return set()


def _is_this_machine(number: str) -> bool:
    """Whether an IP address is one of this machine's: no other can be bound."""
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_INET6 if ":" in number else socket.AF_INET, socket.SOCK_DGRAM) as probe,
    ):
        probe.bind((number, 0))
        return True
    return False


def _same_server(one: str, other: str) -> bool:
    return _place(one) == _place(other)


def _place(url: str) -> tuple[str | None, int | None]:
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return "this machine" if is_loopback(parts.hostname) else parts.hostname, port
