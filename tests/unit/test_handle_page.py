"""docs/handle.md says what the code does."""

import dataclasses
import re
from pathlib import Path
from typing import Any

from tests.unit import handle_vectors

from otel_feedback import _handle, _jose, semconv
from otel_feedback._handle import FACT_CLAIMS, HandleCodec, Keyring

TEXT = (Path(__file__).parents[2] / "docs" / "handle.md").read_text(encoding="utf-8")


def test_the_claims_table_is_the_codes() -> None:
    """Each fact's claim, in the order in which facts are left out of a handle that is too long."""
    documented = re.findall(r"^\| `([a-z]+)` \| \| `(feedback\.[a-z_.]+)` \|$", TEXT, re.MULTILINE)
    assert [(attribute, claim) for claim, attribute in documented] == list(FACT_CLAIMS.items())


def test_the_numbers_and_names_are_the_codes() -> None:
    """Length, lifetime, leeway, derivation and audience stand in the page as they stand in the code."""
    for said in (
        f"**{_jose.LONGEST_TOKEN} characters**",
        f"at most {_handle.LONGEST_LIFE} (ten years) later",
        f"at most {_handle.CLOCK_LEEWAY} s ahead of our clock",
        f"info `{_jose.SEALING_INFO.decode()}`",
        f"`{semconv.HANDLE_AUDIENCE}`, or an array with just that",
        f"`{semconv.HANDLE_HEADER}`",
    ):
        assert said in TEXT


def test_the_page_s_program_makes_a_handle() -> None:
    """The example for a service without otel-feedback makes a handle that we read."""
    (program,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    variables: dict[str, Any] = {"key": handle_vectors.K1}
    exec(program, variables)  # noqa: S102 - the page's own example
    ring = Keyring.from_text(f"k1:HS256:{handle_vectors.b64(handle_vectors.K1)}")
    read = HandleCodec(ring).read(variables["handle"])
    assert dataclasses.asdict(read)["facts"] == {
        semconv.FEEDBACK_SERVICE_NAME: "shop-assistant",
        semconv.FEEDBACK_PROMPT_NAME: "answer",
        semconv.FEEDBACK_PROMPT_VERSION: "7",
    }
