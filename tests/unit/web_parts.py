"""Answers and feedback as services send them, written to a store; and a client of the pages over it."""

import datetime as dt
import json
from html.parser import HTMLParser

import httpx
from starlette.applications import Starlette
from tests.unit.intake_parts import messages, request

from otel_feedback import semconv
from otel_feedback.intake import read_traces
from otel_feedback.web import Context, page_routes

MS = 10**6
NOW = dt.datetime.now(dt.timezone.utc).replace(microsecond=0)
FACTS = {
    semconv.FEEDBACK_PROMPT_NAME: "answer",
    semconv.FEEDBACK_PROMPT_VERSION: "3",
    semconv.FEEDBACK_MODEL: "model-1",
    semconv.FEEDBACK_QUERY_TYPE: "how-to",
}


def nanoseconds(moment):
    """A time as OTLP has it."""
    return int(moment.timestamp()) * 10**9


class Sender:
    """A service that answers, and users who judge: each call is one request to the store."""

    def __init__(self, store, service="docs-chat"):
        self.store = store
        self.resource = {"service.name": service, "deployment.environment.name": "prod"}
        self.count = 0

    def send(self, *spans, scope="opentelemetry.instrumentation.genai.openai"):
        """Write spans."""
        made = request(*spans, resource=self.resource, scope=scope)
        self.store.write(read_traces(made, received_ns=nanoseconds(NOW)))

    def ids(self):
        """New ids of a trace and of a span."""
        self.count += 1
        return {"trace_id": f"{0xAB0000 + self.count:032x}", "span_id": f"{0xCD0000 + self.count:016x}"}

    def spans(self, question="How?", answer="So.", *, at=NOW, documents=(), facts=None, system="Be brief.", **more):
        """The spans of one answer: the request, its retrieval and its call of the model."""
        ids, start = more.get("ids") or self.ids(), nanoseconds(at)
        trace_id, root = ids["trace_id"], ids["span_id"]
        facts = FACTS | (facts or {})
        found = json.dumps([{"id": name, "score": score} for name, score in documents])
        sent = [("system", system), ("user", question)]
        return ids, [
            {
                **ids,
                "name": more.get("name", "POST /ask"),
                "start": start,
                "end": start + 900 * MS,
                "attributes": {
                    semconv.FEEDBACK_INTERACTION: True,
                    **facts,
                    semconv.FEEDBACK_DOCUMENTS: found,
                    semconv.FEEDBACK_SERVICE_NAME: self.resource["service.name"],
                    **more.get("attributes", {}),
                },
                "events": more.get("events", ()),
            },
            {
                "trace_id": trace_id,
                "span_id": f"{int(root, 16) + 0x1000000:016x}",
                "parent_id": root,
                "name": more.get("retrieval", "retrieval search"),
                "start": start + 20 * MS,
                "end": start + 160 * MS,
                "attributes": {
                    semconv.GEN_AI_OPERATION_NAME: "retrieval",
                    semconv.GEN_AI_RETRIEVAL_DOCUMENTS: found,
                },
            },
            {
                "trace_id": trace_id,
                "span_id": f"{int(root, 16) + 0x2000000:016x}",
                "parent_id": root,
                "name": f"chat {facts[semconv.FEEDBACK_MODEL]}",
                "start": start + 180 * MS,
                "end": start + 880 * MS,
                "attributes": {
                    semconv.GEN_AI_OPERATION_NAME: "chat",
                    semconv.GEN_AI_PROVIDER_NAME: "openai",
                    semconv.GEN_AI_REQUEST_MODEL: facts[semconv.FEEDBACK_MODEL],
                    semconv.GEN_AI_INPUT_MESSAGES: messages(*sent),
                    semconv.GEN_AI_OUTPUT_MESSAGES: messages(("assistant", answer)),
                    "gen_ai.usage.input_tokens": 812,
                    "gen_ai.usage.output_tokens": 96,
                },
            },
        ]

    def answer(self, *words, **more):
        """Send one answer and return its ids."""
        ids, spans = self.spans(*words, **more)
        self.send(*spans)
        return ids

    def carrier(self, of, signal="thumbs", label="down", sentiment="negative", *, at=NOW, **more):
        """The span of one feedback on an answer."""
        self.count += 1
        attributes = {
            semconv.FEEDBACK_SIGNAL: signal,
            semconv.FEEDBACK_KIND: more.get("kind", "explicit"),
            semconv.FEEDBACK_SENTIMENT: sentiment,
            semconv.FEEDBACK_PREVIOUS_SENTIMENT: more.get("previous", "unset"),
            semconv.FEEDBACK_ID: more.get("id", f"vote-{self.count}"),
            semconv.FEEDBACK_SOURCE: "capture",
            semconv.FEEDBACK_REASONS: list(more.get("reasons", ())),
            semconv.FEEDBACK_TARGET_TRACE_ID: of["trace_id"],
            semconv.FEEDBACK_TARGET_SPAN_ID: of["span_id"],
            semconv.FEEDBACK_TARGET_SAMPLED: True,
            semconv.ANNOTATION_NAME: signal,
            semconv.ANNOTATION_LABEL: label,
            semconv.ANNOTATION_SCORE: {"positive": 1.0, "negative": 0.0}.get(sentiment, 0.5),
            semconv.USER_HASH: more.get("user", f"user-{self.count}"),
            **FACTS,
            **more.get("facts", {}),
        }
        if "revises" in more:
            attributes[semconv.FEEDBACK_REVISES] = more["revises"]
        if "comment" in more:
            attributes[semconv.ANNOTATION_EXPLANATION] = more["comment"]
        events = []
        if "correction" in more:
            original, corrected = more["correction"]
            words = {
                semconv.FEEDBACK_CORRECTION_ORIGINAL: original,
                semconv.FEEDBACK_CORRECTION_CORRECTED: corrected,
            }
            events.append((semconv.EVENT_CORRECTION, words))
        return {
            "trace_id": of["trace_id"],
            "span_id": f"{0xEF0000 + self.count:016x}",
            "parent_id": of["span_id"],
            "name": f"feedback {signal}",
            "start": nanoseconds(at),
            "end": nanoseconds(at),
            "attributes": attributes,
            "events": events,
            "links": [(of["trace_id"], of["span_id"])],
        }

    def judge(self, of, *words, **more):
        """Send one feedback."""
        self.send(self.carrier(of, *words, **more), scope=semconv.SCOPE)


def id_of(ids):
    """The id of an answer, as addresses have it."""
    return f"{ids['trace_id']}-{ids['span_id']}"


def context_of(store, **changes):
    """What pages know, with a status that counts nothing."""
    status = {"url": "http://127.0.0.1:8484", "counts": {}, "last": {}, "seen": {}, "hints": [], "data": "/data"}
    return Context(**{"store": store, "status": lambda: status, "version": "1.2.3", **changes})


def pages(context):
    """A client of the pages."""
    transport = httpx.ASGITransport(Starlette(routes=page_routes(context)))
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8484")


class _Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.texts = []
        self.links = []

    def handle_starttag(self, tag, attributes):
        if tag == "a":
            self.links.append(dict(attributes).get("href"))

    def handle_data(self, data):
        self.texts.append(data)


def read_page(answer):
    """The text of a page with single blanks, and its links."""
    reader = _Reader()
    reader.feed(answer.text)
    return " ".join(" ".join(reader.texts).split()), reader.links
