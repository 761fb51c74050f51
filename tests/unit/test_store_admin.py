"""Looking after a store: what is in it, copies while it runs, whether it is whole, and giving room back."""

# ruff: noqa: S608 - the names of databases are ours

import json
import stat
import threading

import duckdb
import pytest
from tests.unit.store_parts import STARTED, ask, batch, feedback, interaction, opened, raw, span, trace

from otel_feedback.exceptions import StoreError, StoreFullError
from otel_feedback.intake.rows import DocumentRow, TextRow, WordsRow
from otel_feedback.store import _admin
from otel_feedback.testing import START


@pytest.fixture
def store(tmp_path):
    with opened(tmp_path / "data") as made:
        words = WordsRow(trace(1), span(1), "thumbs", "", "a", STARTED, "A secret.", None, None)
        text = TextRow(trace(1), span(1), "", STARTED, "Why?", "So.", None, "span")
        document = DocumentRow(trace(1), span(1), STARTED, 1, "d", 0.5)
        made.write(batch(interaction(1), document, raw(1), text, words, feedback(1, "a"), chunk=b"raw"))
        yield made


def change(store, sql):
    """What no writer of ours does."""
    store._writer.run(lambda: store._databases.writer.execute(sql))


def everything(store):
    content = store.content_databases()[0]
    tables = ("interactions", "documents", "feedback", *(f"{content}.{name}" for name in ("traces", "chunks", "texts")))
    return {table: ask(store, f"FROM {table}") for table in (*tables, f"{content}.words")}


def indexes(store):
    return ask(store, "SELECT index_name FROM duckdb_indexes() ORDER BY index_name")


def test_info_says_what_is_there(store):
    found = json.loads(json.dumps(store.info()))
    assert found["path"] == str(store.path)
    assert found["rows"] == dict.fromkeys((*_admin.TABLES_OF_MAIN, *_admin.TABLES_OF_CONTENT), 1) | {"evaluations": 0}
    assert [(file["name"], file["version"]) for file in found["files"]] == [("store.duckdb", 1), ("2027-W02.duckdb", 1)]
    assert found["oldest"] == found["newest"] == "2027-01-15T08:00:00Z"
    assert found["bytes"] == sum(file["bytes"] for file in found["files"]) > 0
    assert START == 1_800_000_000


def test_info_of_an_empty_store_has_no_times(tmp_path):
    with opened(tmp_path) as store:
        assert store.info()["oldest"] is None


def test_a_backup_is_a_store_of_its_own_with_everything_and_for_its_owner_only(store, tmp_path):
    steps = []
    target = store.backup(tmp_path / "kept" / "backup", lambda done, all_: steps.append((done, all_)))
    modes = {stat.S_IMODE(path.stat().st_mode) for path in target.rglob("*.duckdb")}
    assert (stat.S_IMODE(target.stat().st_mode), modes) == (0o700, {0o600})
    assert sorted(path.name for path in target.rglob("*")) == ["2027-W02.duckdb", "content", "store.duckdb"]
    assert steps == [(0, 2), (1, 2), (2, 2)]
    with opened(target) as copy:
        assert everything(copy) == everything(store)
        assert copy.check() == []
        assert indexes(copy) == indexes(store) == [("chunks_by_number",), ("feedback_by_trace",)]


def test_a_backup_into_an_empty_folder_is_made(store, tmp_path):
    (tmp_path / "backup").mkdir()
    assert (store.backup(tmp_path / "backup") / "store.duckdb").exists()


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_a_backup_over_something_is_refused(store, tmp_path, kind):
    target = tmp_path / "backup"
    if kind == "folder":
        target.mkdir()
        (target / "mine").write_text("mine")
    else:
        target.write_text("mine")
    with pytest.raises(StoreError, match=r"is there already. A backup goes into a new folder"):
        store.backup(target)
    assert (target / "mine" if kind == "folder" else target).read_text() == "mine"


def test_a_backup_where_nothing_can_be_written_is_told(store, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"could not be written: .* Give another folder"):
        store.backup(tmp_path / "file" / "backup")


def test_a_backup_without_room_is_refused_and_leaves_nothing(store, tmp_path, monkeypatch):
    monkeypatch.setattr(_admin, "_free", lambda folder: 1000)
    with pytest.raises(StoreFullError, match=r"Make room, then try again"):
        store.backup(tmp_path / "new" / "backup")
    assert not (tmp_path / "new").exists()


def test_a_backup_that_breaks_leaves_nothing(store, tmp_path, monkeypatch):
    def fail(cursor, item, copy):
        copy.write_bytes(b"half")
        raise StoreError("Broken.")

    monkeypatch.setattr(_admin, "copy_database", fail)
    with pytest.raises(StoreError, match=r"Broken"):
        store.backup(tmp_path / "kept" / "backup")
    assert list((tmp_path / "kept").iterdir()) == []


def test_a_backup_while_all_is_written_is_whole(store, tmp_path):
    ended = threading.Event()

    def write():
        number = 10
        while not ended.is_set():
            store.write(batch(interaction(number), raw(number), feedback(number, f"f{number}"), chunk=b"x" * 1000))
            number += 1

    writing = threading.Thread(target=write)
    writing.start()
    try:
        target = store.backup(tmp_path / "backup")
    finally:
        ended.set()
        writing.join()
    with opened(target) as copy:
        assert copy.check() == []
        content = copy.content_databases()[0]
        behind = f"SELECT count(*) FROM interactions ANTI JOIN {content}.traces USING (trace_id)"
        assert ask(copy, behind) == [(0,)]


def test_nothing_is_wrong_with_a_whole_store(store):
    steps = []
    assert store.check(lambda done, all_: steps.append((done, all_))) == []
    assert steps == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]


WRONG = {
    "1 answers are there more than once": "INSERT INTO store.interactions FROM store.interactions",
    "1 feedback are there more than once": "INSERT INTO store.feedback FROM store.feedback",
    "1 feedback don't have the facts of their answer": "UPDATE store.feedback SET joined = false",
    "1 feedback have the facts of an answer that isn't there": "DELETE FROM store.interactions",
    "1 feedback have other facts than their answer": "UPDATE store.feedback SET model = 'other'",
    "1 documents belong to no answer": "UPDATE store.documents SET span_id = 'other'",
    "In 1 votes another feedback is marked as standing": "UPDATE store.feedback SET standing = false",
    "words of 1 feedback that isn't there": "DELETE FROM store.feedback",
    "1 spans name raw data that isn't there": "DELETE FROM c_2027_W02.chunks",
    "has other steps in its history": "UPDATE store.migrations SET name = 'other'",
    r"Table texts of .*2027-W02.duckdb can't be read \(CatalogException\)": "DROP TABLE c_2027_W02.texts",
}


@pytest.mark.parametrize("words", WRONG)
def test_a_check_names_what_is_wrong(store, words):
    change(store, WRONG[words])
    problems = " ".join(store.check())
    with pytest.raises(AssertionError, match=words):
        assert not problems, problems


def test_what_was_deleted_is_gone_after_a_vacuum_and_all_else_is_there(store):
    content = store.path / "content" / "2027-W02.duckdb"
    change(store, "CHECKPOINT c_2027_W02")
    change(store, "UPDATE c_2027_W02.words SET comment = NULL")
    change(store, "CHECKPOINT c_2027_W02")
    assert b"A secret." in content.read_bytes()
    before = everything(store)
    steps = []
    sizes = store.vacuum(lambda done, all_: steps.append((done, all_)))
    assert b"A secret." not in content.read_bytes()
    assert everything(store) == before
    assert steps == [(0, 2), (1, 2), (2, 2)]
    assert sizes["after"] == sum(path.stat().st_size for path in store.path.rglob("*.duckdb"))
    assert sorted(path.name for path in store.path.rglob("*.new")) == []


def test_a_vacuum_of_a_store_whose_rows_are_still_in_the_logs_does_not_seem_to_grow_it(store):
    assert list(store.path.rglob("*.wal"))
    sizes = store.vacuum()
    assert sizes["before"] >= sizes["after"] == store.info()["bytes"]


def test_writing_goes_on_after_a_vacuum(store):
    store.vacuum()
    store.write(batch(feedback(1, "b", 2), interaction(2), raw(2), chunk=b"more"))
    assert store.check() == []
    assert [row.feedback_id for row in store.votes_of(trace(1), span(1))] == ["a", "b"]


def test_who_reads_while_a_vacuum_puts_a_file_in_place_sees_the_old_one_to_the_end(store):
    with store.cursor() as cursor:
        vacuuming = threading.Thread(target=store.vacuum)
        vacuuming.start()
        seen = [cursor.execute("SELECT count(*) FROM interactions").fetchall() for _ in range(100)]
    vacuuming.join()
    assert seen == [[(1,)]] * 100
    assert ask(store, "SELECT count(*) FROM interactions") == [(1,)]


def test_a_vacuum_without_room_changes_nothing_and_the_store_goes_on(store, monkeypatch):
    monkeypatch.setattr(_admin, "_free", lambda folder: 1000)
    with pytest.raises(StoreFullError, match=r"Make room, then try again"):
        store.vacuum()
    store.write(batch(interaction(2)))
    assert ask(store, "SELECT count(*) FROM interactions") == [(2,)]


def test_a_copy_that_fails_is_told_in_a_sentence(store, tmp_path):
    item = _admin.items(store._folder, store._databases)[0]
    with store.cursor() as cursor, pytest.raises(StoreError, match=r"could not do this"):
        _admin.copy_database(cursor, item, tmp_path / "missing" / "copy.duckdb")
    assert duckdb.__version__
