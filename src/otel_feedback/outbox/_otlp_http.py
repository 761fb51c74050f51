"""OTLP over HTTP, in protobuf: one POST a batch, and what the status and the body say of it."""

import gzip
import itertools
import json
import math
import time
import zlib
from collections.abc import Callable, Sequence
from datetime import timezone
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final

import requests
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.trace import ReadableSpan

from otel_feedback._fork import renew_in_child
from otel_feedback.exceptions import ConfigurationError
from otel_feedback.outbox._encode import encode
from otel_feedback.outbox._otlp import USER_AGENT, OtlpOptions
from otel_feedback.outbox._transport import DELIVERED, Fate, Outcome

MOST_ANSWER: Final = 65_536
"""Bytes of an answer that are read; an OTLP receiver's has a few dozen."""

_PIECE: Final = 4_096
_REJECTS: Final = {HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNPROCESSABLE_ENTITY}
_PROTOBUF: Final = "application/x-protobuf"
_PACKERS: Final[dict[str, Callable[[bytes], bytes]]] = {"gzip": gzip.compress, "deflate": zlib.compress}


class HttpTransport:
    """Sends to one OTLP/HTTP endpoint."""

    def __init__(self, options: OtlpOptions) -> None:
        """Prepare; nothing is connected yet.

        Raises:
            ConfigurationError: The credential provider gives no session.
        """
        self._options = options
        self._headers = {"content-type": _PROTOBUF, "user-agent": USER_AGENT, **options.headers}
        self._pack = _PACKERS.get(options.compression)
        if self._pack is not None:
            self._headers.setdefault("content-encoding", options.compression)
        self._session: requests.Session | None = None
        if options.provider is not None:
            self._open()
        renew_in_child(self, _forget_session)

    def send(self, spans: Sequence[ReadableSpan]) -> Outcome:
        """See ``Transport.send``."""
        try:
            body = encode(spans).SerializeToString()
        except Exception as error:
            return Outcome(Fate.REJECTED, f"can't be encoded ({type(error).__name__})")
        try:
            # Redirects are not followed: they would take headers with secrets elsewhere.
            with self._open().post(
                self._options.endpoint,
                data=self._pack(body) if self._pack else body,
                headers=self._headers,
                timeout=self._options.timeout,
                allow_redirects=False,
                verify=self._options.certificate,  # here, since a session's own is less than REQUESTS_CA_BUNDLE
                stream=True,
            ) as answer:
                content = b"".join(itertools.islice(answer.iter_content(_PIECE), MOST_ANSWER // _PIECE))
        except requests.Timeout:
            return Outcome(Fate.LATER, "didn't answer in time")
        except (requests.ConnectionError, OSError):
            return Outcome(Fate.LATER, "can't be reached")
        except Exception as error:  # a URL or header that requests doesn't take, an answer that is no HTTP
            return Outcome(Fate.LATER, f"HTTP raised {type(error).__name__}")
        return _judge(answer, content)

    def close(self) -> None:
        """See ``Transport.close``."""
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def _open(self) -> requests.Session:
        if self._session is None:
            options = self._options
            session = options.provided() or requests.Session()
            if not isinstance(session, requests.Session):
                raise ConfigurationError(
                    "OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER must give a requests.Session."
                )
            if options.client_certificate and options.client_key:
                session.cert = (options.client_certificate, options.client_key)
            elif options.client_certificate:
                session.cert = options.client_certificate
            self._session = session
        return self._session


def _judge(answer: requests.Response, content: bytes) -> Outcome:
    status = answer.status_code
    if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        fate = Fate.REJECTED if status in _REJECTS else Fate.LATER
        return Outcome(fate, f"HTTP {status}", _asked(answer.headers.get("retry-after", "")))
    try:
        rejected = _rejected_spans(answer.headers.get("content-type", ""), content)
    except Exception:
        # Such as the page that a network's gate shows to everybody who has not logged in.
        return Outcome(Fate.LATER, f"HTTP {status} with an answer that isn't OTLP's")
    return Outcome(Fate.REJECTED, "OTLP partial success") if rejected > 0 else DELIVERED


def _rejected_spans(content_type: str, content: bytes) -> int:
    """Return how many spans a receiver's answer takes back; an empty answer takes back none."""
    if not content.strip():
        return 0
    if content_type.partition(";")[0].strip().lower() == "application/json":
        return int((json.loads(content).get("partialSuccess") or {}).get("rejectedSpans") or 0)
    return ExportTraceServiceResponse.FromString(content).partial_success.rejected_spans


def _asked(retry_after: str) -> float:
    """Return the seconds of a ``Retry-After`` header, which has a number or a date; 0 where it says nothing."""
    text = retry_after.strip()
    try:
        seconds = float(text)
    except ValueError:
        try:
            date = parsedate_to_datetime(text)
        except (TypeError, ValueError):
            return 0.0
        seconds = (date if date.tzinfo else date.replace(tzinfo=timezone.utc)).timestamp() - time.time()
    return max(0.0, seconds) if math.isfinite(seconds) else 0.0


def _forget_session(transport: HttpTransport) -> None:
    """A forked child must not use its parent's connections."""
    transport._session = None  # noqa: SLF001 - this module's own class
