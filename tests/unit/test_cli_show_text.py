"""Text of strangers on a terminal: shown, and never obeyed."""
# ruff: noqa: RUF001 - dashes between numbers are en dashes

import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from otel_feedback.cli import _show

HOSTILE = {
    "escape": "\x1b[2J\x1b[H",
    "osc": "\x1b]8;;https://evil.example\x1b\\click\x1b]8;;\x1b\\ \x1b]0;title\x07 \x1b]52;c;ZXZpbA==\x07",
    "c1": "\x9b31m \x9d0;title\x9c",
    "link": "[link=https://evil.example]click[/link]",
    "closing": "[/x] [/] [bold",
    "bidi": "\u202eevil\u202c \u2066x\u2069 \u200f\u200e\u061c",
    "controls": "\r\b\x7f\x00\x05",
    "hidden": "a\u200bb\u2060c\ufeffd\u00ade\U000e0041",
    "lines": "a\nb\u2028c\u2029d\x0be\x85f",
    "surrogate": "\ud800",
    "emoji": ":smile:",
}


def raw(renderable, **options):
    """What a terminal with colours would get."""
    console = Console(force_terminal=True, color_system="truecolor", width=80, legacy_windows=False, **options)
    with console.capture() as capture:
        console.print(renderable)
    return capture.get()


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("lines", [False, True])
def test_a_terminal_gets_nothing_to_obey(text, lines):
    """No escape, no control, no direction of writing; brackets and colons stay as they are."""
    shown = raw(_show.plain(text, lines=lines))
    bad = [each for each in shown if unicodedata.category(each) in ("Cc", "Cf", "Cs", "Zl", "Zp") and each != "\n"]
    assert not bad
    assert shown.count("\n") == 1 or lines
    for visible in ("[link=https://evil.example]click[/link]", "[/x] [/] [bold", ":smile:"):
        assert (visible in text) == (visible in shown)


@given(st.text())
def test_whatever_it_is_nothing_of_it_is_obeyed(text):
    """For any text at all."""
    for lines in (False, True):
        shown = _show.clean(text, lines=lines)
        unsafe = {each for each in shown if unicodedata.category(each) in _show._UNSAFE} - {"\u200c", "\u200d"}
        assert unsafe <= ({"\n"} if lines else set())


def test_what_was_replaced_can_be_seen():
    """A control of ASCII has a sign of its own; the rest has one for all."""
    assert _show.clean("a\x1b[31m\x07\x7f\u202eb") == "a␛[31m␇␡\N{REPLACEMENT CHARACTER}b"


def test_ordinary_text_of_any_language_stays():
    """Joiners too, without which Persian and some emoji can't be written."""
    for text in ("naïve", "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "👩\u200d👩", "中文", "a\u00a0b", "שלום"):
        assert _show.clean(text) == text


def test_lines_stay_where_they_are_wanted():
    """In an answer, and not in a cell."""
    assert _show.clean("a\r\nb\n\tc", lines=True) == "a\nb\n    c"
    assert _show.clean("a\r\nb\n\tc") == "a b  c"


def test_a_long_text_is_cut_with_a_sign():
    """Never in the sign itself."""
    assert _show.plain("abcdef", longest=4).plain == "abc…"
    assert _show.plain("abcd", longest=4).plain == "abcd"


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (5 * 2**20, "5.0 MiB"), (3 * 2**40, "3072.0 GiB"), (None, "–")],
)
def test_sizes_are_in_the_unit_that_suits(count, shown):
    """What isn't known is a dash."""
    assert _show.size(count) == shown


@pytest.mark.parametrize(("share", "shown"), [(0, "0 %"), (0.666, "67 %"), (1, "100 %"), (None, "–")])
def test_shares_are_percentages(share, shown):
    """What isn't known is a dash."""
    assert _show.percent(share) == shown


def test_satisfaction_has_its_interval_or_says_why_not():
    """A number without its interval is shown bare, none as too few."""
    assert _show.interval({"satisfaction": 0.71, "low": 0.58, "high": 0.824}).plain == "71 % (58–82 %)"
    assert _show.interval({"satisfaction": 0.71, "low": None, "high": None}).plain == "71 %"
    assert _show.interval({"satisfaction": None}).plain == "not enough"


def test_durations_are_in_the_unit_that_suits():
    """Given in milliseconds."""
    assert [_show.milliseconds(value) for value in (0.04, 999.9, 1500)] == ["0.0 ms", "999.9 ms", "1.5 s"]


@pytest.fixture
def elsewhere(monkeypatch):
    """A machine whose clock shows another hour than UTC."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("elsewhere")
def test_times_are_in_utc_and_say_so():
    """As on the pages, wherever the machine is; what is no time is shown as it came, without what a terminal obeys."""
    moment = "2026-11-25T09:30:15.123456Z"
    assert _show.when(moment).plain == "2026-11-25 09:30:15 UTC"
    assert _show.when("2026-11-25T10:30:15+01:00", date=False).plain == "09:30:15 UTC"
    assert _show.when(moment, fine=True).plain == "2026-11-25 09:30:15.123 UTC"
    assert _show.when(moment, zone=False).plain == "2026-11-25 09:30:15"
    assert _show.when(None).plain == "never"
    assert _show.when("\x1b[2J").plain == "␛[2J"


def test_what_programs_read_is_plain_ascii(capsys):
    """So that even a terminal that shows it obeys nothing."""
    value = {"text": "".join(HOSTILE.values())}
    _show.print_json(value)
    _show.print_json_line(value)
    shown = capsys.readouterr().out
    assert shown.isascii()
    assert not set(shown) & {"\x1b", "\x07", "\r"}


def test_a_terminal_without_unicode_gets_something(monkeypatch):
    """A character that can't be written is spelled out instead of ending the command."""
    import io
    import sys

    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", write_through=True)
    monkeypatch.setattr(sys, "stdout", stream)
    _show.console().print(_show.plain("ä…"))
    assert stream.buffer.getvalue() == rb"\xe4\u2026" + b"\n"
