"""An outbox with its sender, as a process has them: from the first feedback on, to the end of the process."""

import atexit

import pytest
from tests.unit.drain_parts import RESOURCE, Receiver, carrier
from tests.unit.server_parts import until

from otel_feedback.exceptions import ConfigurationError, DeliveryError
from otel_feedback.outbox import Outbox
from otel_feedback.outbox._posting import Posting


@pytest.fixture
def make(tmp_path, own_process):
    """Make a posting on the test's own file; it is shut down after the test."""
    made = []

    def posting(**more):
        made.append(Posting(tmp_path / "outbox.db", **{"most_mib": 1, "resource": RESOURCE, **more}))
        return made[-1]

    yield posting
    for each in made:
        each.shutdown(0)


def messages(caplog):
    return [record.getMessage() for record in caplog.records]


def test_feedback_is_sent_from_the_first_one_on(make, tmp_path):
    """Nothing is made before it; what is under way goes when the process ends, and no more is taken."""
    receiver = Receiver()
    posting = make(transport=receiver)
    assert list(tmp_path.iterdir()) == []
    posting.outbox.submit(carrier("a"))
    until(lambda: receiver.got == ["a"])
    posting.outbox.submit(carrier("b"))
    posting.shutdown()
    posting.shutdown()
    assert receiver.got == ["a", "b"]
    assert not posting._sender.running
    with pytest.raises(DeliveryError):
        posting.outbox.submit(carrier("c"))


def test_what_an_earlier_process_left_is_sent_at_the_start(make, tmp_path):
    """Where a process starts it by itself."""
    earlier = Outbox(tmp_path / "outbox.db", resource=RESOURCE)
    earlier.submit(carrier("left"))
    earlier.close()
    receiver = Receiver()
    posting = make(transport=receiver)
    posting.start()
    until(lambda: receiver.got == ["left"])


def test_what_is_wrong_is_said_at_the_start(make, tmp_path, monkeypatch):
    """A file that is none, and an exporter that isn't there."""
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "nonsense")
    with pytest.raises(ConfigurationError):
        make().open()
    (tmp_path / "outbox.db").write_bytes(b"nonsense" * 1000)
    with pytest.raises(ConfigurationError, match="DatabaseError"):
        make(transport=Receiver()).open()


def test_without_a_way_feedback_waits_and_the_log_says_so(make, monkeypatch, caplog):
    """It is kept, whether there is no exporter or a wrong one."""
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
    nowhere = make()
    nowhere.open()
    for name in "ab":
        nowhere.outbox.submit(carrier(name))
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "nonsense")
    wrong = make()
    for name in "cd":
        wrong.outbox.submit(carrier(name))
    until(lambda: len(messages(caplog)) == 2)
    assert "goes nowhere, since OTEL_TRACES_EXPORTER is none" in messages(caplog)[0]
    assert "waits in the outbox and is not sent" in messages(caplog)[1]
    assert wrong.outbox.counts().depth == 4


def test_a_process_that_ends_sends_what_it_can(make, monkeypatch):
    """The end of the interpreter shuts it down, once it has sent anything."""
    registered = []
    monkeypatch.setattr(atexit, "register", registered.append)
    posting = make(transport=Receiver())
    posting.outbox.submit(carrier("a"))
    until(lambda: registered == [posting.shutdown])
