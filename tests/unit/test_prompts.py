"""Prompt templates: rendered as ``str.format`` does, and said on whatever answer is being made."""

import dataclasses
import hashlib
import pickle

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from opentelemetry.trace import SpanKind

from otel_feedback import PromptTemplate, interaction, semconv
from otel_feedback._prompts import MAX_VARIABLES, fingerprint
from otel_feedback.exceptions import PromptError
from otel_feedback.testing import telemetry

CHAT = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"}


class Person:
    """A value with an attribute."""

    name = "Ada"

    def __getitem__(self, key):
        """Look a thing up."""
        return f"Ada's {key}"


@pytest.mark.parametrize(
    ("text", "variables", "rendered"),
    [
        ("Answer: {question}", {"question": "why?"}, "Answer: why?"),
        ("{a}{b}{a}", {"a": 1, "b": 2}, "121"),
        ("{x!r}", {"x": "q"}, "'q'"),
        ("{x:>5}|{y:.2f}", {"x": "q", "y": 1.234}, "    q|1.23"),
        ("{x:>{width}}", {"x": "q", "width": 4}, "   q"),
        ("{x:{fill}>{width}}", {"x": "q", "fill": "*", "width": 3}, "**q"),
        ("{person.name} {person[hat]} {rows[0]}", {"person": Person(), "rows": [7]}, "Ada Ada's hat 7"),
        ('{{"json": {{}}}} {x}', {"x": 1}, '{"json": {}} 1'),
        ("no variable", {}, "no variable"),
        ("", {}, ""),
        ("{self} {name} {class}", {"self": 1, "name": 2, "class": 3}, "1 2 3"),
        ("{größe}", {"größe": 1}, "1"),
        ("{x}", {"x": 1, "unused": 2}, "1"),
    ],
)
def test_the_syntax_is_that_of_str_format(text, variables, rendered):
    """Specs, nested specs, attributes, indices, conversions and doubled braces mean what they mean there."""
    assert PromptTemplate("t", text).format(**variables) == rendered == text.format(**variables)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("{a} {b.c} {d[e]} {f!r:{g}}", {"a", "b", "d", "f", "g"}),
        ("{a[b.c]}{a.b[c]}", {"a"}),
        ("{{a}}", set()),
    ],
)
def test_a_template_knows_its_variables(text, names):
    """The names that ``format`` needs, from wherever they stand in the text."""
    assert PromptTemplate("t", text).variables == names


def test_missing_variables_are_named():
    """The error says of which template, and which values it wants, however many."""
    template = PromptTemplate("answer", "{question} {passages:{width}}")
    with pytest.raises(PromptError) as caught:
        template.format(width=3)
    assert str(caught.value) == "The prompt template 'answer' needs a value for: passages, question."


@pytest.mark.parametrize("text", ["{", "}", "{a", "{a!x}x{", "{a}}"])
def test_a_broken_text_is_told_at_once(text):
    """When the template is made, not at the first answer; and how to mend it."""
    with pytest.raises(PromptError, match=r"'answer' is no format string.*doubled"):
        PromptTemplate("answer", text)


@pytest.mark.parametrize("text", ["{}", "{0}", "{:>{}}", '{"json": 1}', "{a b}"])
def test_variables_have_names(text):
    """Positions can't be told apart on a span; a JSON example with single braces gets the same advice."""
    with pytest.raises(PromptError, match=r"a variable without a proper name.*double a brace"):
        PromptTemplate("answer", text)


@pytest.mark.parametrize(
    "arguments",
    [("", "text"), (None, "text"), (3, "text"), ("answer", None), ("answer", b"text"), ("answer", "text", 3)],
)
def test_wrong_arguments_are_told_at_once(arguments):
    """A template without a name, a text that is none, a version that is a number."""
    with pytest.raises(PromptError):
        PromptTemplate(*arguments)


@pytest.mark.parametrize("text", ["{x:d}", "{x.secret}", "{x[secret]}", "{x:{{}}}"])
def test_a_value_that_does_not_fit_is_not_quoted(text):
    """The error names template and kind of trouble; the value may be what a user wrote."""
    with pytest.raises(PromptError) as caught:
        PromptTemplate("answer", text).format(x="what a user wrote")
    assert "answer" in str(caught.value)
    assert "what a user wrote" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_the_fingerprint_shows_an_edit():
    """12 hex digits of SHA-256 over the text; name and version don't touch it."""
    template = PromptTemplate("a", "Answer: {question}", version="2")
    assert template.fingerprint == hashlib.sha256(b"Answer: {question}").hexdigest()[:12]
    assert PromptTemplate("b", "Answer: {question}").fingerprint == template.fingerprint
    assert PromptTemplate("a", "Answer: {question} ", version="2").fingerprint != template.fingerprint


@given(st.text())
@example("\ud800")
def test_every_text_has_a_fingerprint(text):
    """Lone surrogates too, which UTF-8 refuses."""
    assert len(fingerprint(text)) == 12


def test_templates_are_values():
    """Equal by name, text and version, usable as keys, copied by pickle and ``replace``."""
    template = PromptTemplate("a", "{x}")
    assert template == PromptTemplate("a", "{x}") == pickle.loads(pickle.dumps(template))  # noqa: S301 - our own
    assert len({template, PromptTemplate("a", "{x}"), PromptTemplate("a", "{y}")}) == 2
    changed = dataclasses.replace(template, text="{y}")
    assert (changed.variables, changed.fingerprint) == ({"y"}, fingerprint("{y}"))
    with pytest.raises(dataclasses.FrozenInstanceError):
        template.name = "b"


def stamped(span):
    """What a span says of its prompt."""
    return {key: value for key, value in span["attributes"].items() if "prompt" in key}


TEMPLATE = PromptTemplate("answer", "Be brief. {question}", version="v2")
STAMP = {
    "feedback.prompt.name": "answer",
    "feedback.prompt.version": "v2",
    "feedback.prompt.fingerprint": TEMPLATE.fingerprint,
}
PUBLISHED = {"gen_ai.prompt.name": "answer", "gen_ai.prompt.version": "v2"}


def test_without_a_version_the_fingerprint_is_the_version(seen):
    """So that an edit that nobody versioned is told apart all the same; an empty version is none."""
    for version in (None, ""):
        template = PromptTemplate("answer", "Be brief.", version)
        with interaction("ask", tracer_provider=seen.provider):
            template.format()
    for span in seen.spans():
        assert stamped(span)["feedback.prompt.version"] == stamped(span)["feedback.prompt.fingerprint"]


def test_stamps_an_interaction(seen):
    """Rendered inside ``interaction()``, without any inference that is seen, it is the answer's template."""
    with interaction("ask", tracer_provider=seen.provider):
        TEMPLATE.format(question="why?")
    assert [stamped(span) for span in seen.spans()] == [STAMP]


def test_stamps_a_request(seen):
    """Rendered in a request, it is the template of the inference that comes next, and of the request."""
    tracer = seen.provider.get_tracer("host")
    with tracer.start_as_current_span("GET", kind=SpanKind.SERVER, attributes={"http.request.method": "GET"}):
        TEMPLATE.format(question="why?")
        tracer.start_span("chat", attributes=CHAT).end()
    assert [stamped(span) for span in seen.spans()] == [STAMP, PUBLISHED]


def test_stamps_a_script(seen):
    """Rendered outside of any span, it is the template of the inference that comes next, once."""
    tracer = seen.provider.get_tracer("host")
    TEMPLATE.format(question="why?")
    tracer.start_span("chat", attributes=CHAT).end()
    tracer.start_span("chat", attributes=CHAT).end()
    first, second = seen.spans()
    assert stamped(first) == STAMP | PUBLISHED
    assert stamped(second)["feedback.prompt.name"] == "chat"


def test_stamps_a_worker(seen):
    """Rendered in or around a span that is no request, it is the template of the inference below."""
    tracer = seen.provider.get_tracer("host")
    with tracer.start_as_current_span("job"):
        TEMPLATE.format(question="why?")
        tracer.start_span("chat", attributes=CHAT).end()
    TEMPLATE.format(question="why?")
    with tracer.start_as_current_span("job"):
        tracer.start_span("chat", attributes=CHAT).end()
    assert [stamped(span) for span in seen.spans()] == [{}, STAMP | PUBLISHED, {}, STAMP | PUBLISHED]


def test_what_a_request_leaves_in_its_thread_is_no_other_requests(seen):
    """A template that was rendered for nothing, where a server thread has no span, doesn't stamp what comes later."""
    tracer = seen.provider.get_tracer("host")
    TEMPLATE.format(question="a stream's, whose request has ended, from a cache")
    tracer.start_span("GET", kind=SpanKind.SERVER, attributes={"http.request.method": "GET"}).end()
    tracer.start_span("chat", attributes=CHAT).end()
    assert stamped(seen.spans()[-1])["feedback.prompt.name"] == "chat"


@pytest.mark.parametrize(
    ("capture", "shown"),
    [(False, {}), (True, {"gen_ai.prompt.variable.question": "why \ufffd?", "gen_ai.prompt.variable.n": "3"})],
)
def test_variables_are_content(capture, shown):
    """What a template was rendered with stands on the inference, as text that UTF-8 can hold, where content may."""
    with telemetry(capture_content=capture) as seen:
        tracer = seen.provider.get_tracer("host")
        PromptTemplate("answer", "{question}{n}", version="v2").format(question="why \ud800?", n=3, unused="x")
        tracer.start_span("chat", attributes=CHAT).end()
        attributes = seen.spans()[0]["attributes"]
    assert {key: value for key, value in attributes.items() if key.startswith("gen_ai.prompt.variable.")} == shown


def test_a_bare_inference_gets_at_most_32_attributes():
    """With every fact, the documents and a template of many variables, a host's span stays within the promise."""
    every_fact = {
        "gen_ai.conversation.id": "c",
        "feedback.query.type": "q",
        "gen_ai.provider.name": "p",
        "gen_ai.response.id": "r",
        "gen_ai.retrieval.documents": '["a"]',
    }
    resource = {"service.namespace": "n", "deployment.environment.name": "e"}
    with telemetry(capture_content=True, resource=resource) as seen:
        tracer = seen.provider.get_tracer("host")
        names = [f"v{number:02}" for number in range(40)]
        PromptTemplate("t", "".join(f"{{{name}}}" for name in names)).format(**dict.fromkeys(names, "x"))
        with tracer.start_as_current_span("agent", attributes={"gen_ai.operation.name": "invoke_agent"}):
            tracer.start_span("retrieval", attributes=every_fact).end()
            tracer.start_span("chat", attributes=CHAT | every_fact).end()
        agent, _, chat = (span["attributes"] for span in seen.spans())
    added = chat.keys() - (CHAT | every_fact).keys()
    assert len([name for name in added if name.startswith(semconv.GEN_AI_PROMPT_VARIABLE)]) == MAX_VARIABLES
    facts = agent.keys() - {"gen_ai.operation.name"}
    assert len(facts) + 1 + len(added) <= 32, "user.hash beside"


def test_a_variable_that_cannot_be_shown_harms_nobody():
    """The text is rendered; what failed is ours."""

    class Odd:
        def __format__(self, spec):
            return "odd"

        def __str__(self):
            raise RuntimeError

    with telemetry(capture_content=True), pytest.raises(RuntimeError):
        PromptTemplate("t", "{x}").format(x=Odd())
    assert PromptTemplate("t", "{x}").format(x=Odd()) == "odd"
