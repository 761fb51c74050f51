"""``otel-feedback run``: a service that was never touched shows its first vote, with no other configuration."""

import contextlib
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from examples.servers import free_addresses, make_provider
from stack.client import wait_until
from stack.ports import choose_free

PROGRAMS = Path(sys.executable).parent
SERVICE = """
import sys

import uvicorn
from fastapi import FastAPI
from openai import OpenAI

app = FastAPI()
client = OpenAI()


@app.get("/ask")
def ask():
    text = "A list holds items.\\n\\nQuestion: what is a list?"
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}]
    return client.chat.completions.create(model="extract-1", messages=messages).choices[0].message.content


uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
"""
"""As its owner wrote it; it knows neither OpenTelemetry nor feedback."""


@pytest.fixture
def provider(tmp_path):
    """The address of a model provider's stand-in."""
    addresses = free_addresses()
    process = make_provider(tmp_path, addresses)
    process.start()
    yield f"{addresses.provider_url}/v1"
    process.stop()


def clean():
    """The environment without anything that would help, and without proxies of this machine."""
    dropped = ("OTEL_", "OPENAI_", "FASTAPI_")
    return {name: value for name, value in os.environ.items() if not name.startswith(dropped)}


def command(*words, **variables):
    """Run ``otel-feedback`` to its end; gives what it printed."""
    done = subprocess.run(
        [PROGRAMS / "otel-feedback", *map(str, words)],
        env=clean() | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextlib.contextmanager
def running(tmp_path, host="127.0.0.1"):
    """Run a server that is started as the README says, on free ports; gives its folder and its address."""
    ports = choose_free(3)
    page, grpc, http = (f"127.0.0.1:{port}" for port in ports)
    page = f"{host}:{ports[0]}"
    words = ["up", "--data", str(tmp_path / "data"), "--listen", page, "--otlp-grpc", grpc, "--otlp-http", http]
    with (tmp_path / "up.log").open("wb") as log:
        process = subprocess.Popen(
            [PROGRAMS / "otel-feedback", *words], env=clean(), stdout=log, stderr=log, stdin=subprocess.DEVNULL
        )
    try:
        url = f"http://127.0.0.1:{ports[0]}"
        wait_until(lambda: answer(f"{url}/healthz") is not None, "the server", timeout=30)
        yield tmp_path / "data", url
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture
def server(tmp_path):
    """A server for this machine alone."""
    with running(tmp_path) as place:
        yield place


def answer(url, body=None, **headers):
    """The response of an address; None while nobody is there."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json", **headers})
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.headers, response.read()
    except urllib.error.HTTPError:
        raise
    except OSError:
        return None


@pytest.fixture
def service(tmp_path, provider):
    """Starts the service under ``otel-feedback run``; gives its process and its address."""
    folder = tmp_path / "corner-shop"
    folder.mkdir()
    (folder / "app.py").write_text(SERVICE)
    started = []

    def start(*options, **variables):
        (port,) = choose_free(1)
        words = ["run", *options, "--", sys.executable, "app.py", str(port)]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [PROGRAMS / "otel-feedback", *words],
                cwd=folder,
                env=clean() | {"OPENAI_BASE_URL": provider, "OPENAI_API_KEY": "none"} | variables,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        started.append(process)
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: answer(f"{url}/openapi.json") is not None, "the service", timeout=60)
        return process, url

    yield start
    for process in started:
        process.kill()
        process.wait(30)


def test_the_first_vote_needs_no_other_configuration(server, service):
    """Start both, ask, click: the vote is in every command, with question and answer, under the folder's name."""
    folder, url = server
    _, shop = service("--data", str(folder))
    headers, body = answer(f"{shop}/ask")
    vote = {"handle": headers["feedback-handle"], "signal": "thumbs", "value": "down", "comment": "Too short."}
    answer(f"{url}/v1/feedback", vote)

    def seen():
        rows = json.loads(command("answers", "--json", "--url", url))["rows"]
        return rows if rows and rows[0]["recorded"] and rows[0]["question"] else None

    (row,) = wait_until(seen, "the vote with its answer", timeout=20)
    assert row["service"] == "corner-shop"
    assert row["comment"] == "Too short."
    assert row["answer"] == json.loads(body)
    assert "what is a list?" in row["question"]
    (group,) = json.loads(command("templates", "--json", "--data", folder))["rows"]
    assert (group["key"]["template"], group["interactions"], group["negative"]) == ("/ask", 1, 1)
    shown = command("show", row["id"][:12], "--url", url)
    for part in ("Be brief.", "thumbs down", "Too short.", "GET /ask", "chat extract-1"):
        assert part in shown


def test_a_server_for_other_machines_gets_its_token_from_the_folder(tmp_path, service):
    """The commands and the service find it there; without the folder nothing is told."""
    with running(tmp_path, "0.0.0.0") as (folder, url):
        _, shop = service("--data", str(folder))
        answer(f"{shop}/ask")

        def arrived():
            return json.loads(command("status", "--json", "--data", folder))["counts"]["interactions"] == 1

        wait_until(arrived, "the answer", timeout=20)
        done = subprocess.run(
            [PROGRAMS / "otel-feedback", "status", "--url", url],
            env=clean() | {"XDG_DATA_HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 1
        assert "asks for its token" in done.stderr


def test_the_printed_command_of_a_server_for_other_machines_brings_the_first_vote(tmp_path, service):
    """Key and token are found as it is typed; so are they where the address is typed by this machine's name."""
    with running(tmp_path, "0.0.0.0") as (folder, url):
        said = (tmp_path / "up.log").read_text()
        (printed,) = re.findall(r"^ *(otel-feedback run .*) -- python app.py$", said, flags=re.MULTILINE)
        by_name = f"http://{socket.gethostname()}:{url.rpartition(':')[2]}"
        share = tmp_path / "share"
        share.mkdir()
        (share / "otel-feedback").symlink_to(folder)
        for count, (words, given) in enumerate(
            [(shlex.split(printed)[2:], {}), (["--url", by_name], {"XDG_DATA_HOME": str(share)})], start=1
        ):
            _, shop = service(*words, **given)
            log = (tmp_path / "corner-shop" / "log").read_text()
            assert f"otel-feedback: Spans go to {url} (data {folder}), without questions and answers.\n" in log
            headers, _ = answer(f"{shop}/ask")
            answer(f"{url}/v1/feedback", {"handle": headers["feedback-handle"], "signal": "thumbs", "value": "down"})
            wait_until(lambda: seen(folder) == (count, count), "the vote", timeout=20)  # noqa: B023 - called at once


def seen(folder):
    """How many answers and votes on them a server has."""
    rows = json.loads(command("answers", "--json", "--feedback", "all", "--data", folder))["rows"]
    return len(rows), sum(row["recorded"] and bool(row["feedback"]) for row in rows)


def test_signals_and_exit_code_are_the_service_s_own(server, service):
    """The process that was started is the service, so that whoever supervises it sees what it does."""
    folder, _ = server
    process, _ = service("--data", str(folder))
    arguments = Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")
    assert arguments[1] == b"app.py"
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) in (0, -signal.SIGTERM)


def test_a_service_that_starts_before_its_server_is_found_by_it(tmp_path, service):
    """The key that it makes is the one that the server takes later; until then it answers with a warning."""
    folder = tmp_path / "data"
    service("--data", str(folder))
    assert "otel-feedback up --data" in (tmp_path / "corner-shop" / "log").read_text()
    assert (folder / "handle-keys").exists()


def test_a_live_vote_is_told_at_once(server, service):
    """``tail`` follows the same server that ``run`` sends to."""
    folder, url = server
    with subprocess.Popen(
        [PROGRAMS / "otel-feedback", "tail", "--json", "--data", folder],
        env=clean(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            _, shop = service("--data", str(folder))
            headers, _ = answer(f"{shop}/ask")
            assert "Following" in process.stderr.readline(), "the connection stands"
            answer(f"{url}/v1/feedback", {"handle": headers["feedback-handle"], "signal": "stars", "value": 1})
            line = json.loads(process.stdout.readline())
        finally:
            process.kill()
    assert (line["signal"], line["sentiment"], line["template"]) == ("stars", "negative", "/ask")


@pytest.mark.parametrize("words", [["db", "info"], ["db", "check"]], ids=" ".join)
def test_the_data_folder_is_looked_after_while_the_server_runs(server, words):
    """The token is found in the folder by its address alone."""
    folder, url = server
    assert command(*words, "--url", url, "--data", folder)
    assert json.loads(command(*words, "--json", "--data", folder)) is not None


def test_a_backup_is_a_data_folder(server, tmp_path):
    """Made while the server runs, opened without one."""
    folder, _ = server
    command("db", "backup", tmp_path / "copy", "--data", folder)
    assert json.loads(command("templates", "--json", "--data", tmp_path / "copy"))["rows"] == []


def test_server_and_folder_give_the_same_json(server, service):
    """A program needn't know which of them answers."""
    folder, url = server
    _, shop = service("--data", str(folder))
    headers, _ = answer(f"{shop}/ask")
    answer(f"{url}/v1/feedback", {"handle": headers["feedback-handle"], "signal": "thumbs", "value": "down"})
    wait_until(lambda: json.loads(command("answers", "--json", "--url", url))["rows"], "the vote", timeout=20)
    identifier = json.loads(command("answers", "--json", "--url", url))["rows"][0]["id"]
    command("db", "backup", folder.parent / "copy", "--data", folder)
    for words in (["templates"], ["answers"], ["show", identifier]):
        from_server = json.loads(command(*words, "--json", "--url", url))
        from_folder = json.loads(command(*words, "--json", "--data", folder.parent / "copy"))
        assert keys(from_server) == keys(from_folder)


def keys(value):
    """The shape of JSON: names, all the way down."""
    if isinstance(value, dict):
        return {name: keys(one) for name, one in value.items()}
    return [keys(one) for one in value] if isinstance(value, list) else type(value).__name__
