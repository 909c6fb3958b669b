"""What machine code does to the registers that a function may change."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from libswap.elf.instructions import decoder, instructions

if TYPE_CHECKING:
    from iced_x86 import Instruction

Registers: TypeAlias = frozenset[int]
"""Of iced-x86, each as its widest: RAX, ZMM0, K0."""

_MOST_INSTRUCTIONS: Final = 100_000
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


def written(code: Code, entry: int) -> Registers:
    """The caller-saved registers that a function changes, with what it calls.

    A call that leads out of the module, or through a pointer, may change all of them, and so it
    was for the compiler.

    Args:
        code: where the function lies.
        entry: its address.
    """
    every = caller_saved()
    found: set[int] = set()
    for instruction in _reachable(code, entry):
        if instruction is None:
            return every
        found.update(register for register, _, writes in uses(instruction) if writes)
        if instruction.flow_control == decoder().FlowControl.INDIRECT_BRANCH:
            found |= results()  # it may have been a tail call
        if found >= every:
            break
    return every & found


def _reachable(code: Code, entry: int) -> Iterator["Instruction | None"]:
    """Every instruction of a function and of what it calls; None where that is not known."""
    iced = decoder()
    flow = iced.FlowControl
    todo, seen, count = [entry], {entry}, 0
    while todo:
        for instruction in straight(code, todo.pop()):
            count += 1
            target = instruction.near_branch_target if is_near(instruction) else None
            kind = instruction.flow_control
            if count > _MOST_INSTRUCTIONS or (
                target is not None and code.is_open(instruction.ip, instruction.len)
            ):
                yield None
                return
            if kind in (flow.INDIRECT_CALL, flow.INDIRECT_BRANCH):
                table = kind == flow.INDIRECT_BRANCH and not is_slot(instruction)
                around = code.around(instruction.ip) if table else None
                if around is None:
                    yield None
                    return
                todo += _unseen(table_targets(code, *around), seen)
            yield instruction
            if target is not None:
                todo += _unseen([target], seen)
            if kind in (flow.RETURN, flow.UNCONDITIONAL_BRANCH, flow.INDIRECT_BRANCH):
                break


def results() -> set[int]:
    """The registers that a result is returned in."""
    r = decoder().Register
    return {r.RAX, r.RDX, r.ZMM0, r.ZMM1}


def needs_alignment(code: Code, entry: int) -> bool:
    """Whether a function relies on the stack being aligned to 16 bytes when it is called.

    It does if it calls what may rely on it, or uses 16 bytes of its stack at once.
    """
    return any(i is None or wide_on_stack(i) for i in _reachable(code, entry))


def wide_on_stack(instruction: "Instruction") -> bool:
    """Whether it uses 16 bytes of the stack at once."""
    iced = decoder()
    stack = (iced.Register.RSP, iced.Register.RBP)
    width = iced.MemorySizeExt.size(instruction.memory_size)
    return instruction.memory_base in stack and width >= 16


def _unseen(targets: Sequence[int], seen: set[int]) -> list[int]:
    new = [t for t in targets if t not in seen]
    seen.update(new)
    return new


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
