"""Quiet hours: spans of the week in which nothing is deployed; pure."""

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_FORM: Final = re.compile(
    r"(?:(?P<first>[A-Z][a-z]{2})(?:-(?P<last>[A-Z][a-z]{2}))? )?"
    r"(?P<from>[0-9]{2}:[0-9]{2})-(?P<to>[0-9]{2}:[0-9]{2})"
)
_DAY: Final = 24 * 60


@dataclass(frozen=True, slots=True)
class Span:
    """The same hours on some days of the week; past midnight it ends on the day after.

    Attributes:
        days: on which it begins, Monday is 0.
        start: minutes from midnight.
        end: likewise; not after `start` where it ends on the next day.
    """

    days: frozenset[int]
    start: int
    end: int

    def holds(self, day: int, minute: int) -> bool:
        """Whether a minute of a day of the week is in it."""
        if self.start < self.end:
            return day in self.days and self.start <= minute < self.end
        before = (day - 1) % 7
        return (day in self.days and minute >= self.start) or (
            before in self.days and minute < self.end
        )


def parse(text: str) -> Span:
    """A span as it is written: "22:00-06:00", "Sat 08:00-20:00" or "Mon-Fri 08:00-18:00".

    Raises:
        ValueError: it is none.
    """
    found = _FORM.fullmatch(text)
    if found is None:
        raise ValueError('a span is written "22:00-06:00" or "Mon-Fri 08:00-18:00"')
    return Span(
        _days(found["first"], found["last"]), _minutes(found["from"]), _minutes(found["to"])
    )


def _days(first: str | None, last: str | None) -> frozenset[int]:
    if first is None:
        return frozenset(range(7))
    for name in (first, last or first):
        if name not in DAYS:
            raise ValueError(f"{name} is no day of the week; they are {' '.join(DAYS)}")
    start, end = DAYS.index(first), DAYS.index(last or first)
    return frozenset(range(start, end + 1)) | (
        frozenset() if start <= end else frozenset(range(start, 7)) | frozenset(range(end + 1))
    )


def _minutes(text: str) -> int:
    hours, minutes = map(int, text.split(":"))
    if minutes > 59 or hours * 60 + minutes > _DAY:
        raise ValueError(f"{text} is no time of the day")
    return hours * 60 + minutes


def is_quiet(spans: Iterable[Span], now: float) -> bool:
    """Whether a moment, in seconds since the epoch, is in one of them by the local clock."""
    local = time.localtime(now)
    minute = local.tm_hour * 60 + local.tm_min
    return any(span.holds(local.tm_wday, minute) for span in spans)


def until_end(spans: Iterable[Span], now: float) -> float:
    """Seconds until no span holds any more, looked for minute by minute; at most a week."""
    quiet = tuple(spans)
    to_minute = 60 - now % 60
    for minutes in range(7 * _DAY):
        if not is_quiet(quiet, now + to_minute + 60 * minutes):
            return to_minute + 60 * minutes
    return 7.0 * _DAY * 60
