"""The commands as people and programs see them, on answers of the server's API, hostile ones included."""

import copy
import io
import json
import re
import unicodedata

import pytest
from rich.console import Console
from tests.unit.cli_server import call, serving
from tests.unit.test_cli_show_text import HOSTILE, raw

from otel_feedback.cli import _progress, tail

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
ID = f"{TRACE}-{SPAN}"
TIME = "2026-11-25T09:30:15.123456Z"

STATUS = {
    "version": "0.1.0",
    "data": "/data",
    "url": "http://127.0.0.1:8484",
    "otlp_grpc": "127.0.0.1:4317",
    "otlp_http": "http://127.0.0.1:4318",
    "content": "kept",
    "started_at": TIME,
    "counts": {"interactions": 12345, "feedback": 3, "spans": 99999},
    "last": {"span_at": TIME, "interaction_at": TIME, "feedback_at": None},
    "seen": {"services": ["shop", "desk"], "instrumentations": ["opentelemetry.instrumentation.fastapi"]},
    "hints": ["No vote has come yet."],
    "queue": {"batches": 1234, "bytes": 2048},
}
ROW = {
    "key": {"template": "qa", "version": "v2"},
    "interactions": 1200,
    "voted": 100,
    "response_rate": 0.0833,
    "positive": 60,
    "negative": 40,
    "neutral": 5,
    "satisfaction": 0.6,
    "low": 0.502,
    "high": 0.691,
    "expressed": {"positive": 61, "negative": 42},
    "changed": 3,
    "retracted": 1,
    "implicit": {"copy": 7, "rephrase": 2},
    "corrections": 4,
}
FEW = (
    ROW
    | {"key": {"template": "new", "version": "v1"}, "satisfaction": None, "low": None, "high": None}
    | {"response_rate": None}
)
VOTE = {
    "feedback_id": "f1",
    "signal": "thumbs",
    "kind": "explicit",
    "sentiment": "negative",
    "previous_sentiment": "positive",
    "label": "down",
    "score": 0.0,
    "confidence": None,
    "reasons": ["outdated"],
    "at": TIME,
    "submitter": "u1:aa",
    "revises": "f0",
    "source": "capture",
    "standing": True,
    "comment": "This was last year.",
    "correction": {"original": "42", "corrected": "43"},
}
DOCUMENTS = [{"rank": 1, "id": "doc-7", "score": 0.5, "text": None}]
ANSWER = {
    "id": ID,
    "trace_id": TRACE,
    "span_id": SPAN,
    "started_at": TIME,
    "service": "shop",
    "namespace": "unknown",
    "environment": "demo",
    "prompt_name": "qa",
    "prompt_version": "v2",
    "model": "m-1",
    "query_type": "how-to",
    "recorded": True,
    "question": "How long may I give back?",
    "answer": "42 days.",
    "documents": DOCUMENTS,
    "feedback": [VOTE],
    "comment": "This was last year.",
    "correction": {"original": "42", "corrected": "43"},
    "reasons": ["outdated"],
}
SPAN_VIEW = {
    "span_id": SPAN,
    "parent_id": "",
    "depth": 0,
    "name": "POST /ask",
    "kind": "server",
    "service": "shop",
    "scope": "fastapi",
    "started_at": TIME,
    "offset_ms": 0.0,
    "duration_ms": 1234.5,
    "status": "unset",
    "status_message": "",
    "is_answer": True,
    "is_feedback": False,
    "attributes": {"http.method": "POST", "list": [1, 2]},
    "events": [
        {"name": "token", "at": TIME, "offset_ms": 1.5, "attributes": {"n": 1}},
        {"name": "token", "at": TIME, "offset_ms": 2.5, "attributes": {}},
    ],
    "links": [],
}
CHILD = SPAN_VIEW | {
    "span_id": "b" * 16,
    "depth": 1,
    "name": "chat m-1",
    "status": "error",
    "status_message": "timeout",
}
CHILD |= {"is_answer": False, "offset_ms": 3.25, "attributes": {}, "events": []}
DETAIL = {
    **{name: ANSWER[name] for name in ANSWER if name not in ("comment", "correction", "reasons")},
    "duration_ms": 1234.5,
    "name": "POST /ask",
    "prompt_fingerprint": "0123456789ab",
    "provider": "openai",
    "response_id": "r-1",
    "conversation_id": "c-1",
    "user_hash": "u1:bb",
    "error": None,
    "flagged": True,
    "system": "Be brief.",
    "variables": {"tone": "kind\nand short"},
    "prompt": [{"role": "system", "text": "Be brief."}, {"role": "", "text": "How long?"}],
    "documents": [DOCUMENTS[0] | {"text": "Thirty days."}, {"rank": 2, "id": "doc-8", "score": None, "text": None}],
    "feedback": [VOTE | {"standing": False, "feedback_id": "f0"}, VOTE],
    "evaluations": [
        {"evaluation_id": "e", "name": "grounded", "score": 0.25, "label": "no", "at": TIME, "source": "evaluation"},
        {"evaluation_id": "f", "name": "polite", "score": None, "label": None, "at": TIME, "source": "evaluation"},
    ],
    "spans": [SPAN_VIEW, CHILD, CHILD | {"depth": 9}],
    "span_count": 3,
}
LIVE = {
    "id": ID,
    "at": TIME,
    "signal": "thumbs",
    "sentiment": "negative",
    "previous_sentiment": "unset",
    "label": "down",
    "template": "qa",
    "version": "v2",
    "model": "m-1",
    "service": "shop",
}
API = {
    "/api/status": STATUS,
    "/api/satisfaction": {"rows": [ROW, FEW], "filter": {}},
    "/api/answers": {"rows": [ANSWER], "next": "cursor", "looked_back_to": None},
    f"/api/answers/{ID}": DETAIL,
}


@pytest.fixture
def api():
    """A server with something of everything."""
    with serving(copy.deepcopy(API)) as api:
        yield api


def widths(text):
    """Of its lines."""
    return [len(line) for line in text.splitlines()]


READS = [
    (["status"], "/api/status"),
    (["templates"], "/api/satisfaction"),
    (["answers"], "/api/answers"),
    (["show", ID], f"/api/answers/{ID}"),
]


@pytest.mark.parametrize(("words", "path"), READS, ids=[words[0] for words, _ in READS])
def test_json_is_the_api_s(api, words, path):
    """A program reads the same from either."""
    code, out, err = call(*words, "--json", "--url", api.url)
    assert (code, err) == (0, "")
    assert json.loads(out) == API[path]


@pytest.mark.parametrize("words", [*(words for words, _ in READS), ["show", ID, "--attributes"]], ids=" ".join)
def test_tables_fit_80_columns(api, words):
    """Nothing is wider, and nothing is missing that matters."""
    code, out, err = call(*words, "--url", api.url)
    assert (code, err) == (0, "")
    assert max(widths(out)) <= 80


def test_status_says_what_there_is(api):
    """Counts, when the last came, and what is missing."""
    _, out, _ = call("status", "--url", api.url)
    for part in (f"The server at {api.url} runs, version 0.1.0.", "12,345", "shop, desk", "! No vote", "2.0 KiB"):
        assert part in out


HINT = (
    "Nothing has arrived yet. Start your service with: otel-feedback run --url http://127.0.0.1:8484 -- uvicorn app:app"
)


@pytest.mark.parametrize("columns", ["40", "80", ""])
def test_a_command_in_a_hint_is_never_broken(api, columns):
    """A terminal wraps it without a line's end, so that it can be copied; what is no terminal gets one line."""
    api.answers["/api/status"] = STATUS | {"hints": [HINT]}
    assert f"! {HINT}\n" in call("status", "--url", api.url, COLUMNS=columns)[1]


def test_what_goes_to_a_program_is_not_wrapped(api):
    """Whatever is long has one line, and no blanks to the end of a line that nothing has."""
    long = "word " * 90
    detail = DETAIL | {"question": long, "prompt": [{"role": "user", "text": long}]}
    api.answers |= {f"/api/answers/{ID}": detail, "/api/answers": {"rows": [ANSWER | {"comment": long}], "next": None}}
    _, out, _ = call("show", ID, "--url", api.url, COLUMNS="")
    assert out.count(long.strip()) == 2
    assert max(widths(out)) < 500
    _, out, _ = call("answers", "--url", api.url, COLUMNS="")
    assert long[:100] in out
    assert max(widths(out)) < 300


def test_times_say_that_they_are_utc(api):
    """In a heading, or each by itself."""
    assert "time (UTC)" in call("answers", "--url", api.url)[1]
    assert "11-25 09:30 " in call("answers", "--url", api.url)[1]
    assert "2026-11-25 09:30:15 UTC" in call("status", "--url", api.url)[1]
    _, out, _ = call("show", ID, "--url", api.url)
    assert "2026-11-25 09:30:15.123 UTC" in out
    assert "time (UTC)" in out


def test_a_fingerprint_that_is_the_version_is_shown_once(api):
    """One of a template with a version is shown beside it."""
    assert re.search(r"^ +fingerprint +0123456789ab", call("show", ID, "--url", api.url)[1], re.MULTILINE)
    api.answers[f"/api/answers/{ID}"] = DETAIL | {"prompt_version": "0123456789ab"}
    _, out, _ = call("show", ID, "--url", api.url)
    assert out.count("0123456789ab") == 1
    assert "fingerprint" not in out


def test_a_bare_server_is_shown_too():
    """One that has nothing yet."""
    with serving({"/api/status": {"version": "1", "counts": {}, "last": {}, "seen": {}}}) as api:
        code, out, _ = call("status", "--url", api.url)
    assert code == 0
    assert re.search(r"^answers +0$", out, re.MULTILINE)


def test_templates_show_the_worst_first_with_their_interval(api):
    """As the server orders them; too few votes give no number."""
    _, out, _ = call("templates", "--url", api.url)
    lines = out.splitlines()
    assert re.search(r"^ qa +v2 +1,200 +100 +60 +40 +60 % \(50\N{EN DASH}69 %\)$", lines[3].rstrip())
    assert re.search(r"^ new +v1 .* not enough$", lines[4].rstrip())


def test_a_wide_terminal_gets_what_stands_beside(api):
    """Response rate, neutral votes, changes, corrections and implicit signals."""
    _, out, _ = call("templates", "--url", api.url, COLUMNS="140")
    assert re.search(r"100 \(8.3 %\) +60 +40 +5 +3 +4 +60 % .* copy 7, rephrase 2", out)


def test_filters_and_groups_are_those_of_the_api(api):
    """Given as people type them."""
    call(
        "templates",
        "--by",
        "model, query-type,model",
        "--since",
        "7d",
        "--service",
        "shop",
        "--limit",
        5,
        "--url",
        api.url,
    )
    assert api.asked[-1][2] == "by=model%2Cquery_type&since=7d&service=shop&limit=5"
    every = ["until", "namespace", "environment", "template", "version", "model", "query-type", "signal", "reason"]
    words = [word for name in [*every, "search", "after"] for word in (f"--{name}", name)]
    call("answers", *words, "--feedback", "any", "--url", api.url)
    asked = dict(pair.split("=") for pair in api.asked[-1][2].split("&"))
    names = [name.replace("-", "_") for name in [*every, "search", "after"]]
    assert asked == {name: name.replace("_", "-") for name in names} | {"feedback": "any", "limit": "20"}


@pytest.mark.parametrize(
    "words",
    [["templates", "--by", "colour"], ["templates", "--by", ","], ["templates", "--limit", "0"], ["show"], ["db"]],
)
def test_a_wrong_call_is_refused(words):
    """Before anybody is asked."""
    code, _, err = call(*words)
    assert code == 2
    assert "Traceback" not in err


def test_nothing_to_show_is_said(api):
    """In words, and as an empty list in JSON."""
    api.answers |= {"/api/satisfaction": {"rows": [], "filter": {}}, "/api/answers": {"rows": [], "next": None}}
    assert call("templates", "--url", api.url)[1] == "No answers yet.\n"
    assert call("templates", "--since", "7d", "--url", api.url)[1] == "No answers match.\n"
    assert call("answers", "--url", api.url) == (0, "No such answers.\n", "")
    assert json.loads(call("answers", "--json", "--url", api.url)[1]) == {"rows": [], "next": None}


def searched(api, *pages):
    """Let a search give these pages, one after the other; gives what was asked for."""
    asked, rest = [], list(pages)

    def answer(handler):
        asked.append(dict(pair.split("=") for pair in handler.path.partition("?")[2].split("&")))
        data = json.dumps(rest.pop(0)).encode()
        handler.send_response(200)
        handler.send_header("content-length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    api.answers["/api/answers"] = (200, answer)
    return asked


def page_of(*ids, **more):
    """A page of a search."""
    return {"rows": [ANSWER | {"id": one} for one in ids], "next": None, "looked_back_to": None} | more


def test_a_search_goes_on_until_it_has_its_rows_or_all(api):
    """Each page asks for what is missing, from where the last one ended; a program gets one result."""
    early = {"next": "far", "looked_back_to": TIME}
    asked = searched(api, page_of("a", **early), page_of(**early | {"next": "farther"}), page_of("b"))
    code, out, err = call("answers", "--search", "x", "--limit", 5, "--json", "--url", api.url)
    assert (code, err, json.loads(out)) == (0, "", page_of("a", "b"))
    assert [(it["limit"], it.get("after")) for it in asked] == [("5", None), ("4", "far"), ("4", "farther")]
    assert {it["search"] for it in asked} == {"x"}


def test_a_search_that_has_its_rows_ends_and_says_where_it_would_go_on(api):
    """That there are more is only said where it is known."""
    early = {"next": "far", "looked_back_to": TIME}
    asked = searched(api, page_of("a", **early), page_of("b", **early | {"next": "farther"}))
    _, out, _ = call("answers", "--search", "x", "--limit", 2, "--url", api.url)
    assert out.endswith("There may be more: --after farther\n")
    assert len(asked) == 2
    searched(api, page_of("a", **early), page_of("b", next="full"))
    assert "There are more: --after full" in call("answers", "--search", "x", "--limit", 2, "--url", api.url)[1]


def test_a_search_that_finds_nothing_has_looked_at_everything(api):
    """However many pages that takes."""
    asked = searched(api, *[page_of(next="far", looked_back_to=TIME)] * 3, page_of())
    assert call("answers", "--search", "x", "--url", api.url) == (0, "No such answers.\n", "")
    assert len(asked) == 4


@pytest.mark.parametrize(("patience", "terminal", "shown"), [(0, True, True), (60, True, False), (0, False, False)])
def test_a_long_search_shows_how_far_it_is(monkeypatch, patience, terminal, shown):
    """On a terminal, and only after a while."""
    console = Console(file=io.StringIO(), force_terminal=terminal, width=100)
    monkeypatch.setattr(_progress._show, "console", lambda **_: console)
    monkeypatch.setattr(_progress, "PATIENCE", patience)
    with _progress.show_pages("Searching") as tell:
        tell("looked back to 2026-11-25")
    assert ("Searching" in console.file.getvalue()) == shown
    assert ("looked back to 2026-11-25" in console.file.getvalue()) == shown
    assert shown or console.file.getvalue() == ""


def test_answers_have_what_show_takes(api):
    """Short; as long as it takes where two on the page begin alike."""
    _, out, _ = call("answers", "--url", api.url)
    assert f" {ID[:12]} " in out
    assert "more: --after cursor" in out
    ids = [ID, f"{TRACE}-{'e' * 16}", f"{TRACE}-{'ed' * 8}", f"{TRACE[:20]}{'0' * 12}-{'e' * 16}", ID]
    api.answers["/api/answers"] = {"rows": [ANSWER | {"id": one} for one in ids], "next": None}
    _, out, _ = call("answers", "--url", api.url, COLUMNS="200")
    assert (
        [line.split()[2] for line in out.splitlines() if line.startswith(" 11-25")]
        == [
            ID,  # is there twice
            f"{TRACE}-ee",
            f"{TRACE}-ed",
            f"{TRACE[:20]}0",
            ID,
        ]
    )
    assert "--after" not in out


def test_a_long_question_in_the_list_has_its_end(api):
    """The question of a prompt comes after its passages."""
    long = "Answer from the passages.\n" + "p " * 230 + "\n\nWhat is it?"
    api.answers["/api/answers"] = {"rows": [ANSWER | {"question": long}], "next": None}
    out = " ".join(call("answers", "--url", api.url, COLUMNS="300")[1].split())
    assert "Answer from the passages. p p" in out
    assert "p p … p p" in out
    assert "p p What is it?" in out


def test_long_ids_leave_the_question_its_place(api):
    """Those of one trace are long: what stands between goes into more lines."""
    rows = [ANSWER | {"id": f"{TRACE}-{end * 16}", "question": "What is it?"} for end in "ab"]
    api.answers["/api/answers"] = {"rows": rows, "next": None}
    _, out, _ = call("answers", "--url", api.url)
    assert out.count("What is it? ") == 2
    assert max(widths(out)) == 80


def test_an_answer_without_content_says_so(api):
    """In the list and by itself."""
    bare = {"question": None, "answer": None, "comment": None, "correction": None, "reasons": [], "feedback": []}
    api.answers["/api/answers"] = {"rows": [ANSWER | bare], "next": None}
    assert "not recorded" in call("answers", "--url", api.url)[1]
    lists = {name: [] for name in ("prompt", "documents", "feedback", "evaluations", "spans")}
    texts = {"question": None, "answer": None, "variables": {}, "duration_ms": None, "recorded": False}
    api.answers[f"/api/answers/{ID}"] = DETAIL | lists | texts
    _, out, _ = call("show", ID, "--url", api.url)
    assert out.count("not recorded") == 2
    assert "never came" in out
    assert "Trace" not in out


def test_show_has_everything_about_an_answer(api):
    """Facts, texts, prompt, documents, feedback with its history, evaluations, and the trace as a tree."""
    _, out, _ = call("show", ID, "--url", api.url)
    told = (
        "how-to",
        "42 days.",
        "Be brief.",
        "tone",
        "doc-7",
        "Thirty days.",
        "replaced",
        "thumbs down",
        "was positive",
    )
    for part in (*told, "outdated", "This was last year.", "corrected: 43", "grounded", "chat m-1  1.2 s  at 3.2 ms"):
        assert part in out, part
    assert "unknown" not in out
    assert "http.method" not in out


def test_a_long_question_that_is_the_prompt_is_printed_once_and_last(api):
    """It is seen at once what was asked, answered and said; the whole prompt stands below them."""
    long = "Answer from these.\n\n" + "passage " * 300 + "\n\nQuestion: What is it, after all?"
    api.answers[f"/api/answers/{ID}"] = DETAIL | {"question": long, "prompt": [{"role": "user", "text": long}]}
    _, out, _ = call("show", ID, "--url", api.url)
    above, _, below = " ".join(out.split()).partition(" Prompt user ")
    assert "Question, whole in the prompt below" in above
    assert "passage … Question: What is it, after all? Answer 42 days. Feedback" in above
    assert above.count("passage") < 20
    assert below.count("passage") == 300


def test_a_trace_that_is_read_in_part_says_so(api):
    """Beside its name; one that is whole says nothing."""
    assert f"Trace {TRACE}\n" in call("show", ID, "--url", api.url)[1]
    api.answers[f"/api/answers/{ID}"] = DETAIL | {"span_count": 2345}
    assert f"Trace {TRACE}: 3 of its 2,345 spans\n" in call("show", ID, "--url", api.url)[1]


def test_attributes_are_shown_on_demand(api):
    """Those of events too, each event by itself."""
    _, out, _ = call("show", ID, "--attributes", "--url", api.url)
    assert re.search(r"http\.method +POST", out)
    assert re.search(r"list +\[1, 2\]", out)
    assert out.count("event token") == 2


def test_an_answer_that_is_not_there_ends_with_1(api):
    """With the server's sentence."""
    code, out, err = call("show", "ffffffff", "--url", api.url)
    assert (code, out) == (1, "")
    assert err == "otel-feedback: No such page.\n"


def test_a_query_that_cannot_be_understood_ends_with_2(api):
    """The option is named as it is typed."""
    refusal = {"title": "Bad Request", "status": 400, "detail": "It must be a time.", "field": "query_type"}
    api.answers["/api/answers"] = (400, refusal)
    code, _, err = call("answers", "--url", api.url)
    assert code == 2
    assert err == "otel-feedback: --query-type: It must be a time.\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["answers", "--feedback", "worst"], "'--feedback': 'worst' is not one of 'bad', 'good', 'any', 'all'."),
        (["templates", "--limit", "0"], "'--limit': "),
        (["show", "zz"], "ID: it takes the id of an answer or of its trace, or its first 8 hex digits or more."),
    ],
)
def test_a_wrong_value_is_told_in_words_for_people(words, said):
    """None of those that only who wrote the checks knows."""
    code, out, err = call(*words, COLUMNS="200")
    assert (code, out) == (2, "")
    assert f"Invalid value for {said}" in err
    assert "Value error" not in err
    assert "Input should" not in err


@pytest.mark.parametrize(
    ("field", "detail", "said"),
    [
        ("since", "since must be before until.", "--since must be before --until."),
        ("query_type", "query_type has at most 4096 characters.", "--query-type has at most 4096 characters."),
        ("by", "by must be one or more of template.", "--by must be one or more of template."),
    ],
)
def test_a_refusal_names_the_option_once(api, field, detail, said):
    """The server calls fields by their names in an address."""
    api.answers["/api/answers"] = (400, {"title": "Bad Request", "status": 400, "detail": detail, "field": field})
    assert call("answers", "--url", api.url)[2] == f"otel-feedback: {said}\n"


def test_all_times_can_be_asked_for_as_on_the_page(api):
    """It is no bound, and the server is sent none."""
    assert call("templates", "--since", "all", "--url", api.url)[0] == 0
    assert "since" not in api.asked[-1][2]


def test_no_implicit_signal_is_a_nought(api):
    """As all else that nobody sent."""
    api.answers["/api/satisfaction"] = {"rows": [ROW | {"implicit": {}}], "filter": {}}
    assert re.search(r"60 % \(50.69 %\) +0 *$", call("templates", "--url", api.url, COLUMNS="140")[1], re.MULTILINE)


def test_nobody_there_ends_with_1_and_what_to_do(tmp_path):
    """Neither a server nor a folder."""
    code, _, err = call("status", "--data", tmp_path / "none")
    assert code == 1
    assert f"otel-feedback up --data {tmp_path / 'none'}" in err
    code, _, err = call("tail", "--data", tmp_path / "none")
    assert code == 1
    assert "otel-feedback up" in err


def hostile(value, text):
    """The same shape with a stranger's text in every place where one can be."""
    if isinstance(value, str):
        return f"{text}{value}"
    if isinstance(value, list):
        return [hostile(one, text) for one in value]
    if isinstance(value, dict):
        return {key: hostile(one, text) for key, one in value.items()}
    return value


SGR = re.compile(r"\x1b\[[0-9;]*m")


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_terminal_obeys_nothing_that_strangers_wrote(text):
    """Whatever field it is in: nothing but rich's own colours reaches the terminal."""
    wild = {path: hostile(value, text) for path, value in API.items()}
    for event in wild[f"/api/answers/{ID}"]["spans"][0]["events"]:
        event["attributes"][text] = text
    wild[f"/api/answers/{ID}"]["spans"][0]["attributes"][text] = [text]
    wild[f"/api/answers/{ID}"]["variables"] = {text: text}
    wild["/api/satisfaction"]["rows"][0]["implicit"] = {text: 1}
    wild["/api/status"]["seen"] = {text: [text]}
    refusal = {"title": "No", "status": 400, "detail": text, "field": text}
    commands = [*(words for words, _ in READS), ["show", ID, "--attributes"]]
    with serving(wild) as api:
        outputs = [call(*words, "--url", api.url, FORCE_COLOR="1", TERM="xterm-256color") for words in commands]
        api.answers["/api/status"] = (400, refusal)
        outputs.append(call("status", "--url", api.url, FORCE_COLOR="1"))
    outputs.append((0, raw(tail._line(hostile(LIVE, text))), ""))
    assert [code for code, *_ in outputs] == [0, 0, 0, 0, 0, 2, 0]
    for _, out, err in outputs:
        rest = SGR.sub("", out + err)
        assert not [one for one in rest if unicodedata.category(one) in ("Cc", "Cf", "Cs", "Zl", "Zp") and one != "\n"]
    assert any("\x1b[" in out for _, out, _ in outputs), "no colours, so that nothing was shown to hold"
