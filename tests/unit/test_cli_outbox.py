"""``otel-feedback outbox``: what it shows, and what it sends."""

import json

import pytest
from tests.unit.cli_server import call
from tests.unit.drain_parts import HttpReceiver, carrier, filled, read, receiving

from otel_feedback.outbox import Outbox
from otel_feedback.outbox._lock import SenderLock


def numbers_in(outbox):
    """Numbers of what waits, the oldest first."""
    return [row.number for row in outbox.oldest(most=9, most_bytes=1 << 20)]


@pytest.fixture
def path(tmp_path):
    """The file of an outbox in which two feedbacks wait and a third is set aside."""
    outbox = filled(tmp_path, "a", "b", "c", clock=lambda: 1)
    outbox.set_aside(numbers_in(outbox)[-1], "HTTP 400")
    outbox.close()
    return outbox.path


def to(receiver, **variables):
    return {
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
        **variables,
    }


def sent_to(receiver):
    return [name for _, _, body in receiver.got for name in read(body)]


def test_it_shows_what_waits(path):
    """How much, for how long, what was set aside and why, and that nobody sends."""
    code, out, err = call("outbox", "--outbox", path)
    assert (code, err) == (0, "")
    lines = {line[:9].strip(): line[9:].strip() for line in out.splitlines()}
    assert lines["waiting"].startswith("2, ")
    assert lines["oldest"].endswith(" d old")
    assert lines["set aside"] == "1"
    assert "1 by HTTP 400" in out
    assert lines["sender"] == "none runs"


def test_it_shows_json(path):
    """The same for programs; seconds are numbers."""
    code, out, err = call("outbox", "--json", OTEL_FEEDBACK_OUTBOX=str(path))
    found = json.loads(out)
    assert (code, err) == (0, "")
    assert found.pop("oldest_seconds") > 1e9
    assert found.pop("bytes") > 100
    assert found == {
        "file": str(path),
        "depth": 2,
        "set_aside": 1,
        "why": {"HTTP 400": 1},
        "sender": False,
    }


def test_it_sees_who_sends(path):
    """And what is empty has no age."""
    outbox = Outbox(path)
    outbox.delivered(numbers_in(outbox))
    lock = SenderLock(outbox.lock_path)
    assert lock.acquire()
    found = json.loads(call("outbox", "--json", "--outbox", path)[1])
    text = call("outbox", "--outbox", path)[1]
    lock.release()
    outbox.close()
    assert (found["sender"], found["depth"], found["oldest_seconds"]) == (True, 0, None)
    assert "at work" in text
    assert "oldest" not in text


def test_the_file_of_the_state_folder(tmp_path, path):
    """It is looked at where nothing else is named."""
    (tmp_path / "state").mkdir()
    path.rename(tmp_path / "state" / "outbox.db")
    code, out, _ = call("outbox", "--json", OTEL_FEEDBACK_STATE_DIR=str(tmp_path / "state"))
    assert (code, json.loads(out)["depth"]) == (0, 2)


@pytest.mark.parametrize("words", [["outbox"], ["outbox", "drain"]])
def test_no_file(tmp_path, words):
    """One sentence, exit code 2, and none is made by looking."""
    code, out, err = call(*words, "--outbox", tmp_path / "none.db")
    assert (code, out) == (2, "")
    assert f"There is no outbox at {tmp_path / 'none.db'}" in err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_another_file(tmp_path):
    """What is no outbox is left as it is."""
    other = tmp_path / "notes.txt"
    other.write_text("notes")
    code, _, err = call("outbox", "--outbox", other)
    assert code == 2
    assert "Traceback" not in err
    assert other.read_text() == "notes"


def test_drain(path):
    """Everything that waits is sent, in order; what was set aside is left and told."""
    with receiving(HttpReceiver) as receiver:
        code, out, err = call("outbox", "drain", "--outbox", path, **to(receiver))
    assert (code, err) == (0, "")
    assert out == "Nothing waits.\n1 are set aside: their receiver rejected them.\n"
    assert sent_to(receiver) == ["a", "b"]


def test_drain_of_the_groups_file(path):
    """The option may stand before the subcommand, too."""
    with receiving(HttpReceiver) as receiver:
        code, _, _ = call("outbox", "--outbox", path, "drain", **to(receiver))
    assert code == 0
    assert sent_to(receiver) == ["a", "b"]


def test_drain_with_what_was_set_aside(path):
    """It is sent again where that is asked for."""
    with receiving(HttpReceiver) as receiver:
        code, out, _ = call("outbox", "drain", "--retry", "--json", "--outbox", path, **to(receiver))
    found = json.loads(out)
    assert (code, found["depth"], found["set_aside"], found["put_back"]) == (0, 0, 0, 1)
    assert sent_to(receiver) == ["a", "b", "c"]


def test_drain_in_words(path):
    """What was put back is told."""
    with receiving(HttpReceiver) as receiver:
        out = call("outbox", "drain", "--retry", "--outbox", path, **to(receiver))[1]
    assert out == "1 that were set aside were put back.\nNothing waits.\n"


def test_drain_gives_up(path):
    """Exit code 1 when the time is over, and what waits is told; nothing is lost."""
    with receiving(HttpReceiver, *[(503, {}, b"")] * 50) as receiver:
        code, out, _ = call("outbox", "drain", "--timeout", "0.3", "--outbox", path, **to(receiver))
    assert code == 1
    assert out.startswith("2 still wait.\n")


def test_drain_with_nowhere_to_send(path):
    """It says so instead of waiting."""
    code, _, err = call("outbox", "drain", "--outbox", path, OTEL_TRACES_EXPORTER="none")
    assert code == 2
    assert "OTEL_TRACES_EXPORTER" in err


def test_drain_watches_who_sends(path):
    """Where another process holds the lock, nothing is sent from here."""
    outbox = Outbox(path)
    lock = SenderLock(outbox.lock_path)
    assert lock.acquire()
    with receiving(HttpReceiver) as receiver:
        code, _, _ = call("outbox", "drain", "--timeout", "0.2", "--outbox", path, **to(receiver))
    lock.release()
    outbox.submit(carrier("d"))
    outbox.close()
    assert (code, receiver.got) == (1, [])
