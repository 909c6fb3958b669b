"""What all findings together say."""

from collections.abc import Iterable
from enum import Enum

from libswap.abi.finding import Finding, Severity
from libswap.elf.library import Library


class Verdict(Enum):
    """Whether the new library can stand in for the old, best first."""

    IDENTICAL = "identical"
    COMPATIBLE = "compatible"
    WARNINGS = "compatible with warnings"
    INCOMPATIBLE = "incompatible"

    def acceptable(self, *, strict: bool = False) -> bool:
        """Whether to go on; with `strict`, warnings are not acceptable either."""
        return self in (Verdict.IDENTICAL, Verdict.COMPATIBLE) or (
            self is Verdict.WARNINGS and not strict
        )


def verdict(old: Library, new: Library, findings: Iterable[Finding]) -> Verdict:
    """The verdict on a comparison.

    Two files of one build id are identical only if nothing else speaks against it: a build id can
    be chosen by hand (ld --build-id=0x…).
    """
    severities = {finding.severity for finding in findings}
    if Severity.INCOMPATIBLE in severities:
        return Verdict.INCOMPATIBLE
    if Severity.WARNING in severities:
        return Verdict.WARNINGS
    if old.build_id is not None and old.build_id == new.build_id:
        return Verdict.IDENTICAL
    return Verdict.COMPATIBLE
