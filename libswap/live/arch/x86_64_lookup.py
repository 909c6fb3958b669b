"""x86-64: from a handle at a call to what the table knows of its object."""

from collections.abc import Sequence
from dataclasses import dataclass

from libswap.linux.memory import Range
from libswap.live.arch.x86_64_assembly import Assembly, At
from libswap.live.draining import table


@dataclass(frozen=True, slots=True)
class Grounds:
    """What all dispatchers of one draining have in common.

    Attributes:
        old: the old copy's extent.
        area: the gates, where moved first instructions of the old copy run, and the dispatchers.
        code: where in it the dispatchers begin.
        new: the new copy's extent.
        table: address of the table of handles.
        doubles: whether some objects have doubles.
        tells: offset in every object of an address in the copy that made it, if it has one.
    """

    old: Range
    area: Range
    code: int
    new: Range
    table: int
    doubles: bool
    tells: int | None = None


def first_slot(code: Assembly, grounds: Grounds, handle: str) -> None:
    """Where the search for a handle begins, in rcx. Uses rax."""
    code.add("MOV_R64_IMM64", "RCX", table.GOLDEN)
    code.add("IMUL_R64_RM64", "RCX", handle)
    code.add("SHR_RM64_IMM8", "RCX", 64 - table.BITS)
    code.add("SHL_RM64_IMM8", "RCX", 4)
    base = "RDX" if handle == "RAX" else "RAX"
    code.add("MOV_R64_IMM64", base, grounds.table + table.HEADER)
    code.add("ADD_R64_RM64", "RCX", base)


def load(code: Assembly, source: str | At, offsets: Sequence[int], nothing: str) -> None:
    """The handle that a place holds, in rax; or go to `nothing` where a pointer is null."""
    code.add("MOV_R64_RM64", "RAX", source)
    for offset in offsets:
        code.add("TEST_RM64_R64", "RAX", "RAX")
        code.go(nothing, "JE")
        code.add("MOV_R64_RM64", "RAX", At("RAX", offset))
    code.add("TEST_RM64_R64", "RAX", "RAX")
    code.go(nothing, "JE")


def find(code: Assembly, grounds: Grounds, missing: str) -> None:
    """With a handle in rax, its slot in rcx; or go to `missing`. Uses rdx."""
    first_slot(code, grounds, "RAX")
    code.label(f"probe for {missing}")
    code.add("MOV_R64_RM64", "RDX", At("RCX"))
    code.add("CMP_R64_RM64", "RDX", "RAX")
    code.go(f"hit for {missing}", "JE")
    code.add("TEST_RM64_R64", "RDX", "RDX")
    code.go(missing, "JE")
    code.add("ADD_RM64_IMM8", "RCX", table.SLOT)
    code.go(f"probe for {missing}")
    code.label(f"hit for {missing}")


def double(code: Assembly, grounds: Grounds) -> None:
    """With a slot in rcx, in rdx where the address of the object's double is kept."""
    code.add("MOV_R64_IMM64", "RDX", grounds.table + table.HEADER)
    code.add("SUB_R64_RM64", "RCX", "RDX")
    code.add("SHR_RM64_IMM8", "RCX", 1)
    code.add("MOV_R64_IMM64", "RDX", grounds.table + table.DOUBLES)
    code.add("ADD_R64_RM64", "RDX", "RCX")
