"""Looks at answers to malformed requests: none is a failure of the server's, and none repeats what was sent."""

import json
from collections import Counter
from typing import Final

from otel_feedback.capture.body import FeedbackBody
from soak.bodies import SECRET
from soak.wire import Answer

LONGEST_ECHO: Final = 8
"""Characters that an answer may have in common with a request by chance."""

MOST_ANSWERS: Final = 60
"""Different refusals: who repeats input has more."""

_WORDS: Final = "\n".join(
    [
        *FeedbackBody.model_fields,
        "original",
        "corrected",
        "application/json",
        "application/problem+json",
        "content-encoding",
    ]
)
"""What we say ourselves and a sender may say, too."""


class Watch:
    """Counts answers and keeps each refusal once; raises ``AssertionError`` at the first that should not be."""

    def __init__(self) -> None:
        self.statuses: Counter[int] = Counter()
        self.refusals: set[Answer] = set()

    def see(self, sent: bytes, answer: Answer) -> None:
        """Look at one answer.

        Args:
            sent: The request that it answers, without its first line, which is ours.
            answer: The answer.
        """
        self.statuses[answer.status] += 1
        if answer.status < 300:  # taken; the id is the sender's own
            assert answer.status == 202, f"{answer.status}: {sent[:200]!r}"
            return
        if answer in self.refusals:
            return
        assert 400 <= answer.status < 500, f"{answer.status}: {sent[:200]!r}"
        assert answer.header("content-type") == "application/problem+json", f"{answer}: {sent[:200]!r}"
        said = json.loads(answer.body)
        assert said["status"] == answer.status, answer
        assert {"type", "title", "status", "detail"} <= set(said) <= {"type", "title", "status", "detail", "field"}
        for echo in echoes(sent.decode("latin-1"), _text(answer)):
            raise AssertionError(f"{echo!r} is repeated: {answer}")
        self.refusals.add(answer)
        assert len(self.refusals) <= MOST_ANSWERS, "there is no end of different answers"

    def look_at_log(self, said: str) -> None:
        """Look at what the process wrote meanwhile."""
        assert "Traceback" not in said, said[-4_000:]
        assert SECRET not in said, "the log repeats what was sent"
        assert len(said) < 20_000, "the log grows by what is sent"


def echoes(sent: str, answer: str) -> list[str]:
    """Return the parts of an answer, a little longer than may be, that are in what was sent and no words of ours."""
    parts = (answer[start : start + LONGEST_ECHO + 1] for start in range(len(answer) - LONGEST_ECHO))
    return [part for part in parts if part in sent and part.strip(' ":,;.') not in _WORDS]


def _text(answer: Answer) -> str:
    return "\n".join([answer.body.decode(), *(value for _, value in answer.headers)])
