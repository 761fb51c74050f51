"""Folders and ports that can't be used: an exit code, a sentence that says what to do, and nothing is changed."""

import contextlib
import hashlib
import socket

import duckdb
import pytest
from benchmarks.load import Load
from benchmarks.process import ServerEndedError
from tests.embedded.wire import post_signal

SMALL = {"batch": 64, "templates": 1}


@pytest.fixture
def filled(servers):
    """A server that has ended, on a folder with something in it."""
    server = servers()
    server.start()
    for request, _ in zip(Load(**SMALL), range(6), strict=False):
        assert post_signal(server, request.body).status == 200
    server.stop()
    assert server.process.returncode == 0
    return server


def fingerprint(folder):
    """Every file's bytes, but for what says who is running."""
    passing = {"lock", "server.json"}
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in passing
    }


def refused(server):
    """Start it, see it end with an error and its folder as it was, and return what it said."""
    server.log.write_text("")
    before = fingerprint(server.data)
    with pytest.raises(ServerEndedError):
        server.start()
    assert server.process.returncode not in (0, None)
    assert server.process.returncode > 0, "it was killed"
    assert fingerprint(server.data) == before
    said = " ".join(server.said().split())
    assert "Traceback" not in said
    return said


def content_file(server):
    """The one content file."""
    (path,) = (server.data / "content").glob("*.duckdb")
    return path


@pytest.mark.parametrize("which", ["store", "content"])
def test_a_file_of_a_newer_version_is_left_alone(filled, which):
    """The sentence says to upgrade."""
    path = filled.data / "store.duckdb" if which == "store" else content_file(filled)
    with duckdb.connect(str(path)) as connection:
        connection.execute("INSERT INTO migrations VALUES (9999, 'm9999_from_the_future', now()::TIMESTAMP)")
    said = refused(filled)
    assert "newer" in said
    assert "pip install" in said


@pytest.mark.parametrize("which", ["store", "content"])
@pytest.mark.parametrize("damage", ["head", "other", "short", "empty"])
def test_a_damaged_file_is_named_and_left_alone(filled, which, damage):
    """The sentence names the file and what to do."""
    path = filled.data / "store.duckdb" if which == "store" else content_file(filled)
    whole = path.read_bytes()
    path.write_bytes(
        {"head": bytes(4096) + whole[4096:], "other": b"no database\n" * 4096, "short": whole[:5000], "empty": b""}[
            damage
        ]
    )
    said = refused(filled)
    assert path.name in said
    assert "backup" in said
    path.write_bytes(whole)
    filled.start()
    assert filled.get("/api/status")["counts"]["interactions"] > 0


def test_a_folder_that_another_process_holds_is_left_to_it(filled, servers):
    """The sentence says who has it, and the holder goes on."""
    filled.start()
    second = servers(filled.data)
    second.log = filled.data.with_name("second.log")
    second.log.write_text("")
    with pytest.raises(ServerEndedError):
        second.start()
    assert second.process.returncode > 0
    said = " ".join(second.said().split())
    assert f"process {filled.process.pid}" in said
    assert f"--url {filled.url}" in said
    assert "Traceback" not in said
    assert post_signal(filled, next(iter(Load(seed=9, **SMALL))).body).status == 200


@pytest.mark.parametrize("which", ["main", "grpc", "http"])
def test_a_port_in_use_is_named(filled, which):
    """The sentence names the address and the option that chooses another; nothing else is left listening."""
    host, port = getattr(filled, which).split(":")
    with contextlib.closing(socket.socket()) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind((host, int(port)))
        other.listen()
        said = refused(filled)
    assert port in said
    assert {"main": "--listen", "grpc": "--otlp-grpc", "http": "--otlp-http"}[which] in said
    filled.start()


def test_a_folder_that_cannot_be_made_is_named(servers, tmp_path):
    """The sentence names it."""
    (tmp_path / "file").write_text("")
    server = servers(tmp_path / "file" / "data")
    server.log = tmp_path / "log"
    with pytest.raises(ServerEndedError):
        server.start()
    assert server.process.returncode > 0
    assert str(tmp_path / "file") in server.said().replace("\n", "")
    assert "Traceback" not in server.said()
