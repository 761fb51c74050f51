"""``otel-feedback tail``: a line a vote, through connections that break, until Ctrl-C."""

import json
import signal
import subprocess
import threading

import pytest
from tests.unit.capture_process import COMMAND, environment
from tests.unit.cli_server import call, serving
from tests.unit.test_cli_commands import ID, LIVE

from otel_feedback.cli import tail
from otel_feedback.cli._http import UnreachableError


class Connections:
    """A server whose connections a test has written down: what each gives before it breaks."""

    name = "the server"

    def __init__(self, *connections):
        self.connections = list(connections)

    def votes(self, on_open=lambda: None):
        """Give the next one's votes."""
        votes = self.connections.pop(0)
        if votes is None:
            raise UnreachableError("nobody")
        on_open()
        yield from votes
        if not self.connections:
            raise KeyboardInterrupt


@pytest.fixture
def waits(monkeypatch):
    """How long it waited before each attempt, without the waiting."""
    waits = []
    monkeypatch.setattr(tail.time, "sleep", waits.append)
    return waits


def followed(source):
    """What was given until somebody ended it."""
    given = []
    try:
        for vote in tail.follow(source):
            given.append(vote)  # noqa: PERF402 - what came before the interrupt counts
    except KeyboardInterrupt:
        return given
    raise AssertionError("it ended by itself")


def test_a_connection_that_breaks_is_taken_up_again(waits, capsys):
    """With longer and longer waits, which a vote ends; both is said, on stderr."""
    down = [None] * 7
    assert followed(Connections(["a"], *down, ["b"], None, ["c"])) == ["a", "b", "c"]
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 10.0, 0.5, 1.0]
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "Following the server. Ctrl-C ends it.",
        "The connection to the server broke. Trying again ...",
        "Connected again.",
        "The connection to the server broke. Trying again ...",
        "Connected again.",
    ]


def test_nobody_at_the_first_attempt_is_an_error(waits):
    """There is nothing to come back to."""
    with pytest.raises(UnreachableError):
        list(tail.follow(Connections(None)))


def test_a_line_has_what_a_person_wants_to_know():
    """Time, signal and value, what it makes of the vote, template and version, and an id that ``show`` takes."""
    line = tail._line(LIVE).plain
    assert line.split("  ")[1:] == ["thumbs down", "negative", "qa v2", ID[:12]]
    assert len(line) <= 80
    assert "negative, was positive" in tail._line(LIVE | {"previous_sentiment": "positive"}).plain
    assert "negative, as before" in tail._line(LIVE | {"previous_sentiment": "negative"}).plain
    assert "copy  " in tail._line(LIVE | {"signal": "copy", "label": None}).plain


def stream(handler, end):
    """Send one vote, and hold the connection."""
    handler.send_response(200)
    handler.send_header("content-type", "text/event-stream")
    handler.end_headers()
    handler.wfile.write(f"event: vote\ndata: {json.dumps(LIVE)}\n\n".encode())
    handler.wfile.flush()
    end.wait(60)


@pytest.mark.parametrize(("options", "shown"), [([], "thumbs down"), (["--json"], '"signal": "thumbs"')])
def test_ctrl_c_ends_it(options, shown):
    """A line is there as soon as the vote is; then the exit code is 130, without a traceback."""
    end = threading.Event()
    with (
        serving({"/api/live": (200, lambda handler: stream(handler, end))}) as api,
        subprocess.Popen(
            [*COMMAND, "tail", "--url", api.url, *options],
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        try:
            line = process.stdout.readline()
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=30)
        finally:
            process.kill()
            end.set()
    assert shown in line
    assert process.returncode == 130
    assert "Traceback" not in err


def test_each_line_of_json_is_a_vote(monkeypatch, waits):
    """As the API has it; the end is whoever reads it."""

    def stop(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(tail.time, "sleep", stop)
    two = f"event: vote\ndata: {json.dumps(LIVE)}\n\n".encode() * 2
    with serving({"/api/live": (200, two, "text/event-stream")}) as api:
        code, out, err = call("tail", "--json", "--url", api.url)
        assert [json.loads(line) for line in out.splitlines()] == [LIVE, LIVE]
        assert code == 130
        code, out, err = call("tail", "--url", api.url)
        assert out.count("thumbs down") == 2
        assert err.startswith(f"Following the server at {api.url}. Ctrl-C ends it.")


def test_a_server_that_has_gone_is_said(tmp_path):
    """Before anything is followed."""
    code, _, err = call("tail", "--url", "http://127.0.0.1:9")
    assert code == 1
    assert "otel-feedback up" in err
