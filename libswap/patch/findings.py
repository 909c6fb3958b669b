"""What an author should know about a patch before it is applied."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from libswap.errors.patch import PatchRefused


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


def stop_at(findings: Iterable[Finding], target: str, *, force: bool) -> None:
    """Go on only where nothing stands in the way.

    Args:
        findings: what was found.
        target: what to call the target.
        force: whether the author takes the risks.

    Raises:
        PatchRefused: something does.
    """
    stopping = [
        f
        for f in findings
        if f.severity is Severity.REFUSE or (f.severity is Severity.RISK and not force)
    ]
    if stopping:
        raise PatchRefused(target, tuple(map(str, stopping)))
