"""Makes docs/handle-vectors.json from primitives alone: no code of ours, no JWT library.

Run ``python -m tests.unit.handle_vectors > docs/handle-vectors.json`` after a change of the format.
"""

import base64
import hashlib
import hmac
import json
import sys
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

CLOCK = 1_767_225_600  # 2026-01-01T00:00:00Z
DAY = 86_400
LONGEST_LIFE = 10 * 365 * DAY

K1 = bytes(range(32))
K0 = bytes(range(32, 64))
STRANGER = bytes(range(64, 96))
# RFC 8032, 7.1, tests 1 and 2.
E1 = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
V1 = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
V1_PUBLIC = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
SUB = "u1:00112233445566778899aabbccddeeff"

TP = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
BASE: dict[str, Any] = {"aud": "otel-feedback", "iat": CLOCK, "exp": CLOCK + 30 * DAY, "tp": TP}
FACTS = {
    "svc": "shop-assistant",
    "ns": "shop",
    "env": "production",
    "pn": "answer",
    "pv": "3f9a11b2c4d5",
    "pf": "3f9a11b2c4d5",
    "mdl": "gpt-4o-mini-2024-07-18",
    "prv": "openai",
    "qt": "how-to",
    "rid": "chatcmpl-9aXb2",
}
ATTRIBUTES = {
    "svc": "feedback.service.name",
    "ns": "feedback.service.namespace",
    "env": "feedback.environment",
    "pn": "feedback.prompt.name",
    "pv": "feedback.prompt.version",
    "pf": "feedback.prompt.fingerprint",
    "mdl": "feedback.model",
    "prv": "feedback.provider",
    "qt": "feedback.query.type",
    "rid": "feedback.response.id",
}
HS: dict[str, Any] = {"alg": "HS256", "kid": "k1", "typ": "JWT"}
ED: dict[str, Any] = {"alg": "EdDSA", "kid": "e1", "typ": "JWT"}
DIR: dict[str, Any] = {"alg": "dir", "enc": "A256GCM", "kid": "k1", "typ": "JWT"}


def b64(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def compact(value: Any) -> str:
    """JSON as a handle has it; text is taken as it is."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def join(header: Any, payload: bytes) -> str:
    """What is signed."""
    return f"{b64(compact(header).encode())}.{b64(payload)}"


def hs256(claims: Any, header: Any = HS, key: bytes = K1) -> str:
    """A token signed with a shared key."""
    signed = join(header, claims if isinstance(claims, bytes) else compact(claims).encode())
    return f"{signed}.{b64(hmac.new(key, signed.encode(), hashlib.sha256).digest())}"


def eddsa(claims: Any, header: Any = ED, seed: bytes = E1) -> str:
    """A token signed with Ed25519."""
    signed = join(header, compact(claims).encode())
    return f"{signed}.{b64(Ed25519PrivateKey.from_private_bytes(seed).sign(signed.encode()))}"


def sealing_key(key: bytes) -> bytes:
    """HKDF-SHA256 (RFC 5869) without salt, one block."""
    extracted = hmac.new(bytes(32), key, hashlib.sha256).digest()
    return hmac.new(extracted, b"otel-feedback handle sealing\x01", hashlib.sha256).digest()


def sealed_parts(claims: Any, header: Any = DIR, key: bytes | None = None, iv: bytes = b"\7" * 12) -> list[str]:
    """The five segments of a sealed token; the IV is fixed here, and random wherever it matters."""
    head = b64(compact(header).encode())
    sealed = AESGCM(key or sealing_key(K1)).encrypt(iv, compact(claims).encode(), head.encode())
    return [head, "", b64(iv), b64(sealed[:-16]), b64(sealed[-16:])]


def sealed(claims: Any, **others: Any) -> str:
    """A sealed token."""
    return ".".join(sealed_parts(claims, **others))


def flip(token: str, place: int) -> str:
    """The token with another character there."""
    other = "A" if token[place] != "A" else "B"
    return token[:place] + other + token[place + 1 or len(token) :]


def loosen(segment: str) -> str:
    """Another text of the same bytes: one spare bit of the last character set."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return segment[:-1] + alphabet[alphabet.index(segment[-1]) | 1]


def of_length(length: int) -> dict[str, Any]:
    """Claims whose token has this length."""
    for filler in range(length):
        claims = {**BASE, "pn": "x" * filler}
        if len(hs256(claims)) == length:
            return claims
    raise AssertionError(length)


def valid() -> list[tuple[str, str, dict[str, Any]]]:
    """Name, token and claims of what must be accepted."""
    ahead = {**BASE, "iat": CLOCK + 60}
    loose = '{ "tp": "%s",\n "exp": %d, "iat": %d, "pn": "r\\u00e9ponse", "aud": "otel-feedback", "x": [1] }'
    longest = of_length(1024)
    return [
        ("all facts", hs256({**BASE, **FACTS}), {**BASE, **FACTS}),
        ("no facts", hs256(BASE), BASE),
        ("not sampled", hs256({**BASE, "tp": TP[:-1] + "0"}), {**BASE, "tp": TP[:-1] + "0"}),
        ("other trace flags, sampled", hs256({**BASE, "tp": TP[:-1] + "3"}), BASE),
        ("other trace flags, not sampled", hs256({**BASE, "tp": TP[:-2] + "fe"}), {**BASE, "tp": TP[:-1] + "0"}),
        ("not ASCII", hs256({**BASE, "pn": "réponse 答え"}), {**BASE, "pn": "réponse 答え"}),
        (
            "other order, spaces, escapes, an unknown claim, no typ",
            hs256(loose % (TP, BASE["exp"], BASE["iat"]), {"kid": "k1", "alg": "HS256"}),
            {**BASE, "pn": "réponse"},
        ),
        ("aud as an array of one", hs256({**BASE, "aud": ["otel-feedback"]}), BASE),
        ("an older key", hs256(BASE, {**HS, "kid": "k0"}, K0), BASE),
        ("EdDSA", eddsa({**BASE, **FACTS}), {**BASE, **FACTS}),
        ("EdDSA, of which we have the public key", eddsa(BASE, {**ED, "kid": "v1"}, V1), BASE),
        ("sealed, with a user", sealed({**BASE, "sub": SUB, **FACTS}), {**BASE, "sub": SUB, **FACTS}),
        ("sealed, without a user", sealed({**BASE, **FACTS}), {**BASE, **FACTS}),
        ("a clock 60 s ahead of ours", hs256(ahead), ahead),
        ("the last second", hs256({**BASE, "exp": CLOCK + 1}), {**BASE, "exp": CLOCK + 1}),
        (
            "the longest life",
            hs256({**BASE, "exp": CLOCK + LONGEST_LIFE}),
            {**BASE, "exp": CLOCK + LONGEST_LIFE},
        ),
        ("1024 characters", hs256(longest), longest),
    ]


def bad_claims() -> dict[str, Any]:
    """Claims that must be refused although the signature is right."""
    bad: dict[str, Any] = {f"{name} missing": {k: v for k, v in BASE.items() if k != name} for name in BASE}
    bad.update((f"{name} null", {**BASE, name: None}) for name in BASE)
    for name in ("iat", "exp"):
        for value in (True, 1.5, float(BASE[name]), str(BASE[name]), [BASE[name]], {}):
            bad[f"{name} is {value!r}"] = {**BASE, name: value}
        for literal in ("NaN", "Infinity", "1e400", "9" * 400, "-1", "0x10"):
            text = compact(BASE).replace(f'"{name}":{BASE[name]}', f'"{name}":{literal}')
            bad[f"{name} is {literal[:12]}"] = text
    bad |= {
        "expired this second": {**BASE, "iat": CLOCK - DAY, "exp": CLOCK},
        "expired long ago": {**BASE, "iat": 0, "exp": 1},
        "a clock 61 s ahead of ours": {**BASE, "iat": CLOCK + 61},
        "expired before it was made": {**BASE, "iat": CLOCK + 30, "exp": CLOCK + 20},
        "a life too long": {**BASE, "exp": CLOCK + LONGEST_LIFE + 1},
        "another audience": {**BASE, "aud": "otel-feedback-admin"},
        "aud as an array of two": {**BASE, "aud": ["otel-feedback", "other"]},
        "aud as an empty array": {**BASE, "aud": []},
        "aud is a number": {**BASE, "aud": 1},
        "sub in a signed handle": {**BASE, "sub": SUB},
        "claims in an array": [BASE],
        "claims are a string": '"otel-feedback"',
        "claims are not JSON": "aud=otel-feedback",
        "claims are cut": compact(BASE)[:-1],
        "claims nested deeply": "[" * 600,
        "claims in UTF-16": compact(BASE).encode("utf-16"),
        "claims not UTF-8": compact({**BASE, "pn": "?"}).encode().replace(b"?", b"\xff"),
        "claims after a byte order mark": b"\xef\xbb\xbf" + compact(BASE).encode(),
        "a fact with a lone surrogate": compact({**BASE, "pn": "?"}).replace("?", "\\ud800"),
        "1026 characters": of_length(1026),
    }
    for value in (1, None, "", [], {}, True):
        bad[f"a fact is {json.dumps(value)}"] = {**BASE, "mdl": value}
    trace, span = TP[3:35], TP[36:52]
    for name, value in {
        "zero trace id": f"00-{'0' * 32}-{span}-01",
        "zero span id": f"00-{trace}-{'0' * 16}-01",
        "upper case": TP.upper(),
        "version ff": f"ff{TP[2:]}",
        "version 01": f"01{TP[2:]}",
        "a short trace id": f"00-{trace[1:]}-{span}-01",
        "a long span id": f"00-{trace}-{span}0-01",
        "no flags": TP[:-3],
        "a fifth part": f"{TP}-00",
        "a newline at its end": f"{TP}\n",
        "a space before it": f" {TP}",
        "digits of another script": TP.replace("0", "\uff10"),
        "not hexadecimal": TP.replace("a", "g"),
        "a number": 1,
        "an array": [TP],
    }.items():
        bad[f"tp: {name}"] = {**BASE, "tp": value}
    return bad


def bad_headers() -> dict[str, str]:
    """Tokens whose header plays tricks; each is signed as well as it can be."""
    bad = {
        f"alg {alg}": hs256(BASE, {**HS, "alg": alg})
        for alg in ("none", "None", "", "hs256", "HS512", "EdDSA", "RS256", "dir", None, ["HS256"])
    }
    bad |= {f"kid {kid!r}": hs256(BASE, {**HS, "kid": kid}) for kid in ("k2", "", "K1", "k1\0", 1, None, ["k1"])}
    for name, value in {
        "crit": ["b64"],
        "b64": False,
        "zip": "DEF",
        "cty": "JWT",
        "jwk": {"kty": "oct", "k": b64(K1)},
        "jku": "https://example.org/keys",
        "x5u": "https://example.org/cert",
        "enc": "A256GCM",
    }.items():
        bad[f"header with {name}"] = hs256(BASE, {**HS, name: value})
    bad |= {
        "header with crit and b64": hs256(BASE, {**HS, "crit": ["b64"], "b64": False}),
        "typ JWE": hs256(BASE, {**HS, "typ": "JWE"}),
        "typ is a number": hs256(BASE, {**HS, "typ": 1}),
        "no alg": hs256(BASE, {"kid": "k1"}),
        "no kid": hs256(BASE, {"alg": "HS256"}),
        "header in an array": hs256(BASE, [HS]),
        "header is not JSON": hs256(BASE, "HS256"),
        "header nested deeply": hs256(BASE, "[" * 400),
        "signed with the public key as a shared one": hs256(BASE, {**HS, "kid": "v1"}, V1_PUBLIC),
        "signed with the private seed as a shared one": hs256(BASE, {**HS, "kid": "e1"}, E1),
        "EdDSA under a shared key's id": eddsa(BASE, {**ED, "kid": "k1"}),
        "EdDSA with another's key": eddsa(BASE, ED, V1),
        "a key that nobody knows": hs256(BASE, HS, STRANGER),
        "another of our keys": hs256(BASE, HS, K0),
    }
    return bad


def bad_shapes() -> dict[str, str]:
    """Texts that are no token, or one that was changed."""
    good = hs256({**BASE, **FACTS})
    head, payload, signature = good.split(".")
    none = join({**HS, "alg": "none"}, compact(BASE).encode())
    return {
        "empty": "",
        "dots": "..",
        "one segment": head,
        "two segments": f"{head}.{payload}",
        "four segments": f"{good}.{signature}",
        "six segments": f"{head}..{payload}.{payload}.{payload}.{signature}",
        "no signature": f"{head}.{payload}.",
        "alg none without signature": f"{none}.",
        "no payload": f"{head}..{signature}",
        "padding": f"{good}=",
        "a space before it": f" {good}",
        "a newline after it": f"{good}\n",
        "a scheme before it": f"Bearer {good}",
        "base64 of the other alphabet": good.replace("-", "+").replace("_", "/") + "+",
        "one character too few": good[:-1],
        "one character too many": f"{good}A",
        "half the signature": good[: -len(signature) // 2],
        "spare bits in the signature": f"{head}.{payload}.{loosen(signature)}",
        "a character of the header changed": flip(good, len(head) // 2),
        "a character of the payload changed": flip(good, len(head) + 60),
        "a character of the signature changed": flip(good, len(good) - 5),
        "the signature of another handle": f"{head}.{payload}.{hs256(BASE).split('.')[2]}",
        "JSON": compact({**BASE, **FACTS}),
        "not ASCII": good[:-1] + "é",
    }


def bad_seals() -> dict[str, str]:
    """Sealed tokens that must be refused."""
    head, _, iv, text, tag = sealed_parts({**BASE, "sub": SUB})
    bad = {
        f"sealed, sub is {sub!r}": sealed({**BASE, "sub": sub})
        for sub in ("ada@example.org", "", 7, None, SUB.upper(), f"{SUB}0", f"{SUB}\n")
    }
    bad |= {
        "sealed, expired": sealed({**BASE, "iat": CLOCK - DAY, "exp": CLOCK}),
        "sealed, no tp": sealed({k: v for k, v in BASE.items() if k != "tp"}),
        "sealed, with an encrypted key": f"{head}.{b64(K1)}.{iv}.{text}.{tag}",
        "sealed, no text": f"{head}..{iv}..{tag}",
        "sealed, tag of 12 bytes": f"{head}..{iv}.{text}.{tag[:16]}",
        "sealed, spare bits in the tag": f"{head}..{iv}.{text}.{loosen(tag)}",
        "sealed, tag changed": f"{head}..{iv}.{text}.{flip(tag, 0)}",
        "sealed, text changed": f"{head}..{iv}.{flip(text, 9)}.{tag}",
        "sealed, IV changed": f"{head}..{flip(iv, 0)}.{text}.{tag}",
        "sealed, IV of 16 bytes": sealed(BASE, iv=b"\7" * 16),
        "sealed with the signing key itself": sealed(BASE, key=K1),
        "sealed with another of our keys": sealed(BASE, key=sealing_key(K0)),
        "sealed under a public key's id": sealed(BASE, header={**DIR, "kid": "v1"}, key=sealing_key(V1_PUBLIC)),
        "sealed, a signed handle inside": sealed(hs256(BASE), header={**DIR, "cty": "JWT"}),
        "sealed, a signed handle inside that the header hides": sealed(hs256(BASE)),
    }
    for name, value in {"enc": "A128GCM", "alg": "A256KW", "zip": "DEF", "crit": ["exp"], "p2c": 1, "kid": 1}.items():
        bad[f"sealed, {name} is {value!r}"] = sealed(BASE, header={**DIR, name: value})
    bad["sealed, no enc"] = sealed(BASE, header={k: v for k, v in DIR.items() if k != "enc"})
    return bad


def pseudonym(key_id: str, key: bytes, user: str) -> dict[str, str]:
    """A user's pseudonym, and what it is made from."""
    digest = hmac.new(key, user.encode(), hashlib.sha256).hexdigest()
    return {"key": f"{key_id}:{b64(key)}", "user": user, "pseudonym": f"{key_id}:{digest[:32]}"}


def handle(claims: dict[str, Any]) -> dict[str, Any]:
    """What a reader makes of claims."""
    _, trace_id, span_id, flags = claims["tp"].split("-")
    return {
        "trace_id": trace_id,
        "span_id": span_id,
        "sampled": flags == "01",
        "issued_at": claims["iat"],
        "expires_at": claims["exp"],
        "facts": {ATTRIBUTES[claim]: claims[claim] for claim in ATTRIBUTES if claim in claims},
        "user": claims.get("sub"),
    }


def vectors() -> dict[str, Any]:
    """The whole file."""
    bad = {f"claims: {name}": hs256(claims) for name, claims in bad_claims().items()}
    bad |= {f"header: {name}": token for name, token in bad_headers().items()}
    bad |= {f"shape: {name}": token for name, token in bad_shapes().items()} | bad_seals()
    return {
        "about": "Test vectors of docs/handle.md. The keys are known to everybody: never use them.",
        "clock": CLOCK,
        "keys": [
            f"k1:HS256:{b64(K1)}",
            f"k0:HS256:{b64(K0)}",
            f"e1:EdDSA:{b64(E1)}",
            f"v1:EdDSA-public:{b64(V1_PUBLIC)}",
        ],
        "sealing_keys": {"k1": b64(sealing_key(K1)), "k0": b64(sealing_key(K0))},
        "valid": [{"name": name, "token": token, "handle": handle(claims)} for name, token, claims in valid()],
        "invalid": [{"name": name, "token": token} for name, token in bad.items()],
        "pseudonyms": [pseudonym("u1", K0, "ada@example.org"), pseudonym("u1", K0, "Zoë 答え")],
    }


def text() -> str:
    """The file's text."""
    return json.dumps(vectors(), indent=1, ensure_ascii=True) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
