"""Prompt templates: a named text with variables, which says on the answer's span what it was."""

import dataclasses
import hashlib
import string
from collections.abc import Mapping
from typing import Final

from otel_feedback import _facts, _guard, _ledger, _limits, _runtime
from otel_feedback.exceptions import PromptError

FINGERPRINT_DIGITS: Final = 12
MAX_VARIABLES: Final = _limits.MAX_ATTRIBUTES // 2
"""Variables that one span shows, where content is captured; a bare inference has the facts of its answer beside."""


def fingerprint(text: str) -> str:
    """Return the first 12 hex digits of SHA-256 over a text in UTF-8 (lone surrogates by ``surrogatepass``)."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:FINGERPRINT_DIGITS]


@dataclasses.dataclass(frozen=True)
class PromptTemplate:
    """A prompt's text with named variables, in the syntax of ``str.format``.

    Args:
        name: What people call it; few values, since it becomes a metric's label.
        text: The text, such as ``"Answer in one sentence: {question}"``. Braces are doubled to stand for themselves.
        version: Its version. Without one, the fingerprint of the text is the version.

    Attributes:
        fingerprint: 12 hex digits of SHA-256 over the text: shows an edit that nobody versioned.
        variables: The names that ``format`` needs.

    Raises:
        PromptError: The name is empty, or the text is no format string with named variables.
    """

    name: str
    text: str
    version: str | None = None
    fingerprint: str = dataclasses.field(init=False, compare=False)
    variables: frozenset[str] = dataclasses.field(init=False, compare=False, repr=False)
    _stamp: _facts.PromptStamp = dataclasses.field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise PromptError("A prompt template needs a name, such as PromptTemplate('answer', '...').")
        if not isinstance(self.text, str) or not isinstance(self.version, str | None):
            raise PromptError(f"The text and the version of the prompt template {self.name!r} must be strings.")
        own = fingerprint(self.text)
        # The one way to fill derived fields of a frozen dataclass.
        object.__setattr__(self, "variables", _variables_of(self.name, self.text))
        object.__setattr__(self, "fingerprint", own)
        object.__setattr__(self, "_stamp", _facts.PromptStamp(self.name, self.version or own, own))

    def format(self, /, **variables: object) -> str:
        """Render the text, and say on the answer that is being made that it came from this template.

        Args:
            variables: One value for each variable of the text. Values that it doesn't use are ignored.

        Raises:
            PromptError: A variable is missing (the message names it), or a value refuses its format.
        """
        missing = self.variables - variables.keys()
        if missing:
            names = ", ".join(sorted(missing))
            raise PromptError(f"The prompt template {self.name!r} needs a value for: {names}.")
        try:
            rendered = self.text.format(**variables)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            # The original text may quote a value: only its type is told.
            raise PromptError(
                f"The prompt template {self.name!r} can't be rendered: a value doesn't fit its format "
                f"({type(error).__name__})."
            ) from None
        with _guard.guard("PromptTemplate.format"):
            _ledger.declare_prompt(self._stamped(variables))
        return rendered

    def _stamped(self, variables: Mapping[str, object]) -> _facts.PromptStamp:
        if not _runtime.settings().capture_content:
            return self._stamp
        shown = sorted(self.variables)[:MAX_VARIABLES]
        texts = {name: _limits.clean_text(str(variables[name])) for name in shown}
        return _facts.PromptStamp(self._stamp.name, self._stamp.version, self.fingerprint, texts)


def _variables_of(name: str, text: str) -> frozenset[str]:
    found: set[str] = set()
    try:
        _collect(text, found)
    except ValueError as error:
        raise PromptError(
            f"The text of the prompt template {name!r} is no format string ({error}); a brace that stands for itself "
            "is doubled: {{ or }}."
        ) from None
    unnamed = {field for field in found if not field.isidentifier()}
    if unnamed:
        raise PromptError(
            f"The prompt template {name!r} has a variable without a proper name; give each one a name, such as "
            "{question}, and double a brace that stands for itself: {{ or }}."
        )
    return frozenset(found)


def _collect(text: str, found: set[str]) -> None:
    for _, field, spec, _ in string.Formatter().parse(text):
        if field is None:
            continue
        found.add(field.partition(".")[0].partition("[")[0])
        if spec:
            _collect(spec, found)
