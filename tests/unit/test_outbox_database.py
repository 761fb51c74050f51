"""The outbox's file: how it is made, who may read it, and what is not one."""

import contextlib
import dataclasses
import os
import sqlite3
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from otel_feedback.exceptions import ConfigurationError
from otel_feedback.outbox import _database
from otel_feedback.outbox._database import APPLICATION_ID, OUTBOX, VERSION, open_database

NOBODY = 65534


def opened(path, kind=OUTBOX):
    return contextlib.closing(open_database(path, kind))


def pragma(connection, name):
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


def tables(path):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def foreign(path, version, application_id=0):
    """Somebody else's file."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE theirs (x)")
        connection.execute(f"PRAGMA user_version = {version}")
        connection.execute(f"PRAGMA application_id = {application_id}")
    return path


def refused(path, why, kind=OUTBOX):
    """Open a file that can't be used, and hold that the message says why and what to do."""
    with pytest.raises(ConfigurationError) as caught, opened(path, kind):
        pass
    sentence = "Name another file by OTEL_FEEDBACK_OUTBOX or --outbox, or mend this."
    assert str(caught.value) == f"The outbox {path} can't be used ({why}). {sentence}"


def test_it_is_made_for_its_owner_alone(tmp_path):
    """The file has mode 0600, whatever the umask, also beside it; the folder that was missing has 0700."""
    path = tmp_path / "a" / "b" / "outbox.db"
    before = os.umask(0)
    try:
        with opened(path) as connection:
            connection.execute("UPDATE totals SET depth = 0")
            modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert modes == {"outbox.db": 0o600, "outbox.db-wal": 0o600, "outbox.db-shm": 0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_what_is_acknowledged_is_on_the_disk(tmp_path):
    """Each connection has the log, waits for the disk at each commit, and overwrites what is deleted."""
    for _ in range(2):
        with opened(tmp_path / "outbox.db") as connection:
            assert pragma(connection, "journal_mode") == "wal"
            assert pragma(connection, "synchronous") == 2
            assert pragma(connection, "secure_delete") == 1
            assert pragma(connection, "application_id") == APPLICATION_ID
            assert pragma(connection, "user_version") == VERSION
            assert connection.execute("SELECT * FROM totals").fetchall() == [(0, 0)]


@pytest.mark.parametrize(("version", "application_id"), [(0, 0), (VERSION, 0), (0, 77), (9, 77)])
def test_a_file_of_somebody_else_is_left_alone(tmp_path, version, application_id):
    """Whatever its header says: not a byte of it changes, and nothing is put beside it."""
    path = foreign(tmp_path / "theirs.db", version, application_id)
    content = path.read_bytes()
    refused(path, "it is something else")
    assert path.read_bytes() == content
    assert [each.name for each in tmp_path.iterdir()] == ["theirs.db"]


def test_a_newer_version_is_left_alone(tmp_path):
    """Its tables may mean something else."""
    path = foreign(tmp_path / "outbox.db", VERSION + 1, APPLICATION_ID)
    refused(path, "a newer otel-feedback wrote it")


def test_what_is_no_database_is_left_alone(tmp_path):
    """Garbage, and a folder."""
    path = tmp_path / "outbox.db"
    path.write_bytes(b"secret" * 1000)
    refused(path, "DatabaseError")
    assert path.read_bytes() == b"secret" * 1000
    (tmp_path / "folder").mkdir()
    refused(tmp_path / "folder", "OperationalError")


def test_where_nothing_can_be_made(tmp_path):
    """Below a file, and where the folder's entry can't be made safe."""
    (tmp_path / "file").write_text("")
    refused(tmp_path / "file" / "outbox.db", "FileExistsError")
    refused(tmp_path / "file" / "a" / "outbox.db", "NotADirectoryError")


def test_a_folder_whose_entry_cant_be_made_safe(tmp_path, monkeypatch):
    """What could be gone after a power cut is not used."""

    def sync(_):
        raise OSError

    monkeypatch.setattr(os, "fsync", sync)
    refused(tmp_path / "outbox.db", "OSError")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else for a moment")
def test_a_folder_and_a_file_that_cant_be_written():
    """Read-only for us: said at the start, not with the first feedback."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        with opened(folder / "outbox.db"):
            pass
        (folder / "outbox.db").chmod(0o644)
        os.seteuid(NOBODY)
        try:
            refused(folder / "new.db", "PermissionError")
            refused(folder / "outbox.db", "OperationalError")
        finally:
            os.seteuid(0)


def test_tables_are_made_whole_or_not_at_all(tmp_path):
    """What fails on the way leaves a file that can be used when it works again."""
    path = tmp_path / "outbox.db"
    broken = dataclasses.replace(OUTBOX, schema=(*OUTBOX.schema[:3], "nonsense"))
    refused(path, "OperationalError", broken)
    assert tables(path) == set()
    with opened(path):
        pass
    assert {"interactions", "queue", "set_aside", "totals"} <= tables(path)


def test_another_process_was_faster(tmp_path, monkeypatch):
    """Between our look and our lock the tables were made: they are taken as they are."""
    path = tmp_path / "outbox.db"
    number = _database._number

    def late(connection, pragma):
        monkeypatch.setattr(_database, "_number", number)
        with opened(path):  # after this one's first look
            pass
        return 0

    monkeypatch.setattr(_database, "_number", late)
    with opened(path) as connection:
        assert connection.execute("SELECT * FROM totals").fetchall() == [(0, 0)]


OPEN = """
import sys
from pathlib import Path
from otel_feedback.outbox._database import open_database
print("ready", flush=True)
sys.stdin.readline()
for number in range(10):
    connection = open_database(Path(sys.argv[1]) / str(number) / "outbox.db")
    connection.execute("UPDATE totals SET depth = depth + 1")
    connection.close()
"""


def test_many_processes_make_one_file(tmp_path):
    """At the same moment, and none of them fails."""
    command = [sys.executable, "-c", OPEN, str(tmp_path)]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    for process in processes:
        process.stdout.readline()
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=60)
    assert [process.returncode for process in processes] == [0] * 4
    for number in range(10):
        with contextlib.closing(sqlite3.connect(tmp_path / str(number) / "outbox.db")) as connection:
            assert connection.execute("SELECT * FROM totals").fetchall() == [(4, 0)]
