"""The real Collector, Jaeger and Prometheus as local processes, run with this repository's configuration."""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final, TypeVar

from stack import client
from stack.parts import REPOSITORY, Parts, find_parts
from stack.ports import CollectorPorts, Ports, free_collector_ports, free_ports

T = TypeVar("T")

COLLECTOR_CONFIG: Final = REPOSITORY / "collector" / "config.yaml"
JAEGER_CONFIG: Final = REPOSITORY / "stack" / "jaeger.yaml"
PROMETHEUS_CONFIG: Final = REPOSITORY / "stack" / "prometheus.yaml"

PROMETHEUS_FLAGS: Final = (
    "--web.enable-otlp-receiver",
    "--enable-feature=exemplar-storage,promql-extended-range-selectors",
)
"""What every Prometheus behind this Collector needs: docker-compose.yml has the same."""

HOST: Final = "127.0.0.1"
_GRACE: Final = 10.0
"""Seconds that a program has to end after SIGTERM."""


class StackError(Exception):
    """A program did not start; the text holds the end of its log."""


class Process:
    """One program that can be killed, ended and started again; its output goes to a file.

    On Linux it dies with the thread that started it, so that a killed test run leaves nothing behind.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        folder: Path,
        env: Mapping[str, str],
        ready_url: str,
    ) -> None:
        self.name = name
        self.log_path = folder / f"{name}.log"
        self._command = [*_dies_with_us(), *map(str, command)]
        self._folder = folder
        self._env = dict(env)
        self._ready_url = ready_url
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether the program runs."""
        return self._process is not None and self._process.poll() is None

    def start(self, *, timeout: float = 30, **env: str) -> None:
        """Start the program and return when it says that it is ready.

        Args:
            timeout: seconds to wait for that.
            env: environment variables to change, from this start on.

        Raises:
            StackError: it ended, or is not ready in time.
            RuntimeError: it runs already.
        """
        self.launch(**env)
        self.await_ready(timeout=timeout)

    def launch(self, **env: str) -> None:
        """Start the program without waiting for it."""
        if self.running:
            raise RuntimeError(f"{self.name} runs already")
        self._env.update(env)
        self._folder.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as log:
            # A session of its own: Ctrl-C reaches only us, and we end the programs in order.
            self._process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                env={**os.environ, **self._env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def await_ready(self, *, timeout: float = 30) -> None:
        """Wait until the program says that it is ready.

        Raises:
            StackError: it ended, or is not ready in time.
        """

        def ready_or_dead() -> bool:
            return not self.running or client.answers(self._ready_url)

        try:
            client.wait_until(ready_or_dead, f"{self.name} at {self._ready_url}", timeout=timeout)
        except client.NotYet as late:
            raise StackError(f"{late}\n{self.log_tail()}") from None
        if not self.running:
            raise StackError(f"{self.name} ended at its start; the end of {self.log_path}:\n{self.log_tail()}")

    def kill(self) -> None:
        """End the program as a crash does (SIGKILL): it gets to do nothing more."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End the program as an operator does (SIGTERM), by SIGKILL if it takes too long."""
        self._end(signal.SIGTERM)

    def log(self) -> str:
        """Return everything that the program has said since its first start."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def log_tail(self, lines: int = 20) -> str:
        """Return the last lines of what the program has said."""
        return "\n".join(self.log().splitlines()[-lines:])

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(timeout=_GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Collector(Process):
    """A Collector with ports and a queue folder of its own."""

    def __init__(
        self,
        name: str,
        program: Path,
        ports: CollectorPorts,
        *,
        folder: Path,
        env: Mapping[str, str],
        more_config: Sequence[Path] = (),
    ) -> None:
        self.otlp_grpc = f"{HOST}:{ports.grpc}"
        self.otlp_http = f"http://{HOST}:{ports.http}"
        self.health = f"http://{HOST}:{ports.health}"
        self.queue_folder = folder / f"{name}-queue"
        own = {
            "OTEL_FEEDBACK_COLLECTOR_GRPC": self.otlp_grpc,
            "OTEL_FEEDBACK_COLLECTOR_HTTP": f"{HOST}:{ports.http}",
            "OTEL_FEEDBACK_COLLECTOR_HEALTH": f"{HOST}:{ports.health}",
            "OTEL_FEEDBACK_COLLECTOR_QUEUE": str(self.queue_folder),
        }
        command = [program, *(word for file in (COLLECTOR_CONFIG, *more_config) for word in ("--config", file))]
        super().__init__(name, command, folder=folder, env={**own, **env}, ready_url=self.health)


class Stack:
    """The whole stack as a context manager: started on entering, ended on leaving.

    Args:
        folder: logs, queues and Prometheus' data go here.
        ports: where to listen; free ports by default. ``Ports()`` is the well-known ones.
        env: environment variables for the Collector and Jaeger, beside those that hold addresses and folders.
        parts: the programs; those that ``find_parts`` finds by default.
        prometheus_flags: flags beside those for addresses and folders.
        more_config: configuration that the Collectors read after the repository's and merge into it.

    Raises:
        PartsMissing: a program is not there (``make parts``).
        StackError: a program did not start.
    """

    def __init__(
        self,
        folder: Path,
        *,
        ports: Ports | None = None,
        env: Mapping[str, str] | None = None,
        parts: Parts | None = None,
        prometheus_flags: Sequence[str] = PROMETHEUS_FLAGS,
        more_config: Sequence[Path] = (),
    ) -> None:
        folder = folder.resolve()
        ports = ports or free_ports()
        self.folder = folder
        self.ports = ports
        self.parts = parts or find_parts(build=False)
        self.jaeger = f"http://{HOST}:{ports.jaeger}"
        self.prometheus = f"http://{HOST}:{ports.prometheus}"
        self.prometheus_client = client.PrometheusClient(self.prometheus)
        self.jaeger_client = client.JaegerClient(self.jaeger)
        self._env = dict(env or {})
        self._more_config = more_config
        self._exit = ExitStack()
        self.jaeger_process = self._make_jaeger()
        self.prometheus_process = self._make_prometheus(prometheus_flags)
        self.collector = self._make_collector("collector", ports.collector)
        self.otlp_grpc = self.collector.otlp_grpc
        self.otlp_http = self.collector.otlp_http
        self.health = self.collector.health

    def __enter__(self) -> "Stack":  # noqa: PYI034 - Self needs Python 3.11 or a dependency
        try:
            for process in (self.jaeger_process, self.prometheus_process, self.collector):
                self._exit.callback(process.stop)
                process.launch()
            for process in (self.jaeger_process, self.prometheus_process, self.collector):
                process.await_ready()
        except BaseException:
            self._exit.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._exit.close()

    def add_collector(self, name: str) -> Collector:
        """Start a second Collector before the same Jaeger and Prometheus; it ends with the stack.

        Raises:
            StackError: it did not start.
        """
        collector = self._make_collector(name, free_collector_ports())
        self._exit.callback(collector.stop)
        collector.start()
        return collector

    def query(self, promql: str, *, time: float | None = None) -> list[dict[str, Any]]:
        """Ask Prometheus; see ``PrometheusClient.query``."""
        return self.prometheus_client.query(promql, time=time)

    def value(self, promql: str, *, time: float | None = None) -> float | None:
        """Ask Prometheus for one number; see ``PrometheusClient.value``."""
        return self.prometheus_client.value(promql, time=time)

    def trace(self, trace_id: str) -> list[dict[str, Any]]:
        """Ask Jaeger for the spans of a trace; see ``JaegerClient.trace``."""
        return self.jaeger_client.trace(trace_id)

    def wait_until(self, ask: Callable[[], T], what: str, *, timeout: float = 30) -> T:
        """Ask until the answer is true, and return it; see ``stack.client.wait_until``."""
        return client.wait_until(ask, what, timeout=timeout)

    def _make_collector(self, name: str, ports: CollectorPorts) -> Collector:
        env = {
            "OTEL_FEEDBACK_JAEGER_OTLP": f"{HOST}:{self.ports.jaeger_otlp}",
            "OTEL_FEEDBACK_PROMETHEUS_URL": self.prometheus,
            **self._env,
        }
        program, more = self.parts.collector, self._more_config
        return Collector(name, program, ports, folder=self.folder, env=env, more_config=more)

    def _make_jaeger(self) -> Process:
        env = {
            "JAEGER_OTLP_LISTEN": f"{HOST}:{self.ports.jaeger_otlp}",
            "JAEGER_QUERY_LISTEN": f"{HOST}:{self.ports.jaeger}",
            "JAEGER_QUERY_GRPC_LISTEN": f"{HOST}:{self.ports.jaeger_grpc}",
            **self._env,
        }
        command: list[str | Path] = [self.parts.jaeger, "--config", JAEGER_CONFIG]
        ready = f"{self.jaeger}/api/services"
        return Process("jaeger", command, folder=self.folder, env=env, ready_url=ready)

    def _make_prometheus(self, flags: Sequence[str]) -> Process:
        command: list[str | Path] = [
            self.parts.prometheus,
            f"--config.file={PROMETHEUS_CONFIG}",
            f"--storage.tsdb.path={self.folder / 'prometheus-data'}",
            f"--web.listen-address={HOST}:{self.ports.prometheus}",
            *flags,
        ]
        ready = f"{self.prometheus}/-/ready"
        return Process("prometheus", command, folder=self.folder, env={}, ready_url=ready)


def _dies_with_us() -> list[str]:
    """Return a prefix that has the kernel end a program with the thread that started it, where it exists."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []
