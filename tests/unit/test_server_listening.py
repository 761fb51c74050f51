"""Addresses that are taken: all of them are named at once, with who has them and a command that works."""

import json
import os
import shlex
import socket
from contextlib import ExitStack, closing

import pytest
from tests.unit.cli_server import serving as answering
from tests.unit.server_parts import free_options, serving

from otel_feedback.exceptions import ConfigurationError
from otel_feedback.server.listening import InUseError, probe, probe_all
from otel_feedback.server.options import Address, ServerOptions

STATUS = {"version": "1", "data": "/theirs", "content": "kept"}
REFUSAL = (401, {"detail": "Send the token, which is in the file token of the server's data folder"})


def address_of(taken):
    """Of a listening socket, or of a stand-in's URL."""
    port = taken.rpartition(":")[2] if isinstance(taken, str) else taken.getsockname()[1]
    return Address("127.0.0.1", int(port))


def said(options):
    """What is said of the addresses of a server."""
    with pytest.raises(InUseError) as error:
        probe_all(options)
    return str(error.value)


def test_all_that_is_taken_is_named_at_once(tmp_path):
    """And the command that is proposed can have its addresses."""
    with ExitStack() as stack:
        taken = [stack.enter_context(closing(socket.create_server(("127.0.0.1", 0)))) for _ in range(3)]
        listen, grpc, http = map(address_of, taken)
        text = said(ServerOptions(data=tmp_path, listen=listen, otlp_grpc=grpc, otlp_http=http))
        assert text.startswith(
            f"{listen} (--listen) and {grpc} (--otlp-grpc) and {http} (--otlp-http) are in use, by another program."
        )
        words = shlex.split(text.partition("this works: ")[2])
        assert words[:4] == ["otel-feedback", "up", "--data", str(tmp_path)]
        assert words[6:] == ["--otlp-grpc", "off", "--otlp-http", "off"]
        assert words[4] == "--listen"
        probe(Address.parse(words[5], option="--listen"), "--listen")


def test_what_is_free_stays_as_it_was_said(tmp_path):
    """Only what is taken is moved or left out."""
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        options = free_options(tmp_path, otlp_grpc=Address("127.0.0.1", 0), otlp_http=address_of(taken))
        text = said(options)
    assert f"{options.otlp_http} (--otlp-http) is in use, by another program." in text
    assert text.endswith(f"--listen {options.listen} --otlp-grpc 127.0.0.1:0 --otlp-http off")


@pytest.mark.parametrize(
    ("answer", "who"),
    [
        (STATUS, "by another otel-feedback (data /theirs)."),
        (REFUSAL, "by another otel-feedback."),
        ({"version": "1"}, "by another program."),
        ([1], "by another program."),
        ((401, {"detail": "no"}), "by another program."),
        (b"nonsense", "by another program."),
    ],
)
def test_who_has_the_pages_address_is_asked(tmp_path, answer, who):
    """By what it answers; a program that answers something else is another one."""
    with answering({"/api/status": answer}) as other:
        assert who in said(ServerOptions(data=tmp_path, listen=address_of(other.url), otlp_grpc=None, otlp_http=None))


def test_a_server_that_runs_on_the_folder_already_is_told(tmp_path):
    """Another one would need a folder of its own, too."""
    with serving(tmp_path / "d", otlp_grpc=Address("127.0.0.1", 0)) as server:
        grpc = Address.parse(server.otlp_grpc, option="x")
        text = said(free_options(tmp_path / "d", otlp_grpc=grpc))
        note = json.loads((tmp_path / "d" / "server.json").read_text())
    assert f"runs already on {tmp_path / 'd'}, at {server.url} (process {os.getpid()})" in text
    assert "--data DIR " in text
    # A note that a killed server left says nothing of who has the address now.
    (tmp_path / "d" / "server.json").write_text(json.dumps(note))
    with closing(socket.create_server(("127.0.0.1", grpc.port))):
        assert "in use, by another program." in said(free_options(tmp_path / "d", otlp_grpc=grpc))
    for damaged in ("[]", "{", json.dumps(note | {"url": "x"})):
        (tmp_path / "d" / "server.json").write_text(damaged)
        with closing(socket.create_server(("127.0.0.1", grpc.port))):
            assert "by another program." in said(free_options(tmp_path / "d", otlp_grpc=grpc))


def test_what_the_system_refuses_is_no_address_in_use():
    """One that isn't this machine's."""
    with pytest.raises(ConfigurationError, match="cannot be listened on"):
        probe(Address("203.0.113.1", 0), "--listen")


def test_where_no_port_is_known_to_be_free_the_system_chooses(tmp_path, monkeypatch):
    """Port 0 always works."""
    monkeypatch.setattr("otel_feedback.server.listening._OTHERS", ())
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        text = said(ServerOptions(data=tmp_path, listen=address_of(taken), otlp_grpc=None, otlp_http=None))
    assert "--listen 127.0.0.1:0" in text
