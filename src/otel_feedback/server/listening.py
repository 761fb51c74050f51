"""Take addresses to listen on, and say whose they are where they are taken."""

import contextlib
import errno
import http.client
import json
import shlex
import socket
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from otel_feedback._files import SERVER_FILE
from otel_feedback.exceptions import ConfigurationError
from otel_feedback.server.options import Address, ServerOptions, is_loopback, usual_data

BACKLOG: Final = 1024
"""Connections that wait until somebody takes them."""

_ASK_SECONDS: Final = 1.0
_READ_BYTES: Final = 65_536
_OTHERS: Final = range(9000, 9100)
"""Ports that are proposed where one is taken."""


class InUseError(ConfigurationError):
    """Another program has the address."""


def bind(address: Address, option: str) -> socket.socket:
    """Listen on an address.

    Args:
        address: Where.
        option: The command's option that says so, for the message.

    Raises:
        InUseError: Another program has it.
        ConfigurationError: There is none such, or the system refuses it.
    """
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError):
        raise ConfigurationError(f"{option}: there is no address of the name {address.host}.") from None
    if address.is_loopback and not is_loopback(str(place[0])):
        # Taken at its word it would need no token.
        raise ConfigurationError(f"{option}: {address.host} is no address of this machine alone here. Use 127.0.0.1.")
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(place)
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            raise InUseError(
                f"{address} is in use by another program. End it, or choose another address: {option} HOST:PORT."
            ) from None
        reason = error.strerror or "the system refuses it"
        raise ConfigurationError(
            f"{address} cannot be listened on ({reason}). Choose another address: {option} HOST:PORT."
        ) from None
    return listening


def probe(address: Address, option: str) -> None:
    """Find out whether an address can be had, before anything else is opened.

    Raises:
        ConfigurationError: As ``bind``.
    """
    bind(address, option).close()


def probe_all(options: ServerOptions) -> None:
    """Find out whether a server can have all of its addresses.

    Raises:
        InUseError: Some are taken; the message has all of those, whose they are, and a command that works.
        ConfigurationError: As ``bind``.
    """
    wanted = {"--listen": options.listen, "--otlp-grpc": options.otlp_grpc, "--otlp-http": options.otlp_http}
    taken: dict[str, Address] = {}
    for option, address in wanted.items():
        if address is not None:
            try:
                probe(address, option)
            except InUseError:
                taken[option] = address
    if taken:
        raise InUseError(_taken(options, taken))


def _taken(options: ServerOptions, taken: Mapping[str, Address]) -> str:
    note = _read_note(options.data)
    pages = taken.get("--listen")
    status = _ask(pages) if pages else None
    own_ports = {str(note.get(name) or "").rpartition(":")[2].rstrip("/") for name in ("url", "otlp_grpc", "otlp_http")}
    if {str(address.port) for address in taken.values()} & own_ports and _runs(note):
        return (
            f"otel-feedback runs already on {options.data}, at {note['url']} (process {note.get('pid')}). "
            f"A second one needs a folder of its own, too: {_works(options, taken, data='DIR')}"
        )
    names = " and ".join(f"{address} ({option})" for option, address in taken.items())
    if status is None:
        who = "another program"
    else:
        who = f"another otel-feedback (data {status['data']})" if status.get("data") else "another otel-feedback"
    are = "are" if len(taken) > 1 else "is"
    return f"{names} {are} in use, by {who}. End it, or with your other options this works: {_works(options, taken)}"


def _works(options: ServerOptions, taken: Mapping[str, Address], data: str | None = None) -> str:
    """Return a command whose addresses are free: the pages' own one takes OTLP/HTTP, too."""
    words = ["otel-feedback", "up"]
    if data is None and options.data != usual_data():
        data = str(options.data)
    if data is not None:
        words += ["--data", data]
    listen = _free(options.listen) if "--listen" in taken else options.listen
    if listen != ServerOptions.listen:
        words += ["--listen", str(listen)]
    for option, address in (("--otlp-grpc", options.otlp_grpc), ("--otlp-http", options.otlp_http)):
        if address is None or option in taken:
            words += [option, "off"]
        elif address.port != getattr(ServerOptions, option[2:].replace("-", "_")).port:
            words += [option, str(address)]
    return shlex.join(words)


def _free(address: Address) -> Address:
    for port in _OTHERS:
        other = replace(address, port=port)
        with contextlib.suppress(ConfigurationError):
            probe(other, "--listen")
            return other
    return replace(address, port=0)


def _read_note(folder: Path) -> dict[str, Any]:
    """Return what a server has noted in a folder; nothing where none has."""
    with contextlib.suppress(OSError, ValueError):
        note = json.loads((folder / SERVER_FILE).read_text(encoding="utf-8"))
        if isinstance(note, dict):
            return note
    return {}


def _runs(note: Mapping[str, Any]) -> bool:
    """Whether the server that left a note still answers; one that was killed leaves its note."""
    with contextlib.suppress(ConfigurationError):
        return _ask(Address.parse(str(note["url"]).partition("://")[2], option="url")) is not None
    return False


def _ask(address: Address) -> dict[str, Any] | None:
    """Return what a server of ours says of itself, nothing where it wants a token; ``None``: it is something else."""
    host = ("::1" if ":" in address.host else "127.0.0.1") if address.is_any else address.host
    connection = http.client.HTTPConnection(host, address.port, timeout=_ASK_SECONDS)
    try:
        connection.request("GET", "/api/status", headers={"accept": "application/json"})
        response = connection.getresponse()
        said = json.loads(response.read(_READ_BYTES))
    except (OSError, ValueError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    if not isinstance(said, dict):
        return None
    if response.status == http.client.UNAUTHORIZED:
        return {} if "server's data folder" in str(said.get("detail")) else None
    return said if {"version", "data", "content"} <= said.keys() else None
