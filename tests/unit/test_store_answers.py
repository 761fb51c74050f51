"""Answers in a list: which ones, in which order, page by page, and what is told of each."""

import datetime as dt
import json

import pytest
from tests.unit.store_parts import RAG, SECOND, STARTED, batch, feedback, interaction, opened, raw, span, trace

from otel_feedback.exceptions import InvalidQueryError
from otel_feedback.intake.rows import DocumentRow, TextRow, WordsRow
from otel_feedback.store import _answers, _search
from otel_feedback.store._answers import SHORT, answers
from otel_feedback.store.filters import Filter

START = dt.datetime.fromtimestamp(STARTED // SECOND, dt.timezone.utc)
WEEK = 7 * 86_400 * SECOND


@pytest.fixture
def store(tmp_path):
    with opened(tmp_path / "data") as made:
        yield made


def text(number, question=None, answer=None, *, of=None, parent="", started_ns=STARTED):
    return TextRow(trace(number), of or span(number), parent, started_ns, question, answer, None, "span")


def bad(number, feedback_id=None, seconds=1, **changes):
    said = {"sentiment": "negative", "label": "down", "score": 0.0, **changes}
    return feedback(number, feedback_id or f"f{number}", seconds, **said)


def words(vote, comment=None, original=None, corrected=None):
    return WordsRow(*vote[:6], comment, original, corrected)


def numbers(page):
    """Which answers a page has."""
    return [int(row.span_id, 16) for row in page.rows]


def test_an_answer_is_told_with_all_that_belongs_to_it(store):
    vote = bad(1, reasons=("wrong", "outdated"))
    copied = feedback(1, "c", 2, signal="copy", kind="implicit", reasons=())
    corrected = bad(1, "t", 3, signal="text", kind="correction", label="corrected", reasons=("wrong", "typo"))
    rows = [
        *(interaction(1), text(1, "Why?", "Because."), vote, copied, corrected),
        *(
            DocumentRow(trace(1), span(1), STARTED, 2, "d-2", None),
            DocumentRow(trace(1), span(1), STARTED, 1, "d-1", 0.5),
        ),
        *(words(vote, "No."), words(corrected, None, "teh", "the")),
    ]
    store.write(batch(*rows))
    (row,) = json.loads(json.dumps(answers(store).to_json()))["rows"]
    votes = row.pop("feedback")
    assert row == {
        "id": f"{trace(1)}-{span(1)}",
        "trace_id": trace(1),
        "span_id": span(1),
        "started_at": "2027-01-15T08:00:00Z",
        **dict(
            zip(
                ("service", "namespace", "environment", "prompt_name", "prompt_version", "model", "query_type"),
                RAG,
                strict=True,
            )
        ),
        "recorded": True,
        "question": "Why?",
        "answer": "Because.",
        "documents": [
            {"rank": 1, "id": "d-1", "score": 0.5, "text": None},
            {"rank": 2, "id": "d-2", "score": None, "text": None},
        ],
        "comment": "No.",
        "correction": {"original": "teh", "corrected": "the"},
        "reasons": ["wrong", "outdated", "typo"],
    }
    assert [vote["signal"] for vote in votes] == ["thumbs", "copy", "text"]
    assert votes[0] == {
        "feedback_id": "f1",
        "signal": "thumbs",
        "kind": "explicit",
        "sentiment": "negative",
        "previous_sentiment": "unset",
        "label": "down",
        "score": 0.0,
        "confidence": None,
        "reasons": ["wrong", "outdated"],
        "at": "2027-01-15T08:00:01Z",
        "submitter": "",
        "revises": None,
        "source": "capture",
        "standing": True,
        "comment": "No.",
        "correction": None,
    }
    assert votes[2]["correction"] == {"original": "teh", "corrected": "the"}


def test_bad_is_a_persons_word_against_an_answer_and_a_correction(store):
    store.write(
        batch(
            *(interaction(number) for number in range(1, 8)),
            *(bad(1), feedback(2, "f2"), feedback(3, "f3", sentiment="neutral")),
            bad(4, signal="rephrase", kind="implicit"),
            bad(5, signal="text", kind="correction"),
            feedback(6, "f6", signal="text", kind="correction"),
            *(bad(7), feedback(7, "g7", 5, sentiment="retracted", previous_sentiment="negative", revises="f7")),
        )
    )
    assert numbers(answers(store)) == [5, 1]
    assert numbers(answers(store, feedback="good")) == [2]
    assert numbers(answers(store, feedback="any")) == [6, 5, 4, 3, 2, 1]
    assert numbers(answers(store, feedback="all")) == [7, 6, 5, 4, 3, 2, 1]
    assert numbers(answers(store, signal="rephrase")) == [4]
    assert numbers(answers(store, feedback="good", signal="text")) == [6]
    assert numbers(answers(store, feedback="all", signal="text")) == [6, 5]
    assert answers(store, feedback="all").rows[0].feedback[0].sentiment == "retracted"


def test_a_vote_that_changed_counts_by_what_it_is_now(store):
    changed = feedback(1, "g", 5, previous_sentiment="negative", revises="f1", reasons=("better",))
    store.write(batch(interaction(1), bad(1, reasons=("wrong",)), changed, words(bad(1), "Wrong price.")))
    assert answers(store).rows == ()
    (row,) = answers(store, feedback="good").rows
    assert (row.reasons, row.comment, len(row.feedback)) == (("better",), None, 1)
    assert numbers(answers(store, feedback="good", reason="better")) == [1]
    assert numbers(answers(store, feedback="good", reason="wrong")) == []


def test_a_comment_stays_where_a_later_detail_repeats_the_vote(store):
    first = bad(1)
    detail = bad(1, "g", 5, previous_sentiment="negative", revises="f1", reasons=("wrong",))
    store.write(batch(interaction(1), first, detail, words(first, "No.")))
    (row,) = answers(store).rows
    assert (row.comment, row.reasons) == ("No.", ("wrong",))
    taken_back = feedback(
        1, "h", 6, sentiment="retracted", previous_sentiment="negative", revises="g", reasons=("wrong",)
    )
    store.write(batch(taken_back, words(taken_back, "Sorry.")))
    (row,) = answers(store, feedback="all").rows
    assert (row.comment, row.reasons) == (None, ())


def test_words_and_texts_that_were_sent_twice_are_told_once(store):
    vote = bad(1)
    again = vote._replace(at_ns=vote.at_ns + SECOND)
    for one in (vote, again):
        store.write(batch(interaction(1), text(1, "Why?"), one, words(one, "No.")))
    (row,) = answers(store, search="no.").rows
    assert [(vote.feedback_id, vote.comment) for vote in row.feedback] == [("f1", "No.")]


def test_texts_of_the_answer_itself_count_before_those_below_it(store):
    below = {"of": span(2), "parent": span(1), "started_ns": STARTED - SECOND}
    store.write(batch(interaction(1), text(1, "Mine?", None), text(1, "Rewritten?", "So.", **below)))
    (row,) = answers(store, feedback="all").rows
    assert (row.question, row.answer) == ("Mine?", "So.")


def test_below_an_answer_the_first_question_and_the_last_answer_count(store):
    store.write(
        batch(
            interaction(1),
            *(raw(1), raw(2, of=1, parent=1)),
            *(raw(number, of=1, parent=2) for number in (3, 4)),
            text(1, "Second?", "Second.", of=span(4), started_ns=STARTED + 2 * SECOND),
            text(1, "First?", "First.", of=span(3), started_ns=STARTED + SECOND),
            text(1, "Aside?", "Aside.", of=span(9), started_ns=STARTED),  # of no known parent
        )
    )
    (row,) = answers(store, feedback="all").rows
    assert (row.question, row.answer) == ("First?", "Second.")
    assert numbers(answers(store, feedback="all", search="aside")) == []


def test_a_circle_of_parents_ends(store):
    loop = [raw(2, of=1, parent=3), raw(3, of=1, parent=2)]
    store.write(batch(interaction(1), *loop, text(1, "Why?", of=span(2))))
    (row,) = answers(store, feedback="all").rows
    assert row.question is None


def test_two_answers_of_one_trace_have_texts_of_their_own(store):
    other = interaction(2)._replace(trace_id=trace(1))
    store.write(batch(interaction(1), other, text(1, "One?"), text(1, "Two?", of=span(2))))
    assert [row.question for row in answers(store, feedback="all").rows] == ["Two?", "One?"]
    assert numbers(answers(store, feedback="all", search="two")) == [2]


def test_long_texts_are_shortened_and_found_beyond_that(store):
    store.write(batch(interaction(1), text(1, "q" * SHORT, "a" * SHORT + "needle")))
    (row,) = answers(store, feedback="all", search="NEEDLE").rows
    assert row.question == "q" * SHORT
    assert row.answer == "a" * (SHORT - 1) + "…"


def test_of_a_long_question_the_beginning_and_the_end_are_told(store):
    store.write(batch(interaction(1), text(1, "Answer from the passages.\n" + "p" * 9 * SHORT + "\n\nWhat is it?")))
    (row,) = answers(store, feedback="all").rows
    assert row.question.startswith("Answer from the passages.\npp")
    assert row.question.endswith("pp\n\nWhat is it?")
    assert len(row.question) == SHORT


def test_an_answer_that_was_sampled_out_is_known_by_its_feedback(store):
    vote = bad(1, service="bot", target_sampled=False)
    store.write(batch(vote, words(vote, "No.")))
    for page in (answers(store), answers(store, feedback="all"), answers(store, search="no")):
        (row,) = page.rows
        assert (row.recorded, row.service, row.question, row.comment) == (False, "bot", None, "No.")
        assert row.started_at == START + dt.timedelta(seconds=1)
    assert answers(store, Filter(service="rag")).rows == ()


@pytest.mark.parametrize("which", ["bad", "all"])
def test_pages_go_on_where_the_last_one_ended_whatever_has_one_time(store, which):
    rows = [interaction(number, started_ns=STARTED + number // 5 * SECOND) for number in range(1, 24)]
    store.write(batch(*rows, *(bad(number) for number in range(1, 24)), bad(50, target_sampled=False)))
    seen, after = [], None
    while after is not None or not seen:
        page = answers(store, feedback=which, limit=4, after=after)
        seen += numbers(page)
        after = page.next
    assert seen[:3] == [23, 22, 21]
    assert sorted(seen) == [*range(1, 24), 50]
    assert len(seen) == 24


def test_the_last_page_says_so_even_if_it_is_full(store):
    store.write(batch(*(interaction(number) for number in range(4)), *(bad(number) for number in range(4))))
    first = answers(store, limit=2)
    assert answers(store, limit=2, after=first.next).next is None
    assert answers(store, limit=4).next is None


def test_new_answers_do_not_move_the_pages_behind(store):
    store.write(batch(*(interaction(number) for number in range(4)), *(bad(number) for number in range(4))))
    first = answers(store, limit=2)
    store.write(batch(interaction(9, started_ns=STARTED + SECOND), bad(9)))
    assert numbers(answers(store, limit=2, after=first.next)) == [1, 0]


@pytest.mark.parametrize(
    "found",
    ["PRICE", "price is", "100%", "a_b", "(x)", "ünï", "åäö", "d'or", "C:\\temp", ".*", "🙂", "a\nb", "\\", "_"],
)
def test_search_takes_any_text_as_it_is_and_only_its_case_does_not_matter(store, found):
    said = "The price is 100% a_b (x) ÜNÏ ÅÄÖ D'or c:\\TEMP .* 🙂 A\nB"
    store.write(batch(interaction(1), interaction(2), text(1, said), text(2, "the pr ice a-b (y)")))
    assert numbers(answers(store, feedback="all", search=found)) == [1]


@pytest.mark.parametrize("missing", ["pricey", "10%", "a.b", "%", "'; DROP TABLE feedback; --", "\ud800", "\0"])
def test_search_finds_nothing_where_the_text_is_not(store, missing):
    vote = bad(1)
    store.write(batch(interaction(1), text(1, "The price is 100 a_b"), vote, words(vote, "price", "price", "price")))
    assert answers(store, search=missing).rows == answers(store, feedback="all", search=missing).rows == ()
    assert numbers(answers(store)) == [1]


@pytest.mark.parametrize("place", ["question", "answer", "comment", "original", "corrected"])
def test_search_looks_at_all_that_people_and_the_system_wrote(store, place):
    vote = bad(1)
    said = {place: "A needle."}
    of_text = {name: said.get(name) for name in ("question", "answer")}
    of_words = {name: said.get(name) for name in ("comment", "original", "corrected")}
    store.write(batch(interaction(1), text(1, **of_text), vote, words(vote, **of_words), interaction(2), bad(2)))
    assert numbers(answers(store, search="needle")) == [1]


def test_search_goes_beyond_the_newest_and_on_to_the_next_page(store, monkeypatch):
    monkeypatch.setattr(_search, "NEAR", 3)
    rows = [interaction(number, started_ns=STARTED + number * SECOND) for number in range(12)]
    texts = [
        text(number, "needle" if number % 3 == 0 else "hay", started_ns=STARTED + number * SECOND)
        for number in range(12)
    ]
    store.write(batch(*rows, *texts, *(bad(number) for number in range(0, 12, 2))))
    since = Filter(since=START + dt.timedelta(seconds=1), until=START + dt.timedelta(seconds=9))
    for chosen, which, expected in (
        (Filter(), "all", [9, 6, 3, 0]),
        (Filter(), "bad", [6, 0]),
        (since, "all", [6, 3]),
        (since, "bad", [6]),
    ):
        first = answers(store, chosen, feedback=which, search="Needle", limit=1)
        rest = (
            answers(store, chosen, feedback=which, search="Needle", limit=3, after=first.next) if first.next else None
        )
        assert numbers(first) + (numbers(rest) if rest else []) == expected
    assert numbers(answers(store, feedback="all", search="needles", limit=1)) == []


def walk(store, **asked):
    """All pages of a search: of each its answers, and whether it ended before it was full."""
    pages, after = [], None
    while not pages or after:
        page = answers(store, after=after, **asked)
        assert len(page.rows) == asked["limit"] or page.next is None or page.looked_back_to is not None
        pages.append((numbers(page), page.looked_back_to))
        assert page.next is None or page.next != after, "goes on for ever"
        after = page.next
        assert after or page.looked_back_to is None
    return pages


@pytest.mark.parametrize("limit", range(1, 7))
@pytest.mark.parametrize(("most", "passed"), [(100, 1000), (7, 1000), (100, 7), (1, 1)])
def test_search_misses_nothing_where_one_step_back_in_time_ends_and_the_next_begins(
    store, monkeypatch, limit, most, passed
):
    monkeypatch.setattr(_search, "NEAR", 3)
    monkeypatch.setattr(_search, "MOST", most)
    monkeypatch.setattr(_search, "PASSED", passed)
    rows, expected = [], []
    for number in range(180):  # two at each moment; of every third nothing is recorded but what was said of it
        seconds = number // 2
        word = "hay" if seconds % 12 else "Needle"
        if number % 3:
            at = STARTED + seconds * SECOND
            rows += [interaction(number, started_ns=at), text(number, word, started_ns=at)]
        else:
            vote = bad(number, seconds=seconds)
            rows += [vote, words(vote, word)]
        if word == "Needle":
            expected.insert(0, number)
    store.write(batch(*rows))
    pages = walk(store, feedback="all", search="NEEDLE", limit=limit)
    assert [number for some, _ in pages for number in some] == expected


@pytest.mark.parametrize(("newest", "seconds"), [(299, 1), (298, 1), (290, 2)])
def test_a_text_that_some_answers_have_is_found_without_looking_farther(store, monkeypatch, newest, seconds):
    monkeypatch.setattr(_search, "NEAR", 3)
    next_, asked = _search.Walk._next, []

    def spied(self, after, oldest_us, search):
        asked.append(oldest_us)
        return next_(self, after, oldest_us, search)

    monkeypatch.setattr(_search.Walk, "_next", spied)
    rows = []
    for number in range(300):
        at = STARTED + number * SECOND
        word = "needle" if number in {newest, newest - 1} else "hay"
        rows += [interaction(number, started_ns=at), text(number, word, started_ns=at)]
    store.write(batch(*rows))
    assert numbers(answers(store, feedback="all", search="needle", limit=1)) == [newest]
    assert asked == [STARTED // 1000 + 297_000_000, STARTED // 1000][:seconds]


def test_a_page_looks_for_a_text_in_so_many_answers_and_says_how_far(store, monkeypatch):
    """And the next one goes on there, up to the oldest answer."""
    monkeypatch.setattr(_search, "NEAR", 3)
    monkeypatch.setattr(_search, "MOST", 10)
    rows = []
    for number in range(25):
        at = STARTED + number * SECOND
        rows += [interaction(number, started_ns=at), text(number, "hay" if number % 12 else "needle", started_ns=at)]
    store.write(batch(*rows))
    first, second, last = walk(store, feedback="all", search="needle", limit=5)
    assert first == ([24], START + dt.timedelta(seconds=15))
    assert second == ([12], START + dt.timedelta(seconds=5))
    assert last == ([0], None)
    assert walk(store, feedback="all", search="hays", limit=5)[0] == ([], START + dt.timedelta(seconds=15))
    one = Filter(since=START + dt.timedelta(seconds=15))
    assert walk(store, filter=one, feedback="all", search="needle", limit=5) == [([24], None)]


@pytest.mark.parametrize(("passed", "ends"), [(20, [20]), (38, [2]), (39, [])])
def test_a_search_of_few_answers_ends_where_it_has_passed_many_texts_of_others(store, monkeypatch, passed, ends):
    """Unless none of those few is older."""
    monkeypatch.setattr(_search, "PASSED", passed)
    rows = [bad(number, seconds=number) for number in (1, 35)]
    for number in range(40):
        at = STARTED + number * SECOND
        rows += [interaction(number, started_ns=at), text(number, "needle", started_ns=at)]
    store.write(batch(*rows))
    store.settle()
    pages = walk(store, search="needle", limit=5)
    assert [number for some, _ in pages for number in some] == [35, 1]
    assert [to and (to - START).seconds for _, to in pages][:-1] == ends


def test_a_search_goes_on_where_more_have_one_time_than_a_page_looks_through(store, monkeypatch):
    monkeypatch.setattr(_search, "NEAR", 1)
    monkeypatch.setattr(_search, "MOST", 2)
    rows = [interaction(number, started_ns=STARTED + (number > 8) * SECOND) for number in range(1, 10)]
    store.write(batch(*rows, text(1, "needle"), text(7, "needle")))
    assert [number for some, _ in walk(store, feedback="all", search="needle", limit=1) for number in some] == [7, 1]


def test_of_one_trace_a_page_reads_only_so_many_answers(store, monkeypatch):
    """Of thousands in one trace each may have the text, as far as can be told without reading them."""
    monkeypatch.setattr(_answers, "_ROUNDS", 2)
    rows = [interaction(number)._replace(trace_id=trace(1)) for number in range(1, 10)]
    store.write(batch(*rows, text(1, "needle")))
    pages = walk(store, feedback="all", search="needle", limit=1)
    assert [some for some, _ in pages] == [[], [], [1]]
    assert [to for _, to in pages] == [START, START, None]


def test_a_list_without_a_text_to_look_for_is_never_cut_short(store, monkeypatch):
    monkeypatch.setattr(_search, "MOST", 1)
    monkeypatch.setattr(_search, "PASSED", 1)
    store.write(batch(*(interaction(number) for number in range(9)), *(bad(number) for number in range(9))))
    for which in ("bad", "all"):
        assert answers(store, feedback=which, limit=9).looked_back_to is None
        assert len(answers(store, feedback=which, limit=9).rows) == 9


def test_answers_of_several_weeks_are_one_list(store):
    for week in range(3):
        vote = bad(week)
        rows = interaction(week, started_ns=STARTED + week * WEEK), text(week, "Why?", started_ns=STARTED + week * WEEK)
        store.write(batch(*rows, vote, words(vote, f"No {week}."), received_ns=STARTED + week * WEEK))
    assert [row.comment for row in answers(store, search="why").rows] == ["No 2.", "No 1.", "No 0."]
    assert len(store.content_databases()) == 3


def test_a_new_store_has_no_answers(store):
    assert answers(store, feedback="all").to_json() == {"rows": [], "next": None, "looked_back_to": None}
    assert answers(store, feedback="all", search="x").rows == answers(store, search="x").rows == ()


def test_search_in_a_store_that_never_had_content_finds_nothing(store, monkeypatch):
    monkeypatch.setattr(_search, "NEAR", 1)
    store.write(batch(interaction(1), interaction(2), bad(1), bad(2)))
    assert store.content_databases() == []
    assert answers(store, search="x", limit=1).rows == answers(store, feedback="all", search="x", limit=1).rows == ()


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"feedback": "worst"}, "feedback"),
        ({"limit": 0}, "limit"),
        ({"limit": 201}, "limit"),
        ({"after": "1"}, "after"),
        ({"after": f"1-{trace(1)}-{span(1)}x"}, "after"),
        ({"search": "x" * 1001}, "search"),
        ({"signal": "x" * 1001}, "signal"),
        ({"reason": "x" * 1001}, "reason"),
    ],
)
def test_what_cannot_be_understood_is_named(store, asked, field):
    with pytest.raises(InvalidQueryError, match=f"^{field} ") as caught:
        answers(store, **asked)
    assert caught.value.field == field
