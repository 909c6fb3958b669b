"""What the decoder's numbers of registers, mnemonics and flows mean for steps."""

from typing import TYPE_CHECKING

from libswap.survival.step import (
    ADD,
    ADDRESS,
    BRANCH,
    CALL,
    CALL_AT,
    COMPARE,
    CONSTANT,
    JUMP,
    JUMP_AT,
    MOVE,
    NOTHING,
    POP,
    PUSH,
    REGISTERS,
    RETURN,
)

if TYPE_CHECKING:
    from types import ModuleType


def registers(iced: "ModuleType") -> dict[int, int]:
    """Its number of the whole register -> 0 to 15, for every part of a general register."""
    found = {
        number: iced.RegisterExt.full_register(number) - iced.Register.RAX
        for name, number in vars(iced.Register).items()
        if isinstance(number, int) and not name.startswith("_")
        and iced.RegisterExt.is_gpr(number)
    }  # fmt: skip
    return {number: n for number, n in found.items() if 0 <= n < REGISTERS}


def flows(iced: "ModuleType") -> dict[int, int]:
    """How an instruction goes on -> kind of step, for those that go elsewhere."""
    f = iced.FlowControl
    return {
        f.CALL: CALL, f.INDIRECT_CALL: CALL_AT, f.UNCONDITIONAL_BRANCH: JUMP,
        f.INDIRECT_BRANCH: JUMP_AT, f.CONDITIONAL_BRANCH: BRANCH, f.XBEGIN_XABORT_XEND: BRANCH,
        f.RETURN: RETURN, f.EXCEPTION: RETURN, f.INTERRUPT: RETURN,
    }  # fmt: skip


def kinds(iced: "ModuleType") -> dict[int, int]:
    """Mnemonic -> kind of step, where an instruction of that name can be one."""
    m = iced.Mnemonic
    return {
        m.MOV: MOVE, m.MOVZX: MOVE, m.MOVSX: MOVE, m.MOVSXD: MOVE,
        m.LEA: ADDRESS, m.XOR: CONSTANT, m.ADD: ADD, m.SUB: ADD, m.INC: ADD, m.DEC: ADD,
        m.PUSH: PUSH, m.POP: POP, m.NOP: NOTHING, m.ENDBR64: NOTHING, m.CMP: COMPARE,
    }  # fmt: skip
