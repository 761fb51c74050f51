"""OTLP as OpenTelemetry's variables set it up, and the transports that they name."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from opentelemetry.sdk import environment_variables as names
from opentelemetry.util.re import parse_env_headers

from otel_feedback._export import exporters_from_env, otlp_entry
from otel_feedback._version import VERSION
from otel_feedback.exceptions import ConfigurationError, MissingExtraError
from otel_feedback.outbox._transport import ExporterTransport, Several, Transport

GRPC: Final = "otlp_proto_grpc"
HTTP: Final = "otlp_proto_http"
USER_AGENT: Final = f"otel-feedback/{VERSION}"
DEFAULT_SECONDS: Final = 10.0
"""Time for one request where no variable says another."""

_CREDENTIALS: Final = "opentelemetry_otlp_credential_provider"
"""Entry points that give credentials or a session, as the SDK's exporters take them."""


@dataclass(frozen=True, slots=True)
class OtlpOptions:
    """Where and how OTLP goes, read as the SDK's exporters read it: the variable of traces before that of all signals.

    Attributes:
        endpoint: URL; over HTTP with its path.
        insecure: Whether gRPC goes without TLS where the URL doesn't say.
        headers: To send with every request, by name in lower case. Values are secrets.
        timeout: Seconds for one request.
        compression: ``none``, ``gzip`` or, over HTTP, ``deflate``.
        certificate: File of the authorities that are trusted; by default the system's, or those of requests.
        client_key: File of our own key.
        client_certificate: File of our own certificate.
        provider: Name of the entry point that gives credentials.
    """

    endpoint: str
    insecure: bool
    headers: Mapping[str, str]
    timeout: float
    compression: str
    certificate: str | None
    client_key: str | None
    client_certificate: str | None
    provider: str | None

    @classmethod
    def from_env(cls, entry: str, environ: Mapping[str, str] = os.environ) -> "OtlpOptions":
        """Read the variables for one protocol, ``GRPC`` or ``HTTP``.

        Raises:
            ConfigurationError: A value can't be used; the message names its variable and doesn't repeat it.
        """
        read = _Reader(environ)
        base = read(names.OTEL_EXPORTER_OTLP_ENDPOINT)
        own = read(names.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT)
        if entry == GRPC:
            endpoint = own or base or "http://localhost:4317"
        else:
            endpoint = own or f"{(base or 'http://localhost:4318').removesuffix('/')}/v1/traces"
        insecure = read(names.OTEL_EXPORTER_OTLP_TRACES_INSECURE, names.OTEL_EXPORTER_OTLP_INSECURE)
        scheme = endpoint.partition("://")[0].lower() if "://" in endpoint else ""
        kind = "GRPC" if entry == GRPC else "HTTP"
        return cls(
            endpoint=endpoint,
            insecure=scheme != "https" and (insecure.lower() == "true" if insecure else scheme == "http"),
            headers=parse_env_headers(
                read(names.OTEL_EXPORTER_OTLP_TRACES_HEADERS, names.OTEL_EXPORTER_OTLP_HEADERS), liberal=True
            ),
            timeout=_seconds(read(names.OTEL_EXPORTER_OTLP_TRACES_TIMEOUT, names.OTEL_EXPORTER_OTLP_TIMEOUT)),
            compression=_compression(
                read(names.OTEL_EXPORTER_OTLP_TRACES_COMPRESSION, names.OTEL_EXPORTER_OTLP_COMPRESSION), entry
            ),
            certificate=read(names.OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE, names.OTEL_EXPORTER_OTLP_CERTIFICATE) or None,
            client_key=read(names.OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY, names.OTEL_EXPORTER_OTLP_CLIENT_KEY) or None,
            client_certificate=read(
                names.OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE, names.OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE
            )
            or None,
            provider=read(
                f"OTEL_PYTHON_EXPORTER_OTLP_{kind}_TRACES_CREDENTIAL_PROVIDER",
                f"OTEL_PYTHON_EXPORTER_OTLP_{kind}_CREDENTIAL_PROVIDER",
            )
            or None,
        )

    def provided(self) -> Any:
        """Return what the credential provider gives, ``None`` where none is named.

        Raises:
            ConfigurationError: There is no such provider.
        """
        if self.provider is None:
            return None
        from importlib.metadata import entry_points

        found = list(entry_points(group=_CREDENTIALS, name=self.provider))
        if not found:
            raise ConfigurationError("OTEL_PYTHON_EXPORTER_OTLP_..._CREDENTIAL_PROVIDER names what is not installed.")
        return found[0].load()()


class _Reader:
    """Gives the first of several variables that is set to something, else the empty string."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def __call__(self, *variables: str) -> str:
        return next((found for name in variables if (found := self._environ.get(name, "").strip())), "")


def _seconds(text: str) -> float:
    try:
        seconds = float(text or DEFAULT_SECONDS)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise ConfigurationError("OTEL_EXPORTER_OTLP_TIMEOUT must be a number of seconds, such as 10.")
    return seconds


def _compression(text: str, entry: str) -> str:
    allowed = ("none", "gzip") if entry == GRPC else ("none", "gzip", "deflate")
    word = text.lower() or "none"
    if word not in allowed:
        raise ConfigurationError(f"OTEL_EXPORTER_OTLP_COMPRESSION must be one of {', '.join(allowed)}.")
    return word


def transport_from_env(environ: Mapping[str, str] = os.environ) -> Transport | None:
    """Make what ``OTEL_TRACES_EXPORTER`` names: OTLP where it is not set, ``None`` for ``none``.

    OTLP, by gRPC or HTTP, says what became of each batch; any other exporter only whether it failed. Nothing is
    connected before the first batch.

    Raises:
        ConfigurationError: A name, protocol or value can't be used.
        MissingExtraError: The OTLP exporter is not installed.
    """
    named = [name.strip() for name in (environ.get("OTEL_TRACES_EXPORTER") or "otlp").split(",")]
    transports = [_make(name, environ) for name in named if name and name.lower() != "none"]
    if len(transports) > 1:
        return Several(transports)
    return transports[0] if transports else None


def _make(name: str, environ: Mapping[str, str]) -> Transport:
    entry = otlp_entry(environ) if name == "otlp" else name
    try:
        if entry == GRPC:
            from otel_feedback.outbox._otlp_grpc import GrpcTransport

            return GrpcTransport(OtlpOptions.from_env(entry, environ))
        if entry == HTTP:
            from otel_feedback.outbox._otlp_http import HttpTransport

            return HttpTransport(OtlpOptions.from_env(entry, environ))
    except ImportError as error:
        raise MissingExtraError("otlp", error.name or "opentelemetry-exporter-otlp") from error
    only = {**environ, "OTEL_TRACES_EXPORTER": name}
    exporters_from_env(only)[0].shutdown()  # that it can't be made is found now, and not by the sender
    return ExporterTransport(lambda: exporters_from_env(only)[0], name)
