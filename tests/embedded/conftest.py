"""``otel-feedback up`` as a real process on free ports, started and ended by the test."""

import contextlib
import os
import subprocess

import pytest
from benchmarks.process import Server


@pytest.fixture
def servers(tmp_path):
    """Makes servers, not started, each on a data folder of its own unless told; all of them end with the test."""
    with contextlib.ExitStack() as stack:
        made = []

        def make(data=None, **options):
            server = Server(data or tmp_path / f"data-{len(made)}", **options)
            made.append(server)
            stack.callback(server.__exit__)
            return server

        yield make


@pytest.fixture
def server(servers):
    """A server that runs."""
    one = servers()
    one.start()
    return one


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 160 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=160m", "tmpfs", folder], check=False, capture_output=True
    )
    if mounted.returncode:
        if os.environ.get("CI"):
            pytest.fail(f"CI needs the right to mount a small disk: {mounted.stderr.decode().strip()}", pytrace=False)
        pytest.skip("only root can mount a small disk; other tests limit the files instead")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)
