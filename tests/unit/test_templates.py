"""Reading the prompt from the OpenAI client's arguments, whichever wrapper is the outer one."""

import asyncio
import json
import subprocess
import sys

import httpx
import pytest
from openai import AsyncOpenAI, BadRequestError, OpenAI
from openai.resources.chat.completions.completions import AsyncCompletions, Completions
from openai.resources.responses.responses import AsyncResponses, Responses
from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor
from opentelemetry.trace import SpanKind
from pydantic import BaseModel

from otel_feedback import PromptTemplate, _ledger, semconv
from otel_feedback._prompts import fingerprint
from otel_feedback.instrumentation import _templates
from otel_feedback.testing import telemetry

SYSTEM = "Answer in one sentence."
MESSAGES = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": "What is a list?"}]
CLASSES = (Completions, AsyncCompletions, Responses, AsyncResponses)

COMPLETION = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "m-1-2026",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": '{"word": "x"}'}, "finish_reason": "stop"},
    ],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}
RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1,
    "model": "m-1-2026",
    "status": "completed",
    "output": [],
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
}
CHUNK = {**COMPLETION, "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": "x"}}]}


def provider(request):
    """A model provider that answers the same each time, streamed where asked to."""
    body = json.loads(request.content)
    if request.url.path.endswith("/responses"):
        return httpx.Response(200, json=RESPONSE)
    if body.get("stream"):
        text = f"data: {json.dumps(CHUNK)}\n\ndata: [DONE]\n\n"
        return httpx.Response(200, text=text, headers={"content-type": "text/event-stream"})
    return httpx.Response(200, json=COMPLETION)


def client():
    """The real client before that provider."""
    http = httpx.Client(transport=httpx.MockTransport(provider))
    return OpenAI(api_key="x", base_url="http://provider/v1", http_client=http, max_retries=0)


def async_client():
    """The real async client before that provider."""
    http = httpx.AsyncClient(transport=httpx.MockTransport(provider))
    return AsyncOpenAI(api_key="x", base_url="http://provider/v1", http_client=http, max_retries=0)


def pristine(method):
    """A method without any wrapper of ours or of an instrumentation."""
    while type(method).__module__.startswith("wrapt"):
        method = method.__wrapped__
    return method


@pytest.fixture(params=["ours is the outer wrapper", "ours is the inner wrapper"])
def seen(request, monkeypatch):
    for cls in CLASSES:
        for name in ("create", "parse"):
            monkeypatch.setattr(cls, name, pristine(cls.__dict__[name]))
    monkeypatch.setattr(_templates, "_hooked", set())
    instrumentor = OpenAIInstrumentor()
    with telemetry() as seen:
        if request.param == "ours is the inner wrapper":
            _templates.hook()
        instrumentor.instrument(tracer_provider=seen.provider, skip_dep_check=True)
        _templates.hook()
        yield seen
        _templates.unhook()
        instrumentor.uninstrument()


@pytest.fixture
def request_span(seen):
    method = {"http.method": "POST", "http.route": "/ask"}
    tracer = seen.provider.get_tracer("test")
    with tracer.start_as_current_span("POST /ask", kind=SpanKind.SERVER, attributes=method) as span:
        yield span


def version(span):
    return span.attributes.get(semconv.FEEDBACK_PROMPT_VERSION)


def test_a_calls_system_instruction_is_the_version_of_its_routes_prompt(seen, request_span):
    """Nothing is declared: the route is the name; the call's own span shows both by the published names."""
    client().chat.completions.create(model="m-1", messages=MESSAGES)
    assert request_span.attributes[semconv.FEEDBACK_PROMPT_NAME] == "/ask"
    assert version(request_span) == fingerprint(SYSTEM)
    [call] = seen.exporter.get_finished_spans()
    assert call.attributes[semconv.GEN_AI_PROMPT_NAME] == "/ask"
    assert call.attributes[semconv.GEN_AI_PROMPT_VERSION] == fingerprint(SYSTEM)


def test_it_is_known_when_the_call_starts(seen, request_span, monkeypatch):
    """A stream's header leaves before the call's end: at the moment when the provider is asked, all is known."""
    known = []

    def look(request):
        known.append(version(request_span))
        return provider(request)

    http = httpx.Client(transport=httpx.MockTransport(look))
    OpenAI(api_key="x", base_url="http://p/v1", http_client=http).chat.completions.create(model="m", messages=MESSAGES)
    assert known == [fingerprint(SYSTEM)]


async def test_async_calls_are_read_too(seen, request_span):
    """Plain and streamed."""
    await async_client().chat.completions.create(model="m-1", messages=MESSAGES)
    assert version(request_span) == fingerprint(SYSTEM)
    other = [{"role": "system", "content": "Other."}, *MESSAGES[1:]]
    stream = await async_client().chat.completions.create(model="m-1", messages=other, stream=True)
    assert version(request_span) == fingerprint("Other.")
    assert [chunk.choices[0].delta.content async for chunk in stream] == ["x"]


def test_streamed_calls_and_helpers_are_read(seen, request_span):
    """stream=True, .stream(), .parse(), with_raw_response: all ways to the same call."""

    class Word(BaseModel):
        word: str

    chat = client().chat.completions

    def drained():
        with chat.stream(model="m-1", messages=system("c")) as stream:
            list(stream)

    def system(text):
        return [{"role": "system", "content": text}, *MESSAGES[1:]]

    ways = {
        "a": lambda: list(chat.create(model="m-1", messages=system("a"), stream=True)),
        "b": lambda: chat.parse(model="m-1", messages=system("b"), response_format=Word),
        "c": drained,
        "d": lambda: chat.with_raw_response.create(model="m-1", messages=system("d")),
    }
    for text, way in ways.items():
        way()
        assert version(request_span) == fingerprint(text), text


@pytest.mark.parametrize(
    ("arguments", "name", "expected"),
    [
        ({"instructions": SYSTEM, "input": "q"}, "/ask", fingerprint(SYSTEM)),
        ({"input": [{"role": "developer", "content": SYSTEM}]}, "/ask", fingerprint(SYSTEM)),
        ({"prompt": {"id": "pmpt_1", "version": "7"}, "input": "q"}, "pmpt_1", "7"),
        ({"prompt": {"id": "pmpt_1"}, "input": "q"}, "pmpt_1", "unknown"),
        ({"prompt": {"id": "pmpt_1"}, "instructions": SYSTEM, "input": "q"}, "pmpt_1", fingerprint(SYSTEM)),
        ({"input": "q"}, "/ask", "unknown"),
    ],
)
def test_responses_calls_are_read(seen, request_span, arguments, name, expected):
    """Instructions, a developer message, a prompt that is stored at the provider."""
    client().responses.create(model="m-1", **arguments)
    assert request_span.attributes[semconv.FEEDBACK_PROMPT_NAME] == name
    assert version(request_span) == expected


def test_a_declared_template_wins(seen, request_span):
    """What the service says by PromptTemplate is not overruled by what its arguments show."""
    text = PromptTemplate("answer", "Answer {how}.", version="3").format(how="well")
    client().chat.completions.create(model="m-1", messages=[{"role": "system", "content": text}, *MESSAGES[1:]])
    assert request_span.attributes[semconv.FEEDBACK_PROMPT_NAME] == "answer"
    assert version(request_span) == "3"


def test_a_call_never_changes_the_prompt_of_the_one_before(seen, request_span):
    """The first call has no instruction: it stays so when the second, which has one, begins."""
    prompts = []

    def look(request):
        prompts.append(_ledger.current_sheet().answer.prompt)
        return provider(request)

    http = httpx.Client(transport=httpx.MockTransport(look))
    chat = OpenAI(api_key="x", base_url="http://p/v1", http_client=http).chat.completions
    sheet = _ledger.current_sheet()
    chat.create(model="m-1", messages=MESSAGES[1:])
    first = sheet.answer
    chat.create(model="m-1", messages=MESSAGES)
    assert (first.prompt.version, first.prompt.fingerprint) == ("unknown", None)
    assert [prompt.version for prompt in prompts] == ["unknown", fingerprint(SYSTEM)]


async def test_calls_at_once_keep_their_own(seen, request_span):
    """Twenty calls in tasks of one request: each call's span has its own instruction's fingerprint."""
    chat = async_client().chat.completions

    async def one(n):
        await chat.create(model=f"m-{n}", messages=[{"role": "system", "content": f"S{n}"}, *MESSAGES[1:]])

    await asyncio.gather(*(one(n) for n in range(20)))
    found = {
        span.attributes["gen_ai.request.model"]: span.attributes[semconv.GEN_AI_PROMPT_VERSION]
        for span in seen.exporter.get_finished_spans()
    }
    assert found == {f"m-{n}": fingerprint(f"S{n}") for n in range(20)}


def test_an_error_of_the_call_is_the_services(seen, request_span):
    """What the client raises passes, and the word left for the call is taken back."""
    refused = httpx.MockTransport(lambda _: httpx.Response(400, json={"error": {"message": "refused"}}))
    chat = OpenAI(api_key="x", base_url="http://p/v1", http_client=httpx.Client(transport=refused)).chat.completions
    with pytest.raises(BadRequestError, match="refused"):
        chat.create(model="m", messages=MESSAGES)
    assert _ledger.current_call() is None


def test_only_a_fingerprint_is_kept(seen, request_span):
    """The instruction's text stands in no attribute of any span, and nowhere in our tables."""
    client().chat.completions.create(model="m-1", messages=MESSAGES)
    told = [str(dict(span.attributes)) for span in (request_span, *seen.exporter.get_finished_spans())]
    assert not any(SYSTEM in text for text in told)
    assert SYSTEM not in str(_ledger.current_sheet().answer)


def test_switched_off_it_reads_nothing(seen, request_span):
    """After unhook() the wrappers pass everything through."""
    _templates.unhook()
    client().chat.completions.create(model="m-1", messages=MESSAGES)
    assert version(request_span) == "unknown"


def test_a_failure_of_ours_leaves_the_call_alone(seen, request_span, monkeypatch, guarded):
    """Whatever breaks in reading the arguments, the service gets its answer."""
    monkeypatch.setattr(_templates._prompts, "fingerprint", lambda _: 1 / 0)
    assert client().chat.completions.create(model="m-1", messages=MESSAGES).id == "chatcmpl-1"


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        ([{"role": "system", "content": "a"}, {"role": "developer", "content": "b"}, *MESSAGES[1:]], "a\nb"),
        ([{"role": "system", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}], "a\nb"),
        ([{"role": "user", "content": "c"}, {"role": "system", "content": "late"}], None),
        ([{"role": "system", "content": None}], None),
        ([{"role": "system"}, None, 7, "x"], None),
        ([], None),
        (None, None),
        ("plain text", None),
        (iter([{"role": "system", "content": "a"}]), None),
        ([type("Message", (), {"role": "system", "content": "a"})()], "a"),
    ],
)
def test_what_counts_as_the_system_instruction(messages, text):
    """The messages that open a conversation as system or developer; odd arguments tell nothing."""
    expected = fingerprint(text) if text else None
    note = _templates._note_of({"messages": messages})
    assert (note.fingerprint if note else None) == expected


def test_an_iterator_of_messages_is_left_to_the_client():
    """Reading it would use it up."""
    messages = iter(MESSAGES)
    _templates._note_of({"messages": messages})
    assert list(messages) == MESSAGES


def test_nothing_is_imported_for_it():
    """A service without OpenAI doesn't load it because of us."""
    script = (
        "import sys; from otel_feedback.instrumentation import FeedbackInstrumentor, _templates; _templates.hook();"
        "assert not {'openai', 'fastapi', 'flask', 'starlette', 'django'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
