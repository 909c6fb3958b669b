"""How bad a scan is, by the thresholds that a monitoring system sets."""

import math
import os
import re
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Self

from libswap.errors.base import UsageError
from libswap.scan.scanner import Scan
from libswap.scan.stale import Overwritten


class Level(IntEnum):
    """The exit codes of a plugin (Monitoring Plugins Development Guidelines)."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


_NUMBER: Final = r"([0-9]{1,9}(?:\.[0-9]{1,9})?)"
_RANGE: Final = re.compile(rf"(@?)(?:(?:{_NUMBER}|(~))?:)?{_NUMBER}?")


@dataclass(frozen=True, slots=True)
class Threshold:
    """A range of the guidelines: [@][START:][END]; outside of it there is an alarm.

    Attributes:
        text: as it was written.
        low: where it begins.
        high: where it ends.
        inside: whether the alarm is inside of it instead.
    """

    text: str
    low: float
    high: float
    inside: bool

    @classmethod
    def of(cls, text: str) -> Self:
        """The range that a text stands for.

        Raises:
            UsageError: it stands for none.
        """
        found = _RANGE.fullmatch(text)
        if found is None or text in ("", "@"):
            raise UsageError(f"{text!r} is no range", "For example 0, 5, 1:10, ~:3 or @1:2")
        low = -math.inf if found[3] else float(found[2] or 0)
        high = float(found[4]) if found[4] else math.inf
        if low > high:
            raise UsageError(f"{text!r} is no range", "It ends before it begins.")
        return cls(text, low, high, bool(found[1]))

    def alarms(self, value: int) -> bool:
        """Whether a value gives an alarm."""
        return (self.low <= value <= self.high) is self.inside


@dataclass(frozen=True, slots=True)
class Alarm:
    """What a monitoring system is told.

    Attributes:
        level: how bad it is.
        scan: what was found.
        stale: processes that run a replaced library.
        overwritten: those of them whose library was overwritten in place, beyond doubt.
        warning: the range that was set.
        critical: likewise; None where none was.
    """

    level: Level
    scan: Scan
    stale: int
    overwritten: int
    warning: Threshold
    critical: Threshold | None


def judge(
    scan: Scan, warning: Threshold, critical: Threshold | None, *, root: bool | None = None
) -> Alarm:
    """Compare a scan with the thresholds.

    A library that was overwritten in place is critical whatever they say: its process can die of
    it at any time. Where an ordinary user finds nothing but could not look at everything, nothing
    is known; from root only a sandbox hides processes, and that will be so the next time too.

    Args:
        scan: of the whole machine.
        warning: outside of it there is a warning.
        critical: outside of it, it is critical.
        root: whether root looked; by default whether we are.
    """
    root = os.geteuid() == 0 if root is None else root
    users = [user for group in scan.groups for user in group.users]
    overwritten = sum(
        any(isinstance(u.state, Overwritten) and u.state.certain for u in user.uses)
        for user in users
    )
    level = Level.OK
    if overwritten or (critical is not None and critical.alarms(len(users))):
        level = Level.CRITICAL
    elif warning.alarms(len(users)):
        level = Level.WARNING
    elif not root and (scan.uninspected or scan.others_hidden):
        level = Level.UNKNOWN
    return Alarm(level, scan, len(users), overwritten, warning, critical)
