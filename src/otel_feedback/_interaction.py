"""``interaction()``: say in code which stretch of work is one answer, as context manager or decorator.

Synchronous and asynchronous functions and generators share one implementation: a generator's body runs inside the
interaction's context at each step, and nothing leaks into its consumer between steps.
"""

import functools
import inspect
import json
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from types import TracebackType
from typing import Any, TypeVar, cast

from opentelemetry import context as otel_context
from opentelemetry import trace

from otel_feedback import _dialects, _facts, _guard, _limits, _runtime, semconv
from otel_feedback._version import VERSION

F = TypeVar("F", bound=Callable[..., Any])


class interaction:  # noqa: N801 - used as a function: ``with interaction("answer")``, ``@interaction("answer")``
    """Open the span of one answer that a user can judge; what happens inside belongs to it.

    Works as context manager (``with``, ``async with``) and as decorator of functions, coroutines, generators and
    asynchronous generators. As decorator each call is an interaction of its own.

    Args:
        name: What kind of answer this is; the span is called ``invoke_workflow {name}``.
        query_type: What the user wanted, of few values: it becomes a metric's label.
        conversation_id: The conversation that the question belongs to.
        user: Who asks; recorded as keyed pseudonym ``user.hash`` only, and not at all without a pseudonym key.
        input: The question; recorded only where GenAI content is captured.
        attributes: More attributes for the span.
        tracer_provider: Where the span goes; the global provider where absent.
    """

    __slots__ = (
        "_attributes",
        "_context",
        "_facts_by_caller",
        "_input",
        "_name",
        "_provider",
        "_sheet",
        "_span",
        "_token",
    )

    def __init__(
        self,
        name: str,
        *,
        query_type: str | None = None,
        conversation_id: str | None = None,
        user: str | None = None,
        input: str | None = None,  # noqa: A002 - the conventions' word for it
        attributes: Mapping[str, Any] | None = None,
        tracer_provider: trace.TracerProvider | None = None,
    ) -> None:
        self._name = name
        self._provider = tracer_provider
        self._input = input
        self._attributes = attributes
        self._facts_by_caller: dict[str, str] = {}
        self._sheet: _facts.FactSheet | None = None
        self._span: trace.Span | None = None
        self._context: otel_context.Context | None = None
        self._token: Any = None
        if query_type is not None:
            self._facts_by_caller[semconv.FEEDBACK_QUERY_TYPE] = query_type
        if conversation_id is not None:
            self._facts_by_caller[semconv.GEN_AI_CONVERSATION_ID] = conversation_id
        if user is not None:
            with _guard.guard("interaction"):
                pseudonym = _runtime.pseudonym(user)
                if pseudonym is not None:
                    self._facts_by_caller[semconv.USER_HASH] = pseudonym

    # --- What a service says inside of it --------------------------------------------------------------------------

    @property
    def handle(self) -> str | None:
        """The handle to give to the user's page, with the facts known by now.

        None where there is no span to point at (no SDK provider) or no key; a warning says which, once.
        """
        with _guard.guard("interaction.handle"):
            if self._sheet is not None:
                return _facts.handle_of(self._sheet)
        return None

    @_guard.guarded()
    def documents(self, documents: Sequence[Any]) -> None:
        """Say which documents were retrieved: mappings with ``id`` and ``score``, ids, or ``(id, score)`` pairs."""
        if self._sheet is not None:
            self._sheet.add_documents(_dialects.normal_documents(documents))

    @_guard.guarded()
    def output(
        self,
        text: str | None = None,
        *,
        model: str | None = None,
        provider: str | None = None,
        response_id: str | None = None,
    ) -> None:
        """Say what was answered, and by what, where no instrumentation does.

        Args:
            text: The answer; recorded only where GenAI content is captured.
            model: The model that answered.
            provider: Its provider, as ``gen_ai.provider.name`` spells it.
            response_id: The provider's id of the answer.
        """
        if self._sheet is None:
            return
        told = self._sheet.facts_by_caller
        for name, value in (
            (semconv.FEEDBACK_MODEL, model),
            (semconv.FEEDBACK_PROVIDER, provider),
            (semconv.FEEDBACK_RESPONSE_ID, response_id),
        ):
            if value is not None:
                told[name] = value
        if text is not None and self._span is not None and _runtime.settings().capture_content:
            self._span.set_attribute(semconv.GEN_AI_OUTPUT_MESSAGES, _message("assistant", text))

    # --- Open and close --------------------------------------------------------------------------------------------

    def _start(self) -> otel_context.Context | None:
        """Open the span; returns the context to work in, or None where even that failed."""
        with _guard.guard("interaction"):
            if not _runtime.enabled():
                return None
            sheet = _facts.FactSheet(_facts.Kind.OWN, trace.INVALID_SPAN_CONTEXT, None)
            sheet.route = self._name
            sheet.facts_by_caller.update(self._facts_by_caller)
            outer = _facts.current_sheet()
            span = _tracer(self._provider).start_span(
                semconv.SPAN_INTERACTION.format(name=self._name), attributes=self._start_attributes()
            )
            sheet.span, sheet.context = span, span.get_span_context()
            sheet.service = _facts.service_of(span) or (outer.service if outer is not None else {})
            sheet.prompt = _facts.take_loose_prompt() if outer is None else None
            if outer is not None:
                _enclose(sheet, outer)
            if sheet.context.is_valid:
                _facts.ledger.put(_facts.key_of(sheet.context), _facts.Node(sheet, _dialects.Role.WORKFLOW))
            else:
                _guard.warn_once(
                    "no-provider",
                    "otel-feedback: there is no OpenTelemetry SDK, so interactions have no spans and no handles. Run "
                    "the service by opentelemetry-instrument (pip install 'otel-feedback[otlp]'), or set a provider.",
                )
            self._sheet, self._span = sheet, span
            return _facts.with_sheet(sheet, trace.set_span_in_context(span))
        return None

    def _start_attributes(self) -> dict[str, Any]:
        attributes: dict[str, Any] = {
            semconv.GEN_AI_OPERATION_NAME: "invoke_workflow",
            semconv.GEN_AI_WORKFLOW_NAME: self._name,
            semconv.FEEDBACK_INTERACTION: True,
        }
        if self._input is not None and _runtime.settings().capture_content:
            attributes[semconv.GEN_AI_INPUT_MESSAGES] = _message("user", self._input)
        if self._attributes:
            attributes.update(self._attributes)
        return attributes

    @_guard.guarded()
    def _finish(self, error: BaseException | None) -> None:
        sheet, span = self._sheet, self._span
        if sheet is None or span is None:
            return
        if span.is_recording():
            attributes = sheet.attributes()
            if error is not None and not isinstance(error, GeneratorExit):
                # The message may hold what a user wrote: only the type is recorded.
                attributes["error.type"] = type(error).__qualname__
                span.set_status(trace.StatusCode.ERROR)
            _limits.set_within_limits(span, attributes)
        span.end()
        _facts.ledger.close(sheet)

    def __enter__(self) -> "interaction":
        self._context = self._start()
        if self._context is not None:
            self._token = otel_context.attach(self._context)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # A generator that a thread pool steps through leaves in another context than it came in: nothing to detach.
        if self._token is not None and otel_context.get_current() is self._context:
            otel_context.detach(self._token)
        self._finish(error)

    async def __aenter__(self) -> "interaction":
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)

    # --- Decorate --------------------------------------------------------------------------------------------------

    def __call__(self, function: F) -> F:
        """Make each call of a function an interaction; for generators, from the first step to the last."""
        if inspect.isasyncgenfunction(function):
            wrapper = self._around_async_generator(function)
        elif inspect.isgeneratorfunction(function):
            wrapper = self._around_generator(function)
        elif inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def wrapper(*args: Any, **kwargs: Any) -> Any:
                with self._again():
                    return await function(*args, **kwargs)
        else:

            @functools.wraps(function)
            def wrapper(*args: Any, **kwargs: Any) -> Any:
                with self._again():
                    return function(*args, **kwargs)

        return cast("F", wrapper)

    def _again(self) -> "interaction":
        fresh = interaction(self._name, input=self._input, attributes=self._attributes, tracer_provider=self._provider)
        fresh._facts_by_caller.update(self._facts_by_caller)
        return fresh

    def _around_generator(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            fresh = self._again()
            context = fresh._start()
            error: BaseException | None = None
            generator = function(*args, **kwargs)
            step, value = generator.send, None
            try:
                while True:
                    with _within(context):
                        item = step(value)
                    try:
                        value = yield item
                        step = generator.send
                    except GeneratorExit:
                        with _within(context):
                            generator.close()
                        raise
                    except BaseException as thrown:  # noqa: BLE001 - handed to the generator as Python would
                        step, value = generator.throw, thrown
            except StopIteration as stop:
                return stop.value
            except BaseException as raised:
                error = raised
                raise
            finally:
                fresh._finish(error)

        return wrapper

    def _around_async_generator(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        async def wrapper(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
            fresh = self._again()
            context = fresh._start()
            error: BaseException | None = None
            generator = function(*args, **kwargs)
            step, value = generator.asend, None
            try:
                while True:
                    with _within(context):
                        item = await step(value)
                    try:
                        value = yield item
                        step = generator.asend
                    except GeneratorExit:
                        with _within(context):
                            await generator.aclose()
                        raise
                    except BaseException as thrown:  # noqa: BLE001 - handed to the generator as Python would
                        step, value = generator.athrow, thrown
            except StopAsyncIteration:
                return
            except BaseException as raised:
                error = raised
                raise
            finally:
                fresh._finish(error)

        return wrapper


class _within:  # noqa: N801 - a block: ``with _within(context)``
    """Run one step of a generator in the interaction's context, and leave the consumer's as it was."""

    __slots__ = ("_context", "_token")

    def __init__(self, context: otel_context.Context | None) -> None:
        self._context = context
        self._token: Any = None

    def __enter__(self) -> None:
        if self._context is not None:
            self._token = otel_context.attach(self._context)

    def __exit__(self, *_: object) -> None:
        if self._token is not None:
            otel_context.detach(self._token)


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


def _tracer(provider: trace.TracerProvider | None) -> trace.Tracer:
    return trace.get_tracer(semconv.SCOPE, VERSION, provider, semconv.SCHEMA_URL)


def _message(role: str, text: str) -> str:
    """Return one message as the GenAI conventions write them."""
    return json.dumps([{"role": role, "parts": [{"type": "text", "content": text}]}])
