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


def _switched_off() -> bool:
    names = {name.strip() for name in os.environ.get(_DISABLED, "").split(",")}
    return bool(names & {_NAME, "*"})


@_guard.guarded()
def pre_instrument() -> None:
    """Join the tracer provider before any instrumentation takes a tracer, and with it the sampler, from it."""
    if not _switched_off() and _runtime.enabled():
        _attach.attach(None, final=False)


class FeedbackInstrumentor(BaseInstrumentor):  # type: ignore[misc] # its base is untyped
    """Add the feedback loop to an instrumented service.

    ``instrument(tracer_provider=None)`` adds a span processor to the provider, lets requests that its sampler drops
    be recorded without being exported, gives the ``feedback-handle`` response header to FastAPI, Starlette and
    whatever calls OpenTelemetry's response propagator, and reads the system instruction of OpenAI calls. Calling it
    twice does nothing more; what can't be joined is told in one warning and left as it was.
    """

    def instrumentation_dependencies(self) -> Collection[str]:
        """Nothing has to be installed."""
        return ()

    @_guard.guarded()
    def _instrument(self, **kwargs: Any) -> None:
        if not _runtime.enabled():
            return
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
