"""What a judgement means where its producer does not say: by the signal table, words of praise and blame, or score."""

from typing import Final

from otel_feedback import semconv
from otel_feedback._signals import DEFAULT_SIGNALS, Happened, Scale, Share
from otel_feedback.exceptions import InvalidFeedbackError


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_GOOD: Final = _words(
    "accept accepted agree approve approved correct excellent good great happy helpful like liked love pass passed"
    " positive relevant resolved right satisfied thumbs-up thumbs_up thumbsup true up upvote useful yes 👍"
)
_BAD: Final = _words(
    "bad decline declined disagree dislike disliked down downvote fail failed false hallucinated harmful hate incorrect"
    " inaccurate irrelevant negative no poor reject rejected terrible thumbs-down thumbs_down thumbsdown toxic unhappy"
    " unhelpful unresolved unsatisfied useless wrong 👎"
)
_NEUTRAL: Final = _words("mixed neutral ok okay partial partially_correct so-so unsure")
_TAKEN_BACK: Final = _words("retracted removed unset")
_FALLING: Final = _words(
    "bias confusion frustration hallucination hallucinations harmfulness pii profanity refusal toxicity"
)
"""Criteria of which much is bad: their scores and yes or no are turned round."""


def sentiment_of(name: str, value: float | bool | None, label: str | None) -> str:  # noqa: FBT001 - a score
    """Say what a judgement of another producer means, as far as it can be told.

    Where its name is one of our signals and its label or score a value of it, our signal table decides; else a label
    that is a plain word of praise or blame; else a score in [-1, 1]: truth values and scores from 0 are good above
    one half, a negative one is bad. Of criteria such as ``hallucination`` much is bad. All else is neutral: a score
    of 4 may be of 5 or of 100.

    Args:
        name: Of the criterion.
        value: The score, if any.
        label: The value in words, if any.
    """
    if label is not None and label.strip().lower() in _TAKEN_BACK:
        return semconv.RETRACTED
    by_table = _by_table(name.lower(), value, label)
    if by_table is not None:
        return by_table
    falling = name.lower() in _FALLING
    sentiment = _by_word(label, falling=falling)
    if sentiment is not None:
        return sentiment
    share = float(value) if value is not None else 0.5
    if not -1.0 <= share <= 1.0 or share == 0.5:  # noqa: PLR2004 - a half says neither
        return semconv.NEUTRAL
    good = (share > 0.5) is not falling  # noqa: PLR2004 - see above
    return semconv.POSITIVE if good else semconv.NEGATIVE


def _by_table(name: str, value: float | bool | None, label: str | None) -> str | None:  # noqa: FBT001 - a score
    """Ask the signal table, by the label and by values of its own scale: scores are another thing than values."""
    signal = DEFAULT_SIGNALS.get(name)
    if signal is None:
        return None
    word = label.strip().lower() if label is not None else ""
    rule = signal.rule
    if isinstance(rule, Share):
        return next((band.sentiment for band in rule.bands if band.label == word), None)
    candidate: object = word
    if isinstance(rule, Happened):
        candidate = value
    elif isinstance(rule, Scale):
        whole = isinstance(value, float) and value > 1 and value.is_integer()  # by one who sends doubles only
        candidate = int(word) if word.isdecimal() and len(word) < 5 else int(value or 0) if whole else value  # noqa: PLR2004 - to 9999
    try:
        return rule.judge(candidate, None).sentiment
    except InvalidFeedbackError:
        return None


def _by_word(label: str | None, *, falling: bool) -> str | None:
    word = label.strip().lower().replace(" ", "_") if label is not None else ""
    if word in _NEUTRAL:
        return semconv.NEUTRAL
    turned = falling and word in ("true", "yes", "false", "no")
    if word in _GOOD:
        return semconv.NEGATIVE if turned else semconv.POSITIVE
    if word in _BAD:
        return semconv.POSITIVE if turned else semconv.NEGATIVE
    return None
