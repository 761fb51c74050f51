"""The system instructions on trial: each conversation gets one of two, by its id, as in any A/B test."""

import zlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Prompt:
    """One version of a system instruction, and how many passages the model is given with it."""

    name: str
    instruction: str
    passages: int


ASK = (
    Prompt(
        "thorough",
        "You answer questions on Python from the given passages of its language reference and nothing else. "
        "Answer in at most three sentences, the most telling first.",
        passages=4,
    ),
    Prompt(
        "terse",
        "You answer questions on Python from the given passages of its language reference and nothing else. "
        "Be brief: use at most ten words.",
        passages=4,
    ),
)
"""For ``POST /ask``. The terse one often cuts off what was asked for."""

STREAM = (
    Prompt(
        "tutor",
        "You are a patient tutor of Python. Explain from the given passages of the language reference, "
        "in at most two sentences.",
        passages=4,
    ),
    Prompt(
        "frugal",
        "You are a tutor of Python. Explain from the given passage of the language reference, in one sentence.",
        passages=1,
    ),
)
"""For ``POST /ask/stream``. The frugal one saves tokens: one passage, and woe if it is the wrong one."""


def choose(prompts: tuple[Prompt, ...], conversation: str) -> Prompt:
    """The prompt of a conversation: always the same one for the same id."""
    return prompts[zlib.crc32(conversation.encode()) % len(prompts)]


def fill(hits: list[tuple[str, str]]) -> str:
    """What the model is to answer from: ``(id, text)`` of the passages."""
    passages = "\n\n".join(f"[{name}]\n\n{text}" for name, text in hits)
    return f"Passages:\n\n{passages}"
