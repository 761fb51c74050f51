"""``otel-feedback up`` as a process: where it is said to be, how it ends, and what it can't start on."""

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import threading
from contextlib import closing, contextmanager, suppress

import pytest
from tests.unit.capture_process import environment
from tests.unit.server_parts import FREE, ask, export, free_options, held, post, request, serving, span, until

from otel_feedback.cli import up as command
from otel_feedback.exceptions import ConfigurationError, MissingExtraError, StoreHeldError
from otel_feedback.server import up
from otel_feedback.server.options import Address
from otel_feedback.server.token import Token
from otel_feedback.server.up import Embedded
from otel_feedback.store import Store

PROGRAM = """
import typer
from otel_feedback.cli import app as commands
from otel_feedback.cli.up import up
if not any(each.name == "up" for each in commands.app.registered_commands):
    commands.app.command("up")(up)
commands.run()
"""
GOAL = 5
"""Seconds within which it ends, whatever is under way."""
FREE_PORTS = ("--listen", "127.0.0.1:0", "--otlp-grpc", "127.0.0.1:0", "--otlp-http", "127.0.0.1:0")


@contextmanager
def running(data, *arguments, ports=FREE_PORTS, before=""):
    """Run the command until the block ends; gives the process when it is up, and what it said.

    ``before`` is Python that runs first.
    """
    words = [sys.executable, "-c", before + PROGRAM, "up", "--data", str(data), *ports, *arguments]
    with subprocess.Popen(
        words, env=environment(COLUMNS="80"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            said = []
            for line in process.stdout:
                said.append(line)
                if "HANDLE_KEYS_FILE" in line:
                    break
            process.said = "".join(said)
            yield process
        finally:
            process.kill()


def url_of(process):
    return re.search(r"Page +(http://\S+)", process.said)[1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_what_it_was_sent(tmp_path, number):
    """Exit code 0 and in time, also while a page listens; the files are whole and the note of the server is gone."""
    with running(tmp_path / "d") as process:
        note = json.loads((tmp_path / "d" / "server.json").read_text())
        assert (note["url"], note["pid"]) == (url_of(process), process.pid)
        assert (tmp_path / "d" / "server.json").stat().st_mode & 0o777 == 0o600
        assert export(note["otlp_grpc"], request()) == b""
        connection = http.client.HTTPConnection(url_of(process).removeprefix("http://"), timeout=30)
        with closing(connection):
            connection.request("GET", "/api/live")
            assert connection.getresponse().readline() == b": listening\n"
            process.send_signal(number)
            assert process.wait(GOAL) == 0
        assert process.stderr.read() == ""
    assert not (tmp_path / "d" / "server.json").exists()
    with closing(Store.open(tmp_path / "d")) as store, store.cursor() as cursor:
        assert cursor.execute("SELECT count(*) FROM interactions").fetchall() == [(1,)]


def test_it_says_where_everything_is_and_what_to_paste(tmp_path):
    """At 80 columns, without the token."""
    with running(tmp_path / "d") as process:
        said = process.said
        assert (tmp_path / "d" / "token").read_text().strip() not in said
    for line in ("uvicorn app:app", "python app.py"):
        assert f"otel-feedback run --data {tmp_path / 'd'} -- {line}\n" in said
    assert f"OTEL_EXPORTER_OTLP_ENDPOINT={url_of(process)}" in said
    assert f"OTEL_FEEDBACK_HANDLE_KEYS_FILE={tmp_path}/d/handle-keys" in said
    assert str(tmp_path / "d") in said
    assert "kept: questions" in said
    assert "Token" not in said


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_port_in_use_is_named_with_its_option(tmp_path, which):
    """Exit code 2, one sentence, and the folder isn't even made."""
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        ports = list(FREE_PORTS)
        ports[2 * which + 1] = f"127.0.0.1:{other.getsockname()[1]}"
        with running(tmp_path / "d", ports=ports) as process:
            assert process.wait(30) == 2
            said = process.stderr.read()
    assert ports[2 * which] in said
    assert ports[2 * which + 1] in said
    assert "Traceback" not in said
    assert not (tmp_path / "d").exists()


def test_a_folder_that_is_held_is_left_to_its_holder(tmp_path):
    """Exit code 1 with the address of who has it."""
    with serving(tmp_path / "d") as server, running(tmp_path / "d") as process:
        assert process.wait(30) == 1
        said = " ".join(process.stderr.read().split())
        assert server.url in said
        assert "Traceback" not in said
        assert ask(server.url, "GET", "/api/status").status == 200
        assert json.loads((tmp_path / "d" / "server.json").read_text())["url"] == server.url


@pytest.mark.parametrize("wrong", [("--otlp-grpc", "4317"), ("--jaeger", "x"), ("--allow-origin", "chat")])
def test_options_that_cannot_be_used_end_it(tmp_path, wrong):
    """Exit code 2 and a sentence."""
    with running(tmp_path / "d", *wrong) as process:
        assert process.wait(30) == 2
        assert "Traceback" not in process.stderr.read()


def test_a_second_signal_ends_it_at_once(tmp_path):
    """For whoever doesn't want to wait; here for a request that doesn't end and would get ten minutes."""
    patient = "from otel_feedback.server import up; up.GRACE_SECONDS = 600"
    with running(tmp_path / "d", before=patient) as process, closing(socket.socket()) as slow:
        host, port = url_of(process).removeprefix("http://").split(":")
        slow.connect((host, int(port)))
        slow.sendall(b"POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-protobuf\r\n")
        slow.sendall(b"Content-Length: 9\r\n\r\n1")
        process.send_signal(signal.SIGTERM)
        until(lambda: refused(host, port), "the end")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 1


def refused(host, port):
    with closing(socket.socket()) as one:
        return one.connect_ex((host, int(port))) != 0


def test_a_request_that_does_not_end_does_not_hold_it_up(tmp_path):
    """It gets a second; then the store is closed as it must be."""
    with running(tmp_path / "d") as process, closing(socket.socket()) as slow:
        host, port = url_of(process).removeprefix("http://").split(":")
        slow.connect((host, int(port)))
        slow.sendall(b"POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-protobuf\r\n")
        slow.sendall(b"Content-Length: 9\r\n\r\n1")
        process.terminate()
        assert process.wait(GOAL) == 0


SLOW = """
import time
from otel_feedback.store import _commit, _writer
_writer.QUEUE_BATCHES, _writer.GROUP_SPANS = 32, 1
commit = _commit.Committer.commit
def slow(self, batches):
    time.sleep(0.2)
    return commit(self, batches)
_commit.Committer.commit = slow
"""


def test_a_slow_disk_with_a_full_queue_does_not_hold_it_up(tmp_path):
    """It ends within five seconds; what was acknowledged is there, and all others were told to come again."""
    answers = {}

    def send(address, number):
        trace_id = f"{number + 1:032x}"
        body = request(span(trace_id, interaction=True))
        with suppress(OSError, http.client.HTTPException):  # not taken by anybody
            answers[trace_id] = post(f"http://{address}", body)

    with running(tmp_path / "d", before=SLOW) as process:
        address = url_of(process).removeprefix("http://")
        senders = [threading.Thread(target=send, args=(address, number)) for number in range(60)]
        for sender in senders:
            sender.start()
        until(lambda: {200, 429} <= {answer.status for answer in list(answers.values())}, "a full queue")
        process.terminate()
        assert process.wait(GOAL) == 0
        for sender in senders:
            sender.join()
        assert "Traceback" not in process.stderr.read()
    taken = {trace_id for trace_id, answer in answers.items() if answer.status == 200}
    others = [answer for answer in answers.values() if answer.status != 200]
    assert {answer.status for answer in others} == {429, 503}
    assert all(answer.headers["retry-after"] for answer in others)
    with closing(Store.open(tmp_path / "d")) as store, store.cursor() as cursor:
        kept = {trace_id for (trace_id,) in cursor.execute("SELECT trace_id FROM interactions").fetchall()}
    assert taken <= kept
    assert len(kept) < 32, "the queue was written in time"


def test_off_opens_no_port(tmp_path):
    """What is off is null in the status."""
    with serving(tmp_path / "d", otlp_grpc=None, otlp_http=None) as server:
        status = ask(server.url, "GET", "/api/status").json()
        assert (status["otlp_grpc"], status["otlp_http"]) == (None, None)
        assert (server.otlp_grpc, server.otlp_http) == (None, None)


def by_http(server):
    answer = post(server.otlp_http, request())
    assert answer.status == 200
    return answer.body


@pytest.mark.parametrize("send", [lambda server: export(server.otlp_grpc, request()), by_http], ids=["gRPC", "HTTP"])
def test_what_is_under_way_is_ended_before_the_store(tmp_path, send):
    """A request whose batch waits is acknowledged, and is there afterwards."""
    answers = []
    with serving(tmp_path / "d") as server:
        with held(server.store):
            sender = threading.Thread(target=lambda: answers.append(send(server)))
            sender.start()
            until(lambda: server.store.queued().batches)
            server._loop.call_soon_threadsafe(server._stop.set)
        sender.join()
    assert answers == [b""]
    with closing(Store.open(tmp_path / "d")) as store, store.cursor() as cursor:
        assert cursor.execute("SELECT count(*) FROM interactions").fetchall() == [(1,)]


def test_a_request_that_the_end_cuts_off_is_to_come_again(tmp_path):
    """503 with the time to wait, and not 500, after which no sender comes again; what it brought may be there."""
    answers = []
    with serving(tmp_path / "d") as server:
        with held(server.store):
            sender = threading.Thread(target=lambda: answers.append(post(server.otlp_http, request())))
            sender.start()
            until(lambda: server.store.queued().batches)
            server._loop.call_soon_threadsafe(server._stop.set)
            until(lambda: server.store._closed)
        sender.join()
    assert [(answer.status, answer.headers["retry-after"]) for answer in answers] == [(503, "1")]
    with closing(Store.open(tmp_path / "d")) as store, store.cursor() as cursor:
        assert cursor.execute("SELECT count(*) FROM interactions").fetchall() == [(1,)]


def test_what_was_opened_is_closed_where_the_rest_cannot_be(tmp_path):
    """Ports and folder are free again at once."""
    with serving(tmp_path / "a") as other:
        taken = Address.parse(other.otlp_grpc, option="x")
        with pytest.raises(ConfigurationError, match=f"{taken} .*is in use"), serving(tmp_path / "b", otlp_grpc=taken):
            pass
        with pytest.raises(StoreHeldError), serving(tmp_path / "a"):
            pass
        with serving(tmp_path / "b"):
            pass


def test_an_address_that_grpc_loses_at_the_last_moment_is_told(tmp_path, monkeypatch):
    """It was free when it was tried; it isn't shared either."""
    monkeypatch.setattr(up, "probe_all", lambda _: None)
    # One that would share its port, as another gRPC server may: requests would go to either.
    with closing(socket.create_server(("127.0.0.1", 0), reuse_port=True)) as other:
        taken = Address("127.0.0.1", other.getsockname()[1])
        with pytest.raises(ConfigurationError, match="--otlp-grpc"), serving(tmp_path / "d", otlp_grpc=taken):
            pass
    with serving(tmp_path / "d"):
        pass


@pytest.mark.parametrize("host", ["no-such-host.invalid", "203.0.113.1", "a" * 70])
def test_an_address_that_is_not_of_this_machine_is_told(tmp_path, host):
    """By its option."""
    with pytest.raises(ConfigurationError, match="--listen"), serving(tmp_path / "d", listen=Address(host, 0)):
        pass


def test_a_server_that_listens_everywhere_is_found_on_this_machine(tmp_path):
    """The note in the folder has an address that the command line reaches."""
    options = free_options(tmp_path, listen=Address("0.0.0.0", 8484))
    with up._note(options):
        assert json.loads((tmp_path / "server.json").read_text())["url"] == "http://127.0.0.1:8484"
    options = free_options(tmp_path, listen=Address("::", 8484))
    with up._note(options):
        assert json.loads((tmp_path / "server.json").read_text())["url"] == "http://[::1]:8484"


def test_it_can_be_ended_twice_and_does_not_run_before(tmp_path):
    """Nothing is to be asked of one that doesn't run."""
    server = Embedded(free_options(tmp_path / "d", otlp_grpc=None, otlp_http=FREE))
    with pytest.raises(RuntimeError):
        _ = server.url
    with server:
        server.close()


def test_where_other_machines_reach_it_the_token_is_named_and_not_told(tmp_path, capsys):
    """The output ends in logs: it has the file's path, in the line to paste too, and says that content is dropped."""
    options = free_options(tmp_path, listen=Address("192.0.2.1", 8484), otlp_grpc=None, otlp_http=None)
    command._tell(up.Running(options, None, Token("s" * 43)))
    said = capsys.readouterr().out
    assert "s" * 43 not in said
    assert f"in {tmp_path / 'token'};" in said
    assert f'OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer%20$(cat {tmp_path}/token)"' in said
    assert "dropped (--keep-content keeps it)" in said
    assert "http://192.0.2.1:8484 (HTTP)" in said


@pytest.mark.parametrize(("text", "expected"), [("off", None), ("[::1]:4317", Address("::1", 4317))])
def test_a_receiver_can_be_off(text, expected):
    """Or anywhere."""
    assert command._or_off(text, "--otlp-grpc") == expected


def test_a_part_that_is_not_installed_is_named_with_its_extra(monkeypatch):
    """As everywhere; what is missing of our own is a mistake of ours."""
    monkeypatch.delitem(sys.modules, "otel_feedback.server.up")
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(MissingExtraError, match=r"uvicorn is not installed.*\[server\]"):
        command.up()
    monkeypatch.setitem(sys.modules, "otel_feedback.server.up", None)
    with pytest.raises(ModuleNotFoundError):
        command.up()
