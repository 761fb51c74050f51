"""Settings: argument, then environment, then default."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.util.genai.types import ContentCapturingMode

from otel_feedback._settings import DERIVED, LONGEST_TTL, MOST_ROWS, Settings
from otel_feedback.exceptions import ConfigurationError

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"
VARIABLES = {field.name: field.metadata["variable"] for field in dataclasses.fields(Settings)}
HOME = str(Path("~").expanduser())

GOOD: list[tuple[str, str, Any]] = [
    ("handle_keys", " k1:HS256:AAAA ", "k1:HS256:AAAA"),
    ("handle_keys_file", "/run/secrets/keys", Path("/run/secrets/keys")),
    ("handle_keys_file", "~/keys", Path(HOME) / "keys"),
    ("state_dir", "/srv/state", Path("/srv/state")),
    ("state_dir", "state", Path("state")),
    ("handle_ttl", "60", 60),
    ("handle_ttl", f" {LONGEST_TTL} ", LONGEST_TTL),
    ("handle_facts", "none", "none"),
    ("handle_facts", "Sealed", "sealed"),
    ("pseudonym_keys", "u1:AAAA", "u1:AAAA"),
    ("capture_text", "TRUE", True),
    ("capture_text", "1", True),
    ("capture_text", "false", False),
    ("capture_text", "0", False),
    ("same_trace_seconds", "0", 0.0),
    ("same_trace_seconds", "1.5", 1.5),
    ("stream_wait_ms", "250", 250.0),
    ("derive", " Rephrase,regenerate ", frozenset({"rephrase", "regenerate"})),
    ("derive", "none", frozenset()),
    ("abandon_seconds", "1800", 1800.0),
    ("outbox", "/var/lib/app/outbox.db", Path("/var/lib/app/outbox.db")),
    ("outbox_mib", "16", 16),
    ("live_spans", "1", 1),
    ("finished_interactions", str(MOST_ROWS), MOST_ROWS),
    ("disabled", "True", True),
    ("disabled", "1", False),
]
BAD: list[tuple[str, Any]] = [
    ("handle_keys", 7),
    ("handle_keys", ""),
    ("handle_keys_file", "keys\0"),
    ("state_dir", 7),
    ("state_dir", None),
    *[("handle_ttl", value) for value in ("59", str(LONGEST_TTL + 1), "-60", "60.5", "1e3", "30d", "६०", "1_000")],
    *[("handle_ttl", value) for value in (True, 60.5, 10**30)],
    *[("handle_facts", value) for value in ("clear", 1, None)],
    *[("capture_text", value) for value in ("maybe", "yes please", 1, None)],
    *[("same_trace_seconds", value) for value in ("-1", "nan", "inf", "86401", "1e999", "soon", True, 10**400)],
    *[("stream_wait_ms", value) for value in ("-0.1", "10001", None, [])],
    *[("derive", value) for value in ("thumbs", "none,rephrase", "rephrase,", "", 1, None, [1])],
    *[("outbox", value) for value in ("\0", 5)],
    *[("outbox_mib", value) for value in ("0", "1048577", "1.5", True)],
    *[("abandon_seconds", value) for value in ("-1", "nan", "86401", None)],
    *[("live_spans", value) for value in (True, "0", str(MOST_ROWS + 1), "9" * 5000)],
    ("finished_interactions", "0"),
]


def rows() -> list[tuple[str, str, str]]:
    """The page's table: variable, field, and the default as its variable would say it, or none."""
    pattern = r"^\| `([A-Z_]+)` \| `([a-z_]+)` \| (`[^`]+`|none) \| [^|]+ \|$"
    return re.findall(pattern, PAGE.read_text(encoding="utf-8"), re.MULTILINE)


def test_defaults_need_no_environment() -> None:
    """With nothing set every field has its default, and no key, no content, no comment is used."""
    assert Settings.from_env({}) == Settings()
    assert Settings() == Settings(
        handle_keys=None,
        handle_keys_file=None,
        state_dir=Path(HOME) / ".local/state/otel-feedback",
        handle_ttl=2_592_000,
        handle_facts="plain",
        pseudonym_keys=None,
        capture_content=False,
        capture_text=False,
        same_trace_seconds=60.0,
        stream_wait_ms=100.0,
        derive=DERIVED,
        abandon_seconds=0.0,
        live_spans=50_000,
        finished_interactions=10_000,
        disabled=False,
    )


@pytest.mark.parametrize(("name", "text", "value"), GOOD)
def test_a_variable_sets_its_field(name: str, text: str, value: Any) -> None:
    """Each variable sets the one field that is documented."""
    assert Settings.from_env({VARIABLES[name]: text}) == dataclasses.replace(Settings(), **{name: value})


def test_every_field_is_tried() -> None:
    """No setting is without a test of its variable."""
    assert {name for name, _, _ in GOOD} | {"capture_content"} == set(VARIABLES)


@pytest.mark.parametrize("mode", list(ContentCapturingMode))
def test_content_follows_the_genai_switch(mode: ContentCapturingMode) -> None:
    """Content is recorded on spans in just the modes in which the official instrumentations do it."""
    on = mode in (ContentCapturingMode.SPAN_ONLY, ContentCapturingMode.SPAN_AND_EVENT)
    for spelling in (mode.name, f" {mode.name.lower()} "):
        assert Settings.from_env({VARIABLES["capture_content"]: spelling}).capture_content is on


@pytest.mark.parametrize("value", ["true", "1", "event", "span_only,events"])
def test_an_unknown_genai_mode_captures_nothing(value: str) -> None:
    """A value that only another instrumentation knows is no error of ours, and no leave to record content."""
    assert Settings.from_env({VARIABLES["capture_content"]: value}).capture_content is False


@pytest.mark.parametrize("empty", ["", "  "])
def test_an_empty_variable_is_not_set(empty: str) -> None:
    """Empty means default, as everywhere in OpenTelemetry."""
    assert Settings.from_env(dict.fromkeys(VARIABLES.values(), empty)) == Settings()


def test_an_argument_wins_over_the_environment() -> None:
    """Arguments come first; None passes the question on to the environment."""
    environ = {"OTEL_FEEDBACK_HANDLE_TTL": "120", "OTEL_FEEDBACK_CAPTURE_TEXT": "true"}
    read = Settings.from_env(environ, handle_ttl=90, capture_text=None)
    assert (read.handle_ttl, read.capture_text) == (90, True)


def test_arguments_are_checked_like_variables() -> None:
    """A field may be given as the text that its variable would have."""
    assert Settings.from_env({}, state_dir="/srv/state", handle_ttl="90").handle_ttl == 90


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_bad_value_names_its_variable(name: str, value: Any) -> None:
    """What cannot be used is an error that names variable and argument and says what is expected."""
    with pytest.raises(ConfigurationError) as error:
        Settings(**{name: value})
    assert str(error.value).startswith(f"{VARIABLES[name]} (argument {name}) must be ")
    assert error.value.__suppress_context__


@pytest.mark.parametrize("name", [name for name, value in BAD if isinstance(value, str) and value])
def test_a_bad_value_is_not_repeated(name: str) -> None:
    """A secret that was put into the wrong variable doesn't reach the log."""
    with pytest.raises(ConfigurationError) as error:
        Settings.from_env({VARIABLES[name]: "hunter2-hunter2\0"})
    assert "hunter2" not in str(error.value)


def test_an_unknown_argument_is_an_error() -> None:
    """A misspelt setting is named, with those that there are."""
    with pytest.raises(ConfigurationError, match=r"called handle_tll\. Settings: handle_keys,"):
        Settings.from_env({}, handle_tll=90)


def test_state_folder_follows_xdg() -> None:
    """The default folder is below XDG_STATE_HOME; our own variable wins; a relative XDG path is none."""
    assert Settings.from_env({"XDG_STATE_HOME": "/xdg"}).state_dir == Path("/xdg/otel-feedback")
    both = {"XDG_STATE_HOME": "/xdg", "OTEL_FEEDBACK_STATE_DIR": "/own"}
    assert Settings.from_env(both).state_dir == Path("/own")
    assert Settings.from_env({"XDG_STATE_HOME": "xdg"}).state_dir == Settings().state_dir


def test_state_folder_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without a home folder, as in many containers, has the system's folder."""
    monkeypatch.setattr("os.path.expanduser", str)
    assert Settings().state_dir == Path("/var/lib/otel-feedback")


def test_keys_are_not_shown() -> None:
    """Printing the settings prints no key."""
    shown = repr(Settings(handle_keys="k1:HS256:secret", pseudonym_keys="u1:secret"))
    assert "secret" not in shown
    assert "handle_ttl=2592000" in shown


def test_settings_do_not_change() -> None:
    """Settings are read once; a field cannot be set afterwards."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().handle_ttl = 1  # type: ignore[misc]


def test_page_has_every_setting_with_its_default() -> None:
    """docs/settings.md has one row for each field, with the variable and the default that the code has."""
    assert {field: variable for variable, field, _ in rows()} == VARIABLES
    documented: dict[str, Any] = {field: default.strip("`") for _, field, default in rows() if default != "none"}
    assert Settings(**documented) == Settings()
    assert set(documented) == {field.name for field in dataclasses.fields(Settings) if field.default is not None}
