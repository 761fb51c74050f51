"""``python -m stack parts`` and ``python -m stack up``: what ``make parts`` and ``make stack`` run."""

import argparse
import signal
import sys
import tempfile
import threading
from pathlib import Path

from stack.parts import PartsMissing, find_parts
from stack.ports import Ports, ports_in_use
from stack.processes import Stack, StackError


def main() -> int:
    """Run one of the two commands and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m stack", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("parts", help="find the real programs, build those that are missing, say where they are")
    up = commands.add_parser("up", help="start Collector, Jaeger and Prometheus until Ctrl-C")
    up.add_argument("--folder", type=Path, help="logs and data go here; a temporary folder without it")
    chosen = parser.parse_args()
    try:
        return _parts() if chosen.command == "parts" else _up(chosen.folder)
    except (PartsMissing, StackError) as trouble:
        print(trouble, file=sys.stderr)
        return 1


def _parts() -> int:
    parts = find_parts(build=True)
    for name in ("collector", "jaeger", "prometheus", "promtool"):
        print(f"{name:<11} {getattr(parts, name)}")
    return 0


def _up(folder: Path | None) -> int:
    ports = Ports()
    taken = ports_in_use(ports)
    for name, port in taken.items():
        print(
            f"Port {port} of 127.0.0.1, where {name} listens, is in use: end the program that has it "
            f"(`ss -ltnp sport = :{port}` names it), then try again.",
            file=sys.stderr,
        )
    if taken:
        return 1
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with tempfile.TemporaryDirectory(prefix="otel-feedback-") as temporary:
        with Stack(folder or Path(temporary), ports=ports) as stack:
            print(_addresses(stack), flush=True)
            while not ended.wait(timeout=1):
                for process in (stack.collector, stack.jaeger_process, stack.prometheus_process):
                    if not process.running:
                        raise StackError(f"{process.name} has ended:\n{process.log_tail()}")
        print("ended", flush=True)
    return 0


def _addresses(stack: Stack) -> str:
    return "\n".join(
        [
            f"OTLP/gRPC    {stack.otlp_grpc}   (OTEL_EXPORTER_OTLP_ENDPOINT=http://{stack.otlp_grpc})",
            f"OTLP/HTTP    {stack.otlp_http}",
            f"Jaeger       {stack.jaeger}",
            f"Prometheus   {stack.prometheus}",
            f"logs, data   {stack.folder}",
            "Ctrl-C ends them all.",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
