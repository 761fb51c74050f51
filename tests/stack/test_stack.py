"""The stack itself: its processes start, are asked, end and fail as they say."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from stack.parts import REPOSITORY, Parts
from stack.ports import Ports, free_ports, ports_in_use
from stack.processes import COLLECTOR_CONFIG, PROMETHEUS_CONFIG, Process, Stack, StackError

from stack import client, versions


def test_the_parts_say_their_pinned_versions(parts: Parts) -> None:
    """Each program that is found reports the version that this repository pins."""
    for program, command, version in (
        (parts.collector, "--version", versions.COLLECTOR),
        (parts.jaeger, "version", versions.JAEGER),
        (parts.prometheus, "--version", versions.PROMETHEUS),
        (parts.promtool, "--version", versions.PROMETHEUS),
    ):
        done = subprocess.run([program, command], capture_output=True, text=True, check=True)
        assert version in done.stdout


def test_the_collectors_own_check_accepts_the_configuration(parts: Parts) -> None:
    """`validate` of the real Collector accepts the configuration with nothing set in the environment."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    subprocess.run([parts.collector, "validate", "--config", COLLECTOR_CONFIG], check=True, env=clean)


def test_promtool_accepts_the_configuration(parts: Parts) -> None:
    """`promtool check config` accepts Prometheus' configuration and the rules that it names."""
    subprocess.run([parts.promtool, "check", "config", PROMETHEUS_CONFIG], check=True, capture_output=True)


def test_ended_means_ended(parts: Parts, tmp_path: Path) -> None:
    """Leaving the stack ends every program, added ones too, and frees every port."""
    with Stack(tmp_path, parts=parts) as stack:
        second = stack.add_collector("second")
        assert client.answers(second.health)
        processes = [stack.collector, stack.jaeger_process, stack.prometheus_process, second]
        assert len(ports_in_use(stack.ports)) == len(stack.ports.named())
    assert not any(process.running for process in processes)
    assert ports_in_use(stack.ports) == {}


def test_killed_and_started_again(fresh_stack: Stack) -> None:
    """A killed program answers no more; started again it listens where it did."""
    fresh_stack.collector.kill()
    assert not client.answers(fresh_stack.health)
    fresh_stack.collector.start()
    assert client.answers(fresh_stack.health)


def test_a_program_that_ends_at_its_start_says_why(tmp_path: Path) -> None:
    """A program that does not come up raises with the end of its log."""
    command = [sys.executable, "-c", "print('the disk is on fire'); raise SystemExit(3)"]
    process = Process("burning", command, folder=tmp_path, env={}, ready_url="http://127.0.0.1:9")
    with pytest.raises(StackError, match="the disk is on fire"):
        process.start()


def test_free_ports_are_all_different() -> None:
    """No port is given twice."""
    numbers = list(free_ports().named().values())
    assert len(set(numbers)) == len(numbers)


def run_up(tmp_path: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "stack", "up", "--folder", tmp_path],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_up_prints_addresses_until_ctrl_c(parts: Parts, tmp_path: Path) -> None:
    """`make stack` prints where everything is, runs until Ctrl-C and ends everything."""
    ports = Ports()
    if ports_in_use(ports):
        pytest.skip(f"well-known ports are in use: {ports_in_use(ports)}")
    with run_up(tmp_path) as up:
        lines: list[str] = []
        assert up.stdout is not None
        for line in up.stdout:
            lines.append(line)
            if line.startswith("Ctrl-C"):
                break
        assert f"http://127.0.0.1:{ports.jaeger}" in "".join(lines)
        assert client.answers(f"http://127.0.0.1:{ports.prometheus}/-/ready")
        up.send_signal(signal.SIGINT)
        assert up.wait(timeout=60) == 0
    assert ports_in_use(ports) == {}


def test_up_names_a_port_in_use(parts: Parts, tmp_path: Path) -> None:
    """`make stack` beside a program that has one of its ports says which, and starts nothing."""
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", Ports().prometheus))
        except OSError:
            pass  # somebody else has it: just as good
        else:
            taken.listen()
        with run_up(tmp_path) as up:
            _, said = up.communicate(timeout=60)
    assert up.returncode == 1
    assert f"Port {Ports().prometheus} of 127.0.0.1, where Prometheus listens, is in use" in said
    assert list(tmp_path.iterdir()) == []
