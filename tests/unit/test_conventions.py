"""``docs/conventions.md`` is held against ``semconv.py``, both ways: names, types, meanings."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from otel_feedback import semconv

PAGE = (Path(__file__).resolve().parents[2] / "docs/conventions.md").read_text()


@dataclass(frozen=True)
class Documented:
    """Constants that share one docstring, in the order of the module."""

    constants: tuple[str, ...]
    meaning: str

    @property
    def values(self) -> tuple[Any, ...]:
        return tuple(getattr(semconv, name) for name in self.constants)


def documented() -> Iterator[Documented]:
    """Yield what semconv.py says: constants up to the docstring that follows them."""
    waiting: list[str] = []
    for node in ast.parse(Path(semconv.__file__).read_text()).body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            waiting.append(node.target.id)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and waiting:
            meaning = " ".join(str(node.value.value).split()).replace("``", "`")
            yield Documented(tuple(waiting), meaning)
            waiting = []
    assert not waiting, "the last constants of semconv.py have no docstring"


def rows() -> list[list[str]]:
    """Return the cells of every row of every table of the page, headings left out."""
    lines = [line for line in PAGE.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_every_constant_of_semconv_has_a_docstring() -> None:
    """A name without a meaning is not a convention."""
    public = {name for name in vars(semconv) if name.isupper()}
    assert {name for one in documented() for name in one.constants} == public


def test_page_has_every_name_of_semconv_and_no_other() -> None:
    """What the page lists first in a row are the names and values of semconv, each once."""
    listed = [name for row in rows() for name in re.findall(r"`([^`]+)`", row[0])]
    strings = [value for one in documented() for value in one.values if isinstance(value, str)]
    assert sorted(listed) == sorted(strings)


def test_page_says_of_each_name_what_semconv_says() -> None:
    """The meaning beside a name is its docstring."""
    page = {tuple(re.findall(r"`([^`]+)`", names)): meaning for names, meaning in rows()}
    for one in documented():
        names = tuple(value for value in one.values if isinstance(value, str))
        if names:
            assert page[names] == one.meaning


def test_page_has_the_expressions_of_content() -> None:
    """The regular expressions that tell content are on the page, in order, and no others."""
    block = re.search(r"```text\n(.*?)```", PAGE, re.DOTALL)
    assert block
    assert tuple(block[1].split()) == semconv.CONTENT_ATTRIBUTES + semconv.CONTENT_EVENTS


def test_page_has_the_labels_of_every_counter() -> None:
    """Behind each group of labels stand the attributes that semconv lists for it."""
    for title, dimensions in (
        ("every counter", semconv.SERVICE_DIMENSIONS),
        ("by template", semconv.TEMPLATE_DIMENSIONS),
        ("by model", semconv.MODEL_DIMENSIONS),
        ("of carriers", semconv.TRANSITION_DIMENSIONS),
    ):
        line = re.search(rf"^- {title}: (.+?)\.$", PAGE, re.MULTILINE | re.DOTALL)
        assert line, title
        assert tuple(re.findall(r"`([^`]+)`", line[1])) == dimensions
