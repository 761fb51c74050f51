"""Making and checking handles."""

import base64
import inspect
import subprocess
import sys
from typing import Any

import pytest
from tests.unit import handle_vectors as primitives

from otel_feedback import _guard, semconv
from otel_feedback._handle import FACT_CLAIMS, LONGEST_LIFE, Handle, HandleCodec, Keyring
from otel_feedback._jose import LONGEST_TOKEN
from otel_feedback._settings import LONGEST_TTL
from otel_feedback.exceptions import ConfigurationError, InvalidHandleError, MissingExtraError

NOW = primitives.CLOCK
K1 = f"k1:HS256:{primitives.b64(primitives.K1)}"
K0 = f"k0:HS256:{primitives.b64(primitives.K0)}"
E1 = f"e1:EdDSA:{primitives.b64(primitives.E1)}"
V1 = f"v1:EdDSA-public:{primitives.b64(primitives.V1_PUBLIC)}"
USER = primitives.SUB
FACTS = {primitives.ATTRIBUTES[claim]: value for claim, value in primitives.FACTS.items()}


def codec(*keys: str, **options: Any) -> HandleCodec:
    """A codec of these keys whose clock stands still."""
    return HandleCodec(Keyring.from_text(",".join(keys or (K1,))), **{"clock": lambda: NOW, **options})


def issue(by: HandleCodec, **changes: Any) -> str:
    """A handle of one interaction."""
    return by.issue(**{"trace_id": 1, "span_id": 2, "sampled": True, "facts": FACTS, **changes})


def test_read_gives_back_what_was_issued() -> None:
    """A handle refers to its interaction, says when it ends, and carries the facts."""
    assert codec().read(issue(codec(ttl=60))) == Handle(
        trace_id=1, span_id=2, sampled=True, issued_at=NOW, expires_at=NOW + 60, facts=FACTS, user=None
    )


@pytest.mark.parametrize("sampled", [True, False])
@pytest.mark.parametrize("ids", [(1, 1), (2**128 - 1, 2**64 - 1)])
def test_ids_keep_all_their_bits(ids: tuple[int, int], sampled: bool) -> None:
    """The smallest and the largest ids come back, and whether the span was sampled."""
    read = codec().read(issue(codec(), trace_id=ids[0], span_id=ids[1], sampled=sampled))
    assert (read.trace_id, read.span_id, read.sampled) == (*ids, sampled)


@pytest.mark.parametrize("ids", [(0, 1), (1, 0), (-1, 1), (1, -1), (2**128, 1), (1, 2**64)])
def test_ids_that_no_span_has_are_an_error(ids: tuple[int, int]) -> None:
    """No handle is made for an id that is zero or too large."""
    with pytest.raises(ValueError, match="id"):
        issue(codec(), trace_id=ids[0], span_id=ids[1])


def test_a_fraction_of_a_second_is_no_reason_to_expire_early() -> None:
    """Times are whole seconds, whatever the clock shows."""
    read = codec().read(issue(codec(clock=lambda: NOW + 0.9)))
    assert read.issued_at == NOW


def test_handle_ends_when_its_time_is_over() -> None:
    """The last second is good, the next is not."""
    token = issue(codec(ttl=60))
    assert codec(clock=lambda: NOW + 59.99).read(token).expires_at == NOW + 60
    with pytest.raises(InvalidHandleError):
        codec(clock=lambda: NOW + 60).read(token)


@pytest.mark.parametrize("ttl", [0, -1, LONGEST_LIFE + 1])
def test_a_lifetime_that_readers_refuse_is_an_error_at_start(ttl: int) -> None:
    """Nobody makes handles that are dead at birth."""
    with pytest.raises(ConfigurationError, match="seconds"):
        codec(ttl=ttl)


def test_settings_and_readers_agree_on_the_longest_life() -> None:
    """What can be set can be read."""
    assert LONGEST_TTL == LONGEST_LIFE


def test_facts_that_say_nothing_are_left_out() -> None:
    """Empty facts, unknown ones, ones that aren't text and ones that UTF-8 cannot hold don't travel."""
    facts: dict[str, Any] = {
        semconv.FEEDBACK_MODEL: "gpt",
        semconv.FEEDBACK_PROVIDER: "",
        semconv.FEEDBACK_QUERY_TYPE: None,
        semconv.FEEDBACK_PROMPT_NAME: 7,
        semconv.FEEDBACK_PROMPT_VERSION: "v\ud8001",
        semconv.FEEDBACK_DOCUMENTS: "[]",
        "user.id": "ada",
    }
    assert codec().read(issue(codec(), facts=facts)).facts == {semconv.FEEDBACK_MODEL: "gpt"}


def test_the_longest_fact_is_left_out_first() -> None:
    """A handle that would be too long loses its longest fact, whole, and keeps the others."""
    long = {semconv.FEEDBACK_PROMPT_NAME: "p" * 300, semconv.FEEDBACK_RESPONSE_ID: "r" * 301}
    token = issue(codec(), facts={**FACTS, **long})
    read = codec().read(token)
    assert len(token) <= LONGEST_TOKEN
    assert read.facts == {
        **{name: fact for name, fact in FACTS.items() if name != semconv.FEEDBACK_RESPONSE_ID},
        semconv.FEEDBACK_PROMPT_NAME: "p" * 300,
    }


def test_of_equally_long_facts_the_last_in_the_table_is_left_out() -> None:
    """The order of the documented table decides between facts of one length."""
    facts = dict.fromkeys(FACT_CLAIMS, "x" * 70)
    kept = list(codec().read(issue(codec(), facts=facts)).facts)
    assert kept == list(FACT_CLAIMS)[: len(kept)]
    assert 0 < len(kept) < len(FACT_CLAIMS)


def test_length_counts_bytes_and_escapes() -> None:
    """What is longer in the handle is what counts: here 150 characters outweigh 200."""
    facts = {semconv.FEEDBACK_PROMPT_NAME: "答" * 150, semconv.FEEDBACK_MODEL: "m" * 200}
    assert codec().read(issue(codec(), facts=facts)).facts == {semconv.FEEDBACK_MODEL: "m" * 200}


@pytest.mark.parametrize("options", [{}, {"facts_mode": "sealed"}])
@pytest.mark.parametrize("kid", ["k", "k" * 32])
def test_no_handle_is_longer_than_1024_characters(options: dict[str, Any], kid: str) -> None:
    """The longest handle of each kind fits, and uses the room that it has."""
    key = f"{kid}:HS256:{primitives.b64(primitives.K1)}"
    tokens = [
        issue(codec(key, **options), facts={semconv.FEEDBACK_MODEL: "m" * count}, user=USER)
        for count in range(300, 700)
    ]
    assert LONGEST_TOKEN - 4 < max(map(len, tokens)) <= LONGEST_TOKEN


def test_a_megabyte_of_fact_is_left_out() -> None:
    """A hostile fact costs its place in the handle, no more."""
    facts = {semconv.FEEDBACK_PROMPT_NAME: "x" * 1_000_000, semconv.FEEDBACK_MODEL: "gpt"}
    assert codec().read(issue(codec(), facts=facts)).facts == {semconv.FEEDBACK_MODEL: "gpt"}


def test_none_leaves_all_facts_out() -> None:
    """With facts off the holder reads ids and times, nothing else."""
    assert codec().read(issue(codec(facts_mode="none"), user=USER)) == Handle(
        trace_id=1, span_id=2, sampled=True, issued_at=NOW, expires_at=NOW + 30 * 86_400, facts={}, user=None
    )


def test_only_a_sealed_handle_says_who_asked() -> None:
    """A pseudonym travels where its holder cannot read it; elsewhere it is left out."""
    sealed = issue(codec(facts_mode="sealed"), user=USER)
    assert codec().read(sealed).user == USER
    assert codec().read(issue(codec(), user=USER)).user is None


def test_a_sealed_handle_cannot_be_read_by_its_holder() -> None:
    """No segment of a sealed handle holds a fact, and no two are alike."""
    first, second = (issue(codec(facts_mode="sealed"), user=USER) for _ in range(2))
    decoded = b"".join(decode(segment) for segment in first.split("."))
    assert b"gpt" not in decoded
    assert USER.encode() not in decoded
    assert first != second


def test_a_user_that_is_no_pseudonym_is_an_error() -> None:
    """A user's own id never gets into a handle, not even sealed."""
    with pytest.raises(ValueError, match="pseudonym"):
        issue(codec(facts_mode="sealed"), user="ada@example.org")


def test_either_kind_is_read_whatever_is_made() -> None:
    """The setting can change while handles of the other kind are out."""
    plain, sealed = codec(), codec(facts_mode="sealed")
    assert plain.read(issue(sealed)) == sealed.read(issue(plain))


def test_keys_rotate() -> None:
    """A new first key signs; the old one's handles are good until it is taken out of the ring."""
    old = issue(codec(K0))
    assert codec(K1, K0).read(old).facts == FACTS
    with pytest.raises(InvalidHandleError):
        codec(K1).read(old)
    assert codec(K1).read(issue(codec(K1, K0))).facts == FACTS


def test_sealed_handles_rotate_too() -> None:
    """Each shared key opens what it sealed."""
    assert codec(K1, K0).read(issue(codec(K0, facts_mode="sealed"))).facts == FACTS


def test_a_public_key_checks_and_makes_nothing() -> None:
    """A capture service that holds public keys only can read handles and make none."""
    reader = codec(V1)
    assert not reader.can_issue
    assert reader.read(primitives.eddsa(primitives.BASE, {**primitives.ED, "kid": "v1"}, primitives.V1)).trace_id
    with pytest.raises(ConfigurationError, match="public"):
        issue(reader)


@pytest.mark.parametrize("key", [K1, E1])
def test_a_private_key_makes_and_checks(key: str) -> None:
    """Who signs can verify, with a shared key as with a private one."""
    assert codec(key).can_issue
    assert codec(key).read(issue(codec(key))).facts == FACTS


@pytest.mark.parametrize("key", [E1, V1])
def test_sealing_needs_a_shared_key(key: str) -> None:
    """Sealing with a key that cannot seal fails at start, with the settings that mend it."""
    with pytest.raises(ConfigurationError, match="OTEL_FEEDBACK_HANDLE_FACTS=sealed needs an HS256 key"):
        codec(key, K1, facts_mode="sealed")


def test_a_key_of_another_format_is_an_error_at_start() -> None:
    """A PEM or SSH key put where random bytes belong is named, not accepted."""
    pem = primitives.b64(b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    with pytest.raises(ConfigurationError, match="random bytes"):
        codec(f"k1:HS256:{pem}")


@pytest.mark.parametrize(
    "token",
    [
        *[None, 1, 1.5, True, [], {}, object()],
        *[b"", primitives.hs256(primitives.BASE).encode()],
        *["\0", "\ud800", "a.b.\ud800", "x" * 1_000_000, "." * 1_000_000],
    ],
    ids=lambda token: repr(token)[:20],
)
def test_what_is_no_token_is_refused(token: object) -> None:
    """Whatever comes in the place of a handle gets the one answer."""
    with pytest.raises(InvalidHandleError):
        codec().read(token)


def test_a_refusal_says_nothing() -> None:
    """The error holds neither the reason nor the handle, and shows no cause when it is logged."""
    with pytest.raises(InvalidHandleError) as refusal:
        codec().read(primitives.flip(primitives.hs256(primitives.BASE), 150))
    assert refusal.value.args == InvalidHandleError().args
    assert refusal.value.__cause__ is None
    assert refusal.value.__suppress_context__


def test_times_are_numbers_not_booleans() -> None:
    """True is not one second after the epoch, even at a clock by which it would fit."""
    token = primitives.hs256({**primitives.BASE, "iat": False, "exp": True})
    with pytest.raises(InvalidHandleError):
        codec(clock=lambda: 0.5).read(token)


def test_a_deep_stack_is_no_way_out() -> None:
    """A nested header gets the one answer also where the host's stack leaves no room to parse it."""
    token = f"{primitives.b64(b'[' * 700)}.e30.e30"

    def deep(frames: int) -> Handle:
        return deep(frames - 1) if frames else codec().read(token)

    with pytest.raises(InvalidHandleError):
        deep(sys.getrecursionlimit() - len(inspect.stack(0)) - 200)


def test_no_secret_is_shown() -> None:
    """Neither keys nor keyrings nor codecs show a secret when printed."""
    ring = Keyring.from_text(f"{K1},{E1}")
    shown = repr((ring, ring.keys, HandleCodec(ring), vars(HandleCodec(ring))))
    for secret in (primitives.K1, primitives.E1):
        assert primitives.b64(secret) not in shown
        assert repr(secret) not in shown


@pytest.mark.parametrize(
    ("module", "keys", "options"),
    [
        ("cryptography.hazmat.primitives.asymmetric.ed25519", (E1,), {}),
        ("cryptography.hazmat.primitives.asymmetric.ed25519", (K1, V1), {}),
        ("joserfc", (K1,), {"facts_mode": "sealed"}),
    ],
)
def test_a_missing_extra_names_its_command(
    module: str, keys: tuple[str, ...], options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the extra, what needs it fails at start and says how to install it."""
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=r"pip install '.*\[crypto\]'"):
        codec(*keys, **options)


def test_a_sealed_handle_without_the_extra_is_refused_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Who can't open sealed handles refuses them and tells the operator once, not the sender."""
    sealed = issue(codec(facts_mode="sealed"))
    monkeypatch.setitem(sys.modules, "joserfc", None)
    _guard.forget_warnings()
    reader = codec()
    for _ in range(2):
        with pytest.raises(InvalidHandleError):
            reader.read(sealed)
    (message,) = [record.getMessage() for record in caplog.records]
    assert message == f"otel-feedback: a sealed handle cannot be read. {MissingExtraError('crypto', 'joserfc')}"


def test_libraries_are_loaded_when_they_are_needed() -> None:
    """Importing loads no library; signing loads PyJWT, and only sealing loads joserfc."""
    code = f"""
import sys
from otel_feedback._handle import HandleCodec, Keyring
loaded = lambda: ["jwt" in sys.modules, "joserfc" in sys.modules]
assert loaded() == [False, False], loaded()
HandleCodec(Keyring.from_text({K1!r})).issue(trace_id=1, span_id=2, sampled=True, facts={{}})
assert loaded() == [True, False], loaded()
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def decode(segment: str) -> bytes:
    """Bytes of base64url without padding."""
    return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
