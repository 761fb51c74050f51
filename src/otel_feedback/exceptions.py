"""The errors of otel-feedback.

    OtelFeedbackError
    ├── ConfigurationError          a setting that cannot be used; the message says which and what to do
    ├── MissingExtraError           a part that is not installed; the message has the pip command
    ├── PromptError                 a template that cannot be rendered; the message names the variable
    ├── InvalidHandleError          a handle that is not ours, expired or damaged: one message for all of them
    ├── InvalidFeedbackError        a feedback that says nothing we understand; ``field`` names the culprit
    ├── VoteConflictError           a change of a vote that another browser gave
    ├── TooManyChangesError         a vote that was changed too often
    ├── DeliveryError               a feedback that could not be made safe; nothing was recorded
    ├── InvalidQueryError           a question to the store that can't be understood; ``field`` names the culprit
    ├── NotFoundError               an answer that the store doesn't have
    └── StoreError                  the store can't do what was asked; the message says what to do
        ├── StoreHeldError          another process has the folder
        ├── StoreNewerError         a newer version of otel-feedback wrote it
        ├── StoreDamagedError       a file that can't be read
        ├── StoreBusyError          too much waits to be written; come again in a moment
        └── StoreFullError          the disk is full

Only functions that are called to check something raise them (settings, templates, capture). What runs inside a host's
request never does: see ``_guard.py``.
"""

import re
import shlex
from collections.abc import Callable

from otel_feedback._requirement import requirement


class OtelFeedbackError(Exception):
    """Base of all errors of this package."""


class ConfigurationError(OtelFeedbackError):
    """A setting that cannot be used."""


class MissingExtraError(OtelFeedbackError):
    """An optional part that is not installed."""

    def __init__(self, extra: str, module: str) -> None:
        super().__init__(f"{module} is not installed. Run: pip install {shlex.quote(requirement(extra))}")
        self.extra = extra
        self.module = module


class PromptError(OtelFeedbackError):
    """A prompt template that cannot be read or rendered."""


class InvalidHandleError(OtelFeedbackError):
    """A handle that is not accepted; why is not said, since whoever sends it may be probing."""

    def __init__(self) -> None:
        super().__init__("The handle is not valid, or no longer.")


class InvalidFeedbackError(OtelFeedbackError):
    """A feedback that cannot be understood.

    Attributes:
        field: Name of the part that is wrong: ``signal``, ``value``, ``reasons``, ``comment``, ``correction``, ...
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class VoteConflictError(OtelFeedbackError):
    """A change of a vote that was given with another nonce. Nothing of it was recorded."""

    def __init__(self) -> None:
        super().__init__("This vote was given by another browser, and only that one can change it.")


class TooManyChangesError(OtelFeedbackError):
    """A vote that was changed so often that no further change counts. Nothing of this one was recorded."""

    def __init__(self) -> None:
        super().__init__("This vote was changed too often to change it again.")


class DeliveryError(OtelFeedbackError):
    """A feedback that could not be made safe. Nothing of it was recorded, so that it can be sent again."""


class InvalidQueryError(OtelFeedbackError):
    """A question to the store that cannot be understood.

    Attributes:
        field: Name of the part that is wrong: ``since``, ``by``, ``after``, ...
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field

    def name_fields(self, name: Callable[[str], str]) -> str:
        """Return the sentence with the fields called as its reader knows them, such as ``--since``."""
        fields = dict.fromkeys((self.field, *(("until",) if self.field == "since" else ())))
        return re.sub(
            rf"\b(?:{'|'.join(map(re.escape, fields))})\b(?= must| has|\.)", lambda one: name(one[0]), str(self)
        )


class NotFoundError(OtelFeedbackError):
    """An answer that the store does not have."""


class StoreError(OtelFeedbackError):
    """The store cannot do what was asked. Nothing was lost by it."""


class StoreHeldError(StoreError):
    """Another process has the folder open."""


class StoreNewerError(StoreError):
    """A newer version of otel-feedback wrote the folder."""


class StoreDamagedError(StoreError):
    """A file of the store that cannot be read."""


class StoreBusyError(StoreError):
    """Too much waits to be written. Nothing of this was taken; send it again in a moment."""


class StoreFullError(StoreError):
    """There is no room on the disk. Nothing of this was taken; send it again when there is room."""
