"""docs/widget.md says what the widget is: its attributes, parts, texts, outcomes and bounds, as its source has them."""

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PAGE = (REPOSITORY / "docs/widget.md").read_text()
SOURCE = {path.stem: path.read_text() for path in (REPOSITORY / "widget/src").glob("*.ts")}


def section(title):
    """One section of the page."""
    return PAGE.split(f"## {title}\n")[1].split("\n## ")[0]


def first_cells(title):
    """What is written as code in the first column of a section's tables."""
    rows = [line.split(" | ")[0] for line in section(title).splitlines() if line.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`([\w-]+)`", row)}


def test_every_attribute_is_described():
    """What the source reads from the element, and nothing else."""
    read = re.findall(r"(?:getAttribute|hasAttribute)\(\"([\w-]+)\"\)", SOURCE["element"] + SOURCE["notice"])
    read += re.findall(r"\"(edited-for|for|reasons|reasons-positive)\"", SOURCE["element"])
    assert set(read) == first_cells("Attributes")


def test_every_part_is_described():
    """The parts that a site can style are those that are drawn."""
    drawn = set(re.findall(r"make\(\"\w+\", \"(\w+)\"", SOURCE["view"]))
    drawn |= set(re.findall(r"(?:button|make)\(\"(reason|link|send)\"", SOURCE["view"]))
    drawn |= {"vote", "icon", "word", "on", "vup", "vdown", "vyes", "vno", "v1", "v5"}
    assert drawn == first_cells("Looks")


def test_every_text_is_named():
    """A site can find the name of whatever it wants to replace."""
    names = re.search(r"NAMES = \"([\w ]+)\"", SOURCE["texts"])[1].split()
    assert [name for name in names if f"`{name}`" not in section("Looks")] == []


def test_every_outcome_is_named():
    """The event's outcomes are those of the type."""
    outcomes = re.search(r"type Outcome = (.*);", SOURCE["queue"])[1]
    assert [name for name in re.findall(r"\w+", outcomes) if f"`{name}`" not in section("Helpers")] == []


@pytest.mark.parametrize(
    ("module", "code", "title", "text"),
    [
        ("queue", "MOST = 50;", "Nothing lost", "At most 50 wait"),
        ("queue", "LONGEST = 7 * 864e5;", "Nothing lost", "for a week at most"),
        ("queue", "1000 * 2 ** failures++, 3e5", "Nothing lost", "after 1, 2, 4 s up to 5 minutes"),
        ("answers", "MOST = 300;", "What the browser keeps", "300 answers at most"),
        ("element", "LONGEST = 8000;", "Attributes", "up to 8,000 characters"),
        ("measure", "STEPS = 2e6;", "What is sent", "over two million pairs"),
        ("storage", 'PREFIX = "otel-feedback:";', "What the browser keeps", "All keys begin with `otel-feedback:`"),
    ],
)
def test_bounds_are_those_of_the_source(module, code, title, text):
    """A number on the page is the number in the source."""
    assert code in SOURCE[module]
    assert text in section(title).replace("\n", " ")
