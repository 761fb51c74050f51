"""OTLP/gRPC: requests as bytes, so that what can't be read is the sender's error and not ours."""

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NoReturn, TypeAlias

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]

from otel_feedback.capture.connections import MOST_CONNECTIONS
from otel_feedback.exceptions import ConfigurationError
from otel_feedback.intake import MAX_BODY
from otel_feedback.server.door import was_passed_on
from otel_feedback.server.options import Address
from otel_feedback.server.receiving import Receiver, Refusal, Signal, refusal_of
from otel_feedback.server.token import Token

WORKERS: Final = 16
"""Requests at once; further ones wait in their connection, unread."""

IDLE_SECONDS: Final = 300
"""After which a connection without requests is closed; senders open another by themselves."""

GREETING_SECONDS: Final = 10
"""Time that a new connection may take to speak HTTP/2."""

_PACKAGE: Final = "opentelemetry.proto.collector"
_SERVICES: Final[dict[Signal, str]] = {
    "traces": f"{_PACKAGE}.trace.v1.TraceService",
    "logs": f"{_PACKAGE}.logs.v1.LogsService",
    "metrics": f"{_PACKAGE}.metrics.v1.MetricsService",
}
_CODES: Final = {
    "malformed": grpc.StatusCode.INVALID_ARGUMENT,
    "large": grpc.StatusCode.RESOURCE_EXHAUSTED,  # without retry information: not to be sent again
    "busy": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "full": grpc.StatusCode.UNAVAILABLE,
    "failed": grpc.StatusCode.UNAVAILABLE,
}
_Export = Callable[[bytes, grpc.ServicerContext], bytes]
_Handler: TypeAlias = "grpc.RpcMethodHandler[bytes, bytes]"
_DETAILS: Final = "grpc-status-details-bin"


class GrpcReceiver:
    """A gRPC server on one address, from its construction to :meth:`stop`."""

    def __init__(self, receiver: Receiver, address: Address, *, token: Token) -> None:
        """Listen.

        Args:
            receiver: Takes the requests.
            address: Where; port 0 takes a free one.
            token: What senders from other machines must show.

        Raises:
            ConfigurationError: The address can't be listened on.
        """
        self._receiver = receiver
        self._server = grpc.server(
            ThreadPoolExecutor(WORKERS, thread_name_prefix="otlp-grpc"),
            handlers=[
                _Door(
                    {f"/{service}/Export": self._handler(signal) for signal, service in _SERVICES.items()},
                    token,
                    is_local=address.is_loopback,
                )
            ],
            options=[
                # Of a compressed message too, while it is decompressed: a bomb is not blown up beyond it.
                ("grpc.max_receive_message_length", MAX_BODY),
                ("grpc.max_concurrent_streams", 4 * WORKERS),
                ("grpc.max_allowed_incoming_connections", MOST_CONNECTIONS),
                ("grpc.max_connection_idle_ms", IDLE_SECONDS * 1000),
                ("grpc.server_handshake_timeout_ms", GREETING_SECONDS * 1000),
                ("grpc.so_reuseport", 0),  # else a second process could share the port unseen
            ],
        )
        try:
            port = self._server.add_insecure_port(str(address))
        except RuntimeError:
            self._server.stop(None)
            raise ConfigurationError(
                f"{address} cannot be listened on. Choose another address: --otlp-grpc HOST:PORT."
            ) from None
        self.address = Address(address.host, port)

    def start(self) -> None:
        """Take requests from now on."""
        self._server.start()

    def stop(self, grace: float) -> threading.Event:
        """Take no more requests; those under way get some seconds.

        Returns:
            Set when the last has ended.
        """
        return self._server.stop(grace)

    def _handler(self, signal: Signal) -> Callable[[bytes, grpc.ServicerContext], bytes]:
        def export(body: bytes, context: grpc.ServicerContext) -> bytes:
            try:
                with self._receiver.budget.holding(len(body)):
                    response, done = self._receiver.accept(signal, body)
                    if done is not None:
                        done.result()
            except Exception as error:
                _refuse(context, refusal_of(error))
            return response.SerializeToString()

        return export


class _Door(grpc.GenericRpcHandler):
    """Looks at a request's metadata before anything of its message is read."""

    def __init__(self, exports: Mapping[str, _Export], token: Token, *, is_local: bool) -> None:
        self._handlers: dict[str, _Handler] = {
            path: grpc.unary_unary_rpc_method_handler(export) for path, export in exports.items()
        }
        # As if the message were a stream: gRPC reads the first message of a single one before it asks anybody.
        self._refusal: _Handler = grpc.stream_unary_rpc_method_handler(_demand_token)
        self._token = token
        self._is_local = is_local

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "_Handler | None":
        """Return what takes a request."""
        handler = self._handlers.get(handler_call_details.method)
        return handler if handler is None or self._may_enter(handler_call_details) else self._refusal

    def _may_enter(self, details: grpc.HandlerCallDetails) -> bool:
        metadata = dict(details.invocation_metadata)
        given = metadata.get("authorization", "")
        if isinstance(given, str) and self._token.is_bearer(given):
            return True
        return self._is_local and not was_passed_on(metadata)


def _demand_token(_: Iterator[bytes], context: grpc.ServicerContext) -> NoReturn:
    context.abort(
        grpc.StatusCode.UNAUTHENTICATED,
        "Send the token of the server's data folder: OTEL_EXPORTER_OTLP_HEADERS=authorization=Bearer%20TOKEN",
    )


def _refuse(context: grpc.ServicerContext, refusal: Refusal) -> NoReturn:
    code = _CODES[refusal.reason]
    if refusal.retry_after is not None:
        info = AnyMessage()
        info.Pack(RetryInfo(retry_delay=Duration(seconds=refusal.retry_after)))
        status = Status(code=code.value[0], message=refusal.sentence, details=[info])
        context.set_trailing_metadata(((_DETAILS, status.SerializeToString()),))
    context.abort(code, refusal.sentence)
