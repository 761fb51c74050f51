"""An outbox whose file is removed, replaced or damaged while it is in use: nothing is acknowledged into nowhere."""

import contextlib
import logging
import os
import sqlite3

import pytest
from tests.unit.outbox_parts import ask, chain, names, outbox_at, vote, waiting

from otel_feedback.exceptions import DeliveryError
from otel_feedback.outbox import _queue

pytestmark = pytest.mark.usefixtures("own_process")

NOWHERE = "The outbox's file was removed while it was in use."
ANOTHER = "The outbox's file was replaced while it was in use."


def take_all(outbox):
    """Do what a sender does, and return what it got."""
    rows = waiting(outbox)
    outbox.delivered([row.number for row in rows])
    return [row.carrier.attributes["feedback.id"] for row in rows]


def remove(folder):
    for path in folder.glob("outbox.db*"):
        path.unlink()


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        pytest.param(remove, NOWHERE, id="removed"),
        pytest.param(lambda folder: (folder / "outbox.db").unlink(), NOWHERE, id="removed, with its log left"),
        pytest.param(lambda folder: (folder / "outbox.db-wal").unlink(), NOWHERE, id="its log removed"),
        pytest.param(lambda folder: (folder / "outbox.db").rename(folder / "aside"), NOWHERE, id="moved"),
        pytest.param(lambda folder: _replace(folder / "outbox.db"), ANOTHER, id="replaced"),
        pytest.param(
            lambda folder: os.truncate(folder / "outbox.db", 4096),
            "The outbox's file was cut while it was in use.",
            id="cut",
        ),
    ],
)
def test_nothing_is_taken_in_while_what_was_is_still_sent(tmp_path, harm, said):
    """Feedback is refused and not written where nobody finds it; what was acknowledged is still there to be sent."""
    with outbox_at(tmp_path) as outbox:
        vote(outbox, "a")
        assert names(outbox) == ["a"]
        harm(tmp_path)
        for _ in range(2):
            with pytest.raises(DeliveryError, match=said):
                vote(outbox, "b", "negative")
        assert take_all(outbox) == ["a"]


def _replace(path):
    path.with_suffix(".new").write_bytes(path.read_bytes())
    path.with_suffix(".new").rename(path)


def test_a_new_file_begins_when_all_is_sent(tmp_path, caplog):
    """One more is refused; then a new file takes feedback, which is all there to be read, and the log says so."""
    with outbox_at(tmp_path) as outbox, caplog.at_level(logging.WARNING):
        vote(outbox, "a")
        take_all(outbox)
        remove(tmp_path)
        with pytest.raises(DeliveryError):
            vote(outbox, "b", "negative")
        assert vote(outbox, "b", "negative").revises is None
        assert chain(outbox) == [("b", "")]
        assert ask(tmp_path, "SELECT count(*) FROM queue") == [(1,)]
    assert [record.getMessage() for record in caplog.records if "was removed or replaced" in record.getMessage()]


def test_a_file_that_was_made_smaller_is_used_on_when_all_is_sent(tmp_path):
    """VACUUM cuts the file, and nothing of what waits with it: one feedback is refused, the next is taken."""
    with outbox_at(tmp_path) as outbox:
        for number in range(200):
            vote(outbox, str(number), interaction=number + 1, text="x" * 2_000)
        take_all(outbox)
        with contextlib.closing(sqlite3.connect(tmp_path / "outbox.db", isolation_level=None)) as other:
            other.execute("VACUUM")
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with pytest.raises(DeliveryError):
            vote(outbox, "b", "negative")
        assert vote(outbox, "b", "negative").revises == "0"
        assert names(outbox) == ["b"]


def test_what_was_sent_from_an_old_file_says_nothing_of_a_new_one(tmp_path):
    """Numbers of two files are never alike, so that none of the new file's feedback is taken for delivered."""
    with outbox_at(tmp_path) as outbox:
        vote(outbox, "a")
        [old] = waiting(outbox)
        outbox.delivered([old.number])
        remove(tmp_path)
        with pytest.raises(DeliveryError):
            vote(outbox, "b", "negative")
        vote(outbox, "b", "negative")
        outbox.delivered([old.number])
        assert names(outbox) == ["b"]


def test_a_writer_follows_a_reader_to_a_new_file(tmp_path):
    """Whichever opens the file anew, both are in one: what is written is what is sent."""
    with outbox_at(tmp_path) as outbox:
        vote(outbox, "a")
        outbox.counts()
        remove(tmp_path)
        with outbox._reading:
            outbox._forget_reader()  # as after an error, or a fork
        assert names(outbox) == []
        with pytest.raises(DeliveryError):
            vote(outbox, "b")
        vote(outbox, "b")
        assert names(outbox) == ["b"]


def test_what_a_reader_finds_damaged_takes_nothing_more(tmp_path):
    """Garbage over the file: who reads it finds out, and from then on feedback is refused."""
    with outbox_at(tmp_path) as outbox:
        for number in range(300):
            vote(outbox, f"f{number}", interaction=number)
        take_all(outbox)
        vote(outbox, "a")
        ask(tmp_path, "PRAGMA wal_checkpoint(TRUNCATE)")
        size = (tmp_path / "outbox.db").stat().st_size
        with (tmp_path / "outbox.db").open("r+b") as file:
            file.write(os.urandom(size))
        with contextlib.suppress(DeliveryError):
            vote(outbox, "b")
        with pytest.raises(DeliveryError):
            waiting(outbox)
        with pytest.raises(DeliveryError):
            vote(outbox, "c")


@pytest.mark.parametrize(
    ("error", "taken"), [(sqlite3.DatabaseError("malformed"), False), (sqlite3.OperationalError("locked"), True)]
)
def test_only_what_cant_be_understood_is_damaged(tmp_path, monkeypatch, error, taken):
    """A reader that only has to wait stops nobody; one that finds damage does, until it reads again."""

    def counts(connection):
        raise error

    with outbox_at(tmp_path) as outbox:
        vote(outbox, "a")
        with monkeypatch.context() as patched:
            patched.setattr(_queue, "counts", counts)
            with pytest.raises(DeliveryError):
                outbox.counts()
        if taken:
            vote(outbox, "c", interaction=2)
        else:
            with pytest.raises(DeliveryError, match="The outbox's file is damaged"):
                vote(outbox, "c", interaction=2)
        assert names(outbox) == ["a", "c"][: 1 + taken]
        vote(outbox, "b")
        assert names(outbox)[-1] == "b"


def test_a_file_that_lies_idle_may_be_moved(tmp_path):
    """Closed between two uses, another file in its place is just used."""
    with outbox_at(tmp_path) as outbox:
        vote(outbox, "a")
        take_all(outbox)
    remove(tmp_path)
    with outbox_at(tmp_path) as outbox:
        vote(outbox, "b")
        assert names(outbox) == ["b"]
