"""The stand-in for the model provider: OpenAI's interface, and answers no better than the prompt."""

import httpx
import openai
import pytest
from examples.model_provider.app import app
from examples.model_provider.extract import NO_ANSWER, answer, read_limits

PASSAGES = (
    "Lambda expressions create anonymous functions. Functions created with lambda expressions cannot contain "
    "statements or annotations.\n\nThe return statement leaves a function. Cats like milk."
)
QUESTION = "Question: Can a lambda expression contain statements?"


def prompt(instruction: str = "", passages: str = PASSAGES, question: str = QUESTION) -> list[tuple[str, str]]:
    return [("system", instruction), ("user", f"Passages:\n\n{passages}\n\n{question}")]


def client() -> openai.AsyncOpenAI:
    transport = httpx.ASGITransport(app=app)
    return openai.AsyncOpenAI(
        base_url="http://provider/v1", api_key="none", http_client=httpx.AsyncClient(transport=transport)
    )


def test_the_answer_is_the_sentence_that_fits_the_question() -> None:
    """Of the prompt's sentences the best ones come back, best first."""
    assert answer(prompt("One sentence.")) == (
        "Functions created with lambda expressions cannot contain statements or annotations."
    )


def test_a_wrong_passage_gives_a_wrong_answer() -> None:
    """What the prompt lacks, the answer can't hold."""
    assert "annotations" not in answer(prompt(passages="Every statement is a sentence. Cats like milk."))
    assert answer(prompt(passages="Cats like milk.")) == NO_ANSWER
    assert answer([("user", QUESTION)]) == NO_ANSWER


def test_a_shorter_answer_is_asked_for_and_given() -> None:
    """The instruction's limits cut the answer, and with it what was asked for."""
    assert answer(prompt("Use at most five words.")) == "Functions created with lambda expressions"
    assert answer(prompt("In two sentences, please.")).count(".") == 2


@pytest.mark.parametrize(
    ("instruction", "sentences", "words"),
    [
        ("Be helpful.", 3, None),
        ("at most two short sentences", 2, None),
        ("In ONE sentence of 12 words.", 1, 12),
        ("0 words", 3, 1),
    ],
)
def test_limits_are_read_from_words(instruction: str, sentences: int, words: int | None) -> None:
    """Numbers count as numerals and as words, in either case; an answer is never empty."""
    limits = read_limits(instruction)
    assert (limits.sentences, limits.words) == (sentences, words)


def test_the_same_sentence_twice_is_said_once() -> None:
    """Passages that overlap don't make the answer repeat itself."""
    assert answer(prompt(passages="A lambda has no statements.\n\nA lambda has no statements.")).count("lambda") == 1


async def test_the_openai_sdk_gets_a_completion() -> None:
    """A plain call has text, id, usage, and the exact version of the model as its name."""
    async with client() as sdk:
        messages = [{"role": role, "content": text} for role, text in prompt("One sentence.")]
        completion = await sdk.chat.completions.create(model="extract-1", messages=messages)
        other = await sdk.chat.completions.create(model="extract-1", messages=messages)
    assert completion.choices[0].message.content == answer(prompt("One sentence."))
    assert completion.choices[0].finish_reason == "stop"
    assert completion.model == "extract-1-2026-08-01"
    assert completion.id != other.id
    assert completion.usage is not None
    assert completion.usage.completion_tokens == 10
    assert completion.usage.total_tokens == completion.usage.prompt_tokens + 10


async def test_the_openai_sdk_gets_a_stream() -> None:
    """A streamed call gives the same text in pieces, then its end, then its usage where it was asked for."""
    async with client() as sdk:
        messages = [{"role": role, "content": text} for role, text in prompt("One sentence.")]
        stream = await sdk.chat.completions.create(
            model="extract-1", messages=messages, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
        without = [
            c async for c in await sdk.chat.completions.create(model="extract-1", messages=messages, stream=True)
        ]
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(pieces) == answer(prompt("One sentence."))
    assert len([piece for piece in pieces if piece]) > 1
    assert len({chunk.id for chunk in chunks}) == 1
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 10
    assert all(chunk.usage is None for chunk in without)


async def test_content_in_parts_is_read() -> None:
    """A message may be a list of parts, as the SDK allows."""
    async with client() as sdk:
        completion = await sdk.chat.completions.create(
            model="extract-1",
            messages=[{"role": "user", "content": [{"type": "text", "text": text} for text in (PASSAGES, QUESTION)]}],
        )
    assert "cannot contain statements" in (completion.choices[0].message.content or "")


async def test_the_models_are_listed() -> None:
    """What may be asked for can be asked."""
    async with client() as sdk:
        assert [model.id async for model in sdk.models.list()] == ["extract-1"]


async def test_what_cannot_be_answered_is_an_error_of_the_sdk() -> None:
    """An unknown model, no messages, a body that is none: the SDK raises as for the real one."""
    async with client() as sdk:
        with pytest.raises(openai.NotFoundError):
            await sdk.chat.completions.create(model="unknown", messages=[{"role": "user", "content": "?"}])
        with pytest.raises(openai.BadRequestError):
            await sdk.chat.completions.create(model="extract-1", messages=[])
        with pytest.raises(openai.BadRequestError):
            await sdk.post("/chat/completions", cast_to=object, body=["no", "object"])
