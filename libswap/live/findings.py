"""What stands in the way of a live swap, or should be known about it."""

from dataclasses import dataclass
from enum import Enum


class Severity(Enum):
    """What a finding does to the swap."""

    REFUSE = "refuse"
    """Never done: it would break the process."""
    RISK = "risk"
    """Not done unless the user insists (--force): it may break the process."""
    NOTE = "note"
    """Done; the user should know."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One of them.

    Attributes:
        word: the exact word, which does not change between versions.
        subject: what it is about, such as a symbol.
        detail: what was found.
        instead: what would work.
    """

    severity: Severity
    word: str
    subject: str
    detail: str
    instead: str = ""


def refuse(word: str, subject: str, detail: str, instead: str = "restart the process") -> Finding:
    """A finding that stops the swap."""
    return Finding(Severity.REFUSE, word, subject, detail, instead)


def risk(word: str, subject: str, detail: str, instead: str = "restart the process") -> Finding:
    """A finding that stops the swap unless the user insists."""
    return Finding(Severity.RISK, word, subject, detail, instead)


def note(word: str, subject: str, detail: str, instead: str = "") -> Finding:
    """A finding that stops nothing."""
    return Finding(Severity.NOTE, word, subject, detail, instead)
