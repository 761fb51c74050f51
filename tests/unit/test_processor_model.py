"""Random trees of spans against a plain reading of the rule: who is an interaction, with which facts."""

import contextvars
import itertools
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import context as otel_context
from opentelemetry.trace import SpanKind
from tests.unit.spans_of_a_host import AGENT, CHAT, RETRIEVAL, TOOL, WORKFLOW, Host, remote

from otel_feedback import _ledger, interaction
from otel_feedback.testing import telemetry

KINDS = ("request", "interaction", "workflow", "agent", "inference", "retrieval", "tool", "plain")
ANSWERING = ("workflow", "agent", "inference")
ATTRIBUTES = {
    "workflow": WORKFLOW,
    "agent": AGENT,
    "inference": CHAT,
    "retrieval": RETRIEVAL,
    "tool": TOOL,
    "plain": {},
}


@dataclass
class Tree:
    """One span of a tree: it starts, its children run one after the other, and it ends."""

    kind: str
    children: list = field(default_factory=list)
    name: str = ""


def trees():
    """Trees as services make them, and as nobody should."""
    leaves = st.builds(Tree, st.sampled_from(KINDS))
    return st.recursive(
        leaves, lambda inner: st.builds(Tree, st.sampled_from(KINDS), st.lists(inner, max_size=4)), max_leaves=12
    )


def number(forest):
    """Give each span a name, in the order of their starts."""
    names = iter(range(1000))

    def visit(tree):
        tree.name = f"s{next(names)}"
        for child in tree.children:
            visit(child)

    for tree in forest:
        visit(tree)


def steps(seen, tree):
    """Make the real spans, with a pause after each start, so that others can go on in between."""
    if tree.kind == "interaction":
        with interaction(tree.name, tracer_provider=seen.provider):
            yield
            for child in tree.children:
                yield from steps(seen, child)
        return
    attributes = dict(ATTRIBUTES.get(tree.kind, {"http.request.method": "GET"}))
    if tree.kind == "inference":
        attributes["gen_ai.request.model"] = tree.name
    kind = SpanKind.SERVER if tree.kind == "request" else SpanKind.INTERNAL
    with Host(seen).tracer.start_as_current_span(tree.name, kind=kind, attributes=attributes) as span:
        yield
        for child in tree.children:
            yield from steps(seen, child)
        if tree.kind == "retrieval":
            span.set_attribute("gen_ai.retrieval.documents", f'["{tree.name}"]')
        if tree.kind == "inference":
            span.set_attribute("gen_ai.response.model", f"{tree.name}-exact")


class Owner:
    """What the model of the rule knows of one possible interaction."""

    def __init__(self, kind):
        self.kind, self.began, self.takers, self.model, self.documents = kind, kind == "interaction", [], None, []
        self.request = None

    def is_interaction(self):
        """By the rule."""
        return self.began and not self.takers and self.kind != "root"


def owner_of(tree, outer):
    """Say to whom a span's facts go: to what owns its place already, or to the span itself."""
    if tree.kind == "interaction":
        own = Owner("interaction")
        if outer is not None:
            own.request = outer.request if outer.kind == "interaction" else outer
        if own.request is not None:
            own.request.takers.append(tree.name)
    elif outer is not None and (outer.kind != "root" or tree.kind not in (*ANSWERING, "request")):
        return outer
    else:
        own = Owner({"request": "request"}.get(tree.kind, "bare" if tree.kind in ANSWERING else "root"))
        own.began = tree.kind == "agent"
    if outer is not None and outer.kind != "interaction" and own.kind != "request":
        own.documents, outer.documents = outer.documents, []
    return own


def expect(tree, outer, found):
    """Read the rule, sentence by sentence, for a tree below whatever owns its place."""
    owner = owner_of(tree, outer)
    if owner is not outer:
        found[tree.name] = owner
    if tree.kind == "inference":
        owner.began, owner.model = True, tree.name
    for child in tree.children:
        expect(child, owner, found)
    if tree.kind == "retrieval" and owner is outer:
        owner.documents.append(tree.name)


def what_is_said(seen):
    """Each marked span with its model (exact or as asked for) and documents."""
    said = {}
    for span in seen.spans():
        attributes = span["attributes"]
        if attributes.get("feedback.interaction"):
            documents = attributes.get("feedback.documents", "[]")
            model = attributes.get("feedback.model")
            name = span["name"].removeprefix("invoke_workflow ")
            said[name] = model and model.removesuffix("-exact"), documents
    return said


@settings(max_examples=300, deadline=None)
@given(st.lists(trees(), max_size=3))
def test_every_tree_by_the_rule(forest):
    """Exactly the spans that the rule names are interactions, with the last inference's model and all documents."""
    number(forest)
    found = {}
    for tree in forest:
        expect(tree, None, found)
    with telemetry() as seen:
        for tree in forest:
            list(steps(seen, tree))
        said = what_is_said(seen)
        assert _ledger.ledger.sizes()[:2] == (0, 0)
        finished = _ledger.ledger.sizes()[2]
    assert said == {
        name: (owner.model, "[" + ",".join(f'{{"id":"{each}"}}' for each in owner.documents) + "]")
        for name, owner in found.items()
        if owner.is_interaction()
    }
    assert finished == len(said)


@settings(max_examples=100, deadline=None)
@given(st.lists(trees(), min_size=2, max_size=4), st.lists(st.integers(0, 11), max_size=60))
def test_requests_at_the_same_time(forest, turns):
    """Whatever several requests do in turns, under one traceparent, each has what it would have had alone."""
    number(forest)
    requests = [Tree("request", [tree], f"r-{tree.name}") for tree in forest]
    with telemetry() as seen:
        for request in requests:
            list(steps(seen, request))
        alone = what_is_said(seen)
    with telemetry() as seen:
        running = []
        for request in requests:
            context = contextvars.copy_context()
            context.run(otel_context.attach, remote())
            running.append((context, steps(seen, request)))
        for turn in itertools.chain(turns, itertools.cycle([0, 1])):
            if not running:
                break
            one = running[turn % len(running)]
            if one[0].run(next, one[1], "done") == "done":
                running.remove(one)
        together = what_is_said(seen)
    assert together == alone
