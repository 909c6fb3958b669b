"""What functions do to registers and stack together with all that they call, each read once."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from libswap.elf.instructions import decoder
from libswap.elf.registers import (
    Code,
    Registers,
    caller_saved,
    is_near,
    is_slot,
    results,
    straight,
    table_targets,
    uses,
    wide_on_stack,
)

if TYPE_CHECKING:
    from iced_x86 import Instruction

_MOST_WORK: Final = 1 << 21
"""Instructions that are read, and functions that are gone through, for all that is asked."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a function does.

    Attributes:
        written: the caller-saved registers that it changes.
        aligned: whether it relies on the stack being aligned to 16 bytes when it is called.
    """

    written: Registers
    aligned: bool


@dataclass(frozen=True, slots=True)
class _Part:
    """The code of one function from an address on.

    Attributes:
        leads: where it goes on elsewhere.
        opaque: whether that is not known: through a pointer, or out of the module.
    """

    written: Registers = frozenset()
    aligned: bool = False
    leads: frozenset[int] = frozenset()
    opaque: bool = False


class Footprints:
    """Of the functions of one file."""

    def __init__(self, code: Code, most: int = _MOST_WORK) -> None:
        """Take the code, and how many steps of work are done for it at most."""
        self._code = code
        self._left = most
        self._known: dict[int, Footprint | None] = {}
        self._parts: dict[int, _Part] = {}

    def of(self, entry: int) -> Footprint | None:
        """What the function at an address does; None where that takes too much work.

        A call that leads out of the module, or through a pointer, may change every register, and
        so it was for the compiler.
        """
        if entry not in self._known:
            self._known[entry] = self._together(entry)
        return self._known[entry]

    def _together(self, entry: int) -> Footprint | None:
        written: set[int] = set()
        aligned = False
        todo, seen = [entry], {entry}
        while todo:
            part = self._part(todo.pop())
            if part is None:
                return None
            if part.opaque:
                return Footprint(caller_saved(), aligned=True)
            written |= part.written
            aligned = aligned or part.aligned
            todo += part.leads - seen
            seen |= part.leads
        return Footprint(caller_saved() & written, aligned)

    def _part(self, entry: int) -> _Part | None:
        self._left -= 1
        if self._left < 0:
            return None
        found = self._parts.get(entry)
        if found is None:
            found = self._read(entry)
            if found is not None:
                self._parts[entry] = found
        return found

    def _read(self, entry: int) -> _Part | None:
        """One function from an address on."""
        start, size = self._code.around(entry) or (entry, 0)
        inside = range(start, start + size)
        written: set[int] = set()
        aligned = False
        todo, done, leads = [entry], set[int](), set[int]()
        while todo:
            for instruction in self._unread(todo.pop(), done):
                self._left -= 1
                if self._left < 0:
                    return None
                goals = self._goals(instruction)
                if goals is None:
                    return _Part(opaque=True)
                written |= _written(instruction)
                aligned = aligned or wide_on_stack(instruction)
                if size and self._goes_on(instruction) and instruction.next_ip not in inside:
                    goals = [*goals, instruction.next_ip]
                todo += [g for g in goals if g in inside]
                leads.update(g for g in goals if g not in inside)
                if not self._goes_on(instruction) or (size and instruction.next_ip not in inside):
                    break
        return _Part(frozenset(written), aligned, frozenset(leads))

    def _unread(self, at: int, done: set[int]) -> Iterator["Instruction"]:
        """Instructions one behind the other, up to one that was read before."""
        for instruction in straight(self._code, at):
            if instruction.ip in done:
                return
            done.add(instruction.ip)
            yield instruction

    def _goals(self, instruction: "Instruction") -> Iterable[int] | None:
        """Where an instruction leads besides the next one; None where that is not known."""
        flow, kind = decoder().FlowControl, instruction.flow_control
        if is_near(instruction):
            if self._code.is_open(instruction.ip, instruction.len):
                return None
            return [int(instruction.near_branch_target)]
        if kind == flow.INDIRECT_CALL:
            return None
        if kind == flow.INDIRECT_BRANCH:
            around = None if is_slot(instruction) else self._code.around(instruction.ip)
            return None if around is None else table_targets(self._code, *around)
        return []

    @staticmethod
    def _goes_on(instruction: "Instruction") -> bool:
        flow = decoder().FlowControl
        ends = (flow.RETURN, flow.UNCONDITIONAL_BRANCH, flow.INDIRECT_BRANCH)
        return instruction.flow_control not in ends


def _written(instruction: "Instruction") -> set[int]:
    found = {register for register, _, writes in uses(instruction) if writes}
    if instruction.flow_control == decoder().FlowControl.INDIRECT_BRANCH:
        found |= results()  # it may have been a tail call
    return found
