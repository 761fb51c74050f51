"""Stores in trouble: held, newer, damaged, without room, killed. Each is told in a sentence, and nothing is lost."""

# ruff: noqa: S608 - the names of databases are ours

import json
import random
import subprocess
import sys
import threading
from pathlib import Path

import duckdb
import pytest
from tests.unit.server_parts import held, until
from tests.unit.store_parts import ask, batch, feedback, interaction, opened, raw, span, standing

from otel_feedback.exceptions import StoreDamagedError, StoreError, StoreFullError, StoreHeldError, StoreNewerError
from otel_feedback.store import Store, _commit, _errors, _folder, _migrations, _watch

HOLDER = """
import sys
from pathlib import Path
from otel_feedback.store import Store
store = Store.open(Path(sys.argv[1]))
print("open", flush=True)
sys.stdin.read()
store.close()
"""

WRITER = """
import os, sys
from pathlib import Path
from otel_feedback.store import Store
from tests.unit.store_parts import batch, feedback, interaction, raw
start = int(sys.argv[2])
store = Store.open(Path(sys.argv[1]))
for number in range(start, start + 10**6):
    rows = [interaction(number), raw(number), feedback(number, f"f{number}")]
    store.write(batch(*rows, chunk=os.urandom(2000)))
    print(number, flush=True)
"""


def made(folder):
    """A closed store with some answers."""
    with opened(folder) as store:
        store.write(batch(*map(interaction, range(3)), raw(1), chunk=b"x"))
    return folder


def content_file(folder):
    return next((folder / "content").glob("*.duckdb"))


def run(code, *arguments, **options):
    root = Path(__file__).parents[2]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": root}
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], **pipes, **options)


@pytest.fixture
def holder(tmp_path):
    """A process that has a store open, and its folder."""
    with run(HOLDER, tmp_path / "data") as process:
        assert process.stdout.readline() == "open\n"
        yield process, tmp_path / "data"
        process.communicate()


def test_a_folder_that_another_process_holds_is_refused_with_who_and_where(holder):
    process, folder = holder
    with pytest.raises(StoreHeldError) as caught:
        Store.open(folder)
    assert f"{folder} is held by process {process.pid}. End it" in str(caught.value)
    (folder / "server.json").write_text(json.dumps({"url": "http://127.0.0.1:8484", "pid": process.pid}))
    with pytest.raises(StoreHeldError, match=f"process {process.pid}, which answers at http://127.0.0.1:8484. Talk"):
        Store.open(folder)


def test_a_folder_whose_holder_says_nothing_of_itself_is_refused_too(holder):
    _, folder = holder
    (folder / "lock").write_text("?")
    (folder / "server.json").write_text("[]")
    with pytest.raises(StoreHeldError, match=r"held by another process. End it"):
        Store.open(folder)


def test_a_folder_is_free_when_its_holder_was_killed(holder):
    process, folder = holder
    process.kill()
    process.wait()
    (folder / "server.json").write_text("{")
    with opened(folder) as store:
        assert ask(store, "SELECT count(*) FROM interactions") == [(0,)]


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"cannot be used: Not a directory.*--data"):
        Store.open(tmp_path / "file" / "data")


def test_a_full_disk_at_the_start_is_told(tmp_path):
    error = _folder._unusable(tmp_path, OSError(28, "No space left on device"))
    assert isinstance(error, StoreFullError)


@pytest.mark.parametrize("file", ["store", "content"])
def test_a_file_of_a_newer_version_is_refused_and_left_alone(tmp_path, file):
    made(tmp_path)
    path = tmp_path / "store.duckdb" if file == "store" else content_file(tmp_path)
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{path}' AS it")
        connection.execute("INSERT INTO it.migrations VALUES (99, 'm099_of_tomorrow', now()::TIMESTAMP)")
    before = path.read_bytes()
    with pytest.raises(StoreNewerError, match=r"is of version 99.*Upgrade it: pip install"):
        Store.open(tmp_path)
    assert path.read_bytes() == before


def test_a_file_of_a_newer_duckdb_is_refused(tmp_path):
    made(tmp_path)
    path = tmp_path / "store.duckdb"
    content = bytearray(path.read_bytes())
    content[12] = 200  # the version number of the storage, after checksum and magic bytes
    path.write_bytes(content)
    with pytest.raises((StoreNewerError, StoreDamagedError)):
        Store.open(tmp_path)


@pytest.mark.parametrize("damage", [b"", b"junk" * 5000])
@pytest.mark.parametrize("file", ["store", "content"])
def test_a_damaged_file_is_named_and_left_alone_and_the_folder_let_go(tmp_path, damage, file):
    made(tmp_path)
    path = tmp_path / "store.duckdb" if file == "store" else content_file(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(damage)
    with pytest.raises(StoreDamagedError) as caught:
        Store.open(tmp_path)
    assert str(path) in str(caught.value)
    assert "backup" in str(caught.value)
    assert path.read_bytes() == damage
    path.write_bytes(whole)
    with opened(tmp_path) as store:
        assert ask(store, "SELECT count(*) FROM interactions") == [(3,)]


@pytest.mark.parametrize("part", [0.1, 0.34, 0.9, 0.99])
@pytest.mark.parametrize("file", ["store", "content"])
def test_a_file_that_was_cut_off_is_named_at_the_start_or_by_a_check(tmp_path, file, part):
    with opened(tmp_path) as store:
        store.write(batch(*map(interaction, range(2000)), *map(raw, range(2000)), chunk=b"x"))
    path = tmp_path / "store.duckdb" if file == "store" else content_file(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * part)])
    try:
        with opened(tmp_path) as store:
            told = " ".join(store.check())
    except StoreDamagedError as error:
        told = str(error)
    assert str(path) in told


def kept_log(tmp_path):
    """A folder as a killed process leaves it: with a log that is in no file yet."""
    with run(WRITER, tmp_path, 1) as process:
        while process.stdout.readline() != "3\n":
            pass
        process.kill()
        process.communicate()
    return tmp_path / "store.duckdb.wal"


def test_a_log_that_was_torn_at_its_end_gives_what_is_whole(tmp_path):
    log = kept_log(tmp_path)
    log.write_bytes(log.read_bytes()[:-5])
    with opened(tmp_path) as store:
        numbers = {int(row[0], 16) for row in ask(store, "SELECT span_id FROM interactions")}
    assert {1, 2} <= numbers


def test_a_log_that_is_damaged_within_is_told_and_left_alone(tmp_path):
    log = kept_log(tmp_path)
    content = bytearray(log.read_bytes())
    content[100:110] = b"0123456789"
    log.write_bytes(content)
    with pytest.raises(StoreDamagedError):
        Store.open(tmp_path)
    assert log.read_bytes() == content


def test_a_full_disk_refuses_and_goes_on_when_there_is_room(tmp_path, monkeypatch):
    with opened(tmp_path) as store:
        monkeypatch.setattr(_folder.shutil, "disk_usage", lambda path: _Usage(10 * 2**20))
        with pytest.raises(StoreFullError, match=r"has 10 MiB free.*Make room, then send it again"):
            store.write(batch(interaction(1)))
        monkeypatch.undo()
        store.write(batch(interaction(2)))
        assert ask(store, "SELECT span_id FROM interactions") == [(span(2),)]


class _Usage:
    def __init__(self, free):
        self.free = free


LIMITED = """
import os, resource, signal, sys
from pathlib import Path
from otel_feedback.exceptions import StoreFullError
from otel_feedback.store import Store
from tests.unit.store_parts import ask, batch, feedback, interaction, raw

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write beyond the limit fails as on a full disk
folder = Path(sys.argv[1])
store = Store.open(folder)
taken = []


def write(number):
    rows = [interaction(number), raw(number), feedback(number, f"f{number}")]
    store.write(batch(*rows, chunk=os.urandom(50_000)))
    taken.append(number)


write(0)
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
largest = max(path.stat().st_size for path in folder.rglob("*"))
resource.setrlimit(resource.RLIMIT_FSIZE, (largest + 500_000, hard))
refused = 0
for number in range(1, 60):
    try:
        write(number)
    except StoreFullError:
        refused += 1
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
for number in range(100, 110):
    write(number)
store.settle()
found = sorted(int(row[0], 16) for row in ask(store, "SELECT span_id FROM interactions"))
assert found == taken, (found, taken)
assert sorted(int(row[0][1:]) for row in ask(store, "SELECT feedback_id FROM feedback WHERE joined")) == taken
assert refused > 0
assert store.check() == [] or all("cut off" in problem for problem in store.check()), store.check()
store.close()
store = Store.open(folder)
assert sorted(int(row[0], 16) for row in ask(store, "SELECT span_id FROM interactions")) == taken
store.close()
print("refused", refused)
"""


def test_writes_that_fail_for_want_of_room_are_refused_survived_and_leave_nothing_half(tmp_path):
    with run(LIMITED, tmp_path, stderr=subprocess.PIPE) as process:
        output, errors = process.communicate(timeout=120)
    assert output.startswith("refused"), errors


def test_content_that_cannot_be_written_leaves_no_answer_without_it(tmp_path, monkeypatch):
    """It is written first: what the main tables name can be shown, however a commit ends."""

    def fail(*_):
        raise duckdb.IOException("Could not write file")

    with opened(tmp_path) as store:
        with monkeypatch.context() as failing:
            failing.setattr(_commit, "write_content", fail)
            with pytest.raises(StoreError):
                store.write(batch(interaction(1), raw(1), chunk=b"x"))
        store.write(batch(interaction(2), raw(2), chunk=b"x"))
        assert ask(store, "SELECT span_id FROM interactions") == [(span(2),)]


def test_what_was_acknowledged_survives_kills_and_is_there_once(tmp_path):
    chance = random.Random(7)  # noqa: S311
    acknowledged = []
    for _ in range(5):
        start = acknowledged[-1] + 1 if acknowledged else 0
        with run(WRITER, tmp_path, start) as process:
            enough = threading.Timer(chance.uniform(0.3, 1.0), process.kill)
            first = process.stdout.readline()
            enough.start()
            acknowledged += [int(line) for line in (first, *process.stdout) if line.endswith("\n")]
            enough.join()
        with opened(tmp_path) as store:
            found = sorted(int(row[0], 16) for row in ask(store, "SELECT span_id FROM interactions"))
            votes = sorted(int(row[0][1:]) for row in ask(store, "SELECT feedback_id FROM feedback WHERE joined"))
            content = store.content_databases()[0]
            spans = {
                int(row[0], 16)
                for row in ask(store, f"SELECT trace_id FROM {content}.traces JOIN {content}.chunks USING (chunk)")
            }
            assert [problem for problem in store.check() if "cut off" not in problem] == []
        assert len(found) == len(set(found))
        assert set(acknowledged) <= set(found)
        assert set(acknowledged) <= spans
        assert votes == found
        acknowledged = found  # the last may have been written without being told


def test_who_gives_up_waiting_harms_nobody(tmp_path):
    """A server's end cancels what waits for a batch: it is written all the same, and so is the next one."""
    with opened(tmp_path) as store:
        with held(store):
            waiting = [store.submit(batch(interaction(number))) for number in range(2)]
            assert not waiting[0].cancel()
        store.write(batch(interaction(2)))
        assert ask(store, "SELECT count(*) FROM interactions") == [(3,)]
    assert all(one.done() for one in waiting)


def test_errors_of_duckdb_become_sentences(tmp_path):
    kinds = {
        "IO Error: Could not set lock on file": StoreHeldError,
        "No space left on device": StoreFullError,
        "created with a newer version of DuckDB": StoreNewerError,
        "Corrupt database file": StoreDamagedError,
    }
    for text, kind in kinds.items():
        assert type(_errors.translate(duckdb.IOException(text), tmp_path)) is kind
    assert "more memory" in str(_errors.translate(duckdb.OutOfMemoryException("out"), tmp_path))
    other = str(_errors.translate(duckdb.BinderException("a user's text"), tmp_path))
    assert other == f"The store of {tmp_path} could not do this: BinderException."


def test_a_reader_that_does_not_end_is_interrupted_when_the_store_closes(tmp_path):
    store = Store.open(tmp_path)
    failed = []
    began = threading.Event()

    def read():
        with store.cursor() as cursor:
            began.set()
            try:
                cursor.execute("SELECT sum(a.range * b.range) FROM range(10000000) a, range(10000000) b").fetchall()
            except duckdb.Error as error:
                failed.append(type(error))

    reader = threading.Thread(target=read)
    reader.start()
    assert began.wait(20)
    while not failed and reader.is_alive() and not store._closed:
        store.close()
    reader.join(30)
    assert failed == [duckdb.InterruptException]


def test_files_that_cannot_be_opened_again_are_tried_at_the_next_commit(tmp_path, monkeypatch):
    with opened(tmp_path) as store:
        store.write(batch(interaction(1)))
        committer = store._writer._committer

        def fail(batches):
            raise duckdb.FatalException("database has been invalidated")

        monkeypatch.setattr(committer, "commit", fail)
        away = tmp_path / "away"
        (tmp_path / "store.duckdb").rename(away)
        (tmp_path / "store.duckdb").write_bytes(b"junk" * 5000)
        with pytest.raises(StoreError):
            store.write(batch(interaction(2)))
        monkeypatch.undo()
        with pytest.raises(StoreDamagedError):
            store.write(batch(interaction(3)))
        away.replace(tmp_path / "store.duckdb")
        store.write(batch(interaction(4)))
        assert ask(store, "SELECT span_id FROM interactions ORDER BY ALL") == [(span(1),), (span(4),)]


def test_a_step_that_fails_leaves_the_file_as_it_was(tmp_path):
    steps = [_migrations.Migration("m001", "CREATE TABLE t (a INTEGER)")]
    broken = [*steps, _migrations.Migration("m002", "CREATE TABLE u (a INTEGER); CREATE TABLE t (a INTEGER)")]
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{tmp_path / 'it.duckdb'}' AS it")
        assert _migrations.migrate(connection, "it", steps, file="it") == 1
        with pytest.raises(duckdb.CatalogException):
            _migrations.migrate(connection, "it", broken, file="it")
        assert connection.execute("SELECT version, name FROM it.migrations").fetchall() == [(1, "m001")]
        assert connection.execute("SELECT table_name FROM duckdb_tables() ORDER BY ALL").fetchall() == [
            ("migrations",),
            ("t",),
        ]


def test_a_search_that_fails_harms_no_commit_and_is_done_after_the_next_start(tmp_path, monkeypatch, caplog):
    def fail(*_):
        raise duckdb.OutOfMemoryException("a user's text")

    with opened(tmp_path) as store:
        store.write(batch(interaction(1)))
    with opened(tmp_path) as store:
        monkeypatch.setattr(_commit, "LOOK_AT_ONCE", 0)
        monkeypatch.setattr(store._writer._committer, "_look_at_once", 0)
        with monkeypatch.context() as failing:
            failing.setattr(store._writer._committer, "_look", fail)
            store.write(batch(feedback(1, "a")))
            store.write(batch(interaction(2)))
            until(lambda: caplog.messages, "a word in the log")
        assert standing(store)[0][:3] == ("a", True, False)
    assert caplog.messages[0] == "Judged answers could not be looked for: StoreError"
    with opened(tmp_path) as store:
        store.settle()
        assert standing(store)[0][:3] == ("a", True, True)


def test_of_more_traces_than_are_watched_the_newest_are():
    watch = _watch.Watch(limit=2)
    for number in range(3):
        watch.put((str(number), "s"), None)
    assert watch.among("0123") == {"1", "2"}


def test_of_more_answers_than_are_remembered_the_latest_are(monkeypatch):
    monkeypatch.setattr(_watch, "RECENT", 2)
    recent = _watch.Recent()
    for number in range(6):
        recent.put((str(number), "s"), _watch.Known(number, ("rag",)))
    assert [recent.get((str(number), "s")) is None for number in range(6)] == [True, True, False, False, False, False]
