"""The span processor that finds interactions among a service's spans and gathers their facts.

With it comes the sampler that lets it see the requests which the service's own sampler drops.

Which span is the interaction: the one that ``interaction()`` opened; else the HTTP server span, once an inference
starts below it; else the outermost workflow, agent or inference span.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanKind, TraceState
from opentelemetry.util.types import Attributes

from otel_feedback import _dialects, _facts, _follow, _guard, _ledger, _limits, _messages, _prompts, semconv
from otel_feedback._dialects import REQUEST_MODEL, Role
from otel_feedback._facts import Call, CallNote, FactSheet, Kind, PromptStamp
from otel_feedback._ledger import Node, ledger

_HTTP_METHODS: Final = ("http.request.method", "http.method")
_GENERAL_FACTS: Final = frozenset((semconv.GEN_AI_CONVERSATION_ID, semconv.FEEDBACK_QUERY_TYPE))
_HTTP_ROUTE: Final = "http.route"


class FeedbackSpanProcessor(SpanProcessor):
    """Follow spans from their start to their end, mark interactions and put the facts on them.

    Nothing is exported here: the spans stay the service's own, and its exporters send them. Memory is bounded by
    ``Settings.live_spans`` and ``Settings.finished_interactions``; spans that never end are forgotten, oldest first.

    Attributes:
        active: Whether new spans are followed; a provider gives no processor back, so one is put to sleep instead.
    """

    def __init__(self) -> None:
        self.active = True

    # On the path of every span of a service: the guard's wrapper would cost more than what it guards.

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Find the sheet that a new span belongs to; open one where there is none."""
        try:
            context = span.get_span_context()
            if self.active and context is not None:
                _start(span, context, parent_context)
        except Exception as error:
            _guard.failed("FeedbackSpanProcessor.on_start", error)

    def on_end(self, span: ReadableSpan) -> None:
        """Learn what a span's attributes tell by now; close the sheet whose span it is."""
        try:
            context = span.get_span_context()
            if context is not None:
                _end(span, context)
        except Exception as error:
            _guard.failed("FeedbackSpanProcessor.on_end", error)

    def shutdown(self) -> None:
        """Nothing to flush: the exporters are the service's."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002 - the SDK's signature
        """Nothing to flush: the exporters are the service's."""
        return True


def _start(span: Span, context: trace.SpanContext, parent_context: Context | None) -> None:
    attributes = _limits.raw_attributes(span)
    if semconv.FEEDBACK_INTERACTION in attributes:
        return  # interaction() keeps the sheet of its span itself, and has closed it when the span ends
    role = _dialects.role_of(attributes)
    sheet = _enclosing(span, parent_context)
    if sheet is None or (sheet.kind is Kind.ROOT and (role.answers or span.kind is SpanKind.SERVER)):
        outer, sheet = sheet, _open(span, context, role, attributes)
        if outer is not None and role.answers:
            sheet.inherit(outer, _ledger.take_prompt(outer))
    call = None
    if role is Role.INFERENCE:
        call = _begin(sheet, _asked_for(attributes), attributes)
        _name_prompt(span, call.prompt, attributes)
        note = _ledger.current_call()
        if note is not None and note.question is not None:
            _follow.asked(sheet, note.question)
    elif role is Role.AGENT and sheet.span is span:
        # An agent elsewhere answers without an inference that we see.
        call = _begin(sheet, _asked_for(attributes), attributes)
    ledger.put(context[:2], Node(sheet, role, call))


def _end(span: ReadableSpan, context: trace.SpanContext) -> None:
    key = context[:2]
    node = ledger.end(key)
    if node is None:
        return
    sheet = node.sheet
    closes = sheet.key == key
    attributes = _limits.raw_attributes(span)
    if not _dialects.tells_nothing(attributes):
        _learn(node, attributes, gathers=sheet.open and not closes)
    if closes:
        ledger.close(sheet)
        _follow.closed(sheet, answered=span.status.status_code is not trace.StatusCode.ERROR)
    elif not sheet.open:
        ledger.renew(sheet)  # a stream that ended after its request


def _enclosing(span: Span, parent_context: Context | None) -> FactSheet | None:
    parent = span.parent
    if parent is not None and not parent.is_remote:
        node = ledger.node(parent[:2])
        if node is not None:
            return node.sheet
    return _ledger.sheet_in(parent_context)


def _open(span: Span, context: trace.SpanContext, role: Role, attributes: Mapping[str, Any]) -> FactSheet:
    if span.kind is SpanKind.SERVER and any(name in attributes for name in _HTTP_METHODS):
        kind = Kind.REQUEST
    elif role.answers:
        kind = Kind.BARE
    else:
        kind = Kind.ROOT
    sheet = FactSheet(kind, context, span)
    sheet.service = _facts.service_of(span)
    if kind is Kind.REQUEST:
        sheet.route = lambda: _route_of(span)
        _ledger.take_loose_prompt()  # what an earlier request left in this thread is none of this one's
    elif kind is Kind.BARE:
        sheet.route = _dialects.name_of(attributes) or span.name
        sheet.prompt = _ledger.take_loose_prompt()
    return sheet


def _route_of(span: Span) -> str:
    """Return a request's route; where no attribute tells it in time, what its span is called (``{method} {route}``)."""
    route = _limits.raw_attributes(span).get(_HTTP_ROUTE)
    if isinstance(route, str) and route:
        return route
    _, _, path = span.name.partition(" ")
    return _facts.Path(path if path.startswith("/") else span.name)


def _asked_for(attributes: Mapping[str, Any]) -> dict[str, str]:
    """Gather the facts of an inference that starts: a model that it names now is the one that is asked for."""
    told = _dialects.facts_of(attributes)
    model = told.pop(semconv.FEEDBACK_MODEL, None)
    if REQUEST_MODEL not in told:
        note = _ledger.current_call()
        model = model or (note.model if note is not None else None)
        if model is not None:
            told[REQUEST_MODEL] = model
    return told


def _begin(sheet: FactSheet, told: dict[str, str], attributes: Mapping[str, Any]) -> Call:
    """Note that a model is being called: now this sheet's span is an interaction."""
    asked = told.get(REQUEST_MODEL)
    call = Call(_prompt_of(sheet, told, attributes), told, ledger.model(asked) if asked is not None else None)
    sheet.answer = call
    sheet.began = True
    _learn_general(sheet, told)
    sheet.write()
    return call


def _prompt_of(sheet: FactSheet, told: Mapping[str, str], attributes: Mapping[str, Any]) -> PromptStamp:
    """Say which template an inference used: told by its span, declared in code, or read from the call's arguments."""
    declared = _ledger.take_prompt(sheet)
    name = told.get(semconv.FEEDBACK_PROMPT_NAME)
    if declared is not None and name in (None, declared.name):
        return declared
    note = _ledger.current_call() or CallNote()
    name = name or note.name or sheet.name_of_prompt()
    version = told.get(semconv.FEEDBACK_PROMPT_VERSION) or note.version
    return _versioned(PromptStamp(name, version or semconv.UNKNOWN, note.fingerprint), attributes)


def _versioned(stamp: PromptStamp, attributes: Mapping[str, Any]) -> PromptStamp:
    """Complete a prompt that nobody declared by the fingerprint of its system instruction, and that for a version."""
    own = stamp.fingerprint
    if own is None:
        system = _messages.system_of(attributes)
        own = _prompts.fingerprint(system) if system else None
    if own is None:
        return stamp
    version = ledger.version(stamp.name, own) if stamp.version == semconv.UNKNOWN else stamp.version
    return PromptStamp(stamp.name, version, own, stamp.variables)


def _name_prompt(span: trace.Span, stamp: PromptStamp, attributes: Mapping[str, Any]) -> None:
    """Complete an inference span by the published names of its prompt."""
    added: dict[str, Any] = {}
    if semconv.GEN_AI_PROMPT_NAME not in attributes:
        added[semconv.GEN_AI_PROMPT_NAME] = stamp.name
    if semconv.GEN_AI_PROMPT_VERSION not in attributes:
        added[semconv.GEN_AI_PROMPT_VERSION] = stamp.version
    for name, value in stamp.variables.items():
        added[semconv.GEN_AI_PROMPT_VARIABLE + name] = value
    _limits.set_within_limits(span, added)


def _learn(node: Node, attributes: Mapping[str, Any], *, gathers: bool) -> None:
    """Take over what a span that ends has told.

    Args:
        node: What is known of the span.
        attributes: Its attributes.
        gathers: Whether its sheet still takes documents and calls: not from the interaction span itself, nor after it.
    """
    sheet, role, call = node
    if role is Role.OTHER:
        role = _dialects.role_of(attributes)  # some say what they are only after their start
    told = _dialects.facts_of(attributes)
    learnt = _learn_general(sheet, told)
    if call is None and role is Role.INFERENCE and gathers:
        call = _begin(sheet, told, attributes)
    if call is not None:
        if sheet.question is None and not sheet.followed and _messages.may_ask(attributes):
            _follow.asked(sheet, functools.partial(_messages.question_of, attributes))
        call.facts.update(told)
        if REQUEST_MODEL in call.facts and semconv.FEEDBACK_MODEL in call.facts:
            ledger.note_model(call.facts[REQUEST_MODEL], call.facts[semconv.FEEDBACK_MODEL])
        _complete_prompt(call, told, attributes)
        learnt = learnt or call is sheet.answer
    if gathers and role in (Role.RETRIEVAL, Role.OTHER):
        documents = _dialects.documents_of(attributes)
        if documents:
            sheet.add_documents(documents)
            learnt = True
    if learnt:
        sheet.write()


def _learn_general(sheet: FactSheet, told: Mapping[str, str]) -> bool:
    if _GENERAL_FACTS.isdisjoint(told):
        return False
    sheet.tell({fact: told[fact] for fact in _GENERAL_FACTS if fact in told})
    return True


def _complete_prompt(call: Call, told: Mapping[str, str], attributes: Mapping[str, Any]) -> None:
    """Take the prompt's name and version, or its fingerprint, from a span that shows them only at its end."""
    stamp = call.prompt
    name = told.get(semconv.FEEDBACK_PROMPT_NAME, stamp.name)
    version = told.get(semconv.FEEDBACK_PROMPT_VERSION, stamp.version)
    if (name, version) != (stamp.name, stamp.version):
        stamp = PromptStamp(name, version, stamp.fingerprint, stamp.variables)
    call.prompt = _versioned(stamp, attributes) if stamp.version == semconv.UNKNOWN else stamp


@_guard.guarded()
def tell_current_call(note: CallNote) -> None:
    """Tell the inference that is being called what its client's arguments say.

    An instrumentation whose wrapper is outside of ours has started its span before we see the arguments; in which
    order instrumentors load is up to the file system.
    """
    span = trace.get_current_span()
    node = ledger.node(_ledger.key_of(span.get_span_context()))
    call = node.call if node is not None else None  # of no call, where our wrapper is the outer one
    if node is None or call is None:
        return
    if note.model is not None and REQUEST_MODEL not in call.facts:
        call.facts[REQUEST_MODEL] = note.model
        call.model = ledger.model(note.model)
    if call.prompt.version == semconv.UNKNOWN:
        name, version = note.name or call.prompt.name, note.version or semconv.UNKNOWN
        call.prompt = _versioned(PromptStamp(name, version, note.fingerprint, call.prompt.variables), {})
        named = {semconv.GEN_AI_PROMPT_NAME: call.prompt.name, semconv.GEN_AI_PROMPT_VERSION: call.prompt.version}
        _limits.set_within_limits(span, named)
    if note.question is not None:
        _follow.asked(node.sheet, note.question)
    if call is node.sheet.answer:
        node.sheet.write()


class KeepForFeedback(Sampler):
    """Record what another sampler drops, for ourselves only, so that an unsampled answer can be voted on too.

    Server spans and GenAI spans that it drops are recorded without the sampled flag: no exporter sends them.
    """

    def __init__(self, inner: Sampler) -> None:
        self.inner = inner

    def should_sample(  # noqa: PLR0917 - the SDK's signature
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """Decide as the inner sampler does; raise a drop of a span that we need to ``RECORD_ONLY``."""
        result = self.inner.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)
        if result.decision is Decision.DROP and _needed(parent_context, kind, attributes):
            return SamplingResult(Decision.RECORD_ONLY, attributes, result.trace_state)
        return result

    def get_description(self) -> str:
        """Name the inner sampler, as the SDK asks."""
        return f"KeepForFeedback{{{self.inner.get_description()}}}"


@_guard.guarded(default=False)
def _needed(parent_context: Context | None, kind: SpanKind | None, attributes: Attributes) -> bool:
    """Say whether we need a span that is dropped: a request, a GenAI span, or one that may lead from one to the other.

    A context that carries its sheet, as below our ASGI middleware and ``interaction()``, needs no spans in between.
    """
    if kind is SpanKind.SERVER or _dialects.names_a_role(attributes):
        return True
    if kind not in (None, SpanKind.INTERNAL) or _ledger.sheet_in(parent_context) is not None:
        return False
    parent = trace.get_current_span(parent_context).get_span_context()
    return not parent.is_remote and ledger.node(_ledger.key_of(parent)) is not None
