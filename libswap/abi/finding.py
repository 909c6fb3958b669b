"""One thing that a comparison found, how bad it is, and who would feel it."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum

from libswap.elf.symbols import SymbolKey


class Severity(Enum):
    """What a finding says about letting the new library stand in for the old."""

    INCOMPATIBLE = "incompatible"
    """A program that works with the old library can fail with the new one."""
    WARNING = "warning"
    """Programs go on working, with less protection or under a condition that the finding names."""
    NOTE = "note"
    """Worth knowing; nothing fails by it."""


@dataclass(frozen=True, slots=True)
class Importer:
    """A module of a running process that binds to what a finding speaks of.

    Attributes:
        pid: the process.
        process: its name.
        module: the path of the importing file as the process maps it.
    """

    pid: int
    process: str
    module: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference, or one thing that is missing.

    Attributes:
        rule: the rule's id, as docs/reference/findings.md lists it.
        severity: how bad it is.
        subject: what it is about: a symbol, a version node, a library; "" for the file itself.
        old: what the old library has, in words; "" for nothing.
        new: what the new library has, in words; "" for nothing.
        meaning: what follows from it.
        symbol: what references to it bind by, where the subject is a symbol.
        importers: the running modules that are known to bind to it.
    """

    rule: str
    severity: Severity
    subject: str
    old: str
    new: str
    meaning: str
    symbol: SymbolKey | None = None
    importers: tuple[Importer, ...] = ()

    def felt_by(self, importers: Iterable[Importer]) -> "Finding":
        """The same finding with the modules that bind to its subject."""
        return replace(self, importers=tuple(importers))


@dataclass(frozen=True, slots=True)
class Rule:
    """What is looked for; the catalogue holds all of them.

    Attributes:
        id: its name in results, stable from release to release.
        severity: how bad each of its findings is.
        meaning: what follows from a finding.
    """

    id: str
    severity: Severity
    meaning: str

    def finding(
        self, subject: str, old: object = "", new: object = "", symbol: SymbolKey | None = None
    ) -> Finding:
        """A finding of this rule."""
        return Finding(self.id, self.severity, subject, str(old), str(new), self.meaning, symbol)
