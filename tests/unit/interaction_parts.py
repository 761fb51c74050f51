"""What the tests of ``interaction()`` share: inferences inside of one, and what its spans say afterwards."""

from opentelemetry import trace
from tests.unit.spans_of_a_host import CHAT

PSEUDONYM_KEYS = "p1:cHNldWRvbnltLWtleS1mb3ItdGVzdHMtb25seS0zMmI"


def chat(seen, answered_by="m-1", **attributes):
    """An inference, as an instrumentation would show it."""
    with seen.provider.get_tracer("host").start_as_current_span("chat m", attributes=CHAT | attributes) as span:
        if answered_by:
            span.set_attribute("gen_ai.response.model", answered_by)


def call_model(seen, model="m"):
    """An inference that tells no more than which model was asked."""
    asked = {"gen_ai.operation.name": "chat", "gen_ai.request.model": model}
    seen.provider.get_tracer("host").start_span("chat", attributes=asked).end()


def attributes_of(seen, *names):
    """Some attributes of each span, in the order of their starts."""
    return [{name: span["attributes"][name] for name in names if name in span["attributes"]} for span in seen.spans()]


def tree(seen):
    """Each span with its parent and, of an interaction, its model."""
    return [
        (span["name"], span["context"], span["parent"], span["attributes"].get("feedback.model"))
        for span in seen.spans()
    ]


def outside():
    """Say whether this code is outside of any span."""
    return trace.get_current_span() is trace.INVALID_SPAN
