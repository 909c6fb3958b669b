"""What callers of a function rely on besides its result.

gcc's -fipa-ra (on from -O2) lets a caller keep values in registers that it knows the very function
it calls to leave alone (gcc(1)). Such a function cannot just be replaced by any other.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from libswap.elf.footprints import Footprints
from libswap.elf.instructions import branches_and_calls, decoder, instructions
from libswap.elf.liveness import read_first
from libswap.elf.registers import Registers, caller_saved
from libswap.elf.stack_arguments import depth_at
from libswap.patch.target import Target, TargetSymbol

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
                    if not self.written_by(start) >= candidates:
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
                    if not self.written_by(start) >= caller_saved():
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

    def written_by(self, entry: int) -> Registers:
        """The caller-saved registers that a function changes; none where that is not known."""
        found = self._footprints.of(entry)
        return frozenset() if found is None else found.written

    @cached_property
    def _footprints(self) -> Footprints:
        return Footprints(self.target)

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
        return read_first(body, call.next_ip, registers)


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
