"""The signal table and its rules, for rows of your own: see ``replace_signals``."""

from otel_feedback._signals import (
    DEFAULT_SIGNALS,
    Band,
    Compared,
    Correction,
    Happened,
    Judgement,
    OneOf,
    Rule,
    Scale,
    Share,
    Signal,
    SignalTable,
)

__all__ = [
    "DEFAULT_SIGNALS",
    "Band",
    "Compared",
    "Correction",
    "Happened",
    "Judgement",
    "OneOf",
    "Rule",
    "Scale",
    "Share",
    "Signal",
    "SignalTable",
]
