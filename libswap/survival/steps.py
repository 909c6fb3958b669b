"""Machine instructions as the few kinds of steps that say what code knows of its objects.

Source: Intel SDM volume 2. Each distinct encoding is looked at once, whichever file it is in.
"""

from typing import TYPE_CHECKING, Final

from libswap.elf.instructions import decoder
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
    LOAD,
    MOVE,
    NONE,
    NOTHING,
    OTHER,
    POP,
    PUSH,
    REGISTERS,
    RETURN,
    RIP,
    STORE,
    SUM,
    Reference,
    Step,
)

if TYPE_CHECKING:
    from types import ModuleType

    from iced_x86 import Decoder, Instruction

_SHORTEST: Final = 5
"""Bytes of a jump with a distance of four bytes; shorter ones have one of a single byte."""
_DISTANCE: Final = 4


class Steps:
    """Turns code into steps; shared by the two files, so that equal numbers mean equal steps."""

    def __init__(self) -> None:
        self._iced = decoder()
        self._known: dict[bytes, Step] = {}
        self._numbers: dict[object, int] = {}
        self._nothing: dict[bytes, bool] = {}
        self._idle = frozenset(m for m, kind in _kinds(self._iced).items() if kind == NOTHING)
        self._facts = self._iced.InstructionInfoFactory()
        self._general = _registers(self._iced)
        self._kinds = _kinds(self._iced)
        self._near = self._iced.OpKind.NEAR_BRANCH64
        self._flows = _flows(self._iced)
        access = self._iced.OpAccess
        self._changing = frozenset(
            {access.WRITE, access.COND_WRITE, access.READ_WRITE, access.READ_COND_WRITE}
        )

    def of(self, code: bytes, address: int) -> tuple[Step, ...]:
        """The steps of a function, up to the first bytes that are no instruction."""
        found: list[Step] = []
        known, at = self._known, 0
        decoder = self._iced.Decoder(64, code, ip=address)
        for instruction in decoder:
            end = at + instruction.len
            raw = code[at:end]
            step = known.get(raw)
            if step is None:
                if instruction.is_invalid:
                    break
                step = self._placed(decoder, instruction, raw)
            found.append(step)
            at = end
        return tuple(found)

    def references(self, code: bytes) -> tuple[list[Reference], int, int]:
        """What a function names outside of itself.

        Returns:
            The references; how many bytes are instructions; how many of these do something.
        """
        found: list[Reference] = []
        nothing, at, index = self._nothing, 0, 0
        decoder = self._iced.Decoder(64, code)
        for instruction in decoder:
            end = at + instruction.len
            raw = code[at:end]
            idle = nothing.get(raw)
            if idle is None:
                if instruction.is_invalid:
                    break
                step, behind = self._placeless(decoder, instruction, raw)
                if step is None:
                    idle = nothing[raw] = instruction.mnemonic in self._idle
                elif step.base == RIP or self._leaves(instruction, len(code)):
                    found.append(Reference(index, at + behind if behind else -1, end, step))
            index += not idle
            at = end
        return found, at, index

    def _leaves(self, i: "Instruction", size: int) -> bool:
        """Whether a branch leads out of a function of so many bytes at address 0."""
        return not 0 <= int(i.near_branch_target) < size  # what lies before it wraps around

    def _placeless(
        self, decoder: "Decoder", i: "Instruction", raw: bytes
    ) -> tuple[Step | None, int]:
        """What an instruction that names a place does, that place aside; None for others.

        With it the offset of the distance to the place, 0 for one of a single byte.
        """
        if i.op_count and i.op0_kind == self._near:
            at = len(raw) - _DISTANCE if len(raw) >= _SHORTEST else 0
            form = b"goal" + raw[: at or -1]
        elif i.is_ip_rel_memory_operand and i.mnemonic not in self._idle:
            at = decoder.get_constant_offsets(i).displacement_offset
            form = b"place" + bytes([at]) + raw[:at] + raw[at + _DISTANCE :]
        else:
            return None, 0
        step = self._known.get(form)
        if step is None:
            step = self._known[form] = self._look(i)
        return step, at

    def _placed(self, decoder: "Decoder", i: "Instruction", raw: bytes) -> Step:
        """A step that was not seen before; what names an address is told apart by the rest."""
        step, _ = self._placeless(decoder, i, raw)
        if step is None:
            step = self._known[raw] = self._look(i)
            return step
        if step.base == RIP:
            return Step(*step[:8], i.ip_rel_memory_address, *step[9:])
        return Step(step.kind, step.exact, step.shape, len(raw), goal=i.near_branch_target)

    def _number(self, what: object) -> int:
        return self._numbers.setdefault(what, len(self._numbers))

    def _look(self, i: "Instruction") -> Step:
        iced, general = self._iced, self._general
        goal = self._goal(i)
        base, index, offset, width = self._place(i)
        target = general.get(i.op0_register, NONE) if i.op_count else NONE
        source = general.get(i.op1_register, NONE) if i.op_count > 1 else NONE
        constant = self._constant(i)
        registers = (i.op0_register, i.op1_register if i.op_count > 1 else 0)
        shape = (i.mnemonic, registers, base, index, i.memory_index_scale, width)
        fixed = base == RIP
        kind = self._kind(i, width, target, source, constant)
        if kind == PUSH and source == NONE:
            source = target
        if i.mnemonic in (iced.Mnemonic.SUB, iced.Mnemonic.DEC) and kind == ADD:
            added = -(constant if constant is not None else 1)
        else:
            added = constant if constant is not None else 1
        return Step(
            kind,
            self._number((shape, 0 if fixed else offset, constant)),
            self._number(shape),
            i.len, target, source, base, index, offset, width,
            added if kind == ADD else constant, goal, self._spoils(i) if kind == OTHER else 0,
        )  # fmt: skip

    def _goal(self, i: "Instruction") -> int:
        return int(i.near_branch_target) if i.op_count and i.op0_kind == self._near else 0

    def _place(self, i: "Instruction") -> tuple[int, int, int, int]:
        """Base, index, displacement and width of the place in memory that is named."""
        iced = self._iced
        if all(i.op_kind(n) != iced.OpKind.MEMORY for n in range(i.op_count)):
            return NONE, NONE, 0, 0
        if i.segment_prefix in (iced.Register.FS, iced.Register.GS):
            return NONE, NONE, 0, 0
        width = iced.MemorySizeExt.size(i.memory_size)
        if i.is_ip_rel_memory_operand:
            return RIP, NONE, i.ip_rel_memory_address, width
        base = self._general.get(i.memory_base, NONE)
        index = self._general.get(i.memory_index, NONE)
        offset = i.memory_displacement
        return base, index, offset - (1 << 64) if offset >> 63 else offset, width

    def _constant(self, i: "Instruction") -> int | None:
        kinds = self._iced.OpKind
        for n in range(i.op_count):
            if kinds.IMMEDIATE8 <= i.op_kind(n) <= kinds.IMMEDIATE32TO64:
                value = int(i.immediate(n))
                return value - (1 << 64) if value >> 63 else value
        return None

    def _kind(
        self, i: "Instruction", width: int, target: int, source: int, constant: int | None
    ) -> int:
        flow = self._flows.get(i.flow_control)
        if flow is not None:
            return flow
        kind = self._kinds.get(i.mnemonic, OTHER)
        if kind == MOVE:
            return self._move(i, width, target, source, constant)
        if kind == ADD:
            return self._add(i, target, constant)
        if kind == CONSTANT and (target == NONE or i.op0_register != i.op1_register):
            return OTHER  # an exclusive or that does not make a zero
        return OTHER if kind == POP and target == NONE else kind

    def _add(self, i: "Instruction", target: int, constant: int | None) -> int:
        if target == NONE or i.op0_register != self._wide(target):
            return OTHER
        if constant is None and i.op_count > 1:
            return SUM if i.mnemonic == self._iced.Mnemonic.ADD else OTHER
        return ADD

    def _move(
        self, i: "Instruction", width: int, target: int, source: int, constant: int | None
    ) -> int:
        if width:
            if target != NONE:
                return LOAD
            return STORE if i.op0_kind == self._iced.OpKind.MEMORY else OTHER
        if target == NONE:
            return OTHER
        if constant is not None:
            return CONSTANT
        return MOVE if source != NONE and i.op0_register == self._wide(target) else OTHER

    def _wide(self, register: int) -> int:
        """Iced's number of the whole register."""
        return int(self._iced.Register.RAX) + register

    def _spoils(self, i: "Instruction") -> int:
        spoils = 0
        for used in self._facts.info(i).used_registers():
            number = self._general.get(used.register, NONE)
            if number != NONE and used.access in self._changing:
                spoils |= 1 << number
        return spoils


def _registers(iced: "ModuleType") -> dict[int, int]:
    """Number of the whole register -> 0 to 15, for every part of a general register."""
    found = {
        number: iced.RegisterExt.full_register(number) - iced.Register.RAX
        for name, number in vars(iced.Register).items()
        if isinstance(number, int) and not name.startswith("_")
        and iced.RegisterExt.is_gpr(number)
    }  # fmt: skip
    return {number: n for number, n in found.items() if 0 <= n < REGISTERS}


def _flows(iced: "ModuleType") -> dict[int, int]:
    f = iced.FlowControl
    return {
        f.CALL: CALL, f.INDIRECT_CALL: CALL_AT, f.UNCONDITIONAL_BRANCH: JUMP,
        f.INDIRECT_BRANCH: JUMP_AT, f.CONDITIONAL_BRANCH: BRANCH, f.XBEGIN_XABORT_XEND: BRANCH,
        f.RETURN: RETURN, f.EXCEPTION: RETURN, f.INTERRUPT: RETURN,
    }  # fmt: skip


def _kinds(iced: "ModuleType") -> dict[int, int]:
    m = iced.Mnemonic
    return {
        m.MOV: MOVE, m.MOVZX: MOVE, m.MOVSX: MOVE, m.MOVSXD: MOVE,
        m.LEA: ADDRESS, m.XOR: CONSTANT, m.ADD: ADD, m.SUB: ADD, m.INC: ADD, m.DEC: ADD,
        m.PUSH: PUSH, m.POP: POP, m.NOP: NOTHING, m.ENDBR64: NOTHING, m.CMP: COMPARE,
    }  # fmt: skip
