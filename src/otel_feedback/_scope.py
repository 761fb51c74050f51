"""The span of one interaction, opened and closed: what ``interaction()`` does in all its forms."""

import json
from collections.abc import Mapping
from typing import Any, cast

from opentelemetry import context as otel_context
from opentelemetry import trace

from otel_feedback import _dialects, _facts, _guard, _ledger, _limits, _runtime, semconv
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
    ) -> None:
        self._name = name
        self._told = told
        self._question = question
        self._attributes = attributes
        self._provider = provider
        self.sheet: _facts.FactSheet | None = None
        self.span: trace.Span | None = None

    def open(self) -> otel_context.Context | None:
        """Open the span; returns the context to work in, or None where even that failed."""
        with _guard.guard("interaction"):
            if not _runtime.enabled():
                return None
            sheet = _facts.FactSheet(_facts.Kind.OWN, trace.INVALID_SPAN_CONTEXT, None)
            sheet.route = self._name
            sheet.by_caller = self._told
            outer = _ledger.current_sheet()
            span = _tracer(self._provider).start_span(
                semconv.SPAN_INTERACTION + self._name, attributes=self._start_attributes()
            )
            self.sheet, self.span = sheet, span  # from here on close() ends it, whatever happens
            sheet.span, sheet.context = span, span.get_span_context()
            sheet.service = _facts.service_of(span) or (outer.service if outer is not None else {})
            sheet.prompt = _ledger.take_loose_prompt() if outer is None else None
            if outer is not None:
                _enclose(sheet, outer)
            if sheet.context.is_valid:
                _ledger.ledger.put(_ledger.key_of(sheet.context), _ledger.Node(sheet, _dialects.Role.WORKFLOW))
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
        if self._question is not None and _runtime.settings().capture_content:
            attributes[semconv.GEN_AI_INPUT_MESSAGES] = message("user", self._question)
        if self._attributes:
            attributes.update(self._attributes)
        return attributes

    def close(self, error: BaseException | None) -> None:
        """End the span with all that is known; an error inside is told by its type only, its message may hold text."""
        sheet, span = self.sheet, self.span
        if sheet is None or span is None:
            return
        with _guard.guard("interaction"):
            facts = sheet.facts()
            if span.is_recording():
                attributes = sheet.attributes(facts)
                if error is not None and not isinstance(error, GeneratorExit):
                    attributes["error.type"] = type(error).__qualname__
                    span.set_status(trace.StatusCode.ERROR)
                _limits.set_within_limits(span, attributes)
            _ledger.ledger.close(sheet, facts)
            span.end()


def _enclose(sheet: _facts.FactSheet, outer: _facts.FactSheet) -> None:
    """Take an interaction's place inside a request or another interaction."""
    request = outer if outer.kind is not _facts.Kind.OWN else outer.request
    if outer.kind is _facts.Kind.ROOT:
        sheet.inherit(outer)
    if request is None or request.kind is not _facts.Kind.REQUEST:
        return
    sheet.request = request
    was_interaction = request.is_interaction
    request.adopt(sheet)
    if was_interaction and request.span is not None:
        # A model was called before: the request was taken for the answer, which it is not.
        _limits.set_within_limits(request.span, {semconv.FEEDBACK_INTERACTION: False})


_tracer_of: tuple[Any, Any] = (None, None)


def _tracer(provider: trace.TracerProvider | None) -> trace.Tracer:
    """Return our tracer of a provider; the last one is kept, since the SDK takes 5 microseconds to find it again."""
    global _tracer_of  # noqa: PLW0603 - replaced as a whole: another thread sees the old pair or the new one
    chosen = provider if provider is not None else trace.get_tracer_provider()
    known, tracer = _tracer_of
    if known is not chosen:
        tracer = chosen.get_tracer(semconv.SCOPE, VERSION, semconv.SCHEMA_URL)
        _tracer_of = chosen, tracer
    return cast("trace.Tracer", tracer)


def message(role: str, text: str) -> str:
    """Return one message, as a JSON list, as the GenAI conventions write them."""
    return json.dumps([{"role": role, "parts": [{"type": "text", "content": text}]}])
