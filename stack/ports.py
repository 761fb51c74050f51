"""The ports of the local processes: well-known ones for a person, free ones for tests."""

import contextlib
import random
import socket
from dataclasses import dataclass, fields

_OUT_OF_THE_WAY = range(15000, 32000)
"""Where no system takes the ports of outgoing connections from: one that is chosen here is still free when a program
that was killed comes back to it."""


@dataclass(frozen=True)
class CollectorPorts:
    """Where one Collector listens; the defaults are those that every OTLP exporter assumes."""

    grpc: int = 4317
    http: int = 4318
    health: int = 13133


@dataclass(frozen=True)
class Ports:
    """Where the whole stack listens; the defaults are the well-known ones, which all documentation names."""

    collector: CollectorPorts = CollectorPorts()
    jaeger: int = 16686
    jaeger_grpc: int = 16685
    jaeger_otlp: int = 14317
    prometheus: int = 9090

    def named(self) -> dict[str, int]:
        """Return every port by what listens there, in words."""
        return {
            "the Collector (OTLP/gRPC)": self.collector.grpc,
            "the Collector (OTLP/HTTP)": self.collector.http,
            "the Collector (health)": self.collector.health,
            "Jaeger": self.jaeger,
            "Jaeger (gRPC)": self.jaeger_grpc,
            "Jaeger (OTLP)": self.jaeger_otlp,
            "Prometheus": self.prometheus,
        }


def free_collector_ports() -> CollectorPorts:
    """Return three ports of 127.0.0.1 that nobody uses at this moment."""
    return CollectorPorts(*choose_free(len(fields(CollectorPorts))))


def free_ports() -> Ports:
    """Return ports of 127.0.0.1 that nobody uses at this moment."""
    collector = len(fields(CollectorPorts))
    numbers = choose_free(collector + len(fields(Ports)) - 1)
    return Ports(CollectorPorts(*numbers[:collector]), *numbers[collector:])


def ports_in_use(ports: Ports) -> dict[str, int]:
    """Return those of the ports where somebody listens already, by what was to listen there."""
    return {name: port for name, port in ports.named().items() if is_taken(port)}


def is_taken(port: int) -> bool:
    """Return whether somebody listens on a port of 127.0.0.1."""
    with contextlib.closing(socket.socket()) as probe:
        # As the servers themselves do: a port whose last connections are still being closed is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
        return False


def choose_free(count: int) -> list[int]:
    """Return ports of 127.0.0.1 that nobody uses; all are held while choosing, so that none is given twice."""
    with contextlib.ExitStack() as held:
        numbers: list[int] = []
        while len(numbers) < count:
            port = random.choice(_OUT_OF_THE_WAY)
            one = held.enter_context(contextlib.closing(socket.socket()))
            try:
                one.bind(("127.0.0.1", port))
            except OSError:
                continue
            numbers.append(port)
        return numbers
