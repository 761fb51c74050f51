"""What ``otel-feedback up`` can be told: addresses, the data folder, who may come in, and what is kept."""

import ipaddress
import os
import re
import shlex
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from otel_feedback.exceptions import ConfigurationError

_ADDRESS: Final = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[^:\[\]\s/]+)):(?P<port>[0-9]{1,5})")
_LAST_PORT: Final = 65_535
_NAME: Final = re.compile(r"\*|[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]")
_URL: Final = re.compile(r"https?://[^\s/]+\S*")


@dataclass(frozen=True)
class Address:
    """Where something listens; port 0 takes a free one."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str, *, option: str) -> "Address":
        """Read ``HOST:PORT`` or ``[IPV6]:PORT``.

        Raises:
            ConfigurationError: It is neither; the sentence names the option.
        """
        match = _ADDRESS.fullmatch(text)
        if match is None or int(match["port"]) > _LAST_PORT:
            raise ConfigurationError(f"{option} must be HOST:PORT, such as 127.0.0.1:8484 or [::1]:8484.")
        return cls(match["v6"] or match["host"], int(match["port"]))

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        return is_loopback(self.host)

    @property
    def is_any(self) -> bool:
        """Whether it is every address of this machine."""
        try:
            return ipaddress.ip_address(self.host).is_unspecified
        except ValueError:
            return False

    @property
    def url(self) -> str:
        """The address for a browser or a sender; for every address of this machine, by its name."""
        return f"http://{_bracketed(socket.gethostname() if self.is_any else self.host)}:{self.port}"

    def __str__(self) -> str:
        return f"{_bracketed(self.host)}:{self.port}"


def is_loopback(host: str | None) -> bool:
    """Whether a host, a name or an IP address without brackets, is this machine seen from itself only."""
    if host is None:
        return False
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def default_data(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the data folder of who names none: ``OTEL_FEEDBACK_DATA``, else a folder in the user's data."""
    if given := environ.get("OTEL_FEEDBACK_DATA", "").strip():
        return Path(os.path.expanduser(given))  # noqa: PTH111 - Path's raises where there is no home folder
    return usual_data(environ)


def usual_data(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder in the user's data: of ``XDG_DATA_HOME``, else ``~/.local/share``."""
    home = environ.get("XDG_DATA_HOME", "")
    base = Path(home) if Path(home).is_absolute() else Path(os.path.expanduser("~/.local/share"))  # noqa: PTH111
    return base / "otel-feedback"


def run_command(data: Path) -> str:
    """Return the beginning of the command that starts a service of this machine for the server on a folder.

    The folder and not the address: key and token are found there, under whatever name the server is reached.
    """
    return "otel-feedback run" if data == usual_data() else f"otel-feedback run --data {shlex.quote(str(data))}"


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """The options of one server.

    Raises:
        ConfigurationError: A name of a host, or Jaeger's address, can't be one.
    """

    data: Path = field(default_factory=default_data)
    listen: Address = Address("127.0.0.1", 8484)
    otlp_grpc: Address | None = Address("127.0.0.1", 4317)
    otlp_http: Address | None = Address("127.0.0.1", 4318)
    allow_origins: tuple[str, ...] = ()
    """Origins of pages that may send feedback."""
    allow_hosts: tuple[str, ...] = ()
    """Names that this server is reached by; ``*`` for any."""
    keep_content: bool | None = None
    """Whether questions, answers, comments and corrections are kept; ``None``: where only this machine can send."""
    jaeger_url: str | None = None

    def __post_init__(self) -> None:
        for name in self.allow_hosts:
            if not _NAME.fullmatch(name):
                raise ConfigurationError("--allow-host is a name without scheme and port: votes.example.com, or *.")
        if self.jaeger_url is not None and not _URL.fullmatch(self.jaeger_url):
            raise ConfigurationError("--jaeger is the address of Jaeger's pages, such as http://127.0.0.1:16686.")

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches any of it."""
        return all(each.is_loopback for each in (self.listen, self.otlp_grpc, self.otlp_http) if each is not None)

    @property
    def content_kept(self) -> bool:
        """Whether content is kept, after all."""
        return self.is_local if self.keep_content is None else self.keep_content


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
