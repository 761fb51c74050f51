"""The parts that one process shares."""

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.handle_vectors import E1, K0, K1, V1_PUBLIC, b64

from otel_feedback import _guard, _handle, _runtime
from otel_feedback._handle import HandleCodec, Keyring
from otel_feedback._settings import Settings
from otel_feedback.exceptions import ConfigurationError

KEY = f"k1:HS256:{b64(K1)}"
OURS = ("OTEL_FEEDBACK_", "OTEL_SDK_DISABLED", "OTEL_INSTRUMENTATION_GENAI", "XDG_STATE_HOME")


@pytest.fixture(autouse=True)
def clean_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test starts like a process whose environment sets nothing but a state folder."""
    for name in [name for name in os.environ if name.startswith(OURS)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    _guard.forget_warnings()
    _runtime.reset()
    yield
    _runtime.reset()


def issue() -> str:
    """A handle of this process."""
    codec = _runtime.codec()
    assert codec is not None
    return codec.issue(trace_id=1, span_id=2, sampled=True, facts={})


def test_settings_come_from_the_environment_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment is read on first use, and not again."""
    monkeypatch.setenv("OTEL_FEEDBACK_HANDLE_TTL", "90")
    first = _runtime.settings()
    monkeypatch.setenv("OTEL_FEEDBACK_HANDLE_TTL", "91")
    assert first.handle_ttl == 90
    assert _runtime.settings() is first
    assert _runtime.enabled()


def test_configure_replaces_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings given in code take the environment's place, in the codec and the pseudonyms too."""
    monkeypatch.setenv("OTEL_FEEDBACK_HANDLE_KEYS", KEY)
    before = issue()
    assert _runtime.pseudonym("ada") is None
    _runtime.configure(Settings(handle_keys=f"k0:HS256:{b64(K0)}", pseudonym_keys=f"u1:{b64(K0)}"))
    codec = _runtime.codec()
    assert codec is not None
    with pytest.raises(_handle.InvalidHandleError):
        codec.read(before)
    assert (_runtime.pseudonym("ada") or "").startswith("u1:")


def test_codec_follows_the_settings() -> None:
    """Keys, lifetime and mode of the handles are those that are set."""
    _runtime.configure(Settings(handle_keys=KEY, handle_ttl=77, handle_facts="sealed"))
    token = issue()
    read = HandleCodec(Keyring.from_text(KEY)).read(token)
    assert token.count(".") == 4
    assert read.expires_at - read.issued_at == 77
    assert _runtime.codec() is _runtime.codec()


def test_keys_of_a_file(tmp_path: Path) -> None:
    """Keys come from the file that is named; keys that are given win over it."""
    path = tmp_path / "keys"
    path.write_text(KEY)
    path.chmod(0o600)
    codec = _runtime.make_codec(Settings(handle_keys_file=path), may_make_key=False)
    made = codec.issue(trace_id=1, span_id=2, sampled=True, facts={})
    assert HandleCodec(Keyring.from_text(KEY)).read(made).span_id == 2
    both = Settings(handle_keys=f"k0:HS256:{b64(K0)}", handle_keys_file=path)
    with pytest.raises(_handle.InvalidHandleError):
        _runtime.make_codec(both, may_make_key=False).read(made)


def test_without_a_key_one_is_kept_and_one_warning_says_how_to_set_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A service that sets no key works, and its log says once what to set, with a command that makes it."""
    token = issue()
    _runtime.reset()
    codec = _runtime.codec()
    assert codec is not None
    assert codec.read(token).trace_id == 1
    (message,) = caplog.messages
    assert "OTEL_FEEDBACK_HANDLE_KEYS is not set" in message
    assert str(tmp_path / "otel-feedback") in message
    command = [sys.executable, *_runtime.MAKE_A_KEY.split(" ", 2)[1:2], _runtime.MAKE_A_KEY.split('"')[1]]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert Keyring.from_text(printed).keys[0].algorithm == "HS256"


def test_another_process_accepts_our_handles(tmp_path: Path) -> None:
    """Workers of one machine without a key set accept each other's handles."""
    token = issue()
    code = "import sys; from otel_feedback import _runtime; print(_runtime.codec().read(sys.argv[1]).span_id)"
    environ = {**os.environ, "XDG_STATE_HOME": str(tmp_path)}
    other = subprocess.run([sys.executable, "-c", code, token], check=True, capture_output=True, text=True, env=environ)
    assert other.stdout.strip() == "2"


def test_a_forked_child_goes_on_with_its_parent_s_parts(tmp_path: Path) -> None:
    """A worker that is forked after the start, as gunicorn does, has the settings and keys of its parent."""
    code = """
import os
from otel_feedback import _runtime
from otel_feedback._settings import Settings
_runtime.configure(Settings(handle_keys=os.environ["KEY"], pseudonym_keys=os.environ["PSEUDONYM"]))
token = _runtime.codec().issue(trace_id=1, span_id=2, sampled=True, facts={})
child = os.fork()
if not child:
    good = _runtime.codec().read(token).span_id == 2 and _runtime.pseudonym("ada").startswith("u1:")
    os._exit(0 if good else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""
    environ = {**os.environ, "KEY": KEY, "PSEUDONYM": f"u1:{b64(K0)}"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environ)


def test_capture_alone_makes_no_key(tmp_path: Path) -> None:
    """Who may not make a key fails with the setting and the command, and writes nothing."""
    with pytest.raises(ConfigurationError, match=r"OTEL_FEEDBACK_HANDLE_KEYS is not set.*secrets\.token"):
        _runtime.make_codec(Settings.from_env(), may_make_key=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("variable", "value"),
    [("OTEL_FEEDBACK_HANDLE_TTL", "a month"), ("OTEL_FEEDBACK_HANDLE_FACTS", "clear")],
)
def test_an_environment_that_cannot_be_used_switches_us_off(
    variable: str,
    value: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A host with a bad setting runs on without us, and its log says once which setting it is."""
    monkeypatch.setenv(variable, value)
    for _ in range(2):
        assert not _runtime.enabled()
        assert _runtime.settings() == Settings(disabled=True)
        assert _runtime.codec() is None
        assert _runtime.pseudonym("ada") is None
        _runtime.reset()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith(f"otel-feedback stays off: {variable} (")
    assert value not in record.getMessage()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", ["true", "TRUE"])
def test_a_disabled_sdk_disables_us(
    value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """OTEL_SDK_DISABLED is for us too: no handle, no key file; one warning says why."""
    monkeypatch.setenv("OTEL_SDK_DISABLED", value)
    assert not _runtime.enabled()
    assert _runtime.codec() is None
    assert list(tmp_path.iterdir()) == []
    assert caplog.messages == ["otel-feedback stays off, as OpenTelemetry does: OTEL_SDK_DISABLED is true."]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (Settings(handle_keys="k1:HS256:hunter2"), "OTEL_FEEDBACK_HANDLE_KEYS: key 1 has 5 bytes"),
        (Settings(handle_keys_file=Path("/nowhere/keys")), "OTEL_FEEDBACK_HANDLE_KEYS_FILE (/nowhere/keys)"),
        (Settings(state_dir=Path("/dev/null/state")), "OTEL_FEEDBACK_STATE_DIR to a folder that can be written"),
        (
            Settings(handle_keys=f"e1:EdDSA:{b64(E1)}", handle_facts="sealed"),
            "OTEL_FEEDBACK_HANDLE_FACTS=sealed needs an HS256 key",
        ),
    ],
)
def test_keys_that_cannot_be_used_leave_the_host_alone(
    settings: Settings, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a usable key there are no handles, and the log says once which setting to mend."""
    _runtime.configure(settings)
    assert _runtime.codec() is None
    assert _runtime.codec() is None
    (message,) = caplog.messages
    assert says in message
    assert "hunter2" not in message


def test_a_public_key_alone_checks_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    """A process that can only check handles does that; its log says once why it gives none."""
    _runtime.configure(Settings(handle_keys=f"v1:EdDSA-public:{b64(V1_PUBLIC)}"))
    codec = _runtime.codec()
    assert codec is not None
    assert not codec.can_issue
    assert _runtime.codec() is codec
    (message,) = caplog.messages
    assert "the first key of OTEL_FEEDBACK_HANDLE_KEYS is public" in message


def test_a_missing_extra_leaves_the_host_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where sealing isn't installed there are no handles, and the log has the command."""
    monkeypatch.setitem(sys.modules, "joserfc", None)
    _runtime.configure(Settings(handle_keys=KEY, handle_facts="sealed"))
    assert _runtime.codec() is None
    (message,) = caplog.messages
    assert "[crypto]'" in message


def test_a_failure_of_ours_leaves_the_host_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What nobody expected is caught too, and reported without its text."""

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError(KEY)

    monkeypatch.setattr(_runtime, "HandleCodec", broken)
    _runtime.configure(Settings(handle_keys=KEY))
    assert _runtime.codec() is None
    (message,) = caplog.messages
    assert "RuntimeError" in message
    assert KEY not in message


def test_pseudonyms_are_keyed_and_stable() -> None:
    """One person has one pseudonym under one key, another under another, and none without a key."""
    assert _runtime.pseudonym("ada") is None
    _runtime.configure(Settings(pseudonym_keys=f"u1:{b64(K0)}"))
    first = _runtime.pseudonym("ada")
    assert first == _runtime.pseudonym("ada") != _runtime.pseudonym("bob")
    _runtime.configure(Settings(pseudonym_keys=f"u2:{b64(K1)},u1:{b64(K0)}"))
    second = _runtime.pseudonym("ada")
    assert first is not None
    assert second is not None
    assert (first[:3], second[:3]) == ("u1:", "u2:")
    assert first[3:] != second[3:]
    assert len(first) == 35


@pytest.mark.parametrize("user", ["\ud800", "a\x00b", "x" * 1_000_000, "答え"])
def test_any_user_id_has_a_pseudonym(user: str) -> None:
    """Ids are arbitrary text; a lone surrogate is no reason to fail in a host's request."""
    _runtime.configure(Settings(pseudonym_keys=f"u1:{b64(K0)}"))
    assert len(_runtime.pseudonym(user) or "") == 35


def test_nobody_has_no_pseudonym() -> None:
    """An empty id is nobody's."""
    _runtime.configure(Settings(pseudonym_keys=f"u1:{b64(K0)}"))
    assert _runtime.pseudonym("") is None


def test_a_bad_pseudonym_key_leaves_the_host_alone(caplog: pytest.LogCaptureFixture) -> None:
    """Without a usable key there is no user.hash, and the log says once which setting to mend."""
    _runtime.configure(Settings(pseudonym_keys="u1:hunter2"))
    assert _runtime.pseudonym("ada") is None
    assert _runtime.pseudonym("ada") is None
    (message,) = caplog.messages
    assert "OTEL_FEEDBACK_PSEUDONYM_KEYS: key 1 has 5 bytes" in message
    assert "hunter2" not in message


def test_threads_that_start_together_have_one_key() -> None:
    """Whoever comes first: handles that one thread makes are read by all."""
    start = threading.Barrier(8)
    tokens: list[str] = []

    def worker() -> None:
        start.wait()
        tokens.append(issue())

    threads = [threading.Thread(target=worker) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    codec = _runtime.codec()
    assert codec is not None
    assert [codec.read(token).span_id for token in tokens] == [2] * 8


def test_importing_does_nothing(tmp_path: Path) -> None:
    """The import reads no setting, starts no thread, writes no file and loads no library of JOSE."""
    code = """
import sys, threading
from otel_feedback import _runtime
assert threading.active_count() == 1
assert not {"jwt", "joserfc", "cryptography"} & set(sys.modules)
"""
    environ = {**os.environ, "XDG_STATE_HOME": str(tmp_path), "OTEL_FEEDBACK_HANDLE_TTL": "a month"}
    done = subprocess.run([sys.executable, "-c", code], check=True, env=environ, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("", "")
    assert list(tmp_path.iterdir()) == []
