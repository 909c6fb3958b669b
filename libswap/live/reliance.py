"""Whether old code that goes on relies on more of a function than the calling convention gives.

With -fipa-ra a caller in the same file keeps values in registers that it knows this very function
to leave alone, and it need not align the stack for one that it knows not to need that (gcc(1)).
"""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

from libswap.elf.instructions import decoder, instructions
from libswap.elf.liveness import read_first
from libswap.elf.registers import Registers, caller_saved, is_near, needs_alignment, written
from libswap.elf.stack_arguments import depth_at
from libswap.live.entries import Entries

if TYPE_CHECKING:
    from iced_x86 import Instruction

_MOST_CALLERS: Final = 64


@dataclass(frozen=True)
class Inside:
    """The code of one library, for `registers.written`."""

    entries: Entries

    def bytes_at(self, vaddr: int, size: int) -> bytes:
        """See `registers.Code`."""
        return self.entries.bytes_at(vaddr, size)

    def is_open(self, vaddr: int, size: int) -> bool:
        """See `registers.Code`."""
        return any(at in self._filled_in for at in range(vaddr - 7, vaddr + size))

    def around(self, vaddr: int) -> tuple[int, int] | None:
        """See `registers.Code`."""
        start = self.entries.owner(vaddr)
        return None if start is None else (start, self.entries.gap(start))

    @cached_property
    def _filled_in(self) -> frozenset[int]:
        return frozenset(r.offset for r in self.entries.library.relocations)


@dataclass(frozen=True)
class Reliance:
    """The functions of one library, of which some go on to run.

    Attributes:
        old: its code.
        new: that of the library which some calls will lead to.
        kept: where the functions begin that go on.
    """

    old: Inside
    new: Inside
    kept: AbstractSet[int]

    def on(self, callee: int, other: int) -> bool:
        """Whether a caller that goes on, or a caller of its, may miss a function; in doubt yes.

        Args:
            callee: the old function.
            other: the new one in its place.
        """
        if not any(self._callers(callee)):
            return False
        changed = (caller_saved() - written(self.old, callee)) & written(self.new, other)
        aligns = needs_alignment(self.new, other)
        todo, seen = [callee], {callee}
        while todo and (changed or aligns):
            for place, start in self._callers(todo.pop()):
                if len(seen) > _MOST_CALLERS or self._relies(place, start, changed, aligns=aligns):
                    return True
                if start not in seen:
                    seen.add(start)
                    todo.append(start)
        return False

    def _callers(self, callee: int) -> Iterator[tuple[int, int]]:
        """The place of each branch to a function, and where the function around it begins."""
        entries = self.old.entries
        for site in entries.sites.get(callee, ()):
            start = entries.owner(site.at)
            if start is not None and start in self.kept and not site.taken:
                yield site.at, start

    def _relies(self, place: int, start: int, registers: Registers, *, aligns: bool) -> bool:
        code = self.old.bytes_at(start, self.old.entries.gap(start))
        body = {i.ip: i for i in instructions(code, start)}
        call = body.get(place)
        if call is None or any(_leads_away(i, body) for i in body.values() if i.ip != place):
            return True
        depth = depth_at(code, start, place) if aligns else 0
        if depth is None or depth % 16:
            return True
        if call.flow_control != decoder().FlowControl.CALL:
            return False  # a tail call: what its own callers rely on is asked next
        maybe, surely = read_first(body, call.next_ip, registers)
        return bool(maybe | surely)


def _leads_away(instruction: "Instruction", body: dict[int, "Instruction"]) -> bool:
    """A jump to where its way cannot be followed: through a register, or out of the function."""
    iced = decoder()
    flow = iced.FlowControl
    if instruction.flow_control == flow.INDIRECT_BRANCH:
        return True
    jumps = (flow.UNCONDITIONAL_BRANCH, flow.CONDITIONAL_BRANCH)
    known = is_near(instruction) and instruction.near_branch_target in body
    return instruction.flow_control in jumps and not known
