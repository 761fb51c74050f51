"""A data folder that no server holds, read by the commands themselves."""

import json
import time

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData
from tests.unit.cli_server import call

from otel_feedback.cli._source import Place, open_source
from otel_feedback.intake import pack, trace_row
from otel_feedback.intake.rows import Batch, DocumentRow, FeedbackRow, InteractionRow, TextRow, WordsRow
from otel_feedback.store import Store

SECOND = 1_000_000_000
LABELS = ("shop", "unknown", "demo", "qa", "v2", "m-1", "how-to")


def trace_of(number):
    """An id that says which answer it is."""
    return f"{number:08x}{'a' * 24}"


def batch_of(*numbers, now=None, signal="thumbs", label="down", sentiment="negative", score=0.0):
    """Answers, each with a document, texts, and one feedback on it."""
    now = now or time.time_ns()
    batch, raw = Batch(received_ns=now), TracesData()
    spans = raw.resource_spans.add().scope_spans.add().spans
    for number in numbers:
        trace, span, at = trace_of(number), f"{number:016x}", now - 60 * SECOND + number
        ids = {"trace_id": bytes.fromhex(trace), "span_id": bytes.fromhex(span)}
        spans.add(**ids, name="POST /ask", kind=2, start_time_unix_nano=at, end_time_unix_nano=at + SECOND)
        batch.traces.append(trace_row(ids["trace_id"], [(ids["span_id"], b"", at // 1000)]))
        batch.interactions.append(
            InteractionRow(trace, span, at, SECOND, "POST /ask", *LABELS, *(None,) * 6, flagged=True, complete=True)
        )
        batch.documents.append(DocumentRow(trace, span, at, 1, "doc-7", 0.5))
        batch.texts.append(TextRow(trace, span, "", at, f"Question {number}?", "Answer.", None, "span"))
        vote = (trace, span, signal, "", f"f{number}")
        rest = (at + SECOND, "explicit", sentiment, "unset", None, score, label, None, ("outdated",), "capture")
        batch.feedback.append(FeedbackRow(*vote, *rest, True, True, "c" * 32, "d" * 16, *LABELS, None))
        batch.words.append(WordsRow(*vote, at + SECOND, "Wrong.", None, None))
    batch.chunk = pack(raw.SerializeToString())
    return batch


@pytest.fixture
def folder(tmp_path):
    """A folder with twelve bad answers."""
    with Store.open(tmp_path / "data") as store:
        store.write(batch_of(*range(1, 13)))
        store.settle()
    return tmp_path / "data"


def test_status_says_that_no_server_runs(folder):
    """And what is there; exit code 1, so that a script can wait for the server."""
    code, out, _ = call("status", "--data", folder, COLUMNS="200")
    assert code == 1
    assert out.startswith(f"No server runs. This is the data folder {folder}.")
    code, out, _ = call("status", "--json", "--data", folder)
    assert code == 1
    found = json.loads(out)
    assert found["counts"] == {"interactions": 12, "feedback": 12, "spans": 12}
    assert found["seen"] == {"services": ["shop"]}
    assert all(time.endswith("Z") for time in found["last"].values())


def test_an_empty_folder_has_nothing_and_says_so(tmp_path):
    """A store that was opened once and never written to."""
    Store.open(tmp_path).close()
    _, out, _ = call("status", "--json", "--data", tmp_path)
    assert json.loads(out)["last"] == {"span_at": None, "interaction_at": None, "feedback_at": None}
    assert call("templates", "--data", tmp_path) == (0, "No answers yet.\n", "")


def test_satisfaction_is_read_from_the_folder(folder):
    """With the groups and filters that were given."""
    code, out, err = call("templates", "--by", "model,query-type", "--since", "1h", "--json", "--data", folder)
    assert (code, err) == (0, "")
    found = json.loads(out)
    (row,) = found["rows"]
    assert row["key"] == {"model": "m-1", "query_type": "how-to"}
    assert (row["interactions"], row["negative"], row["satisfaction"]) == (12, 12, 0.0)
    assert found["filter"] == {"since": "1h"}
    assert call("templates", "--until", "1h", "--data", folder)[1] == "No answers match.\n"


def test_answers_are_read_page_by_page(folder):
    """The cursor of one page gives the next."""
    _, out, _ = call("answers", "--limit", 8, "--json", "--data", folder)
    first = json.loads(out)
    _, out, _ = call("answers", "--limit", 8, "--json", "--data", folder, "--after", first["next"])
    second = json.loads(out)
    assert len({row["id"] for row in first["rows"] + second["rows"]}) == 12
    assert second["next"] is None
    assert first["rows"][0]["question"] == "Question 12?"
    assert first["rows"][0]["comment"] == "Wrong."


def test_an_answer_is_shown_by_the_start_of_its_id(folder):
    """As ``answers`` shortens it."""
    code, out, err = call("show", trace_of(7)[:12], "--data", folder)
    assert (code, err) == (0, "")
    assert f"Answer {trace_of(7)}-{7:016x}" in out.replace("\n", "")
    assert "Question 7?" in out
    assert "POST /ask  1.0 s  at 0.0 ms  the answer" in out
    assert "thumbs down" in out
    code, _, err = call("show", "ffffffffffff", "--data", folder)
    assert code == 1
    assert err.startswith("otel-feedback: ")


@pytest.mark.parametrize(
    ("words", "field"),
    [(["templates", "--since", "yesterday"], "--since"), (["answers", "--after", "nonsense"], "--after")],
)
def test_what_cannot_be_understood_names_the_option(folder, words, field):
    """The store says what is wrong with it."""
    code, _, err = call(*words, "--data", folder)
    assert code == 2
    assert err.startswith(f"otel-feedback: {field} must be ")


def test_a_folder_that_another_process_holds_says_so(folder):
    """Nothing is opened twice."""
    with Store.open(folder):
        code, _, err = call("templates", "--data", folder)
    assert code == 1
    assert str(folder) in err


def test_the_default_folder_is_opened_where_nobody_answers(folder, monkeypatch):
    """As the desktop's rules place it."""
    monkeypatch.setattr("otel_feedback.cli._source.DEFAULT_URL", "http://127.0.0.1:9")
    folder.rename(folder.parent / "otel-feedback")
    code, out, _ = call("templates", XDG_DATA_HOME=str(folder.parent))
    assert code == 0
    assert "qa" in out
    code, _, err = call("templates", XDG_DATA_HOME=str(folder.parent / "none"))
    assert code == 1
    assert "or say where it is: --url, --data" in err


def test_the_folder_is_let_go_of(folder):
    """A server can start at once."""
    with open_source(Place(None, folder)) as source:
        assert source.name == f"the data folder {folder}"
    Store.open(folder).close()


def test_the_folder_is_looked_after_without_a_server(folder, tmp_path):
    """Information, a check, a backup that opens, and room given back."""
    code, out, _ = call("db", "info", "--data", folder)
    assert code == 0
    assert "store.duckdb" in out
    assert "interactions 12" in " ".join(out.split())
    assert json.loads(call("db", "info", "--json", "--data", folder)[1])
    assert call("db", "check", "--data", folder) == (0, "Nothing is wrong.\n", "")
    assert call("db", "backup", tmp_path / "copy", "--data", folder)[0] == 0
    assert call("db", "vacuum", "--data", folder)[0] == 0
    for place in (folder, tmp_path / "copy"):
        assert json.loads(call("answers", "--json", "--limit", 1, "--data", place)[1])["rows"][0]["id"]
