"""What the benchmarks' services do: the spans of one answered question, and what is judged in it."""

import itertools
import json
import random
import struct
from collections.abc import Mapping
from typing import Final, NamedTuple

from opentelemetry.proto.common.v1.common_pb2 import KeyValue, KeyValueList
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_feedback import semconv
from otel_feedback.outbox._encode import fill

SPANS: Final = 8
"""Of one trace."""

POOL: Final = 16 + 8 * SPANS
"""Random bytes of one trace: its id, then those of its spans, the request's first."""

TIME: Final = struct.Struct("<Q")
"""How a time stands in a serialised span."""

WINDOW: Final = 60_000_000_000
"""Nanoseconds back from now within which the traces of one batch begin."""

_SERVICES: Final = (("help-desk", "production"), ("help-desk", "staging"), ("search", "production"))
_MODELS: Final = ("model-1-2026-08-01", "model-1-mini-2026-08-01", "model-2-2026-10-11")
_TEMPLATES: Final = tuple((f"answer-{name}", str(version)) for name in range(6) for version in (1, 2))
_QUERY_TYPES: Final = ("how-to", "lookup", "compare", "trouble")
_PROVIDER: Final = "openai"

Value = str | bool | int | float


def key_values(attributes: Mapping[str, object]) -> list[KeyValue]:
    """Return attributes as OTLP has them."""
    written = KeyValueList()
    fill(written.values, attributes)
    return list(written.values)


class Marked(NamedTuple):
    """A span, and what in it is filled in."""

    span: Span
    ids: list[tuple[bytes, int]]
    """Ids, and where their bytes are in the trace's part of the pool."""
    times: list[tuple[int, int]]
    """Times, and how long they are before now."""
    pool: int = 0
    """Offset of the trace's part."""


class Words:
    """Sentences of made-up words, common ones more often, so that they compress as sentences do."""

    def __init__(self, source: random.Random) -> None:
        self._random = source
        syllables = ["ka", "lo", "mi", "ter", "sun", "pra", "ven", "dor", "el", "ish", "qua", "tion", "ne", "ry", "ob"]
        self._words = ["".join(source.choices(syllables, k=source.randint(1, 4))) for _ in range(3_000)]
        self._weights = list(itertools.accumulate(1 / (rank + 3) for rank in range(len(self._words))))

    def text(self, length: int) -> str:
        """Return a text of about so many characters."""
        words = self._random.choices(self._words, cum_weights=self._weights, k=length // 6)
        return " ".join(words).capitalize() + "."


class Service:
    """Who answers, with its deployment."""

    def __init__(self, source: random.Random, words: Words) -> None:
        self.random = source
        self.words = words
        self.name, self.environment = source.choice(_SERVICES)

    def resource(self) -> list[KeyValue]:
        """Return the attributes of its resource."""
        return key_values(
            {
                "service.name": self.name,
                "service.namespace": "shop",
                "service.instance.id": self.random.randbytes(16).hex(),
                "deployment.environment.name": self.environment,
                "telemetry.sdk.language": "python",
                "telemetry.sdk.name": "opentelemetry",
                "telemetry.sdk.version": "1.45.1",
                "host.name": "node-7.cluster.internal",
                "process.pid": 4711,
            }
        )


class Trace:
    """One answered question."""

    def __init__(self, service: Service) -> None:
        source = self._random = service.random
        self._words = service.words
        self._service = service
        self._trace_id = source.randbytes(16)
        self._span_ids = [source.randbytes(8) for _ in range(SPANS)]
        self._model = source.choice(_MODELS)
        self._name, self._version = source.choice(_TEMPLATES)
        self._documents = [
            {"id": f"handbook/chapter-{source.randint(1, 400)}#{source.randint(1, 9)}", "score": source.random()}
            for _ in range(5)
        ]
        self._begun = source.randrange(5_000_000_000, WINDOW)

    def request(self) -> list[Marked]:
        """Return the interaction: the server's span, with the facts that the processor gathers."""
        facts: dict[str, Value] = {
            semconv.FEEDBACK_INTERACTION: True,
            semconv.FEEDBACK_PROMPT_NAME: self._name,
            semconv.FEEDBACK_PROMPT_VERSION: self._version,
            semconv.FEEDBACK_PROMPT_FINGERPRINT: self._random.randbytes(6).hex(),
            semconv.FEEDBACK_MODEL: self._model,
            semconv.FEEDBACK_PROVIDER: _PROVIDER,
            semconv.FEEDBACK_RESPONSE_ID: f"chatcmpl-{self._random.randbytes(12).hex()}",
            semconv.FEEDBACK_QUERY_TYPE: self._random.choice(_QUERY_TYPES),
            semconv.FEEDBACK_SERVICE_NAME: self._service.name,
            semconv.FEEDBACK_SERVICE_NAMESPACE: "shop",
            semconv.FEEDBACK_ENVIRONMENT: self._service.environment,
            semconv.FEEDBACK_DOCUMENTS: json.dumps(self._documents),
            semconv.GEN_AI_CONVERSATION_ID: self._random.randbytes(16).hex(),
            semconv.USER_HASH: f"k1:{self._random.randbytes(16).hex()}",
        }
        http: dict[str, Value] = {
            "http.request.method": "POST",
            "http.route": "/v1/ask",
            "http.response.status_code": 200,
            "url.path": "/v1/ask",
            "server.address": "shop.example.com",
        }
        return [self._span(0, "POST /v1/ask", Span.SPAN_KIND_SERVER, {**http, **facts})]

    def model_spans(self) -> list[Marked]:
        """Return retrieval and inference, with content as the official instrumentation captures it."""
        passages = [{**document, "content": self._words.text(300)} for document in self._documents]
        retrieval: dict[str, Value] = {
            semconv.GEN_AI_OPERATION_NAME: "retrieval",
            "gen_ai.data_source.id": "handbook",
            "gen_ai.retrieval.query.text": self._words.text(120),
            semconv.GEN_AI_RETRIEVAL_DOCUMENTS: json.dumps(passages),
        }
        inference: dict[str, Value] = {
            semconv.GEN_AI_OPERATION_NAME: "chat",
            semconv.GEN_AI_PROVIDER_NAME: _PROVIDER,
            semconv.GEN_AI_REQUEST_MODEL: self._model[:-11],
            semconv.GEN_AI_RESPONSE_MODEL: self._model,
            semconv.GEN_AI_RESPONSE_ID: f"chatcmpl-{self._random.randbytes(12).hex()}",
            "gen_ai.request.temperature": 0.2,
            "gen_ai.response.finish_reasons": "stop",
            "gen_ai.usage.input_tokens": self._random.randint(300, 3_000),
            "gen_ai.usage.output_tokens": self._random.randint(50, 500),
            semconv.GEN_AI_PROMPT_NAME: self._name,
            semconv.GEN_AI_PROMPT_VERSION: self._version,
            "server.address": "api.provider.example",
            "server.port": 443,
            semconv.GEN_AI_SYSTEM_INSTRUCTIONS: json.dumps([{"type": "text", "content": self._words.text(300)}]),
            semconv.GEN_AI_INPUT_MESSAGES: _messages("user", self._words.text(1_300)),
            semconv.GEN_AI_OUTPUT_MESSAGES: _messages("assistant", self._words.text(700)),
        }
        return [
            self._span(1, "retrieval handbook", Span.SPAN_KIND_CLIENT, retrieval),
            self._span(2, f"chat {self._model[:-11]}", Span.SPAN_KIND_CLIENT, inference),
        ]

    def client_spans(self) -> list[Marked]:
        """Return calls of other services."""
        return [
            self._span(
                place,
                f"GET /internal/{self._words.text(12)}",
                Span.SPAN_KIND_CLIENT,
                {
                    "http.request.method": "GET",
                    "http.response.status_code": 200,
                    "url.full": f"https://internal.example.com/{self._random.randbytes(20).hex()}?q={self._words.text(60)}",
                    "server.address": "internal.example.com",
                    "server.port": 443,
                    "network.protocol.version": "1.1",
                    "network.peer.address": "10.12.0.17",
                    "user_agent.original": "python-httpx/0.28.1 (internal; help-desk)",
                    "http.request.header.x-request-id": self._random.randbytes(16).hex(),
                    "peer.service": "inventory",
                    "code.function.name": "help_desk.inventory.client.InventoryClient.fetch_item_by_number",
                    "code.file.path": "/srv/app/help_desk/inventory/client.py",
                    "code.line.number": 181,
                    "network.transport": "tcp",
                    "thread.id": 140_023_911_004_928,
                    "thread.name": "ThreadPoolExecutor-0_3",
                },
            )
            for place in range(3, SPANS)
        ]

    def _span(self, place: int, name: str, kind: Span.SpanKind.ValueType, values: Mapping[str, Value]) -> Marked:
        before = self._begun - place * 7_000_000 - self._random.randrange(1_000_000)
        took = 2_000_000_000 if place == 0 else self._random.randrange(1_000_000, 900_000_000)
        # As times they only mark the place: no two are the same, and no other eight bytes look like them.
        start, end = (self._random.getrandbits(64) for _ in range(2))
        span = Span(
            trace_id=self._trace_id,
            span_id=self._span_ids[place],
            parent_span_id=self._span_ids[0] if place else b"",
            name=name,
            kind=kind,
            start_time_unix_nano=start,
            end_time_unix_nano=end,
            attributes=key_values(values),
        )
        ids = [(self._trace_id, 0), (self._span_ids[place], 16 + 8 * place)]
        if place:
            ids.append((self._span_ids[0], 16))
        return Marked(span, ids, [(start, before), (end, before - took)])


def _messages(role: str, text: str) -> str:
    return json.dumps([{"role": role, "parts": [{"type": "text", "content": text}]}])


def random_facts(source: random.Random) -> dict[str, str]:
    """Return facts as a handle has them."""
    name, version = source.choice(_TEMPLATES)
    service, environment = source.choice(_SERVICES)
    return {
        semconv.FEEDBACK_PROMPT_NAME: name,
        semconv.FEEDBACK_PROMPT_VERSION: version,
        semconv.FEEDBACK_MODEL: source.choice(_MODELS),
        semconv.FEEDBACK_SERVICE_NAME: service,
        semconv.FEEDBACK_SERVICE_NAMESPACE: "shop",
        semconv.FEEDBACK_ENVIRONMENT: environment,
    }
