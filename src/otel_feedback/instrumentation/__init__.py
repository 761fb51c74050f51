"""Zero code: join a service that OpenTelemetry instruments, without a changed line of its own.

``opentelemetry-instrument`` finds ``pre_instrument`` and ``FeedbackInstrumentor`` by their entry points. A service that
configures OpenTelemetry in code calls ``FeedbackInstrumentor().instrument(tracer_provider=...)`` before it
instruments its other libraries.
"""

import os
from collections.abc import Collection
from typing import Any, Final

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined] # untyped

from otel_feedback import _guard, _runtime
from otel_feedback.instrumentation import _attach, _frameworks, _propagator, _templates
from otel_feedback.instrumentation.asgi import FeedbackMiddleware

__all__ = ["FeedbackInstrumentor", "FeedbackMiddleware", "pre_instrument"]

_DISABLED: Final = "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"
_NAME: Final = "otel_feedback"


@_guard.guarded()
def pre_instrument() -> None:
    """Join before any other instrumentation: each takes its tracer, and with it the sampler, when it is loaded.

    The order among instrumentors is chance, and one that breaks keeps those after it from being loaded.
    """
    names = {name.strip() for name in os.environ.get(_DISABLED, "").split(",")}
    if names.isdisjoint({_NAME, "*"}):
        FeedbackInstrumentor().instrument(skip_dep_check=True)


class FeedbackInstrumentor(BaseInstrumentor):  # type: ignore[misc] # its base is untyped
    """Add the feedback loop to an instrumented service.

    It adds a span processor to the tracer provider, lets requests that its sampler drops be recorded without being
    exported, gives the ``feedback-handle`` response header to FastAPI, Starlette and whatever calls OpenTelemetry's
    response propagator, and reads the system instruction of OpenAI calls. What can't be joined is told in one warning
    and left as it was.
    """

    def instrumentation_dependencies(self) -> Collection[str]:
        """Nothing has to be installed."""
        return ()

    def instrument(self, **kwargs: Any) -> None:
        """Join a service; called again, join only what has come since: a provider, another response propagator.

        Args:
            kwargs: ``tracer_provider``, instead of the global one; and what ``BaseInstrumentor.instrument`` takes.
        """
        if self.is_instrumented_by_opentelemetry:
            self._instrument(**kwargs)
        else:
            super().instrument(**kwargs)

    @_guard.guarded()
    def _instrument(self, **kwargs: Any) -> None:
        if not _runtime.enabled():
            return
        settings = _runtime.settings()
        if settings.handle_keys or settings.handle_keys_file:
            _runtime.codec()  # keys that can't be used are told now and not with the first answer
        _attach.attach(kwargs.get("tracer_provider"))
        _frameworks.patch()
        _propagator.install()
        _templates.hook()

    @_guard.guarded()
    def _uninstrument(self, **kwargs: Any) -> None:  # noqa: ARG002 - BaseInstrumentor's signature
        _templates.unhook()
        _propagator.uninstall()
        _frameworks.unpatch()
        _attach.detach()
