"""Machine instructions as the few kinds of steps that say what code knows of its objects.

Source: Intel SDM volume 2. Each distinct encoding is looked at once, whichever file it is in.
"""

import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from libswap.elf.instructions import decoder
from libswap.survival import numbers
from libswap.survival.step import (
    ADD,
    CONSTANT,
    LOAD,
    MOVE,
    NONE,
    NOTHING,
    OTHER,
    POP,
    PUSH,
    RIP,
    STORE,
    SUM,
    Reference,
    Step,
    made,
)

if TYPE_CHECKING:
    from iced_x86 import Decoder, Instruction

_FAR: Final = 4
"""Bytes of the distance to a place, but for that of a short jump."""
_SHORTEST: Final = 5
"""Bytes of a jump with such a distance."""
_PLAIN, _NEAR, _IDLE, _INVALID, _UNKNOWN = range(5)
_DISTANCE: Final = struct.Struct("<i").unpack_from
_SHORT: Final = struct.Struct("<b").unpack_from


class Skimmed(NamedTuple):
    """A function as far as it can be told without a look at each instruction.

    Attributes:
        references: what it names outside of itself.
        read: bytes that are instructions, from the beginning.
        doing: how many instructions do something.
    """

    references: tuple[Reference, ...]
    read: int
    doing: int


class Steps:
    """Turns code into steps; shared by the two files, so that equal numbers mean equal steps."""

    def __init__(self) -> None:
        self._iced = decoder()
        self._known: dict[bytes, Step] = {}
        self._far: dict[bytes, Step] = {}
        """Those that end in four bytes of distance to a place, by the bytes before these."""
        self._short: dict[bytes, Step] = {}
        """Those that end in a single one."""
        self._numbers: dict[object, int] = {}
        self._sorts: dict[int, int] = {}
        self._kinds = numbers.kinds(self._iced)
        self._idle = frozenset(m for m, kind in self._kinds.items() if kind == NOTHING)
        self._facts = self._iced.InstructionInfoFactory()
        self._general = numbers.registers(self._iced)
        self._operands = self._iced.OpKind
        self._near = self._operands.NEAR_BRANCH64
        self._memory = self._operands.MEMORY
        self._width = self._iced.MemorySizeExt.size
        self._segments = (self._iced.Register.FS, self._iced.Register.GS)
        self._numbers_from, self._numbers_to = (
            self._operands.IMMEDIATE8, self._operands.IMMEDIATE32TO64
        )  # fmt: skip
        self._less = (self._iced.Mnemonic.SUB, self._iced.Mnemonic.DEC)
        self._flows = numbers.flows(self._iced)
        access = self._iced.OpAccess
        self._changing = frozenset(
            {access.WRITE, access.COND_WRITE, access.READ_WRITE, access.READ_COND_WRITE}
        )

    def skim(self, code: bytes) -> Skimmed:
        """What the code of a function names outside of itself."""
        found: list[Reference] = []
        sorts, size = self._sorts, len(code)
        number, idle, read = -1, 0, size
        decoder = self._iced.Decoder(64, code)
        for number, instruction in enumerate(decoder):
            sort = sorts.get(instruction.code, _UNKNOWN)
            if sort or instruction.is_ip_rel_memory_operand:
                if sort == _UNKNOWN:
                    sort = sorts[instruction.code] = self._sort(instruction)
                if sort == _INVALID:
                    read = instruction.ip
                    idle += 1
                    break
                inside = sort == _NEAR and instruction.near_branch_target < size
                if sort == _IDLE:
                    idle += 1
                elif not inside and (sort == _NEAR or instruction.is_ip_rel_memory_operand):
                    found += self._reference(decoder, instruction, code, number - idle)
        return Skimmed(tuple(found), read, number + 1 - idle)

    def _sort(self, i: "Instruction") -> int:
        """What the number of an instruction says of it."""
        if i.is_invalid:
            return _INVALID
        if i.mnemonic in self._idle:
            return _IDLE
        return _NEAR if i.op_count and i.op0_kind == self._near else _PLAIN

    def _reference(
        self, decoder: "Decoder", i: "Instruction", code: bytes, number: int
    ) -> tuple[Reference, ...]:
        """What an instruction names; none where that is no place."""
        at, end = i.ip, i.next_ip
        raw = code[at:end]
        step, distance = self._far.get(raw[:-_FAR]) or self._short.get(raw[:-1]), end - _FAR
        if step is None:
            step, behind = self._placeless(decoder, i, raw)
            distance = at + behind
        if step is None:
            return ()
        near = step.base != RIP
        distance = -1 if near and len(raw) < _SHORTEST else distance
        return (made(Reference, (number, distance, end, step, near)),)

    def of(self, code: bytes, skimmed: Skimmed) -> tuple[Step, ...]:
        """The steps of a function, but for the places that they name."""
        found: list[Step] = []
        leading = {one.end: one.step for one in skimmed.references}
        known, far, short, at = self._known, self._far, self._short, 0
        decoder = self._iced.Decoder(64, code[: skimmed.read])
        for instruction in decoder:
            end = at + instruction.len
            raw = code[at:end]
            step = known.get(raw) or leading.get(end)
            if step is None:
                step = far.get(raw[:-_FAR]) or short.get(raw[:-1])
                step = step or self._first(decoder, instruction, raw)
            found.append(step)
            at = end
        return tuple(found)

    def _first(self, decoder: "Decoder", i: "Instruction", raw: bytes) -> Step:
        """A step that was not seen before."""
        step, _ = self._placeless(decoder, i, raw)
        if step is None:
            step = self._known[raw] = self._look(i)
        return step

    def _placeless(
        self, decoder: "Decoder", i: "Instruction", raw: bytes
    ) -> tuple[Step | None, int]:
        """What an instruction that names a place does, that place aside; None for others.

        With it the offset of the distance to the place.
        """
        if i.op_count and i.op0_kind == self._near:
            at = decoder.get_constant_offsets(i).immediate_offset
            known = self._far if len(raw) >= _SHORTEST else self._short
            if len(raw) - at != (_FAR if known is self._far else 1):
                return None, 0  # with prefixes that no compiler writes
            form = raw[:at]
        elif i.is_ip_rel_memory_operand and not (
            i.mnemonic in self._idle or i.segment_prefix in self._segments
        ):
            at = decoder.get_constant_offsets(i).displacement_offset
            form, behind, known = raw[:at], raw[at + _FAR :], self._far
            if behind:
                form, known = b"place" + bytes([at]) + form + behind, self._known
        else:
            return None, 0
        step = known.get(form)
        if step is None:
            step = known[form] = self._look(i)
        return step, at

    def _number(self, what: object) -> int:
        return self._numbers.setdefault(what, len(self._numbers))

    def _look(self, i: "Instruction") -> Step:
        general = self._general
        operands = [i.op_kind(n) for n in range(i.op_count)]
        base, index, offset, width = self._place(i, operands)
        registers = (i.op0_register, i.op1_register if len(operands) > 1 else 0)
        target, source = (general.get(register, NONE) for register in registers)
        constant = self._constant(i, operands)
        shape = (i.mnemonic, registers, base, index, i.memory_index_scale, width)
        fixed = base == RIP
        kind = self._kind(i, width, target, source, constant)
        if kind == PUSH and source == NONE:
            source = target
        if kind == ADD and i.mnemonic in self._less:
            added = -(constant if constant is not None else 1)
        else:
            added = constant if constant is not None else 1
        return made(Step, (
            kind, self._number((shape, 0 if fixed else offset, constant)), self._number(shape),
            i.len, target, source, base, index, offset, width,
            added if kind == ADD else constant, int(operands[:1] == [self._near]),
            self._spoils(i) if kind == OTHER else 0,
        ))  # fmt: skip

    def _place(self, i: "Instruction", operands: Sequence[int]) -> tuple[int, int, int, int]:
        """Base, index, displacement and width of the place in memory that is named."""
        if self._memory not in operands or i.segment_prefix in self._segments:
            return NONE, NONE, 0, 0
        width = self._width(i.memory_size)
        if i.is_ip_rel_memory_operand:
            return RIP, NONE, i.ip_rel_memory_address, width
        base = self._general.get(i.memory_base, NONE)
        index = self._general.get(i.memory_index, NONE)
        offset = i.memory_displacement
        return base, index, offset - (1 << 64) if offset >> 63 else offset, width

    def _constant(self, i: "Instruction", operands: Sequence[int]) -> int | None:
        for n, kind in enumerate(operands):
            if self._numbers_from <= kind <= self._numbers_to:
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


def target(code: bytes, end: int, length: int) -> int:
    """Where a branch leads that ends at an offset in the code."""
    distance = _DISTANCE(code, end - _FAR) if length >= _SHORTEST else _SHORT(code, end - 1)
    return end + int(distance[0])
