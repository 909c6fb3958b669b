"""What machine code does to the registers that a function may change."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from libswap.elf.instructions import decoder, instructions

if TYPE_CHECKING:
    from iced_x86 import Instruction

Registers: TypeAlias = frozenset[int]
"""Of iced-x86, each as its widest: RAX, ZMM0, K0."""

_LONGEST_FUNCTION: Final = 1 << 20
_PIECE: Final = 4096


class Code(Protocol):
    """Code that is looked at where it lies."""

    def bytes_at(self, vaddr: int, size: int) -> bytes:
        """Up to `size` bytes; fewer at an end."""

    def is_open(self, vaddr: int, size: int) -> bool:
        """Whether a value there is filled in later."""

    def around(self, vaddr: int) -> tuple[int, int] | None:
        """Start and size of the function there; None to take its jump tables for calls."""


def caller_saved() -> Registers:
    """The registers that a function may change (psABI x86-64 figure 3.4)."""
    r = decoder().Register
    general = (r.RAX, r.RCX, r.RDX, r.RSI, r.RDI, r.R8, r.R9, r.R10, r.R11)
    return frozenset((*general, *range(r.ZMM0, r.ZMM31 + 1), *range(r.K0, r.K7 + 1)))


def results() -> set[int]:
    """The registers that a result is returned in."""
    r = decoder().Register
    return {r.RAX, r.RDX, r.ZMM0, r.ZMM1}


def wide_on_stack(instruction: "Instruction") -> bool:
    """Whether it uses 16 bytes of the stack at once."""
    iced = decoder()
    stack = (iced.Register.RSP, iced.Register.RBP)
    width = iced.MemorySizeExt.size(instruction.memory_size)
    return instruction.memory_base in stack and width >= 16


def table_targets(code: Code, entry: int, size: int) -> list[int]:
    """Where a jump table of a function can lead: behind each of its unconditional jumps."""
    iced = decoder()
    ends = (
        iced.FlowControl.UNCONDITIONAL_BRANCH,
        iced.FlowControl.INDIRECT_BRANCH,
        iced.FlowControl.RETURN,
    )
    body = instructions(code.bytes_at(entry, size), entry)
    return [i.next_ip for i in body if i.flow_control in ends and i.next_ip < entry + size]


def straight(code: Code, start: int) -> Iterator["Instruction"]:
    """Instructions one behind the other from an address on."""
    at = start
    while at < start + _LONGEST_FUNCTION:
        piece = code.bytes_at(at, _PIECE)
        last = at
        for instruction in instructions(piece, at):
            yield instruction
            last = instruction.next_ip
        if last == at or len(piece) < _PIECE:
            return
        at = last


def uses(instruction: "Instruction") -> Iterator[tuple[int, bool, bool]]:
    """(register, read, written) with each register as its widest."""
    iced = decoder()
    access = iced.OpAccess
    reads = (access.READ, access.COND_READ, access.READ_WRITE, access.READ_COND_WRITE)
    writes = (access.WRITE, access.COND_WRITE, access.READ_WRITE, access.READ_COND_WRITE)
    for used in iced.InstructionInfoFactory().info(instruction).used_registers():
        register = iced.RegisterExt.full_register(used.register)
        yield register, used.access in reads, used.access in writes


def is_near(instruction: "Instruction") -> bool:
    """Whether it leads to a place that is said in it."""
    return bool(instruction.op_count) and (instruction.op0_kind == decoder().OpKind.NEAR_BRANCH64)


def is_slot(instruction: "Instruction") -> bool:
    """A jump through a slot, as in a PLT, and not through a register."""
    return bool(instruction.op0_kind == decoder().OpKind.MEMORY) and (
        instruction.is_ip_rel_memory_operand
    )
