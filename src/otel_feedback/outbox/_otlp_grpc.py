"""OTLP over gRPC: one call a batch, and what the receiver's status says of it."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlsplit

import grpc
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub
from opentelemetry.sdk.trace import ReadableSpan

from otel_feedback._fork import renew_in_child
from otel_feedback.exceptions import ConfigurationError
from otel_feedback.outbox._encode import encode
from otel_feedback.outbox._otlp import USER_AGENT, OtlpOptions
from otel_feedback.outbox._transport import DELIVERED, Fate, Outcome

if TYPE_CHECKING:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

_COMPRESSIONS: Final = {"none": grpc.Compression.NoCompression, "gzip": grpc.Compression.Gzip}
_BROKEN: Final = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}
"""After these the connection is made anew: gRPC's own would be tried again after two minutes, and by old addresses."""


class GrpcTransport:
    """Sends to one OTLP/gRPC endpoint."""

    def __init__(self, options: OtlpOptions) -> None:
        """Prepare; nothing is connected yet.

        Raises:
            ConfigurationError: A certificate or key can't be read.
        """
        parts = urlsplit(options.endpoint)
        self._target = parts.netloc or options.endpoint
        self._headers = tuple(options.headers.items())
        self._timeout = options.timeout
        self._compression = _COMPRESSIONS[options.compression]
        self._credentials = None if options.insecure else _credentials(options)
        self._channel: grpc.Channel | None = None
        renew_in_child(self, _forget_channel)

    def send(self, spans: Sequence[ReadableSpan]) -> Outcome:
        """See ``Transport.send``."""
        try:
            request = encode(spans)
        except Exception as error:
            return Outcome(Fate.REJECTED, f"can't be encoded ({type(error).__name__})")
        try:
            answer = cast(
                "ExportTraceServiceResponse",
                self._open().Export(request, timeout=self._timeout, metadata=self._headers),
            )
        except grpc.RpcError as error:
            return self._failed(error)
        except Exception as error:  # a header that gRPC doesn't take, a target that is none
            self.close()
            return Outcome(Fate.LATER, f"gRPC raised {type(error).__name__}")
        if answer.partial_success.rejected_spans > 0:
            return Outcome(Fate.REJECTED, "OTLP partial success")
        return DELIVERED

    def close(self) -> None:
        """See ``Transport.close``."""
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()

    def _open(self) -> TraceServiceStub:
        if self._channel is None:
            options = (("grpc.primary_user_agent", USER_AGENT),)
            if self._credentials is None:
                self._channel = grpc.insecure_channel(self._target, options, self._compression)
            else:
                self._channel = grpc.secure_channel(self._target, self._credentials, options, self._compression)
        return TraceServiceStub(self._channel)  # type: ignore[no-untyped-call]

    def _failed(self, error: grpc.RpcError) -> Outcome:
        call = cast("grpc.Call", error)
        code = call.code()
        if code in _BROKEN:
            self.close()
        name = code.name if isinstance(code, grpc.StatusCode) else "without a status"
        fate = Fate.REJECTED if code is grpc.StatusCode.INVALID_ARGUMENT else Fate.LATER
        return Outcome(fate, f"gRPC {name}", _asked(call.trailing_metadata() or ()))


def _asked(metadata: Iterable[Any]) -> float:
    """Return how many seconds a receiver asks to wait: in the details of its status, or as metadata of its own."""
    found: Mapping[str, Any] = {str(key): value for key, value in metadata}
    info = RetryInfo()
    try:
        if "grpc-status-details-bin" in found:
            for detail in Status.FromString(found["grpc-status-details-bin"]).details:
                detail.Unpack(info)
        elif "google.rpc.retryinfo-bin" in found:
            info.ParseFromString(found["google.rpc.retryinfo-bin"])
    except Exception:
        return 0.0
    return float(max(0.0, info.retry_delay.seconds + info.retry_delay.nanos / 1e9))


def _credentials(options: OtlpOptions) -> grpc.ChannelCredentials:
    provided = options.provided()
    if isinstance(provided, grpc.ChannelCredentials):
        return provided
    if provided is not None:
        raise ConfigurationError(
            "OTEL_PYTHON_EXPORTER_OTLP_GRPC_CREDENTIAL_PROVIDER must give grpc.ChannelCredentials."
        )
    return grpc.ssl_channel_credentials(
        root_certificates=_read(options.certificate, "CERTIFICATE"),
        private_key=_read(options.client_key, "CLIENT_KEY"),
        certificate_chain=_read(options.client_certificate, "CLIENT_CERTIFICATE"),
    )


def _read(path: str | None, what: str) -> bytes | None:
    if path is None:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"The file that OTEL_EXPORTER_OTLP_{what} names can't be read ({type(error).__name__})."
        ) from error


def _forget_channel(transport: GrpcTransport) -> None:
    """A forked child must not use its parent's connection."""
    transport._channel = None  # noqa: SLF001 - this module's own class
