"""The pages over a real store: what they show, what they answer to bad questions, and the headers of all."""

import dataclasses
import datetime as dt
import re
from pathlib import Path

import pytest
from tests.unit.web_parts import FACTS, NOW, Sender, context_of, id_of, pages, read_page

from otel_feedback import semconv
from otel_feedback.cli._instrumentations import find_missing
from otel_feedback.store import Store, _search, _trace
from otel_feedback.web import pages as web_pages
from otel_feedback.web import render_error, render_login

HOUR = dt.timedelta(hours=1)


@pytest.fixture
def store(tmp_path):
    """An empty store."""
    with Store.open(tmp_path / "data") as opened:
        yield opened


@pytest.fixture
def sender(store):
    """A service and its users."""
    return Sender(store)


async def get(store, path, **context):
    """A page's answer, its text and its links."""
    async with pages(context_of(store, **context)) as client:
        answer = await client.get(path)
        return answer, *read_page(answer)


def judge_many(sender, version, ups, downs):
    """Send answers of one version with votes."""
    facts = {**FACTS, semconv.FEEDBACK_PROMPT_VERSION: version}
    spans = []
    for n in range(ups + downs):
        of, made = sender.spans(at=NOW - HOUR, facts=facts)
        vote = ("up", "positive") if n < ups else ("down", "negative")
        spans += [*made, sender.carrier(of, "thumbs", *vote, facts=facts)]
    sender.send(*spans)


@pytest.mark.parametrize("path", ["/", "/answers", "/setup", "/login"])
async def test_pages_stand_without_anything(store, path):
    """An empty store has all pages, and those that show data say where to look."""
    answer, text, links = await get(store, path)
    assert answer.status_code == 200
    assert text.count("Skip to content") == 1
    assert path == "/login" or "/setup" in links


async def test_satisfaction_is_shown_worst_first_and_leads_to_the_answers(store, sender):
    """Groups have figures and interval, too few votes say so, and each group links to its bad answers."""
    judge_many(sender, "good", 11, 1)
    judge_many(sender, "poor", 2, 10)
    judge_many(sender, "rare", 1, 0)
    _, text, links = await get(store, "/")
    assert text.index("answer poor") < text.index("answer good") < text.index("answer rare")
    assert "poor 17 % 4.7\N{EN DASH}45 % 2 / 10 / 0 12 100 % 12 of 12 0 0 0" in text
    assert "rare not enough votes 1 / 0 / 0 1 not enough 1 of 1" in text
    assert "Satisfied 56 % 37\N{EN DASH}73 % Positive votes 14 Negative votes 11 Answers 25" in text
    assert "/answers?since=7d&template=answer&version=poor&feedback=bad" in links


@pytest.mark.parametrize(("answered", "rate"), [(9, "not enough"), (10, "10 %"), (11, "9.1 %")])
async def test_the_response_rate_of_all_and_of_a_group_agree(store, sender, answered, rate):
    """By one rule and one name: for few answers neither is a number."""
    spans = [span for _ in range(answered - 1) for span in sender.spans()[1][:1]]
    sender.send(*spans)
    sender.judge(sender.answer())
    _, text, _ = await get(store, "/")
    assert f"Response rate {rate} 1 of {answered} answers Corrections" in text
    assert f"0 / 1 / 0 {answered} {rate} 1 of {answered}" in text
    assert "Judged" not in text


async def test_votes_beyond_the_answers_that_have_them_are_explained(store, sender):
    """25 and 26 votes are no 51 answers where some got thumbs and stars, or several people judged them."""
    of = sender.answer()
    sender.judge(of)
    assert "1 of 1 answers Corrections" in (await get(store, "/"))[1]
    sender.judge(of, "stars", "2")
    assert "1 of 1 answers, some with several votes Corrections" in (await get(store, "/"))[1]


async def test_grouping_and_filters_stand_in_the_address(store, sender):
    """By model, with a filter that the form shows again, even where nothing has that value."""
    judge_many(sender, "3", 11, 1)
    answer, text, links = await get(store, "/?by=model&service=nobody&since=1h")
    assert "No answers in this time" in text
    assert '<option value="nobody" selected>' in answer.text
    assert "/?since=all&service=nobody&by=model" in links
    _, text, _ = await get(store, "/?by=model&since=all")
    assert "Model Satisfaction 95 % interval" in text
    assert "model-1" in text
    _, text, _ = await get(store, "/?by=model&until=1h&since=")
    assert "No answers in this time" in text or "model-1" in text


async def test_implicit_signals_and_corrections_stand_beside(store, sender):
    """They are counted by signal, and lead to those answers."""
    of = sender.answer()
    sender.judge(of, "copy", "copied", "positive", kind="implicit")
    sender.judge(of, "text", "corrected", "negative", kind="correction", correction=("a", "b"))
    _, text, links = await get(store, "/")
    assert "copy 1" in text
    assert "Corrections 1" in text
    assert any("feedback=any&signal=copy" in link for link in links)


async def test_no_implicit_signal_is_a_nought_as_all_else(store, sender):
    """An empty place could be one that wasn't counted."""
    sender.judge(sender.answer())
    answer, _, _ = await get(store, "/")
    assert re.search(r'<td role="cell" class="implicit" data-label="Implicit signals">0</td>', answer.text)


async def test_every_cell_of_the_groups_has_its_column_s_name(store, sender):
    """On a phone, where they stand below each other, there is no head above them."""
    sender.judge(sender.answer())
    answer, _, _ = await get(store, "/")
    row = answer.text.partition('<tbody role="rowgroup">')[2].partition("</tbody>")[0]
    assert re.findall('<td[^>]*data-label="([^"]*)"', row) == [
        "Version", "Satisfaction", "Positive / negative / neutral", "Answers", "Response rate", "Implicit signals",
        "Corrections", "Changed",
    ]  # fmt: skip
    assert row.count("<td") == 8


async def test_more_groups_than_a_page_holds_are_told(store, sender):
    """A page has 300 groups and says how many there are beyond."""
    spans = []
    for n in range(303):
        spans += sender.spans(facts={semconv.FEEDBACK_PROMPT_NAME: f"t{n:03}"})[1][:1]
    sender.send(*spans)
    _, text, _ = await get(store, "/?by=template")
    assert "3 more groups" in text


async def test_bad_answers_have_all_that_was_said(store, sender):
    """Question, answer, template, documents, vote, reason, comment and the correction as a difference."""
    of = sender.answer("Which file?", "The old file.", documents=[("guide/files", 0.83)])
    sender.judge(of, reasons=["outdated"], comment="It moved.\nLong ago.")
    sender.judge(of, "text", "corrected", "negative", kind="correction", correction=("The old file.", "The new file."))
    answer, text, links = await get(store, "/answers")
    for part in ("thumbs : down", "text : corrected", "reason outdated", "Which file?", "The old file.", "It moved."):
        assert part in text
    assert "answer 3" in text
    assert "guide/files 0.83" in text
    assert '<del><span class="away">[removed: </span>old<' in answer.text
    assert f"/answers/{id_of(of)}" in links


async def test_lists_can_be_filtered(store, sender):
    """By what was said, by reason, by text; the form shows what was asked for."""
    for question, reason in (("About lists", "wrong"), ("About tuples", "outdated")):
        sender.judge(sender.answer(question), reasons=[reason])
    _, text, _ = await get(store, "/answers?reason=wrong")
    assert ("About lists" in text, "About tuples" in text) == (True, False)
    answer, text, _ = await get(store, "/answers?search=TUPLES&signal=thumbs")
    assert ("About lists" in text, "About tuples" in text) == (False, True)
    assert 'value="TUPLES"' in answer.text
    _, text, _ = await get(store, "/answers?feedback=good")
    assert "None found" in text


async def test_a_search_that_ended_early_says_how_far_it_looked_and_leads_on(store, sender, monkeypatch):
    """By a plain link with all that was asked for, page by page up to the oldest answer, and back."""
    monkeypatch.setattr(_search, "NEAR", 1)
    monkeypatch.setattr(_search, "MOST", 2)
    for n in range(6):
        sender.answer("About tuples" if n in (0, 5) else "About lists", at=NOW - n * HOUR)
    path, seen = "/answers?feedback=all&search=tuples&service=docs-chat", []
    async with pages(context_of(store)) as client:
        while path:
            answer = await client.get(path)
            text, links = read_page(answer)
            seen.append(text)
            further = [
                link for link in links if f'href="{link.replace("&", "&amp;")}">look further back<' in answer.text
            ]
            path = next(iter(further), None)
            assert path is None or {"feedback=all", "search=tuples", "service=docs-chat"} <= set(path.split("&"))
            assert path is None or link_is(answer, path, "next")
    since = [f"{(NOW - n * HOUR):%Y-%m-%d %H:%M}" for n in (1, 3)]
    assert len(seen) == 3
    assert f"1 found in the answers since {since[0]}" in seen[0]
    assert f"Nothing more found in the answers since {since[1]}" in seen[1]
    assert "About tuples" in seen[0]
    assert "About tuples" in seen[2]
    assert "in the answers since" not in seen[2]
    assert "No more answers" not in seen[1]


async def test_a_page_asks_for_the_choices_that_it_shows(store, monkeypatch):
    """Signals and reasons take a look at all feedback, which Satisfaction has no use for."""
    asked = []

    def options(store, names):
        asked.append(names)
        return {}

    monkeypatch.setattr(web_pages, "options", options)
    for path in ("/", "/answers"):
        await get(store, path)
    facts = ("template", "version", "model", "query_type", "service", "environment")
    assert asked == [facts, (*facts, "signal", "reason")]


async def test_signals_and_reasons_are_chosen_from_those_that_there_are(store, sender):
    """And what an address asks for is among them, even where nothing has it."""
    sender.judge(sender.answer(), reasons=["outdated", "wrong"])
    answer, _, _ = await get(store, "/answers?signal=stars&reason=wrong")
    shown = {
        name: re.findall(r'<option value="([^"]+)"( selected)?>', choice)
        for name, choice in re.findall(r'<select name="(\w+)">(.*?)</select>', answer.text, re.DOTALL)
    }
    assert shown["signal"] == [("thumbs", ""), ("stars", " selected")]
    assert shown["reason"] == [("outdated", ""), ("wrong", " selected")]
    answer, _, _ = await get(store, "/answers")
    assert '<input name="signal"' not in answer.text


async def test_a_fingerprint_that_is_the_version_is_shown_once(store, sender):
    """A template without a version has its fingerprint as one."""
    sender.answer(attributes={semconv.FEEDBACK_PROMPT_FINGERPRINT: "0123456789ab"})
    ids = sender.answer(
        attributes={
            semconv.FEEDBACK_PROMPT_FINGERPRINT: "ba9876543210",
            semconv.FEEDBACK_PROMPT_VERSION: "ba9876543210",
        }
    )
    _, text, links = await get(store, "/answers?feedback=all")
    other = next(link for link in links if link.startswith("/answers/") and link != f"/answers/{id_of(ids)}")
    assert "Fingerprint 0123456789ab" in (await get(store, other))[1]
    _, text, _ = await get(store, f"/answers/{id_of(ids)}")
    assert "answer ba9876543210" in text
    assert "Fingerprint" not in text


async def test_pages_lead_on_and_back(store, sender):
    """Older and newer pages by cursor, without any gap, and back to where it began."""
    spans = []
    for n in range(60):
        ids, [root, *_] = sender.spans(f"q{n:02}", at=NOW - n * HOUR)
        spans += [root]
        assert ids
    sender.send(*spans)
    seen, path, trail = [], "/answers?feedback=all", []
    async with pages(context_of(store)) as client:
        while path:
            answer = await client.get(path)
            links = read_page(answer)[1]
            seen += dict.fromkeys(link for link in links if link and link.startswith("/answers/"))
            trail.append(path)
            path = next((link for link in links if link and "after=" in link and link_is(answer, link, "next")), None)
        assert len(seen) == len(set(seen)) == 60
        assert len(trail) == 3
        answer = await client.get(trail[2])
        back = next(link for link in read_page(answer)[1] if link and link_is(answer, link, "prev"))
        assert back == trail[1].replace("?feedback=all&", "?") or "after=" in back
        first = next(link for link in read_page(await client.get(back))[1] if link and "since=7d&feedback=all" in link)
        assert "after" not in first


def link_is(answer, link, relation):
    """Whether a link has this relation."""
    return f'<a rel="{relation}" href="{link.replace("&", "&amp;")}"' in answer.text


async def test_one_answer_shows_everything(store, sender):
    """Facts, prompt as sent, documents, feedback with its history, spans with attributes and events, and Jaeger."""
    of = sender.answer(
        "Which file?",
        "The old file.",
        documents=[("guide/files", 0.83)],
        events=[("first_token", {"after_ms": 412})],
        attributes={"http.route": "/ask", semconv.GEN_AI_CONVERSATION_ID: "c-1"},
    )
    sender.judge(of, "thumbs", "up", "positive", id="one", user="u")
    sender.judge(
        of, id="two", user="u", revises="one", previous="positive", reasons=["outdated"], comment="No.",
    )  # fmt: skip
    answer, text, links = await get(store, f"/answers/{id_of(of)}", jaeger_url="http://jaeger:16686/")
    assert answer.status_code == 200
    for part in (
        "Which file?", "The old file.", "Be brief.", "guide/files", "thumbs : up", "replaced", "was positive",
        "reason outdated", "No.", "POST /ask", "retrieval search", "chat model-1", "first_token", "after_ms 412",
        "http.route /ask", "Conversation c-1", "4 spans" if "4 spans" in text else "5 spans",
    ):  # fmt: skip
        assert part in text
    assert f"http://jaeger:16686/trace/{of['trace_id']}?uiFind={of['span_id']}" in links


async def test_an_address_that_is_no_web_page_is_no_link(store, sender):
    """Only http and https lead out of a page."""
    of = sender.answer()
    answer, _, _ = await get(store, f"/answers/{id_of(of)}", jaeger_url="javascript:alert(1)//")
    assert "Open in Jaeger" not in answer.text
    assert "javascript:" not in answer.text


async def test_feedback_without_its_answer_is_shown(store, sender):
    """An answer that was sampled out is known by its feedback alone, and the page says so."""
    of = sender.ids()
    sender.judge(of, comment="Where is it?")
    _, text, _ = await get(store, "/answers")
    assert "Question not recorded" in text
    _, text, _ = await get(store, f"/answers/{id_of(of)}", content_kept=False)
    assert "Where is it?" in text
    assert "Only the feedback is known" in text
    assert "This server keeps no content." in text


@pytest.mark.parametrize(
    ("path", "status", "sentence"),
    [
        ("/?since=yesterday", 400, "From must be a time"),
        ("/?by=colour", 400, "by must be one or more of"),
        ("/?since=1h&until=2h", 400, "From must be before To."),
        ("/answers?feedback=odd", 400, "feedback must be one of bad, good, any, all."),
        ("/answers?after=nonsense", 400, "after"),
        ("/answers/zz", 404, "That is no id of an answer"),
        (f"/answers/{'1' * 32}-{'2' * 16}", 404, "There is no such answer."),
        ("/chart/other.svg", 404, "There is no such chart."),
        ("/chart/votes.svg?since=x", 400, "From must be a time"),
        ("/static/..%2Fpages.py", 404, ""),
        ("/static/pages.py", 404, "There is no such file."),
    ],
)
async def test_what_can_not_be_shown_gets_a_sentence(store, path, status, sentence):
    """Bad questions are answered by a page with the right status that says what to do."""
    answer, text, _ = await get(store, path)
    assert answer.status_code == status
    assert sentence.lower() in text.lower()


@pytest.mark.parametrize(
    "path", ["/", "/answers", "/setup", "/login", "/?by=x", "/chart/votes.svg", "/static/live.js", "/static/icon.svg"]
)
async def test_every_answer_is_guarded(store, path):
    """No page sniffs, tells where its reader comes from, may be framed or run what isn't a file of this server."""
    answer, _, _ = await get(store, path)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "same-origin"
    if path.startswith("/static"):
        assert "immutable" in answer.headers["cache-control"]
        return
    assert answer.headers["cache-control"] == "no-store"
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    for inline in ("<style>", " style=", "javascript:", " onclick", "<script>"):
        assert inline not in answer.text.split("<svg", 1)[0]


async def test_setup_installs_what_the_readme_installs_and_the_command_line_proposes(store):
    """One way for all three: the packages by name, and by version where there are only early ones."""
    answer, _, _ = await get(store, "/setup")
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    lines = [re.search(r"pip install '[^']*' (opentelemetry-[^<\n]*)", page)[1] for page in (answer.text, readme)]
    proposed = find_missing({"fastapi": "0.100", "openai": "2"})
    assert lines == [" ".join(proposed[1:])] * 2
    assert "bootstrap" not in answer.text + readme


async def test_setup_names_a_server_that_is_not_on_the_usual_folder(store):
    """The command is one to copy, for ASGI and for a script."""
    _, text, _ = await get(store, "/setup")
    assert "otel-feedback run -- uvicorn app:app # or: -- python app.py" in text
    _, text, _ = await get(store, "/setup", status=lambda: {"run": "otel-feedback run --data /srv/data"})
    assert "otel-feedback run --data /srv/data -- uvicorn app:app" in text


async def test_setup_tells_what_came_and_what_to_do(store):
    """Counts, times, what was seen, hints, and lines to paste that fit this server."""
    status = {
        "url": "http://10.0.0.1:8484",
        "otlp_grpc": "10.0.0.1:4317",
        "otlp_http": "10.0.0.1:4318",
        "data": "/srv/data",
        "counts": {"spans": 1234, "interactions": 5, "feedback": 0},
        "last": {"span_at": "2026-11-25T08:00:00.500000Z", "interaction_at": None, "feedback_at": None},
        "seen": {"services": ["rag"], "instrumentations": ["fastapi"]},
        "hints": ["No feedback yet: send the handle back."],
    }
    _, text, _ = await get(store, "/setup", status=lambda: status, token_required=True)
    for part in (
        "Spans (done) 1 234 , the last 2026-11-25 08:00:00 UTC", "Feedback (not yet) 0", "rag", "fastapi",
        "No feedback yet: send the handle back.", "OTEL_EXPORTER_OTLP_ENDPOINT=http://10.0.0.1:8484",
        "/srv/data/handle-keys", "OTEL_EXPORTER_OTLP_HEADERS", "/srv/data/token",
    ):  # fmt: skip
        assert part in text
    done = {**status, "hints": [], "counts": {"spans": 1, "interactions": 1, "feedback": 1}}
    _, text, _ = await get(store, "/setup", status=lambda: done, content_kept=False)
    assert "Nothing is missing." in text
    assert "CAPTURE_TEXT" not in text


def test_a_wrong_token_is_told(store):
    """The page says so, with the status that says so, and goes nowhere but on this server."""
    answer = render_login(context_of(store), next_path="//evil.example", failed=True)
    assert answer.status_code == 401
    assert b"That is not the token." in answer.body
    assert b"evil" not in answer.body
    assert b'value="/answers?x=1"' in render_login(context_of(store), next_path="/answers?x=1").body


def test_errors_of_the_server_have_a_page(store):
    """Whoever refuses a request can say so in the pages' own form."""
    answer = render_error(context_of(store), status=503, title="Busy", sentence="Come again <soon>.")
    assert answer.status_code == 503
    assert b"Come again &lt;soon&gt;." in answer.body


async def test_a_huge_trace_is_cut(store, sender, monkeypatch):
    """A page has a thousand spans and says how many there are beyond, read or not."""
    ids, spans = sender.spans()
    more = [{**spans[1], "span_id": f"{n + 1:016x}", "attributes": {}} for n in range(1005)]
    sender.send(*spans, *more)
    _, text, _ = await get(store, f"/answers/{id_of(ids)}")
    assert "1 008 spans, of which 1 000 are shown." in text
    assert "8 more spans are not shown; the API has them all" in text
    monkeypatch.setattr(_trace, "MOST", 1004)
    _, text, _ = await get(store, f"/answers/{id_of(ids)}")
    assert "8 more spans are not shown; the API has 1 004 of all" in text


def test_the_context_is_frozen(store):
    """What pages know of the process doesn't change under them."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        context_of(store).version = "2"


RAG = f"Answer from the passages.\n\n{'passages ' * 300}\n\nQuestion: What is it, after all?"


async def test_a_question_is_seen_in_the_list_whatever_stands_before_it(store, sender):
    """Passages first, question at the end: the middle goes, and the list has the question whole."""
    sender.answer(RAG)
    _, text, _ = await get(store, "/answers?feedback=all")
    assert "passages … Question: What is it, after all? So. Template" in text
    assert text.count("passages passages") < 5


async def test_a_long_question_that_is_the_prompt_is_whole_only_there(store, sender):
    """Its box has its beginning and its end, and says where the whole is."""
    ids = sender.answer(RAG)
    _, text, links = await get(store, f"/answers/{id_of(ids)}")
    assert text.partition("Prompt as sent system")[0].count("passages passages") < 10
    assert "passages … Question: What is it, after all? Its beginning and its end. All 2 761 characters" in text
    assert "#prompt" in links
