"""Questions, answers to them, and what was found: what the tests of derived signals share."""

from otel_feedback import interaction, semconv

HOW = "How do I reset my password?"
HOW_ELSE = "How do I reset my password please?"
OTHER = "Which countries do you deliver to?"


def answer(seen, question, conversation="c-1", **more):
    """One answer; return its handle."""
    with interaction(
        "answer", conversation_id=conversation, input=question, tracer_provider=seen.provider, **more
    ) as open_:
        open_.output("Like this.", model="m-1")
    return open_.handle


def derived(seen):
    """What was found: the answer that each judges, signal, label and confidence."""
    return [
        (
            span["links"][0],
            span["attributes"][semconv.FEEDBACK_SIGNAL],
            span["attributes"][semconv.ANNOTATION_LABEL],
            span["attributes"][semconv.FEEDBACK_CONFIDENCE],
        )
        for span in seen.spans()
        if span["attributes"].get(semconv.FEEDBACK_SOURCE) == "derived"
    ]


def target(seen, handle):
    """The span that a handle points at."""
    return seen.read_handle(handle)["context"]


def in_openinference(text):
    """A question in the attributes of an OpenInference span."""
    return {"llm.input_messages.0.message.role": "user", "llm.input_messages.0.message.content": text}
