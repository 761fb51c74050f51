"""Writing into a store: what is there afterwards, when it is durable, and what happens to what can't be written."""

# ruff: noqa: S608 - the names of databases are ours

import logging
import stat
import threading
import time
from concurrent.futures import wait

import pytest
from tests.unit import intake_parts as sent
from tests.unit.store_parts import (
    RAG,
    SECOND,
    STARTED,
    ask,
    batch,
    feedback,
    interaction,
    opened,
    raw,
    span,
    standing,
    trace,
)

from otel_feedback.exceptions import StoreBusyError, StoreError, StoreHeldError
from otel_feedback.intake import read_traces
from otel_feedback.intake.rows import DocumentRow, EvaluationRow, TextRow, WordsRow
from otel_feedback.store import Change, Store, _databases, _writer
from otel_feedback.store._content import PART_BYTES, read_chunk
from otel_feedback.store._folder import week_of

ODD = "a\x1fb\x1ec\x1dd\x1cz, 'e' \"f\" \\ \n\t ü 🙂"


@pytest.fixture
def store(tmp_path):
    with opened(tmp_path / "data") as made:
        yield made


def test_every_field_of_every_row_comes_back(store):
    answer = interaction(1)._replace(
        name=ODD, prompt_fingerprint="\x1e", provider=ODD, response_id="", conversation_id=None, error="E"
    )
    vote = feedback(1, "f", label=ODD, score=0.1, confidence=1e-300, reasons=(ODD, ""), first=None)
    document = DocumentRow(trace(1), span(1), STARTED, 1, ODD, None)
    store.write(batch(answer, vote, document, interaction(2)))
    store.write(batch(feedback(1, "g", 2, reasons=()), feedback(1, "h", 3, reasons=("\x1e",))))
    row = ask(store, "SELECT * EXCLUDE (started_at), epoch_us(started_at) FROM interactions ORDER BY span_id")[0]
    assert row == (*answer[:2], *answer[3:], STARTED // 1000)
    assert ask(store, "SELECT document_id, score, rank FROM documents") == [(ODD, None, 1)]
    votes = store.votes_of(trace(1), span(1))
    assert votes[0] == vote._replace(**dict(zip(vote._fields[19:26], RAG, strict=True)))
    assert [row.reasons for row in votes] == [(ODD, ""), (), ("\x1e",)]


def test_content_is_in_the_file_of_the_week_it_came_in(store):
    text = TextRow(trace(1), span(1), "", STARTED, "Why?", None, ODD, "span")
    words = WordsRow(trace(1), span(1), "thumbs", "", "f", STARTED, "No.", None, ODD)
    store.write(batch(raw(1), text, words, chunk=b"\x00raw"))
    week = 7 * 24 * 3600 * SECOND
    store.write(batch(raw(2), received_ns=STARTED + week, chunk=b"later"))
    first, second = store.content_databases()
    assert [first, second] == ["c_" + week_of(STARTED + n * week).replace("-", "_") for n in (0, 1)]
    assert ask(store, f"SELECT question, answer, system FROM {first}.texts") == [("Why?", None, ODD)]
    assert ask(store, f"SELECT comment, original, corrected FROM {first}.words") == [("No.", None, ODD)]
    assert ask(store, f"SELECT data FROM {first}.traces JOIN {first}.chunks USING (chunk)") == [(b"\x00raw",)]
    assert ask(store, f"SELECT trace_id FROM {second}.traces") == [(trace(2),)]


def test_chunks_are_numbered_on_after_a_restart(tmp_path):
    for _ in range(2):
        with opened(tmp_path) as store:
            store.write(batch(raw(1), chunk=b"x"))
            content = store.content_databases()[0]
            numbers = ask(store, f"SELECT chunk FROM {content}.chunks ORDER BY chunk")
    assert numbers == [(1,), (2,)]


def test_an_answer_sent_again_is_there_once(store):
    for _ in range(2):
        store.write(batch(interaction(1), DocumentRow(trace(1), span(1), STARTED, 1, "d", 0.5)))
    assert ask(store, "SELECT count(*) FROM interactions JOIN documents USING (trace_id)") == [(1,)]


def test_an_answer_whose_clock_says_nothing_is_there_once_though_received_at_other_times(store):
    for late in (0, 900):
        received = STARTED + late * SECOND
        store.write(batch(interaction(1, started_ns=received), received_ns=received))
    assert ask(store, "SELECT count(*) FROM interactions") == [(1,)]


def test_answers_of_many_times_in_one_batch_are_each_there_once(store):
    rows = [interaction(n, started_ns=STARTED - n * 7200 * SECOND) for n in range(12)]
    for _ in range(2):
        store.write(batch(*rows))
    assert ask(store, "SELECT count(*) FROM interactions") == [(12,)]


def test_of_two_answers_with_one_id_the_same_stays_in_either_order(store):
    one, other = interaction(1), interaction(1)._replace(name="other")
    two = [row._replace(trace_id=trace(2)) for row in (one, other)]
    store.write(batch(one, other, two[1], two[0]))
    assert len(ask(store, "SELECT DISTINCT name FROM interactions")) == 1


def test_an_evaluation_sent_again_is_there_once(store):
    row = EvaluationRow(trace(1), span(1), "correctness", "e", STARTED, 0.5, None, "annotation")
    store.write(batch(row, row))
    store.write(batch(row, row._replace(at_ns=STARTED + 1)))
    assert ask(store, "SELECT at_ns, score, label FROM evaluations ORDER BY at_ns") == [
        (STARTED, 0.5, None),
        (STARTED + 1, 0.5, None),
    ]


def test_feedback_takes_the_facts_of_its_answer_whichever_comes_first(store):
    store.write(batch(interaction(1)))
    store.write(batch(feedback(1, "a"), feedback(2, "b")))
    assert standing(store) == [("a", True, True, "m-1"), ("b", True, False, "unknown")]
    store.write(batch(interaction(2)))
    assert standing(store) == [("a", True, True, "m-1"), ("b", True, True, "m-1")]
    assert ask(store, "SELECT DISTINCT epoch_us(answered_at), epoch_us(given_at) FROM feedback") == [
        (STARTED // 1000, (STARTED + SECOND) // 1000)
    ]


def test_feedback_on_an_answer_of_an_earlier_start_takes_its_facts(tmp_path):
    with opened(tmp_path) as store:
        store.write(batch(interaction(1), feedback(2, "b")))
    with opened(tmp_path) as store:
        store.write(batch(feedback(1, "a"), interaction(2)))
        store.settle()
        assert standing(store) == [("a", True, True, "m-1"), ("b", True, True, "m-1")]


def test_in_a_large_store_an_old_answer_is_looked_for_after_the_commit(tmp_path, monkeypatch):
    monkeypatch.setattr("otel_feedback.store._commit.LOOK_AT_ONCE", 0)
    with opened(tmp_path) as store:
        store.write(batch(interaction(1), interaction(3, complete=False)))
    with opened(tmp_path) as store:
        store.write(batch(feedback(1, "a"), feedback(2, "b"), feedback(3, "c")))
        store.settle()
        assert [row[:3] for row in standing(store)] == [("a", True, True), ("b", True, False), ("c", True, True)]


def test_feedback_on_an_answer_that_was_not_sampled_is_never_joined(store):
    store.write(batch(feedback(1, "a", target_sampled=False), interaction(1)))
    store.write(batch(feedback(1, "b", 2, target_sampled=False)))
    assert standing(store) == [("a", False, False, "unknown"), ("b", True, False, "unknown")]


def test_a_vote_that_is_not_joined_leaves_others_of_its_answer_joined(tmp_path):
    with opened(tmp_path) as store:
        store.write(batch(interaction(1), feedback(1, "a")))
    with opened(tmp_path) as store:
        store.write(batch(feedback(1, "b", target_sampled=False, signal="stars")))
        assert standing(store) == [("a", True, True, "m-1"), ("b", True, False, "unknown")]


def test_what_a_commit_brought_is_told_until_nobody_listens(store):
    heard = []
    end = store.subscribe(heard.append)
    store.write(batch(interaction(1), raw(1), raw(2), feedback(1, "b", 2), feedback(1, "a"), chunk=b"x"))
    store.write(batch(feedback(1, "a"), interaction(1)))
    end()
    store.write(batch(interaction(2)))
    store.settle()
    assert [(change.interactions, change.spans) for change in heard] == [(1, 2), (0, 0)]
    assert [(row.feedback_id, row.model) for row in heard[0].feedback] == [("a", "m-1"), ("b", "m-1")]
    assert heard[1] == Change((), 0, 0)


def test_a_listener_that_fails_harms_nobody_and_its_words_are_not_logged(store, caplog):
    heard = []

    def fail(change):
        raise ValueError("a user's text")

    store.subscribe(fail)
    store.subscribe(heard.append)
    store.write(batch(interaction(1)))
    store.settle()
    assert len(heard) == 1
    assert caplog.messages == ["Who listens to the store failed: ValueError"]


def test_a_batch_that_cannot_be_written_harms_no_other_of_its_commit(store, caplog):
    caplog.set_level(logging.CRITICAL, "otel_feedback.store._writer")
    gate = threading.Event()
    end = store.subscribe(lambda change: gate.wait(10))
    held = store.submit(batch(interaction(9)))
    secret = "my secret \ud800"
    futures = [store.submit(batch(interaction(n))) for n in (1, 2)]
    bad = store.submit(batch(interaction(3)._replace(name=secret)))
    futures.append(store.submit(batch(interaction(4))))
    end()
    gate.set()
    wait([held, *futures, bad], 20)
    with pytest.raises(StoreError, match=r"could not be stored: [A-Za-z]+") as caught:
        bad.result()
    assert "secret" not in str(caught.value)
    assert [future.exception() for future in futures] == [None] * 3
    assert ask(store, "SELECT count(*) FROM interactions") == [(4,)]


def hold(store):
    """Keep the writer busy until the event is set."""
    gate, busy = threading.Event(), threading.Event()

    def wait_there(change):
        busy.set()
        gate.wait(20)

    store.subscribe(wait_there)
    first = store.submit(batch(interaction(99)))
    assert busy.wait(20)
    return first, gate


def test_a_full_queue_takes_nothing_more_and_says_so(store, monkeypatch):
    monkeypatch.setattr(_writer, "QUEUE_BYTES", 1000)
    first, gate = hold(store)
    taken = store.submit(batch(interaction(1), size=5000))
    with pytest.raises(StoreBusyError, match=r"Nothing of this was taken"):
        store.submit(batch(interaction(2), size=1))
    assert store.queued() == (1, 5000)
    gate.set()
    wait([first, taken], 20)
    store.write(batch(interaction(2), size=1))
    assert store.queued() == (0, 0)


def test_too_many_batches_are_refused(store, monkeypatch):
    monkeypatch.setattr(_writer, "QUEUE_BATCHES", 2)
    _, gate = hold(store)
    store.submit(batch(interaction(1)))
    store.submit(batch(interaction(2)))
    with pytest.raises(StoreBusyError):
        store.submit(batch(interaction(3)))
    gate.set()


def test_all_that_waits_is_one_commit(store):
    heard = []
    first, gate = hold(store)
    store.subscribe(heard.append)
    futures = [store.submit(batch(interaction(n))) for n in range(5)]
    gate.set()
    wait([first, *futures], 20)
    store.settle()
    assert heard == [Change((), 5, 0)]


def test_a_commit_takes_no_more_spans_than_others_may_wait_for(store, monkeypatch):
    monkeypatch.setattr(_writer, "GROUP_SPANS", 2)
    heard = []
    first, gate = hold(store)
    store.subscribe(heard.append)
    futures = [store.submit(batch(raw(n))) for n in range(3)]
    gate.set()
    wait([first, *futures], 20)
    store.settle()
    assert [change.spans for change in heard] == [2, 1]


def test_the_name_of_a_new_log_is_on_the_disk_before_a_batch_is_acknowledged(store, monkeypatch):
    """DuckDB syncs the log and never the folder; after a checkpoint the log is another file."""
    synced = []
    monkeypatch.setattr(_databases, "sync", lambda folder: synced.append(folder.name))
    of_both = ["content", store.path.name]
    store.write(batch(interaction(1), raw(1), chunk=b"x"))
    assert sorted(synced) == sorted(of_both)
    store.write(batch(interaction(2), raw(2), chunk=b"x"))
    assert sorted(synced) == sorted(of_both)
    for name in ("store", *store.content_databases()):
        store._writer.run(lambda name=name: store._databases.writer.execute(f"CHECKPOINT {name}"))
    store.write(batch(interaction(3), raw(3), chunk=b"x"))
    assert sorted(synced) == sorted(2 * of_both)


def test_what_waits_is_written_together_with_what_is_coming(store, monkeypatch):
    """A commit has a price beside that of its spans."""
    monkeypatch.setattr(_writer, "COMPANY_SECONDS", 60)
    heard = []
    store.subscribe(heard.append)
    with store.coming():
        futures = [store.submit(batch(raw(0)))]
        time.sleep(0.1)  # as much as a commit takes many times over
        futures.append(store.submit(batch(raw(1))))
    wait(futures, 20)
    store.settle()
    assert [change.spans for change in heard] == [2]


@pytest.mark.parametrize("why", ["long", "large", "task"])
def test_what_waits_does_not_wait_for_long(store, monkeypatch, why):
    """Nor where there is enough of it, or something else is to be done."""
    monkeypatch.setattr(_writer, "COMPANY_SECONDS", 0.01 if why == "long" else 60)
    with store.coming():
        future = store.submit(batch(raw(0), size=_writer.GROUP_BYTES if why == "large" else 1))
        if why == "task":
            store.settle()
        assert future.result(20) is None


def test_a_store_is_closed_though_something_is_said_to_be_coming(tmp_path, monkeypatch):
    """Whoever said so may never come."""
    monkeypatch.setattr(_writer, "COMPANY_SECONDS", 60)
    with opened(tmp_path) as store:
        said = store.coming()
        said.__enter__()
        future = store.submit(batch(interaction(1)))
    assert future.exception(0) is None


def test_an_error_that_nobody_thought_of_ends_no_writing(store, monkeypatch, caplog):
    """Whoever waits is told, and the next batch is written."""

    def fail(group):
        raise MemoryError("a user's text")

    with monkeypatch.context() as patched:
        patched.setattr(store._writer, "_write", fail)
        with pytest.raises(StoreError, match="could not be stored"):
            store.submit(batch(interaction(1))).result(20)
    assert "user's text" not in caplog.text
    store.write(batch(interaction(2)))
    assert ask(store, "SELECT count(*) FROM interactions") == [(1,)]


def test_closing_writes_what_waits(tmp_path):
    with opened(tmp_path) as store:
        futures = [store.submit(batch(interaction(n))) for n in range(50)]
    assert [future.exception(0) for future in futures] == [None] * 50
    with opened(tmp_path) as store:
        assert ask(store, "SELECT count(*) FROM interactions") == [(50,)]


def test_closing_refuses_what_it_has_no_time_for(tmp_path, monkeypatch):
    monkeypatch.setattr("otel_feedback.store._store._PATIENCE_SECONDS", 0.05)
    store = Store.open(tmp_path)
    first, gate = hold(store)
    late = store.submit(batch(interaction(1)))
    closing = threading.Thread(target=store.close)
    closing.start()
    with pytest.raises(StoreError, match=r"closed before"):
        late.result(20)
    gate.set()
    closing.join(20)
    assert first.exception(0) is None


def test_a_closed_store_says_that_it_is(tmp_path):
    with Store.open(tmp_path) as store:
        pass
    store.close()
    for use in (lambda: store.submit(batch()), store.settle, lambda: store.votes_of(trace(1), span(1))):
        with pytest.raises(StoreError, match=r"The store is closed"):
            use()


def test_only_its_owner_can_read_a_store(tmp_path):
    with opened(tmp_path / "a" / "data") as store:
        store.write(batch(interaction(1), raw(1), chunk=b"x"))
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (store.path, *store.path.rglob("*"))}
    week = week_of(STARTED)
    logs = {f"{week}.duckdb.wal": 0o600, "store.duckdb.wal": 0o600}
    files = {"lock": 0o600, "store.duckdb": 0o600, f"{week}.duckdb": 0o600}
    assert modes == {"data": 0o700, "content": 0o700, **files, **logs}


def test_a_store_cannot_be_opened_twice(store):
    with pytest.raises(StoreHeldError, match=r"open in this process already"):
        Store.open(store.path)


def test_a_span_that_is_judged_becomes_an_answer_with_what_its_trace_tells(store):
    judged = {"span_id": span(2), "trace_id": trace(2), "name": "run"}
    below = {
        "span_id": span(3),
        "trace_id": trace(2),
        "parent_id": span(2),
        "name": "chat m",
        "attributes": {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"},
    }
    store.write(read_traces(sent.request(judged), received_ns=sent.RECEIVED))
    store.write(batch(feedback(2, "a", target_sampled=None)))
    assert ask(store, "SELECT model, flagged FROM interactions") == [("unknown", False)]
    store.write(read_traces(sent.request(below), received_ns=sent.RECEIVED))
    assert standing(store) == [("a", True, True, "m")]
    store.write(batch(interaction(2), DocumentRow(trace(2), span(2), STARTED, 1, "d", 0.5)))
    assert ask(store, "SELECT model, flagged FROM interactions") == [("m-1", True)]
    assert standing(store) == [("a", True, True, "m-1")]


def test_an_answer_without_a_usable_clock_is_completed_from_its_trace(store):
    place = {"trace_id": trace(2), "start": 0, "end": 0}
    flagged = {**place, "span_id": span(2), "attributes": {"feedback.interaction": True}}
    below = {
        **place,
        "span_id": span(3),
        "parent_id": span(2),
        "attributes": {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"},
    }
    store.write(read_traces(sent.request(flagged), received_ns=sent.RECEIVED))
    store.write(read_traces(sent.request(below), received_ns=sent.RECEIVED + SECOND))
    assert ask(store, "SELECT model, epoch_us(started_at) FROM interactions") == [("m", sent.RECEIVED // 1000)]


def test_an_answer_that_is_in_one_request_twice_has_each_document_once(store):
    document = DocumentRow(trace(1), span(1), STARTED, 1, "d", 0.5)
    store.write(batch(interaction(1), document, interaction(1), document))
    assert ask(store, "SELECT rank, document_id FROM documents") == [(1, "d")]


def test_a_large_chunk_is_kept_in_parts_and_read_whole(store):
    data = bytes(range(256)) * 400
    store.write(batch(raw(1), chunk=data))
    (content,) = store.content_databases()
    assert ask(store, f"SELECT count(*) FROM {content}.chunks") == [(-(-len(data) // PART_BYTES),)]
    with store.cursor() as cursor:
        assert read_chunk(cursor, content, 1) == (data, STARTED // 1000)
        assert read_chunk(cursor, content, 2) is None


def test_one_chunk_is_read_without_those_around_it(store):
    """By the index, and not decompressed with its neighbours: else each costs what a whole group of rows does."""
    for number in range(20):
        store.write(batch(raw(number), chunk=bytes([number]) * 1000))
    (content,) = store.content_databases()
    store._writer.run(lambda: store._databases.writer.execute(f"CHECKPOINT {content}"))
    plan = ask(store, f"EXPLAIN ANALYZE SELECT data FROM {content}.chunks WHERE chunk = 7 ORDER BY part")[0][1]
    assert "Index Scan" in plan
    stored = f"SELECT DISTINCT compression FROM pragma_storage_info('{content}.chunks')"
    assert ask(store, f"{stored} WHERE column_name = 'data' AND segment_type = 'BLOB'") == [("Uncompressed",)]


@pytest.mark.parametrize("flagged", [True, False])
def test_what_comes_after_a_restart_completes_an_answer_of_before(tmp_path, flagged):
    first = {"span_id": span(2), "trace_id": trace(2), "attributes": {"feedback.interaction": True} if flagged else {}}
    below = {
        "span_id": span(3),
        "trace_id": trace(2),
        "parent_id": span(2),
        "attributes": {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"},
    }
    with opened(tmp_path) as store:
        store.write(read_traces(sent.request(first), received_ns=sent.RECEIVED))
        store.write(batch(feedback(2, "a", target_sampled=None)))
    with opened(tmp_path) as store:
        store.write(read_traces(sent.request(below), received_ns=sent.RECEIVED))
        assert ask(store, "SELECT model, flagged FROM interactions") == [("m", flagged)]
        assert standing(store) == [("a", True, True, "m")]
