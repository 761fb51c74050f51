"""The span of one interaction, opened and closed: what ``interaction()`` does in all its forms."""

import json
from collections.abc import Mapping
from typing import Any, cast

from opentelemetry import context as otel_context
from opentelemetry import trace

from otel_feedback import _dialects, _facts, _follow, _guard, _ledger, _limits, _runtime, semconv
from otel_feedback._version import VERSION


class Scope:
    """One interaction from its start to its end; nothing in it ever raises.

    Attributes:
        sheet: Where its facts gather; None before it is opened, and where that failed.
        span: Its span, likewise.
    """

    __slots__ = ("_attributes", "_name", "_provider", "_question", "_told", "sheet", "span")

    def __init__(
        self,
        name: str,
        told: Mapping[str, str],
        question: str | None,
        attributes: Mapping[str, Any] | None,
        provider: trace.TracerProvider | None,
        *,
        sheet: _facts.FactSheet | None = None,
    ) -> None:
        self._name = name if isinstance(name, str) and name.isascii() else _text_of(name)
        self._told = told
        self._question = question
        self._attributes = attributes
        self._provider = provider
        self.sheet = sheet
        self.span = sheet.span if sheet is not None else None

    def open(self) -> otel_context.Context | None:
        """Open the span; returns the context to work in, or None where even that failed."""
        with _guard.guard("interaction"):
            if not _runtime.enabled():
                return None
            outer = _ledger.current_sheet()
            provider = self._provider if self._provider is not None else trace.get_tracer_provider()
            span = _tracer(provider).start_span(
                semconv.SPAN_INTERACTION + self._name, attributes=self._start_attributes()
            )
            self.span = span  # from here on close() ends it, whatever happens
            self.sheet = sheet = _facts.FactSheet(_facts.Kind.OWN, _own_context(span), span)
            sheet.route = self._name
            sheet.by_caller = self._told
            sheet.service = _facts.service_of(span) or (outer.service if outer else _facts.service_of(provider))
            if outer is None or outer.kind is _facts.Kind.ROOT:
                sheet.prompt = _ledger.take_loose_prompt()
            if outer is not None:
                _enclose(sheet, outer)
            if self._question is not None and _runtime.settings().capture_content:
                _limits.set_json(span, semconv.GEN_AI_INPUT_MESSAGES, _message("user", self._question))
            if self._question is not None:
                _follow.asked(sheet, self._question if isinstance(self._question, str) else str(self._question))
            if sheet.context.is_valid:
                _ledger.ledger.put(sheet.key, _ledger.Node(sheet, _dialects.Role.WORKFLOW))
            else:
                _guard.warn_once(
                    "no-provider",
                    "otel-feedback: there is no OpenTelemetry SDK, so interactions have no spans and no handles. Run "
                    "the service by opentelemetry-instrument (pip install 'otel-feedback[otlp]'), or set a provider.",
                )
            return _ledger.with_sheet(sheet, trace.set_span_in_context(span))
        return None

    def _start_attributes(self) -> dict[str, Any]:
        attributes: dict[str, Any] = {
            semconv.GEN_AI_OPERATION_NAME: "invoke_workflow",
            semconv.GEN_AI_WORKFLOW_NAME: self._name,
            semconv.FEEDBACK_INTERACTION: True,
        }
        if self._attributes:
            attributes.update(self._attributes)
        return attributes

    def answered(self, text: str) -> None:
        """Record what was answered, where content is captured."""
        if self.span is not None and _runtime.settings().capture_content:
            _limits.set_json(self.span, semconv.GEN_AI_OUTPUT_MESSAGES, _message("assistant", text))

    def close(self, error: BaseException | None) -> None:
        """End the span with all that is known; an error inside is told by its type only, its message may hold text."""
        sheet, span = self.sheet, self.span
        if sheet is None or span is None:
            return
        with _guard.guard("interaction"):
            # What is no Exception is no error: a generator that is left early, a task that is cancelled.
            failed = isinstance(error, Exception)
            if failed:
                sheet.fail()
            facts = sheet.facts()
            if span.is_recording():
                attributes = sheet.attributes(facts)
                if failed:
                    attributes[semconv.ERROR_TYPE] = type(error).__qualname__
                    span.set_status(trace.StatusCode.ERROR)
                _limits.set_within_limits(span, attributes)
            _ledger.ledger.close(sheet, facts)
            _follow.closed(sheet)
            span.end()
        self.span = None  # who keeps the interaction for its handle shall not keep the span


@_guard.guarded(default=semconv.UNKNOWN)
def _text_of(name: object) -> str:
    return _limits.clean_text(str(name))


def _own_context(span: trace.Span) -> trace.SpanContext:
    """Return the context of a span of ours; an invalid one where a tracer of no SDK only passes the parent's on."""
    context = span.get_span_context()
    if not span.is_recording() and context == trace.get_current_span().get_span_context():
        return trace.INVALID_SPAN_CONTEXT
    return context


def _enclose(sheet: _facts.FactSheet, outer: _facts.FactSheet) -> None:
    """Take an interaction's place inside a request, a workflow or another interaction."""
    if outer.kind is _facts.Kind.OWN:
        request = outer.request
    else:
        request = outer
        sheet.inherit(outer, _ledger.take_prompt(outer))
    if request is not None and request.kind is not _facts.Kind.ROOT:
        sheet.request, sheet.request_key = request, request.key
        request.adopt(sheet)


_tracer_of: tuple[Any, Any] = (None, None)


def _tracer(provider: trace.TracerProvider) -> trace.Tracer:
    """Return our tracer of a provider; the last one is kept, since the SDK takes 5 microseconds to find it again."""
    global _tracer_of  # noqa: PLW0603 - replaced as a whole: another thread sees the old pair or the new one
    known, tracer = _tracer_of
    if known is not provider:
        tracer = provider.get_tracer(semconv.SCOPE, VERSION, semconv.SCHEMA_URL)
        _tracer_of = provider, tracer
    return cast("trace.Tracer", tracer)


def _message(role: str, text: str) -> str:
    """Return one message, as a JSON list, as the GenAI conventions write them."""
    return json.dumps(
        [{"role": role, "parts": [{"type": "text", "content": text if isinstance(text, str) else str(text)}]}]
    )
