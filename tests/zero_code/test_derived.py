"""What an untouched chat service finds by itself: questions that are asked again, and readers who leave."""

import itertools

import httpx
import pytest
from stack.client import wait_until
from tests.zero_code.conftest import uvicorn

from otel_feedback import semconv

HOW = "How do I reset my password?"
HOW_ELSE = "How do I reset my password please?"
OTHER = "Which countries do you deliver to?"

_numbers = itertools.count()


@pytest.fixture(scope="module", params=["contrib", "native", "content"])
def service(request, start):
    more = {
        "contrib": {},
        "native": {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "fastapi,starlette"},
        "content": {"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "span_only"},
    }
    return start(*uvicorn("chat_app:app"), **more[request.param])


@pytest.fixture
def conversation():
    return f"conversation-{next(_numbers)}"


def found(service, handle):
    """What the service found about an answer: signal, sentiment and confidence."""
    return [
        (
            span.attributes[semconv.FEEDBACK_SIGNAL],
            span.attributes[semconv.FEEDBACK_SENTIMENT],
            span.attributes[semconv.FEEDBACK_CONFIDENCE],
        )
        for span in list(service.sink.spans)
        if span.attributes.get(semconv.FEEDBACK_TARGET_SPAN_ID) == f"{handle.span_id:016x}"
        and span.attributes[semconv.FEEDBACK_SOURCE] == "derived"
    ]


def chat(service, path, question, conversation, **more):
    return service.handle_of(
        service.client.get(path, params={"question": question, "conversation": conversation, **more})
    )


@pytest.mark.parametrize("path", ["/chat", "/sync-chat", "/stream"])
def test_a_question_asked_again_judges_the_answer_before(service, conversation, path):
    """By the client's arguments alone, whatever the instrumentation records; plain, in threads, streamed."""
    handles = [chat(service, path, text, conversation) for text in (HOW, HOW, HOW_ELSE, OTHER)]
    wait_until(lambda: found(service, handles[1]), "the rephrased question", timeout=10, every=0.05)
    (first,), (second,) = (found(service, handle) for handle in handles[:2])
    assert first == ("regenerate", "negative", 0.9)
    assert second[:2] == ("rephrase", "negative")
    assert [found(service, handle) for handle in handles[2:]] == [[], []]


def test_conversations_and_strangers_are_kept_apart(service, conversation):
    """Two interleaved conversations, and requests that belong to none, ask the same once each."""
    names = (f"{conversation}-a", f"{conversation}-b", "", "")
    once = [chat(service, "/chat", OTHER, name) for name in names]
    again = chat(service, "/chat", OTHER, names[0])
    wait_until(lambda: found(service, once[0]), "the repeated question", timeout=10, every=0.05)
    assert [found(service, handle) for handle in (*once[1:], again)] == [[]] * 4


def test_a_reader_who_leaves_in_the_middle_abandons_the_answer(service):
    """Its connection tells; one who reads to the end abandons nothing."""
    whole = chat(service, "/stream", HOW, "")
    with service.client.stream("GET", "/stream", params={"question": HOW, "wait": 0.1}) as response:
        assert next(response.iter_raw())
        handle = service.handle_of(httpx.Response(200, headers=response.headers))
    wait_until(lambda: found(service, handle), "who left", timeout=10, every=0.05)
    assert found(service, handle) == [("abandon", "negative", 0.7)]
    assert found(service, whole) == []


def test_nothing_is_warned_of(service):
    """Finding out is silent; the one warning is that of the key that this machine made."""
    assert all("OTEL_FEEDBACK_HANDLE_KEYS is not set" in line for line in service.warnings())
