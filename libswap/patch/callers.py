"""What callers of a function rely on besides its result.

gcc's -fipa-ra (on from -O2) lets a caller keep values in registers that it knows the very function
it calls to leave alone (gcc(1)). Such a function cannot just be replaced by any other.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Final

from libswap.elf.instructions import branches_and_calls, decoder, instructions
from libswap.patch.registers import (
    Registers,
    caller_saved,
    is_near,
    results,
    uses,
    written,
)
from libswap.patch.stack_arguments import depth_at
from libswap.patch.target import Target, TargetSymbol

if TYPE_CHECKING:
    from iced_x86 import Instruction

_MOST_CALLERS: Final = 64


@dataclass(frozen=True)
class Reliance:
    """What callers were found to rely on.

    Attributes:
        registers: which; in doubt one is among them.
        read: those that an instruction of a caller reads.
        wide: whether such a caller uses 256-bit registers.
        wider: whether one uses 512-bit or mask registers.
    """

    registers: Registers
    read: Registers = frozenset()
    wide: bool = False
    wider: bool = False


@dataclass(frozen=True)
class Callers:
    """Who calls a function directly, found by looking at every call and jump in the code."""

    target: Target
    _written: dict[int, Registers] = field(default_factory=dict)

    def rely_on(self, old: TargetSymbol, candidates: Registers) -> Reliance:
        """Which of some registers a caller keeps values in, or a caller's caller.

        Args:
            old: the function.
            candidates: registers that it leaves alone.
        """
        found: set[int] = set()
        read: set[int] = set()
        wide = wider = False
        todo, seen = [old.symbol.value], {old.symbol.value}
        while todo and not read >= candidates:
            for site in self._sites.get(todo.pop(), ()):
                around = self.target.function_around(site)
                if around is None or len(seen) > _MOST_CALLERS:
                    return Reliance(candidates, frozenset(read), wide, wider)
                start, size = around.symbol.value, around.symbol.size
                maybe, surely = self._live_after(site, start, size, candidates)
                found |= maybe | surely
                read |= surely
                found_widths = _widths(self.target.bytes_at(start, size), start)
                wide, wider = wide or found_widths[0], wider or found_widths[1]
                if start not in seen:
                    seen.add(start)
                    # A caller that changes them all by itself hides it from its own callers.
                    if not self._written_by(around) >= candidates:
                        todo.append(start)
        return Reliance(frozenset(found & candidates), frozenset(read), wide, wider)

    def may_misalign(self, old: TargetSymbol) -> bool:
        """Whether a caller may call a function with a stack that is not aligned to 16 bytes.

        gcc does not align it for a function in the same file that it knows not to need it
        (cgraph_rtl_info, preferred_incoming_stack_boundary).
        """
        todo, seen = [old.symbol.value], {old.symbol.value}
        while todo:
            for site in self._sites.get(todo.pop(), ()):
                around = self.target.function_around(site)
                if around is None or len(seen) > _MOST_CALLERS:
                    return True
                start, size = around.symbol.value, around.symbol.size
                depth = depth_at(self.target.bytes_at(start, size), start, site)
                if depth is None or depth % 16:
                    return True
                if start not in seen:
                    seen.add(start)
                    if not self._written_by(around) >= caller_saved():
                        todo.append(start)
        return False

    @cached_property
    def _sites(self) -> Mapping[int, Sequence[int]]:
        """Function entry -> the places of the calls and jumps to it."""
        found: dict[int, list[int]] = defaultdict(list)
        for vaddr, text in self.target.texts:
            for place, to in branches_and_calls(text, vaddr):
                if self.target.is_function_start(to):
                    found[to].append(place)
        return found

    def _written_by(self, function: TargetSymbol) -> Registers:
        at = function.symbol.value
        if at not in self._written:
            self._written[at] = written(self.target, at)
        return self._written[at]

    def _live_after(
        self, site: int, start: int, size: int, registers: Registers
    ) -> tuple[set[int], set[int]]:
        """The registers whose value from before a call may be, and is, read behind it."""
        iced = decoder()
        body = {i.ip: i for i in instructions(self.target.bytes_at(start, size), start)}
        call = body.get(site)
        if call is None:
            return set(registers), set()
        if call.flow_control != iced.FlowControl.CALL:
            return set(), set()  # a tail call: its callers' callers are asked
        return _read_first(body, call.next_ip, registers)


def _read_first(
    body: Mapping[int, "Instruction"], start: int, registers: Registers
) -> tuple[set[int], set[int]]:
    """What may be, and is, read before it is written on some way from an address."""
    iced = decoder()
    flow, r = iced.FlowControl, iced.Register
    arguments = {r.RDI, r.RSI, r.RDX, r.RCX, r.R8, r.R9, r.R10, r.RAX}
    arguments |= set(range(r.ZMM0, r.ZMM7 + 1))
    returned = results()
    found: set[int] = set()
    surely: set[int] = set()
    seen: dict[int, Registers] = {}
    todo = [(start, registers)]
    while todo:
        at, asked = todo.pop()
        asked -= seen.get(at, frozenset())
        instruction = body.get(at)
        if not asked or instruction is None:
            continue
        seen[at] = seen.get(at, frozenset()) | asked
        kind = instruction.flow_control
        calls = kind in (flow.CALL, flow.INDIRECT_CALL)
        target = instruction.near_branch_target if is_near(instruction) else None
        leaves = kind in (flow.UNCONDITIONAL_BRANCH, flow.INDIRECT_BRANCH) and target not in body
        if calls or leaves:
            found |= asked & arguments
            asked = frozenset() if leaves else asked - arguments
        if kind == flow.RETURN:
            found |= asked & returned
        used = list(uses(instruction))
        surely |= {register for register, read, _ in used if read} & asked
        asked -= {register for register, _, writes in used if writes} & _whole(instruction)
        if target is not None and not calls:
            todo.append((target, asked))
        if kind not in (flow.RETURN, flow.UNCONDITIONAL_BRANCH, flow.INDIRECT_BRANCH):
            todo.append((instruction.next_ip, asked))
    return found, surely


def _whole(instruction: "Instruction") -> set[int]:
    """Registers that an instruction writes whatever happens, and not only a part of."""
    iced = decoder()
    found = set()
    for used in iced.InstructionInfoFactory().info(instruction).used_registers():
        register = used.register
        size = iced.RegisterExt.size(register)
        if used.access == iced.OpAccess.WRITE and size >= 4:
            found.add(iced.RegisterExt.full_register(register))
    return found


def _widths(code: bytes, address: int) -> tuple[bool, bool]:
    """Whether a function uses 256-bit registers, and whether 512-bit or mask registers."""
    iced = decoder()
    ext = iced.RegisterExt
    wide = wider = False
    for instruction in instructions(code, address):
        for operand in range(instruction.op_count):
            if instruction.op_kind(operand) == iced.OpKind.REGISTER:
                register = instruction.op_register(operand)
                wide = wide or ext.is_ymm(register)
                wider = wider or ext.is_zmm(register) or ext.is_k(register)
    return wide, wider
