"""What the demo shows of its numbers: the comparison finds every difference, the tables rank and add up."""

import io
from collections import Counter

import pytest
from examples.satisfaction import (
    PAGES,
    Line,
    Lines,
    agreement,
    expected,
    find_differences,
    show_lines,
    standing,
    version_of,
)
from examples.users import Row, Truth, show_truth
from rich.console import Console, RenderableType

from otel_feedback._prompts import fingerprint

TERSE = next(prompt for prompt in PAGES["/ask"] if prompt.name == "terse")
TUTOR = next(prompt for prompt in PAGES["/ask/stream"] if prompt.name == "tutor")
KEY = ("/ask", version_of(TERSE.instruction))
COUNTS = {"answers": 9, "voted": 5, "positive": 4, "negative": 2, "changes": 3, "copy": 1}
STANDING = {"standing positive": 2, "standing negative": 1}


def truth() -> Truth:
    row = Row(9, 6, voted=5, positive=4, negative=2, changed=1, retracted=2, asked_again=3, implicit=Counter(copy=1))
    row.standing_positive, row.standing_negative = STANDING.values()
    return Truth(rows={("/ask", "terse"): row})


def lines(**changed: int) -> Lines:
    return {KEY: Line(*KEY, counts={**COUNTS, **changed})}


def written(console: Console) -> list[str]:
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    return [line.rstrip() for line in lines]


def shown(what: RenderableType, *, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(what)
    return written(console)


def test_the_example_computes_a_fingerprint_as_the_library_does() -> None:
    """The versions that the example expects are those that an undeclared template gets."""
    versions = [version_of(prompt.instruction) for prompts in PAGES.values() for prompt in prompts]
    assert versions == [fingerprint(prompt.instruction) for prompts in PAGES.values() for prompt in prompts]
    assert len(set(versions)) == 4


def test_equal_counts_are_no_difference() -> None:
    """Retractions are changes of mind; how votes stand is compared where the backend says."""
    assert expected(truth()) == {KEY: COUNTS | STANDING | {"asked again": 3}}
    assert find_differences(lines(), truth(), "Prometheus") == []
    assert find_differences(lines(**STANDING), truth(), "the API") == []


@pytest.mark.parametrize("name", sorted({**COUNTS, **STANDING}))
def test_a_count_that_is_off_by_one_is_told(name: str) -> None:
    """Every single count is compared."""
    right = {**COUNTS, **STANDING}
    (difference,) = find_differences(lines(**{**right, name: right[name] + 1}), truth(), "the API")
    assert difference == f"/ask {KEY[1]}, {name}: the API {right[name] + 1}, users {right[name]}"


def test_the_service_finds_no_more_questions_than_were_asked_again() -> None:
    """What it misses is no difference, for it can't know all; one that nobody asked again is."""
    assert find_differences(lines(rephrase=3), truth(), "the API") == []
    assert find_differences(lines(rephrase=4), truth(), "the API") == [
        f"/ask {KEY[1]}, rephrase: the API 4, users 3 at most"
    ]


def test_lines_that_only_one_side_has_are_differences() -> None:
    """A template that Prometheus lacks, and one that no user saw, under a name of nobody's."""
    assert find_differences({}, truth(), "Prometheus")[0].endswith("answers: Prometheus 0, users 9")
    unknown = {("/ask", "unknown"): Line("/ask", "unknown", counts=dict(COUNTS))}
    told = find_differences(unknown, Truth(), "Prometheus")
    assert any(found.startswith("/ask unknown, answers: Prometheus 9") for found in told)
    assert find_differences({**lines(), KEY: Line(*KEY, counts={**COUNTS, "accept": 1})}, truth(), "Prometheus")


def ranked() -> Lines:
    counts = {**COUNTS, "answers": 1412, "voted": 142, "positive": 80, "negative": 120}
    good = Line("/ask/stream", version_of(TUTOR.instruction), counts, {"satisfaction": 0.8, "low": 0.6, "high": 0.9})
    bad = Line(*KEY, counts, {"satisfaction": 0.4, "low": 0.2, "high": 0.616})
    few = Line("/few", "c" * 12, COUNTS)
    return {(line.template, line.version): line for line in (few, good, bad)}


def test_the_table_is_worst_first_and_fits_a_narrow_terminal() -> None:
    """The upper bound of the interval ranks; a line without one comes last and has no number; nothing is cut."""
    assert shown(show_lines(ranked()), width=80)[1:6] == [
        " page         prompt  version          voted on  opinions    satisfaction",
        f" {'─' * 72}",
        " /ask         terse   e8cacefe5611  142 of 1412       200  40 % (20\N{EN DASH}62 %)",
        " /ask/stream  tutor   91034e46a7ae  142 of 1412       200  80 % (60\N{EN DASH}90 %)",
        " /few         ?       cccccccccccc       5 of 9         6      not enough",
    ]


def test_the_sentence_of_agreement_adds_the_rows_up() -> None:
    """Its totals are those that are compared; opinions are those up and those down."""
    assert agreement(truth(), "Prometheus", lines(rephrase=2)).splitlines() == [
        "Prometheus and the users agree on every count, row by row. In total:",
        "  9 answers, 5 of them voted on",
        "  6 opinions, 4 up and 2 down",
        "  3 votes changed or taken back",
        "  1 answers copied",
        "  3 questions asked again in other words, 2 of them found by the service itself",
    ]
    assert standing(truth()) == "  3 votes as they stand now, 2 up and 1 down: that is what the page shows"


def test_what_the_users_know_adds_up_before_the_reader() -> None:
    """Voted on and changed make the opinions; questions and those asked again make the answers; 80 columns do."""
    known = Truth(rows={**truth().rows, ("/ask/stream", "thorough"): Row(1000, 250, asked_again=106)})
    console = Console(file=io.StringIO(), width=80, color_system=None)
    show_truth(known, console)
    assert written(console) == [
        "",
        " page         prompt    answers  right  voted on  changed  opinions  up  down",
        f" {'─' * 76}",
        " /ask         terse           9   67 %         5        1         6   4     2",
        " /ask/stream  thorough     1000   25 %         0        0         0   0     0",
        "",
        " all                       1009   25 %         5        1         6   4     2",
        "",
        "900 questions, of which 109 were asked again in other words: 1009 answers.",
        "A changed vote counts again, as what it became:",
        "  voted on + changed = opinions = up + down",
        "2 votes were taken back, 0 explained by a comment.",
    ]
