"""``otel-feedback key``: make keys for handles."""

import base64
import secrets
import sys
from enum import Enum
from typing import Annotated

import typer

from otel_feedback._keys import Keyring
from otel_feedback.exceptions import MissingExtraError

app = typer.Typer(help="Make keys.", no_args_is_help=True, rich_markup_mode=None)


class Algorithm(str, Enum):
    """How a key signs."""

    hs256 = "HS256"
    eddsa = "EdDSA"


@app.callback()
def group() -> None:
    """Make keys."""


@app.command("new")
def new(
    *,
    algorithm: Annotated[
        Algorithm, typer.Option(help="HS256: one key signs and verifies. EdDSA: capture gets a key that only verifies.")
    ] = Algorithm.hs256,
    kid: Annotated[str | None, typer.Option(help="Id of the key; by default a random one.")] = None,
) -> None:
    """Print a new key for OTEL_FEEDBACK_HANDLE_KEYS.

    The services that answer and the capture endpoint need the same value. With EdDSA, the line for the capture
    endpoint goes to stderr.

    \b
    Examples:
      export OTEL_FEEDBACK_HANDLE_KEYS="$(otel-feedback key new)"
      otel-feedback key new --algorithm EdDSA --kid 2026-11
    """  # noqa: D301 - \b keeps the lines below it as they are
    kid = kid or secrets.token_hex(4)
    if algorithm is Algorithm.hs256:
        key, public = Keyring.generate_text(kid), None
    else:
        key, public = _make_eddsa(kid)
    Keyring.from_text(key, source="--kid")  # an id that can't be used is found here, and not at the next start
    print(key)
    if public is not None:
        print(f"For a capture endpoint that shall only verify: {public}", file=sys.stderr)


def _make_eddsa(kid: str) -> tuple[str, str]:
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    except ModuleNotFoundError:
        raise MissingExtraError("crypto", "cryptography") from None
    private = Ed25519PrivateKey.generate()
    secret, public = private.private_bytes_raw(), private.public_key().public_bytes_raw()
    return f"{kid}:EdDSA:{_text(secret)}", f"{kid}:EdDSA-public:{_text(public)}"


def _text(key: bytes) -> str:
    return base64.urlsafe_b64encode(key).decode().rstrip("=")
