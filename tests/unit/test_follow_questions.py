"""Where a service's own words tell no question: it is read from what was sent to the model."""

import pytest
from tests.unit.follow_parts import HOW, HOW_ELSE, derived, in_openinference, target
from tests.unit.spans_of_a_host import Host

from otel_feedback import _ledger, interaction, semconv
from otel_feedback._follow import BARE_QUESTION, MAX_QUESTION, MAX_TEXT
from otel_feedback.testing import telemetry


@pytest.fixture
def seen():
    with telemetry() as seen:
        yield seen


MESSAGES = {
    "opentelemetry": lambda text: {
        "gen_ai.input.messages": f'[{{"role": "user", "parts": [{{"type": "text", "content": "{text}"}}]}}]'
    },
    "openllmetry": lambda text: {
        "gen_ai.prompt.0.role": "system",
        "gen_ai.prompt.0.content": "Be brief.",
        "gen_ai.prompt.1.role": "user",
        "gen_ai.prompt.1.content": text,
    },
    "openinference": in_openinference,
}


@pytest.mark.parametrize("dialect", MESSAGES)
def test_a_question_may_stand_in_the_spans_of_any_family(seen, dialect):
    """Where content is recorded; the conversation may be told by any span, at its end too."""
    host = Host(seen)
    for text in (HOW, HOW):
        with host.request() as server:
            host.end_chat(host.start_chat(), **MESSAGES[dialect](text))
            server.set_attribute(semconv.GEN_AI_CONVERSATION_ID, "c-1")
    ((_, signal, *_),) = derived(seen)
    assert signal == "regenerate"


def test_a_request_that_failed_is_not_judged(seen):
    """A server span that tells of an error has no answer that one could ask for again."""
    host = Host(seen)
    for _ in range(2):
        with pytest.raises(ValueError, match="host"):
            fail(host)
    assert derived(seen) == []


def fail(host, *, hand=False):
    with host.request():
        host.end_chat(host.start_chat(**{semconv.GEN_AI_CONVERSATION_ID: "c"}), **in_openinference(HOW))
        if hand:
            assert _ledger.handle_of(_ledger.current_sheet()) is not None
        raise ValueError("the host's own")


def test_a_tools_result_is_no_question(seen):
    """A bare agent calls its model again with the same question and what a tool said: the user asked once."""
    host = Host(seen)
    asked = '{"role": "user", "content": "How?"}'
    for more in ("", ', {"role": "assistant", "content": "x"}, {"role": "tool", "content": "42"}', ""):
        host.end_chat(
            host.start_chat(**{semconv.GEN_AI_CONVERSATION_ID: "c"}), **{"gen_ai.input.messages": f"[{asked}{more}]"}
        )
    assert derived(seen) == []


def ask(seen, text, conversation="c"):
    """One request whose span tells the message that was sent."""
    host = Host(seen)
    with host.request():
        host.end_chat(host.start_chat(**{semconv.GEN_AI_CONVERSATION_ID: conversation}), **in_openinference(text))


FRAME = "Answer from these passages, in one sentence, and say so where they do not tell.\n\nQuestion: {}"


def test_a_prompts_own_words_do_not_make_questions_alike(seen):
    """The same frame around every question: the likeness of strangers' prompts shows it."""
    for text in ("Why?", "Who delivers?"):
        ask(seen, FRAME.format(text), "x")
    ask(seen, FRAME.format("When is it?"), "y")
    for text in ("How far?", "Which one?", "Which one?"):
        ask(seen, FRAME.format(text), "x")
    assert [found[1] for found in derived(seen)] == ["regenerate"]


@pytest.mark.parametrize("text", [HOW, HOW + " " + "a " * (BARE_QUESTION // 2)])
def test_one_short_line_is_the_question_alone(seen, text):
    """With it no other conversation is needed to compare with; a longer one may be a prompt's."""
    for end in ("", " please"):
        ask(seen, text.strip() + end)
    assert len(derived(seen)) == (text == HOW)


def test_of_a_long_text_it_is_only_seen_that_it_is_the_same(seen):
    """Passages in the user's message: the same again is ``regenerate``, what is like it says nothing."""
    long = "word " * (MAX_QUESTION // 5 + 1)
    for text in (long + "x", long + " X", long + "y", HOW):
        ask(seen, text)
    assert [found[1] for found in derived(seen)] == ["regenerate"]


def test_what_is_longer_than_any_question_is_not_looked_at(seen):
    """A whole book in a message costs no work."""
    for _ in range(2):
        ask(seen, "word " * (MAX_TEXT // 5 + 1))
    assert derived(seen) == []


def test_a_stream_that_broke_after_people_saw_its_beginning_is_an_answer(seen):
    """A handle was given away for it; who asks again judges it."""
    with pytest.raises(ValueError, match="host"):
        break_off(seen)
    with interaction("a", conversation_id="c", input=HOW, tracer_provider=seen.provider):
        pass
    ((judged, signal, *_),) = derived(seen)
    assert (judged, signal) == (target(seen, broken[0]), "regenerate")


broken = []


def break_off(seen):
    with interaction("a", conversation_id="c", input=HOW, tracer_provider=seen.provider) as answer:
        broken[:] = [answer.handle]
        raise ValueError("the host's own")


def test_a_request_that_broke_after_its_handle_had_left_is_an_answer_too(seen):
    """Its server span tells of an error; its header had left."""
    for _ in range(2):
        with pytest.raises(ValueError, match="host"):
            fail(Host(seen), hand=True)
    ((_, signal, *_),) = derived(seen)
    assert signal == "regenerate"


def test_the_first_question_of_an_answer_holds(seen):
    """What the service says comes before what its messages tell; a later call of the same answer asks nothing new."""
    for text in (HOW, HOW_ELSE):
        host = Host(seen)
        with interaction("a", conversation_id="c", input=HOW, tracer_provider=seen.provider):
            host.end_chat(host.start_chat(), **in_openinference(text))
    assert [found[1] for found in derived(seen)] == ["regenerate"]
