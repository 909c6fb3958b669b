"""What a check came to."""

from dataclasses import dataclass
from typing import Self, TypeAlias

from libswap.abi.finding import Finding
from libswap.abi.verdict import Verdict
from libswap.elf.library import Library
from libswap.operations.survival import Survival
from libswap.scan.census import Uninspected


@dataclass(frozen=True, slots=True)
class Checked:
    """One of the two files.

    Attributes:
        path: as it was asked for.
        soname: DT_SONAME.
        build_id: in hexadecimal.
        machine: what it is for.
        exports: how many symbols others can bind to.
    """

    path: str
    soname: str | None
    build_id: str | None
    machine: str
    exports: int

    @classmethod
    def of(cls, library: Library) -> Self:
        """The facts that are worth showing."""
        exports = len(library.exports)
        return cls(library.name, library.soname, library.build_id, str(library.target), exports)


@dataclass(frozen=True, slots=True, order=True)
class Running:
    """A process that has the old library loaded."""

    pid: int
    name: str


@dataclass(frozen=True, slots=True)
class TypesCompared:
    """abidiff has compared types and layouts by their debug information."""


@dataclass(frozen=True, slots=True)
class SymbolLevelOnly:
    """Types and layouts were not compared.

    Attributes:
        reason: why not.
    """

    reason: str


Types: TypeAlias = TypesCompared | SymbolLevelOnly


@dataclass(frozen=True, slots=True)
class Check:
    """The old library against the new one.

    Attributes:
        old: the library that is there.
        new: what would take its place.
        verdict: whether it can.
        findings: the worst first.
        types: whether types and layouts were compared too.
        processes: who has the old library loaded.
        uninspected: who could not be looked at, and may have it loaded as well.
        survival: whether live objects survive a swap, where that was asked.
    """

    old: Checked
    new: Checked
    verdict: Verdict
    findings: tuple[Finding, ...]
    types: Types
    processes: tuple[Running, ...]
    uninspected: tuple[Uninspected, ...]
    survival: Survival | None = None
