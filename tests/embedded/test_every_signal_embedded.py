"""Every signal from the browser or the service to its carrier, its row and its number in the one process."""

import contextlib
from collections.abc import Callable, Iterator

import pytest
from examples.servers import free_up_ports
from tests.chromium import browser, chromium  # noqa: F401 - fixtures of this module
from tests.stack.chat_services import Chats, settled
from tests.stack.reader_at_the_page import Reader
from tests.stack.signal_cases import BEFORE, CASES, EXPLICIT, Act
from tests.stack.signal_truth import changes, expected_changes, rows, stored

from otel_feedback import semconv

HERE = {name: case for name, case in CASES.items() if case.texts or case.source != semconv.SOURCE_CAPTURE}
"""On a loopback address the process keeps what people write, so the cases of a capture that doesn't are left out."""


@pytest.fixture(scope="module")
def chats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chats]:
    """Services that send to the process, which takes feedback in, too; each case's template has ten votes."""
    up = free_up_ports()
    made = Chats(tmp_path_factory.mktemp("embedded"), up, otlp=up.url, captures=dict.fromkeys((True, False), up.url))
    with contextlib.ExitStack() as ending:
        made.launch(ending)
        made.await_ready()
        made.vote_all(list(HERE), BEFORE)
        for template in HERE:
            assert settled(lambda template=template: judged(made, template), (7, 3, 10)) == (7, 3, 10)
        yield made


@pytest.mark.parametrize("name", HERE)
def test_every_signal_comes_to_its_row_and_its_number(name: str, chats: Chats, request: pytest.FixtureRequest) -> None:
    """What was done is stored once, as its kind; only a person's opinion moves satisfaction."""
    case, before = HERE[name], chats.line(name)
    page: Callable[[], Reader] = lambda: Reader(request.getfixturevalue("browser"), chats)  # noqa: E731

    handle = case.act(Act(chats, name, page, case.texts))

    assert settled(lambda: stored(chats, handle), rows(case)) == rows(case)
    expected = expected_changes(case, "store")
    assert settled(lambda: changes(before, chats.line(name)), expected) == expected
    assert (chats.line(name).shares == before.shares) is (case.kind != EXPLICIT)
    told = [span["attributes"] for span in chats.stored(handle)["spans"] if span["is_feedback"]]
    assert [each[semconv.FEEDBACK_SIGNAL] for each in told] == [case.signal] * len(case.said)
    assert any(town in str(chats.stored(handle)) for town in ("Valmar", "Ostrava")) is case.keeps_words


def judged(chats: Chats, template: str) -> tuple[int, ...]:
    """How a template was judged before: up, down, and the answers that were."""
    counts = chats.line(template).counts
    return counts["positive"], counts["negative"], counts["voted"]
