"""Keys: where they come from, and what is refused."""

import os
import re
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tests.unit.handle_vectors import E1, K0, K1, V1_PUBLIC, b64

from otel_feedback import _files, _guard
from otel_feedback._keys import KEY_FILE, Key, Keyring, pseudonym_key
from otel_feedback.exceptions import ConfigurationError

TEXT = f"k1:HS256:{b64(K1)}"


@pytest.fixture(autouse=True)
def fresh_warnings() -> None:
    """Each test sees its own warnings."""
    _guard.forget_warnings()


def test_keys_are_read_in_order() -> None:
    """Each key has id, algorithm and bytes, in the order given."""
    ring = Keyring.from_text(f"{TEXT}, e1:EdDSA:{b64(E1)} ,v1:EdDSA-public:{b64(V1_PUBLIC)}")
    assert ring.keys == (Key("k1", "HS256", K1), Key("e1", "EdDSA", E1), Key("v1", "EdDSA-public", V1_PUBLIC))


def test_lines_and_comments() -> None:
    """A file has one key a line, and may say what they are."""
    text = f"# since March\r\n{TEXT}\r\n\n  # before\n  k0:HS256:{b64(K0)}  \n"
    assert [key.kid for key in Keyring.from_text(text).keys] == ["k1", "k0"]


@pytest.mark.parametrize("padding", ["", "="])
def test_padding_is_optional(padding: str) -> None:
    """Base64url is read with and without padding."""
    assert Keyring.from_text(TEXT + padding).keys[0].secret == K1


def test_a_shared_key_may_be_longer() -> None:
    """32 bytes are the least, not the most."""
    assert len(Keyring.from_text(f"k1:HS256:{b64(K1 + K0)}").keys[0].secret) == 64


SECRET = b64(b"hunter2" * 5)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "has no key"),
        (" ,\n# k1\n,", "has no key"),
        (SECRET, "key 1 is not kid:algorithm:base64url"),
        (f"k1:{SECRET}", "key 1 is not kid:algorithm:base64url"),
        (f":HS256:{SECRET}", "with an id of 1 to 32"),
        (f"{'k' * 33}:HS256:{SECRET}", "with an id of 1 to 32"),
        (f"schlüssel:HS256:{SECRET}", "with an id of 1 to 32"),
        (f"k1\x00:HS256:{SECRET}", "with an id of 1 to 32"),
        (f"k1:hs256:{SECRET}", "unknown algorithm. There are HS256, EdDSA, EdDSA-public"),
        (f"k1:none:{SECRET}", "unknown algorithm"),
        (f"k1:{SECRET}:HS256", "unknown algorithm"),
        ("k1:HS256:", "not base64url"),
        (f"k1:HS256:{SECRET}+", "not base64url"),
        (f"k1:HS256:{SECRET}:x", "not base64url"),
        (f"k1:HS256:{SECRET}===", "not base64url"),
        (f"k1:HS256:{SECRET}aa", "something is missing"),
        (f"k1:HS256:{b64(K1[:31])}", "has 31 bytes. HS256 and pseudonyms need at least 32 random bytes"),
        (f"k1:EdDSA:{b64(K1 + b'1')}", "EdDSA and EdDSA-public exactly 32"),
        (f"k1:EdDSA-public:{b64(K1[:31])}", "EdDSA and EdDSA-public exactly 32"),
        (f"{TEXT},k1:HS256:{SECRET}", "two keys with one id"),
        (f"{TEXT},k2:HS256:{b64(K1[:9])}", "key 2 has 9 bytes"),
    ],
)
def test_a_bad_key_is_named_by_its_place(text: str, says: str) -> None:
    """The message says which key of which setting is wrong and what it should be, and shows none of it."""
    with pytest.raises(ConfigurationError, match=re.escape(says)) as error:
        Keyring.from_text(text, source="SOURCE")
    assert str(error.value).startswith("SOURCE")
    assert SECRET[:8] not in str(error.value)
    assert error.value.__suppress_context__ or error.value.__context__ is None


def test_a_generated_key_is_read() -> None:
    """A new key has 32 bytes of its own and the id that was asked for, else a random one."""
    first, second = (Keyring.from_text(Keyring.generate_text()).keys[0] for _ in range(2))
    assert len(first.secret) == 32
    assert (first.kid, first.secret) != (second.kid, second.secret)
    assert Keyring.from_text(Keyring.generate_text("mine")).keys[0].kid == "mine"


def test_keys_of_a_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A file that its owner and group can read is used as it is."""
    path = tmp_path / "keys"
    path.write_text(f"{TEXT}\n")
    path.chmod(0o640)
    assert Keyring.from_file(path) == Keyring.from_text(TEXT)
    assert caplog.messages == []


def test_keys_that_everybody_can_read_are_used_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever can read a key can forge handles; the operator hears of it once, the service still runs."""
    path = tmp_path / "keys"
    path.write_text(TEXT)
    path.chmod(0o644)
    for _ in range(2):
        assert Keyring.from_file(path) == Keyring.from_text(TEXT)
    (message,) = caplog.messages
    assert str(path) in message
    assert "chmod 600" in message


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe\xfd", b"k1:HS256:short"])
def test_a_file_that_holds_no_keys_names_setting_and_path(tmp_path: Path, content: bytes | None) -> None:
    """A missing, empty, binary or wrong file is an error that says which."""
    path = tmp_path / "keys"
    if content is not None:
        path.write_bytes(content)
        path.chmod(0o600)
    with pytest.raises(ConfigurationError, match=r"OTEL_FEEDBACK_HANDLE_KEYS_FILE \(.*keys\)"):
        Keyring.from_file(path)


def test_a_folder_is_no_file_of_keys(tmp_path: Path) -> None:
    """A path that cannot be opened is a clear error."""
    with pytest.raises(ConfigurationError, match="cannot be read: Is a directory"):
        Keyring.from_file(tmp_path)


def test_the_state_folder_gets_a_key_for_its_owner_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The first start makes folder and key, closed to others, and leaves nothing else; the next uses it."""
    folder = tmp_path / "a" / "state"
    ring = Keyring.from_state_dir(folder)
    assert ring.keys[0].algorithm == "HS256"
    assert Keyring.from_state_dir(folder) == ring
    assert [path.name for path in folder.iterdir()] == [KEY_FILE]
    assert stat.S_IMODE((folder / KEY_FILE).stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert caplog.messages == []


@pytest.mark.parametrize("mode", [0o640, 0o604])
def test_a_state_key_that_was_opened_to_others_is_warned_about(
    tmp_path: Path, mode: int, caplog: pytest.LogCaptureFixture
) -> None:
    """We made the key for its owner; who opened it to others is told."""
    Keyring.from_state_dir(tmp_path)
    (tmp_path / KEY_FILE).chmod(mode)
    Keyring.from_state_dir(tmp_path)
    (message,) = caplog.messages
    assert KEY_FILE in message


@pytest.mark.parametrize(("owner", "told"), [(0, False), (1000, False), (1001, True)])
def test_keys_that_another_user_put_there_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, owner: int, told: bool
) -> None:
    """In a folder that others can write, the key may be one that its maker knows too; root's are trusted."""
    Keyring.from_state_dir(tmp_path)
    real = os.fstat

    def owned(descriptor: int) -> os.stat_result:
        fields = list(real(descriptor))
        fields[stat.ST_UID] = owner
        return os.stat_result(fields)

    monkeypatch.setattr(os, "fstat", owned)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    Keyring.from_state_dir(tmp_path)
    assert [KEY_FILE in message and "another user" in message for message in caplog.messages] == [True] * told


def test_the_first_of_several_makers_wins(tmp_path: Path) -> None:
    """Who comes second finds a key in place, keeps it, and leaves no file behind."""
    path = tmp_path / KEY_FILE
    _files.create_once(path, TEXT)
    _files.create_once(path, f"k0:HS256:{b64(K0)}")
    assert Keyring.from_state_dir(tmp_path) == Keyring.from_text(TEXT)
    assert [each.name for each in tmp_path.iterdir()] == [KEY_FILE]


def test_threads_that_start_together_share_one_key(tmp_path: Path) -> None:
    """Of many threads that find no key, all end up with the same."""
    start = threading.Barrier(16)
    rings: list[Keyring] = []

    def worker() -> None:
        start.wait()
        rings.append(Keyring.from_state_dir(tmp_path / "state"))

    threads = [threading.Thread(target=worker) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(rings) == 16
    assert len(set(rings)) == 1


def test_processes_that_start_together_share_one_key(tmp_path: Path) -> None:
    """Workers of one machine, each with its own interpreter, sign with the same key."""
    code = (
        "import sys, pathlib; from otel_feedback._keys import Keyring; sys.stdin.readline();"
        "print(Keyring.from_state_dir(pathlib.Path(sys.argv[1])).keys[0].kid)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "state")]
    workers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    kids = {worker.communicate()[0].strip() for worker in workers}
    assert all(worker.returncode == 0 for worker in workers)
    assert kids == {Keyring.from_state_dir(tmp_path / "state").keys[0].kid}


def test_a_folder_that_cannot_be_made_names_the_settings(tmp_path: Path) -> None:
    """Where no key can be kept the message says which settings help."""
    (tmp_path / "file").write_text("")
    says = "OTEL_FEEDBACK_HANDLE_KEYS, or OTEL_FEEDBACK_STATE_DIR"
    with pytest.raises(ConfigurationError, match=says):
        Keyring.from_state_dir(tmp_path / "file" / "state")


def test_a_disk_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that could not be written whole doesn't exist, so the next start can make one."""

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigurationError, match="No space left"):
        Keyring.from_state_dir(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_first_pseudonym_key_is_used() -> None:
    """Later keys are earlier ones, kept for who has to find old data."""
    assert pseudonym_key(f"u2:{b64(K1)},u1:{b64(K0)}") == ("u2", K1)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (",", "has no key"),
        (SECRET, "key 1 is not id:base64url"),
        (f"u1:HS256:{SECRET}", "key 1 is not base64url"),
        (f"u 1:{SECRET}", "key 1 is not id:base64url"),
        (f"u1:{SECRET},u0:{b64(K0[:31])}", "key 2 has 31 bytes"),
    ],
)
def test_a_bad_pseudonym_key_is_named_by_its_place(text: str, says: str) -> None:
    """All keys are checked, and none is shown."""
    with pytest.raises(ConfigurationError, match=re.escape(says)) as error:
        pseudonym_key(text)
    assert str(error.value).startswith("OTEL_FEEDBACK_PSEUDONYM_KEYS")
    assert SECRET[:8] not in str(error.value)
