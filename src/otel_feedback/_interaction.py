"""``interaction()``: say in code which stretch of work is one answer, as context manager or decorator.

Synchronous and asynchronous functions and generators share one implementation: a generator's body runs inside the
interaction's context at each step, and nothing leaks into its consumer between steps.
"""

import contextlib
import contextvars
import functools
import inspect
import itertools
import weakref
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, TypeVar, cast, final

from opentelemetry import context as otel_context
from opentelemetry import trace

from otel_feedback import _dialects, _guard, _ledger, _limits, _runtime, semconv
from otel_feedback._scope import Scope

F = TypeVar("F", bound=Callable[..., Any])


@final
class interaction:  # noqa: N801 - used as a function: ``with interaction("answer")``, ``@interaction("answer")``
    """Open the span of one answer that a user can judge; what happens inside belongs to it.

    Works as context manager (``with``, ``async with``) and as decorator of functions, coroutines, generators and
    asynchronous generators. As decorator each call is an interaction of its own.

    Args:
        name: What kind of answer this is; the span is called ``invoke_workflow {name}``.
        query_type: What the user wanted, of few values: it becomes a metric's label.
        conversation_id: The conversation that the question belongs to.
        user: Who asks; recorded as keyed pseudonym ``user.hash`` only, and not at all without a pseudonym key.
        input: The question; recorded only where GenAI content is captured. Hashes of it are compared with the
            conversation's next one, which may ask the same again: see ``OTEL_FEEDBACK_DERIVE``.
        attributes: More attributes for the span.
        tracer_provider: Where the span goes; the global provider where absent.

    Values of other types than text are recorded as their text; one of more than 1,024 characters is left out.

    Raises:
        TypeError: It was used as a decorator without a name.
    """

    __slots__ = ("_first", "_new_scope", "_open", "_reused", "_times")

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
        if callable(name):
            raise TypeError("An interaction needs a name, as in @interaction('answer').")
        told: dict[str, str] = {}
        if query_type is not None:
            _tell(told, semconv.FEEDBACK_QUERY_TYPE, query_type)
        if conversation_id is not None:
            _tell(told, semconv.GEN_AI_CONVERSATION_ID, conversation_id)
        if user is not None:
            _tell(told, semconv.USER_HASH, _pseudonym(user))
        self._new_scope = functools.partial(Scope, name, told, input, attributes, tracer_provider)
        self._first: _Use | None = None
        self._open: list[_Use] = []
        self._times = itertools.count()
        self._reused = False

    # --- What a service says inside of it --------------------------------------------------------------------------

    @classmethod
    def current(cls) -> "interaction":
        """Return the innermost interaction around this code, for functions that ``@interaction`` decorates.

        Outside of any, what is said to the one returned goes nowhere, and its handle is None.
        """
        found = cls("")
        with _guard.guard("interaction.current"):
            sheet = _ledger.current_interaction()
            if sheet is not None:
                found._first = _Use(found._open, Scope("", {}, None, None, None, sheet=sheet), None)
                found._first.open = False  # it is not this one's to close
        return found

    @property
    def handle(self) -> str | None:
        """The handle to give to the user's page, with the facts known by now.

        None where there is no span to point at (no SDK provider) or no key; a warning says which, once.
        """
        with _guard.guard("interaction.handle"):
            scope = self._scope()
            return _ledger.handle_of(scope.sheet) if scope is not None and scope.sheet is not None else None
        return None

    @_guard.guarded()
    def documents(self, documents: Sequence[Any]) -> None:
        """Say which documents were retrieved: mappings with ``id`` and ``score``, ids, or ``(id, score)`` pairs."""
        scope = self._scope()
        if scope is not None and scope.sheet is not None:
            scope.sheet.add_documents(_dialects.normal_documents(documents))

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
        scope = self._scope()
        if scope is None or scope.sheet is None:
            return
        told = dict(scope.sheet.by_caller)
        _tell(told, semconv.FEEDBACK_MODEL, model)
        _tell(told, semconv.FEEDBACK_PROVIDER, provider)
        _tell(told, semconv.FEEDBACK_RESPONSE_ID, response_id)
        scope.sheet.by_caller = told
        if text is not None:
            scope.answered(text)

    # --- Open and close --------------------------------------------------------------------------------------------

    def __enter__(self) -> "interaction":
        scope = self._new_scope()
        context = scope.open()
        use = _Use(self._open, scope, otel_context.attach(context) if context is not None else None)
        _uses.set((*(other for other in _uses.get() if _is_open(other)), weakref.ref(use)))
        self._open.append(use)
        if next(self._times):  # one atomic step: of two threads only one is the first
            self._reused = True
        else:
            self._first = use
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        use = self._use()
        if use is None or not use.open:
            # A generator that a thread pool steps through is in another context at each step.
            use = next(iter(self._open), None)
        if use is None:
            return
        use.open = False
        if self._reused:
            _left.set(use)
        with contextlib.suppress(ValueError):  # another thread has it
            self._open.remove(use)
        if use.token is not None:
            _leave(use.token)
            use.token = None  # it holds the context around, and that the span around
        use.scope.close(error)

    async def __aenter__(self) -> "interaction":
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)

    def _use(self) -> "_Use | None":
        """Return the use of this object that this code is inside of, or else the one that it has left.

        One object may serve several answers, at once too. Then only the task or thread that entered it knows which is
        meant: a guess would give one user's handle to another.
        """
        if not self._reused:
            return self._first
        mine = [use for each in _uses.get() if (use := each()) is not None and use.of is self._open]
        return next((use for use in reversed(mine) if use.open), mine[-1] if mine else None)

    def _scope(self) -> Scope | None:
        use = self._use()
        if use is None and self._reused:
            _guard.warn_once(
                "shared-interaction",
                "otel-feedback: one interaction object serves several answers, and which is meant can't be told here, "
                "so this one has no handle. Make one for each: with interaction(...) as answer.",
            )
        return use.scope if use is not None else None

    # --- Decorate --------------------------------------------------------------------------------------------------

    def __call__(self, function: F) -> F:
        """Make each call of a function an interaction; for generators, from the first step to the last."""
        if inspect.isasyncgenfunction(function):
            return cast("F", _around_async_generator(function, self._new_scope))
        if inspect.isgeneratorfunction(function):
            return cast("F", _around_generator(function, self._new_scope))
        if inspect.iscoroutinefunction(function):
            return cast("F", _around_coroutine(function, self._new_scope))
        return cast("F", _around_function(function, self._new_scope))


class _Use:
    """One time that an interaction object was entered: open until it is left."""

    __slots__ = ("__weakref__", "of", "open", "scope", "token")

    def __init__(self, of: "list[_Use]", scope: Scope, token: contextvars.Token[otel_context.Context] | None) -> None:
        self.of = of
        """The open uses of the object, which tell it from others without keeping it alive."""
        self.open = True
        self.scope = scope
        self.token = token


_uses: Final[contextvars.ContextVar[tuple["weakref.ref[_Use]", ...]]] = contextvars.ContextVar(
    "otel_feedback_uses", default=()
)
"""The uses that this task or thread is inside of, outermost first, and those that it left since it entered one."""

_left: Final[contextvars.ContextVar[_Use | None]] = contextvars.ContextVar("otel_feedback_left", default=None)
"""What keeps the last use of an object that has several; an object keeps its first one itself."""


def _is_open(reference: "weakref.ref[_Use]") -> bool:
    use = reference()
    return use is not None and use.open


def _leave(token: contextvars.Token[otel_context.Context]) -> None:
    """Leave a context, silently where this is not the thread or task that entered it: nothing is to be left there.

    A generator that a thread pool steps through comes back in another one at each step; OpenTelemetry's own function
    would log an error.
    """
    with contextlib.suppress(ValueError):
        token.var.reset(token)


def _tell(told: dict[str, str], fact: str, value: Any) -> None:
    """Note a fact of whatever type as text that every exporter can send."""
    if value is None:
        return
    if isinstance(value, str) and value.isascii():  # as nearly always
        if 0 < len(value) <= _limits.MAX_FACT:
            told[fact] = value
        return
    with _guard.guard("interaction"):
        text = _limits.clean_text(value if isinstance(value, str) else str(value))
        if 0 < len(text) <= _limits.MAX_FACT:
            told[fact] = text


@_guard.guarded()
def _pseudonym(user: Any) -> str | None:
    return _runtime.pseudonym(user if isinstance(user, str) else str(user))


class _within:  # noqa: N801 - a block: ``with _within(context)``
    """Run steps in the interaction's context, and leave the caller's as it was.

    What a step leaves behind, such as a span that a generator's body has open while it yields, the next one finds.
    """

    __slots__ = ("_context", "_token")

    def __init__(self, context: otel_context.Context | None) -> None:
        self._context = context
        self._token: contextvars.Token[otel_context.Context] | None = None

    def __enter__(self) -> None:
        if self._context is not None:
            self._token = otel_context.attach(self._context)

    def __exit__(self, *_: object) -> None:
        if self._token is not None:
            self._context = otel_context.get_current()
            _leave(self._token)


class _closing:  # noqa: N801 - a block: ``with _closing(scope)``
    """Close a scope at the end of a block, with the error that ends it."""

    __slots__ = ("_scope",)

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def __enter__(self) -> otel_context.Context | None:
        return self._scope.open()

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self._scope.close(error)


def _around_function(function: Callable[..., Any], new_scope: Callable[[], Scope]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        with _closing(new_scope()) as context, _within(context):
            return function(*args, **kwargs)

    return wrapper


def _around_coroutine(function: Callable[..., Any], new_scope: Callable[[], Scope]) -> Callable[..., Any]:
    @functools.wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        with _closing(new_scope()) as context, _within(context):
            return await function(*args, **kwargs)

    return wrapper


def _around_generator(function: Callable[..., Any], new_scope: Callable[[], Scope]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        with _closing(new_scope()) as context:
            inside = _within(context)
            generator = function(*args, **kwargs)
            step, value = generator.send, None
            while True:
                try:
                    with inside:
                        item = step(value)
                except StopIteration as stop:
                    return stop.value
                try:
                    step, value = generator.send, (yield item)
                except GeneratorExit:
                    with inside:
                        return generator.close()
                except BaseException as thrown:  # handed to the generator, as Python would
                    step, value = generator.throw, thrown

    return wrapper


def _around_async_generator(function: Callable[..., Any], new_scope: Callable[[], Scope]) -> Callable[..., Any]:
    @functools.wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        with _closing(new_scope()) as context:
            inside = _within(context)
            generator = function(*args, **kwargs)
            step, value = generator.asend, None
            while True:
                try:
                    with inside:
                        item = await step(value)
                except StopAsyncIteration:
                    return
                try:
                    step, value = generator.asend, (yield item)
                except GeneratorExit:
                    with inside:
                        await generator.aclose()
                    return
                except BaseException as thrown:  # handed to the generator, as Python would
                    step, value = generator.athrow, thrown

    return wrapper
