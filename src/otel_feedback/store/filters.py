"""Which answers are meant: a window of time and facts, read from an address and written as SQL with parameters."""

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from otel_feedback._limits import clean_text
from otel_feedback.exceptions import InvalidQueryError

FACTS: Final = {
    "service": "service",
    "namespace": "namespace",
    "environment": "environment",
    "template": "prompt_name",
    "version": "prompt_version",
    "model": "model",
    "query_type": "query_type",
}
"""What an answer can be picked by, as it is asked for, and its column."""

TIMES: Final = {"interactions": "started_at", "feedback": "answered_at"}
"""The time of the answer in each table."""

_AGO: Final = re.compile(r"([0-9]{1,6})(m|h|d|w)")
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_LONGEST: Final = 4096


@dataclass(frozen=True)
class Filter:
    """A window and facts; ``None`` lets everything through. Windows are by the time of the answer."""

    since: dt.datetime | None = None
    """The first moment that is meant."""
    until: dt.datetime | None = None
    """The first moment after those that are meant."""
    service: str | None = None
    namespace: str | None = None
    environment: str | None = None
    template: str | None = None
    version: str | None = None
    model: str | None = None
    query_type: str | None = None
    said: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    """How ``since`` and ``until`` were put, such as ``7d``: an address that is shared goes on with the clock."""

    @classmethod
    def from_query(cls, query: Mapping[str, str], *, now: dt.datetime | None = None) -> "Filter":
        """Read a filter from the fields of an address; empty fields and those of others are left out.

        Args:
            query: ``since`` and ``until`` as ISO 8601 (UTC where no zone is said) or as how long ago: ``30m``, ``24h``,
                ``7d``, ``2w``; and the facts.
            now: What they are counted from; the present by default.

        Raises:
            InvalidQueryError: A field can't be understood.
        """
        now = now or dt.datetime.now(dt.timezone.utc)
        said = {name: query[name].strip() for name in ("since", "until") if query.get(name, "").strip()}
        times = {name: _moment(name, text, now) for name, text in said.items()}
        if len(times) == len(said) == 2 and times["since"] >= times["until"]:  # noqa: PLR2004 - both
            raise InvalidQueryError("since", "since must be before until.")
        facts = {name: _fact(name, query[name]) for name in FACTS if query.get(name)}
        return cls(since=times.get("since"), until=times.get("until"), said=said, **facts)

    def to_query(self) -> dict[str, str]:
        """Return the fields that :meth:`from_query` makes this filter of."""
        times = {name: self.said.get(name) or _iso(getattr(self, name)) for name in ("since", "until")}
        named = {**times, **{name: getattr(self, name) for name in FACTS}}
        return {name: value for name, value in named.items() if value}

    def where(self, table: str) -> tuple[str, dict[str, Any]]:
        """Return a condition on a table and its named parameters.

        Args:
            table: ``interactions`` or ``feedback``; it is named so in the statement.
        """
        time = f"{table}.{TIMES[table]}"
        bounds = {"since": f"{time} >= $since::TIMESTAMP", "until": f"{time} < $until::TIMESTAMP"}
        facts = {name: f"{table}.{column} = ${name}" for name, column in FACTS.items()}
        wanted = {name: getattr(self, name) for name in (*bounds, *facts) if getattr(self, name) is not None}
        conditions = [{**bounds, **facts}[name] for name in wanted]
        return " AND ".join(conditions) or "true", {name: _parameter(value) for name, value in wanted.items()}


def _moment(name: str, text: str, now: dt.datetime) -> dt.datetime:
    try:
        if ago := _AGO.fullmatch(text):
            return now - dt.timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        moment = dt.datetime.fromisoformat(text.upper().replace("Z", "+00:00") if text[-1] in "zZ" else text)
        return _utc(moment)
    except (ValueError, OverflowError):
        raise InvalidQueryError(
            name, f"{name} must be a time such as 2026-11-25T08:00:00Z, or how long ago: 30m, 24h, 7d, 2w."
        ) from None


def _fact(name: str, text: str) -> str:
    if len(text) > _LONGEST:
        raise InvalidQueryError(name, f"{name} has at most {_LONGEST} characters.")
    return clean_text(text)


def _utc(moment: dt.datetime) -> dt.datetime:
    return (moment.replace(tzinfo=dt.timezone.utc) if moment.tzinfo is None else moment).astimezone(dt.timezone.utc)


def _iso(moment: dt.datetime | None) -> str | None:
    return None if moment is None else _utc(moment).isoformat().replace("+00:00", "Z")


def _parameter(value: Any) -> Any:
    # The tables' times have no zone: they are UTC.
    return _utc(value).replace(tzinfo=None) if isinstance(value, dt.datetime) else value
