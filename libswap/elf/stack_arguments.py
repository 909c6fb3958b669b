"""How many words above its return address a function may read: its arguments on the stack."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from libswap.elf.instructions import decoder, instructions

if TYPE_CHECKING:
    from iced_x86 import Instruction

MOST: Final = 32
"""Words that are taken where the address of an argument is computed (va_start, structures)."""
_WORD: Final = 8


def stack_arguments(code: bytes, address: int) -> int:
    """The number of words from the first argument on the stack to the last that is looked at.

    The stack pointer is followed from instruction to instruction in their order; behind a jump that
    always leads away, it has the value that a jump to there brought along.

    Args:
        code: a function.
        address: where it lies.
    """
    found = (_words(instruction, depth) for instruction, depth in _depths(code, address))
    return min(max(found, default=0), MOST)


def depth_at(code: bytes, address: int, place: int) -> int | None:
    """How far the stack is from a multiple of 16 at a call in a function.

    The function itself was called with an aligned one. A jump out of it counts as its own call.

    Returns:
        Bytes; None where it is not known.
    """
    return next((d for at, d in depths(code, address) if at == place), None)


def depths(code: bytes, address: int) -> Iterator[tuple[int, int | None]]:
    """The place of each instruction of a function, with what `depth_at` says of it."""
    iced = decoder()
    for instruction, depth in _depths(code, address):
        top = depth[iced.Register.RSP]
        calls = instruction.flow_control == iced.FlowControl.CALL
        yield instruction.ip, None if top is None else -top + (_WORD if calls else 0)


def _depths(code: bytes, address: int) -> Iterator[tuple["Instruction", dict[int, int | None]]]:
    """Each instruction with where the stack and frame pointers are before it, from the entry."""
    iced = decoder()
    r, flow = iced.Register, iced.FlowControl
    depth: dict[int, int | None] = {r.RSP: 0, r.RBP: None}
    at_target: dict[int, dict[int, int | None]] = {}
    for instruction in instructions(code, address):
        depth = dict(at_target.get(instruction.ip, depth))
        yield instruction, depth
        depth = dict(depth)
        _follow(instruction, depth)
        kind = instruction.flow_control
        if kind in (flow.UNCONDITIONAL_BRANCH, flow.CONDITIONAL_BRANCH):
            at_target.setdefault(instruction.near_branch_target, dict(depth))


def _words(instruction: "Instruction", depth: dict[int, int | None]) -> int:
    iced = decoder()
    if iced.OpKind.MEMORY not in [instruction.op_kind(i) for i in range(instruction.op_count)]:
        return 0
    base = depth.get(instruction.memory_base)
    if base is None:
        return 0
    displacement = instruction.memory_displacement
    signed = displacement - (1 << 64) if displacement >> 63 else displacement
    first = base + signed - _WORD
    size = max(iced.MemorySizeExt.size(instruction.memory_size), _WORD)
    if first + size <= 0:
        return 0
    computed = instruction.mnemonic == iced.Mnemonic.LEA or (
        instruction.memory_index != iced.Register.NONE
    )
    return MOST if computed else -(-(first + size) // _WORD)


def _follow(instruction: "Instruction", depth: dict[int, int | None]) -> None:
    """What an instruction does to the stack pointer and to the frame pointer."""
    iced = decoder()
    r, code = iced.Register, iced.Mnemonic
    top = depth[r.RSP]
    used = iced.InstructionInfoFactory().info(instruction).used_registers()
    writes = {
        iced.RegisterExt.full_register(u.register)
        for u in used
        if u.access not in (iced.OpAccess.READ, iced.OpAccess.COND_READ)
    }
    if instruction.mnemonic == code.LEAVE:
        frame = depth[r.RBP]
        depth[r.RSP], depth[r.RBP] = None if frame is None else frame + _WORD, None
        return
    if instruction.flow_control in (iced.FlowControl.CALL, iced.FlowControl.INDIRECT_CALL):
        return
    if r.RBP in writes:
        is_frame = instruction.mnemonic == code.MOV and instruction.op1_kind == iced.OpKind.REGISTER
        depth[r.RBP] = top if is_frame and instruction.op1_register == r.RSP else None
    if r.RSP in writes:
        moved = instruction.stack_pointer_increment
        if instruction.mnemonic in (code.SUB, code.ADD):
            moved = _immediate(instruction)
        elif instruction.mnemonic == code.LEA and instruction.memory_base == r.RSP:
            displacement = instruction.memory_displacement
            moved = displacement - (1 << 64) if displacement >> 63 else displacement
        depth[r.RSP] = None if top is None or moved == 0 else top + moved


def _immediate(instruction: "Instruction") -> int:
    """What is added to the stack pointer; 0 where a register says it."""
    iced = decoder()
    if instruction.op1_kind == iced.OpKind.REGISTER:
        return 0
    value = instruction.immediate(1)
    signed = value - (1 << 64) if value >> 63 else value
    return -signed if instruction.mnemonic == iced.Mnemonic.SUB else signed
