"""What the README and CONTRIBUTING say is so: their examples run, their files exist, their tables are complete."""

import re
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from otel_feedback import _record
from otel_feedback.cli.app import app
from otel_feedback.testing import telemetry

REPOSITORY = Path(__file__).parent.parent.parent
PAGES = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"]


def _python_blocks(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (REPOSITORY / page).read_text(), flags=re.DOTALL)


def test_the_readme_s_examples_run() -> None:
    """The ten-line example and the one for services that set OpenTelemetry up in code do what they say.

    The service before them runs in tests/embedded/test_readme_service.py.
    """
    _, ten_lines, in_code = _python_blocks("README.md")
    sent: list[object] = []

    class Delivery:
        def submit(self, carrier: object) -> None:
            sent.append(carrier)

    from otel_feedback import _runtime

    with telemetry():
        from opentelemetry.sdk.trace import TracerProvider

        names: dict[str, object] = {}
        codec = _runtime.codec()
        assert codec is not None
        recorder = _record.Recorder(codec=codec, settings=_runtime.settings(), delivery=Delivery())
        provider = TracerProvider(shutdown_on_exit=False)
        with _record.recorder_in_use(recorder):
            # The reader's service has a provider; here it is handed to the one line that would find it.
            exec(  # noqa: S102 - our own page
                ten_lines.replace('query_type="how-to"', 'query_type="how-to", tracer_provider=provider'),
                names | {"provider": provider},
                names,
            )
        assert len(sent) == 1
        exec(in_code, {})  # noqa: S102 - our own page
        from otel_feedback import FeedbackInstrumentor

        FeedbackInstrumentor().uninstrument()
        provider.shutdown()


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_a_page_names_exists(page: str) -> None:
    """A reader who follows a link or opens a named file finds it."""
    text = (REPOSITORY / page).read_text()
    links = {link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link}
    paths = set(re.findall(r"`((?:src|tests|docs|collector|dashboards|examples|stack)/[^`*\s]*)`", text))
    missing = [name for name in sorted(links | paths) if not (REPOSITORY / name).exists()]
    assert not missing
    globs = set(re.findall(r"`(tests/[^`\s]*\*[^`\s]*)`", text))
    assert not [pattern for pattern in sorted(globs) if not list(REPOSITORY.glob(pattern))]


def test_contributing_names_every_module_of_the_library() -> None:
    """A newcomer finds the file for each thing in the table."""
    text = (REPOSITORY / "CONTRIBUTING.md").read_text()
    source = REPOSITORY / "src" / "otel_feedback"
    modules = {path.stem for path in source.glob("*.py")} | {path.name for path in source.iterdir() if path.is_dir()}
    modules -= {"__pycache__"}
    missing = [name for name in sorted(modules) if f"`{name}`" not in text and f"`{name}/`" not in text]
    assert not missing


def test_the_readme_tells_things_in_the_order_in_which_they_are_needed() -> None:
    """One sentence, a first vote, the library, what to type, what is emitted, settings, privacy, development."""
    text = (REPOSITORY / "README.md").read_text()
    opening, _, _ = text.partition("\n## ")
    title, sentence = opening.strip().split("\n\n")
    assert title == "# otel-feedback"
    assert sentence.count(". ") == 0
    assert sentence.endswith(".")
    headings = re.findall("^## (.*)$", text, re.MULTILINE)
    wanted = [
        "Your first vote",
        "Your own templates",
        "Three commands",
        "When you outgrow it",
        "What is emitted",
        "Settings and commands",
    ]
    wanted += ["Privacy", "Development"]
    assert [heading for heading in headings if heading in wanted] == wanted
    assert headings[0] == wanted[0]


def test_the_first_screen_of_the_readme_is_the_way_to_a_vote() -> None:
    """What it is, then install, what stands for a provider, start, ask, judge, within 40 lines, each in its terminal.

    What is typed is quiet but for what it answers.
    """
    text = (REPOSITORY / "README.md").read_text()
    screen = text.splitlines()[:40]
    typed = [line.strip() for line in screen if line.startswith("    ")]
    starts = (
        "pip install ",
        "uvicorn model_provider.app:app",
        "export MODEL=",
        "otel-feedback up",
        "otel-feedback run -- uvicorn app:app",
        "curl -s ",
        "handle=",
        "curl -s ",
    )
    assert [start for line, start in zip(typed, starts, strict=True) if line.startswith(start)] == list(starts)
    assert not re.findall(r"curl (?!-s)", text)
    assert [line.partition("# ")[2][:10] for line in typed[1:5]] == [f"terminal {number}" for number in (0, 2, 1, 2)]


def test_the_readme_has_every_command() -> None:
    """Its table has the commands of `otel-feedback`, no more and no less."""

    def commands(command: Any, name: str) -> set[str]:
        below = getattr(command, "commands", None)
        return set().union(*(commands(one, f"{name} {key}") for key, one in below.items())) if below else {name}

    table = re.findall(r"^\| `(otel-feedback [^`]+)` \|", (REPOSITORY / "README.md").read_text(), re.MULTILINE)
    assert sorted(table) == sorted(commands(get_command(app), "otel-feedback"))


@pytest.mark.parametrize("page", [*PAGES, "examples/README.md", "collector/README.md", "dashboards/README.md"])
def test_every_target_that_a_page_names_is_there(page: str) -> None:
    """Whoever types `make ...` as a page says is understood, and `make help` has a line on it."""
    targets = set(re.findall("^([a-z-]+):.*## ", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:`|^    )make ([a-z-]+)", (REPOSITORY / page).read_text(), re.MULTILINE))
    assert named <= targets
