"""OTLP/gRPC: requests as bytes, so that what can't be read is the sender's error and not ours."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NoReturn

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]

from otel_feedback.exceptions import ConfigurationError
from otel_feedback.intake import MAX_BODY
from otel_feedback.server.options import Address
from otel_feedback.server.receiving import Receiver, Refusal, Signal, refusal_of
from otel_feedback.server.token import Token

WORKERS: Final = 16
"""Requests at once; further ones wait in their connection, unread."""

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
_DETAILS: Final = "grpc-status-details-bin"


class GrpcReceiver:
    """A gRPC server on one address, from its construction to :meth:`stop`."""

    def __init__(self, receiver: Receiver, address: Address, *, token: Token | None) -> None:
        """Listen.

        Args:
            receiver: Takes the requests.
            address: Where; port 0 takes a free one.
            token: What senders must show; ``None`` where nobody must.

        Raises:
            ConfigurationError: The address can't be listened on.
        """
        self._receiver = receiver
        self._token = token
        self._server = grpc.server(
            ThreadPoolExecutor(WORKERS, thread_name_prefix="otlp-grpc"),
            handlers=[
                grpc.method_handlers_generic_handler(
                    service, {"Export": grpc.unary_unary_rpc_method_handler(self._handler(signal))}
                )
                for signal, service in _SERVICES.items()
            ],
            options=[
                # Of a compressed message too, while it is decompressed: a bomb is not blown up beyond it.
                ("grpc.max_receive_message_length", MAX_BODY),
                ("grpc.max_concurrent_streams", 4 * WORKERS),
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
            self._admit(context)
            try:
                with self._receiver.budget.holding(len(body)):
                    response, done = self._receiver.accept(signal, body)
                    if done is not None:
                        done.result()
            except Exception as error:
                _refuse(context, refusal_of(error))
            return response.SerializeToString()

        return export

    def _admit(self, context: grpc.ServicerContext) -> None:
        if self._token is None:
            return
        given = dict(context.invocation_metadata()).get("authorization", "")
        if not isinstance(given, str) or not self._token.is_bearer(given):
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
