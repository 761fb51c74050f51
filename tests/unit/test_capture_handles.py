"""The door's one answer to every handle that isn't good, over HTTP; and keys that are changed while people vote."""

import json
from pathlib import Path

import pytest
from tests.unit.capture_http import client, problem, send
from tests.unit.feedback_parts import BAD_HANDLES, Outbox
from tests.unit.handle_vectors import (
    BASE,
    CLOCK,
    HS,
    K0,
    K1,
    STRANGER,
    V1_PUBLIC,
    b64,
    eddsa,
    hs256,
    sealed,
    sealing_key,
)

from otel_feedback._handle import HandleCodec, Keyring
from otel_feedback._recorder import Recorder
from otel_feedback._settings import Settings
from otel_feedback.capture import capture_app

VECTORS = json.loads((Path(__file__).parents[2] / "docs" / "handle-vectors.json").read_text())
pytestmark = pytest.mark.usefixtures("own_process")


def key(kid, secret):
    """A shared key as a keyring reads it."""
    return f"{kid}:HS256:{b64(secret)}"


def door(*keys, clock=CLOCK):
    """A capture endpoint with these keys, at that second; and what it records."""
    outbox = Outbox()
    codec = HandleCodec(Keyring.from_text(",".join(keys or VECTORS["keys"])), clock=lambda: clock)
    recorder = Recorder(codec=codec, settings=Settings(), delivery=outbox)
    return client(capture_app(recorder=recorder, limits=None)), outbox


def body(handle):
    """A vote."""
    return {"handle": handle, "signal": "thumbs", "value": "up"}


async def answers(handles, *, clock=CLOCK):
    """All that comes back for these handles but the time, each once; nothing may be recorded."""
    door_client, outbox = door(clock=clock)
    found = set()
    async with door_client as http:
        for handle in handles:
            response = await send(http, body(handle))
            headers = sorted((name, value) for name, value in response.headers.multi_items() if name != "date")
            found.add((response.status_code, response.content, tuple(headers)))
    assert outbox.carriers == []
    return found


async def the_answer():
    """What a plainly forged handle gets."""
    (answer,) = await answers([hs256(BASE, HS, STRANGER)])
    assert answer[0] == 401
    said = json.loads(answer[1])
    assert said["status"] == 401
    assert "field" not in said
    assert ("www-authenticate", "Handle") in answer[2]
    return answer


async def test_good_handles_are_let_in():
    """All that the vectors say is good: what follows isn't refused for another reason."""
    door_client, outbox = door()
    async with door_client as http:
        for vector in VECTORS["valid"]:
            assert (await send(http, body(vector["token"]))).status_code == 202, vector["name"]
    assert len(outbox.carriers) == len(VECTORS["valid"])


async def test_each_bad_vector_gets_the_one_answer():
    """Forged, foreign, damaged, `alg: none`, confused algorithms, missing and wrong claims, seals: byte by byte."""
    bad = [vector["token"] for vector in VECTORS["invalid"] if vector["token"]]
    assert len(bad) > 160
    assert await answers(bad) == {await the_answer()}


@pytest.mark.parametrize("name", ["all facts", "EdDSA", "sealed"])
async def test_a_handle_cut_at_any_length_gets_the_one_answer(name):
    """From its first character to all but its last, signed or sealed."""
    token = next(vector["token"] for vector in VECTORS["valid"] if vector["name"].startswith(name))
    assert await answers(token[:length] for length in range(1, len(token))) == {await the_answer()}


async def test_a_handle_with_any_character_changed_gets_the_one_answer():
    """In header, payload and signature."""
    token = VECTORS["valid"][0]["token"]
    changed = (token[:place] + ("A" if one != "A" else "B") + token[place + 1 :] for place, one in enumerate(token))
    assert await answers(changed) == {await the_answer()}


@pytest.mark.parametrize("handle", [one for one in BAD_HANDLES if one and not isinstance(one, bytes)], ids=repr)
async def test_what_is_no_token_at_all_gets_the_one_answer(handle):
    """Numbers, lists, lone surrogates; a text of a million characters never gets so far."""
    if isinstance(handle, str) and len(handle) > 60_000:
        handle = handle[:60_000]
    assert await answers([handle]) == {await the_answer()}


@pytest.mark.parametrize("handle", [0, -1, 1.5, True, False, [], {}, {"alg": "none"}, [BASE], 10**400], ids=repr)
async def test_a_handle_that_is_no_text_gets_the_one_answer(handle):
    """Nor is its type anything that a prober learns."""
    assert await answers([handle]) == {await the_answer()}


@pytest.mark.parametrize("name", BASE)
@pytest.mark.parametrize("make", [hs256, eddsa, sealed])
async def test_a_missing_claim_gets_the_one_answer(make, name):
    """Each of the four, in each kind of handle."""
    claims = {claim: value for claim, value in BASE.items() if claim != name}
    assert await answers([make(claims)]) == {await the_answer()}


async def test_time_alone_makes_the_one_answer():
    """A good handle before it may be used, and from the second on in which it ends."""
    token = hs256(BASE)
    for clock, good in ((BASE["iat"] - 61, False), (BASE["iat"] - 60, True), (BASE["exp"] - 1, True)):
        door_client, _ = door(clock=clock)
        async with door_client as http:
            assert (await send(http, body(token))).status_code == (202 if good else 401)
    assert await answers([token], clock=BASE["iat"] - 61) == {await the_answer()}
    assert await answers([token], clock=BASE["exp"]) == {await the_answer()}


async def test_another_services_handle_gets_the_one_answer():
    """Made with its key, under its own key id or under ours; signed and sealed."""
    foreign = [hs256(BASE, {**HS, "kid": kid}, STRANGER) for kid in ("k1", "k0", "other")]
    foreign += [sealed(BASE, key=sealing_key(STRANGER))]
    assert await answers(foreign) == {await the_answer()}


async def test_a_public_key_makes_no_handles():
    """What everybody may know of an Ed25519 pair signs nothing, whatever algorithm the header names."""
    forged = [hs256(BASE, {"alg": alg, "kid": "v1"}, V1_PUBLIC) for alg in ("HS256", "EdDSA", "none", "HS512")]
    assert await answers(forged) == {await the_answer()}


async def test_who_sends_no_handle_is_told_more():
    """It says where a handle comes from: nothing that a prober doesn't know, and it isn't the one answer."""
    assert await answers([None, ""]) != {await the_answer()}


async def test_a_key_is_replaced_without_the_loss_of_a_vote():
    """Appended, moved to the front, then alone: old handles are good until their key goes, new ones from its coming."""
    old, new = key("old", K0), key("new", K1)
    of_old, of_new = hs256(BASE, {**HS, "kid": "old"}, K0), hs256(BASE, {**HS, "kid": "new"}, K1)
    steps = [
        ([old], (202, 401)),
        ([old, new], (202, 202)),
        ([new, old], (202, 202)),
        ([new], (401, 202)),
    ]
    for keys, expected in steps:
        door_client, _ = door(*keys)
        async with door_client as http:
            assert tuple([(await send(http, body(one))).status_code for one in (of_old, of_new)]) == expected, keys


async def test_new_handles_are_made_with_the_first_key():
    """Whoever moved the new key to the front gives handles out that live on when the old one goes."""
    old, new = key("old", K0), key("new", K1)
    for ring, still_good in (([old, new], False), ([new, old], True)):
        codec = HandleCodec(Keyring.from_text(",".join(ring)), clock=lambda: CLOCK)
        token = codec.issue(trace_id=1, span_id=2, sampled=True, facts={})
        door_client, _ = door(new)
        async with door_client as http:
            assert (await send(http, body(token))).status_code == (202 if still_good else 401)


async def test_a_removed_key_makes_the_one_answer():
    """Nobody learns that the key was known once."""
    door_client, _ = door(key("new", K1))
    async with door_client as http:
        of_old = await send(http, body(hs256(BASE, {**HS, "kid": "old"}, K0)))
        forged = await send(http, body(hs256(BASE, {**HS, "kid": "new"}, STRANGER)))
        problem(of_old, 401)
        assert (of_old.content, of_old.headers) == (forged.content, forged.headers)
