"""What a scan found, in a few words: for tables and for pages."""

import time
from typing import Final

from libswap.report.text import printable
from libswap.scan.stale import (
    Current,
    Deleted,
    Moved,
    NotLibrary,
    Overwritten,
    Replaced,
    State,
    Superseded,
    Undecided,
)

_LATEST: Final = float(1 << 36)
"""Seconds from the epoch, before and after, that every calendar knows: some two thousand years."""


def state(found: State) -> str:
    """What became of a file that a process has mapped."""
    match found:
        case Current():
            return "current"
        case Deleted(since):
            return f"deleted{_since(since)}"
        case Replaced(since):
            return f"replaced{_since(since)}"
        case Superseded(since, by, evidence):
            return f"superseded by {printable(by)}{_since(since)} ({printable(evidence)})"
        case Overwritten(since, certain, evidence):
            sure = "overwritten in place" if certain else "probably overwritten in place"
            return f"{sure}{_since(since)} ({printable(evidence)})"
        case Moved():
            return "replaced, and moved live onto what is on disk"
        case Undecided(reason):
            return f"not comparable ({printable(reason)})"
        case NotLibrary():
            return "no library"


def when(seconds: float) -> str:
    """A time in the local zone, to the minute; files have what times their owners gave them."""
    known = min(max(seconds, -_LATEST), _LATEST)
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(known))


def count(processes: int) -> str:
    """So many processes."""
    return f"{processes} process{'' if processes == 1 else 'es'}"


def _since(since: float | None) -> str:
    return "" if since is None else f" since {when(since)}"
