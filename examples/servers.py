"""The example's programs as processes of this machine: the provider, the service, and what captures votes.

The service is started as its operator would do it: ``otel-feedback run -- uvicorn ...``, or ``opentelemetry-instrument
uvicorn ...`` and environment variables. It imports nothing of ours; its page is told where to get its buttons.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stack.ports import choose_free, is_taken
from stack.processes import HOST, Process

EXAMPLES: Final = Path(__file__).parent
SERVICE_NAME: Final = "rag-service"
RESOURCE: Final = {
    "OTEL_SERVICE_NAME": SERVICE_NAME,
    "OTEL_RESOURCE_ATTRIBUTES": "service.namespace=examples,deployment.environment.name=demo",
}
"""Settings that say who the service is."""

KEEP_TEXT: Final = {
    "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "span_only",
    "OTEL_FEEDBACK_CAPTURE_TEXT": "true",
}
"""Settings of service and capture service that record questions, answers and comments; docs/settings.md has them."""
COLLECTOR_KEEPS_TEXT: Final = {"OTEL_FEEDBACK_COLLECTOR_CONTENT": "keep"}
"""Setting of the Collector, which drops all of that otherwise."""


INSTRUMENT: Final = ("opentelemetry-instrument",)
"""What starts a service with its instrumentations, and everything else from the environment."""


ONE_TRACE: Final = {"OTEL_FEEDBACK_SAME_TRACE_SECONDS": "3600"}
"""Setting of what captures votes: an answer's tree has all of its feedback, however slow the machine."""


@dataclass(frozen=True)
class Addresses:
    """Where the example listens. ``capture`` is a process of its own beside the real parts only."""

    service: int = 8000
    provider: int = 8001
    capture: int = 8002

    @property
    def service_url(self) -> str:
        """Of the question-answering service."""
        return f"http://{HOST}:{self.service}"

    @property
    def provider_url(self) -> str:
        """Of the stand-in for the model provider."""
        return f"http://{HOST}:{self.provider}"

    @property
    def capture_url(self) -> str:
        """Of the capture service."""
        return f"http://{HOST}:{self.capture}"

    def in_use(self) -> bool:
        """Whether somebody listens on one of them already."""
        return any(is_taken(port) for port in (self.service, self.provider, self.capture))


def free_addresses() -> Addresses:
    """Three ports that nobody uses at this moment."""
    return Addresses(*choose_free(3))


@dataclass(frozen=True)
class UpPorts:
    """Where ``otel-feedback up`` listens; the defaults are its own."""

    page: int = 8484
    grpc: int = 4317
    http: int = 4318

    @property
    def url(self) -> str:
        """Of the page, which takes votes and spans, too."""
        return f"http://{HOST}:{self.page}"

    @property
    def otlp_grpc(self) -> str:
        """Where it takes spans by gRPC."""
        return f"{HOST}:{self.grpc}"

    def in_use(self) -> bool:
        """Whether somebody listens on one of them already."""
        return any(is_taken(port) for port in (self.page, self.grpc, self.http))


def free_up_ports() -> UpPorts:
    """Three ports that nobody uses at this moment."""
    return UpPorts(*choose_free(3))


def make_provider(folder: Path, addresses: Addresses, *, pause: float = 0.0) -> Process:
    """The stand-in for the model provider, not started yet.

    Args:
        folder: its log goes here.
        addresses: where it listens.
        pause: seconds before each piece of a streamed answer.
    """
    command = [_program("uvicorn"), *_uvicorn_arguments("model_provider.app:app", addresses.provider)]
    ready = f"{addresses.provider_url}/v1/models"
    env = {**_clean_environment(), "SECONDS_PER_CHUNK": str(pause)}
    return Process("provider", command, folder=folder, env=env, ready_url=ready)


def make_service(
    folder: Path,
    addresses: Addresses,
    *,
    starter: Sequence[str] = (),
    telemetry: Mapping[str, str] | None = None,
    page: Mapping[str, str] | None = None,
) -> Process:
    """The question-answering service, not started yet.

    Args:
        folder: logs go here.
        addresses: where it listens, and where the provider does.
        starter: a program of this environment that starts it, with its arguments; without one the service runs bare.
        telemetry: environment variables for that.
        page: environment variables for its chat page; without any it asks for no feedback.
    """
    command = [_program("uvicorn"), *_uvicorn_arguments("rag_service.app:app", addresses.service)]
    env = {
        **_clean_environment(),
        "OPENAI_BASE_URL": f"{addresses.provider_url}/v1",
        "OPENAI_API_KEY": "the-stand-in-asks-for-none",
        **(telemetry or {}),
        **(page or {}),
    }
    if starter:
        command = [_program(starter[0]), *starter[1:], *command]
    ready = f"{addresses.service_url}/health"
    return Process("service", command, folder=folder, env=env, ready_url=ready)


def make_capture(folder: Path, addresses: Addresses, *, telemetry: Mapping[str, str]) -> Process:
    """The capture service, not started yet."""
    command = [_program("otel-feedback"), "capture", "--listen", f"{HOST}:{addresses.capture}"]
    command += ["--outbox", str(folder / "outbox.db"), "--allow-origin", addresses.service_url]
    env = {**_clean_environment(), **telemetry, **ONE_TRACE}
    ready = f"{addresses.capture_url}/healthz"
    return Process("capture", command, folder=folder, env=env, ready_url=ready)


def make_up(folder: Path, ports: UpPorts, *, data: Path) -> Process:
    """The embedded process, ``otel-feedback up``, not started yet.

    Args:
        folder: its log goes here.
        ports: where it listens.
        data: the folder that it keeps everything in.
    """
    command = [_program("otel-feedback"), "up", "--data", str(data), "--listen", f"{HOST}:{ports.page}"]
    command += ["--otlp-grpc", ports.otlp_grpc, "--otlp-http", f"{HOST}:{ports.http}"]
    env = {**_clean_environment(), **ONE_TRACE}
    return Process("up", command, folder=folder, env=env, ready_url=f"{ports.url}/healthz")


def run_by(ports: UpPorts) -> tuple[str, ...]:
    """What starts a service for an embedded process, with all that it needs."""
    return "otel-feedback", "run", "--url", ports.url, "--"


def telemetry_environment(otlp_grpc: str, handle_keys: str, *, keep_text: bool = False) -> dict[str, str]:
    """What service and capture service share: where spans go, and the key of the handles.

    Args:
        otlp_grpc: ``host:port`` of a Collector.
        handle_keys: as ``OTEL_FEEDBACK_HANDLE_KEYS`` takes them.
        keep_text: whether what people ask, get and write is recorded; the Collector has a switch of its own.
    """
    return {
        **RESOURCE,
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{otlp_grpc}",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        # The default of 5 s would be most of what the demo waits for.
        "OTEL_BSP_SCHEDULE_DELAY": "1000",
        "OTEL_FEEDBACK_HANDLE_KEYS": handle_keys,
        **(KEEP_TEXT if keep_text else {}),
    }


def _program(name: str) -> str:
    """A script of the environment that runs this, whether it is activated or not."""
    return str(Path(sys.executable).parent / name)


def _uvicorn_arguments(app: str, port: int) -> list[str]:
    return [app, "--app-dir", str(EXAMPLES), "--host", HOST, "--port", str(port), "--log-level", "warning"]


def _clean_environment() -> dict[str, str]:
    """Empty what the caller set for telemetry and proxies: these programs talk to this machine only."""
    proxies = [f"{kind}_proxy" for kind in ("http", "https", "all", "grpc")]
    names = [name for name in os.environ if name.startswith(("OTEL_", "OPENAI_"))]
    return dict.fromkeys([*names, *proxies, *(name.upper() for name in proxies)], "")
