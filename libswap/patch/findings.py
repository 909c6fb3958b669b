"""What an author should know about a patch before it is applied."""

from dataclasses import dataclass
from enum import Enum


class Severity(Enum):
    """What a finding does to the building of a patch."""

    REFUSE = "refuse"
    """Not built: it could only do harm."""
    RISK = "risk"
    """Not built unless the author insists: it may not do what it should."""
    NOTE = "note"
    """Built; the author should know."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One of them.

    Attributes:
        word: the exact word, which does not change between versions.
        subject: the function or variable it is about.
        detail: what was found.
        instead: what would work.
    """

    severity: Severity
    word: str
    subject: str
    detail: str
    instead: str = ""

    def __str__(self) -> str:
        advice = f" ({self.instead})" if self.instead else ""
        return f"{self.word}: {self.subject}: {self.detail}{advice}"
