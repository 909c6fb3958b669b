"""Whether old code that goes on relies on more of a function than the calling convention gives.

With -fipa-ra a caller in the same file keeps values in registers that it knows this very function
to leave alone, and it need not align the stack for one that it knows not to need that (gcc(1)).
"""

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

from libswap.elf.footprints import Footprints
from libswap.elf.instructions import decoder, instructions
from libswap.elf.liveness import read_first
from libswap.elf.registers import Registers, caller_saved, is_near
from libswap.elf.stack_arguments import depths
from libswap.live.entries import Entries

if TYPE_CHECKING:
    from iced_x86 import Instruction

_MOST_CALLERS: Final = 64
_MOST_WORK: Final = 1 << 23
"""Instructions of callers that are read, and followed behind calls, for one library."""
_MOST_KEPT: Final = 1 << 18
"""Instructions of callers that are remembered."""


@dataclass(frozen=True)
class Inside:
    """The code of one library, for `Footprints`."""

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
class _Caller:
    """A function that calls others.

    Attributes:
        body: its instructions by their places.
        away: those that jump to where their way cannot be followed.
    """

    code: bytes
    start: int
    body: Mapping[int, "Instruction"]
    away: AbstractSet[int]

    @cached_property
    def depths(self) -> Mapping[int, int | None]:
        """How far the stack is from a multiple of 16 at each of them."""
        return dict(depths(self.code, self.start))


class Reliance:
    """The functions of one library, of which some go on to run."""

    def __init__(self, old: Inside, new: Inside, kept: AbstractSet[int]) -> None:
        """Take the code of both.

        Args:
            old: the library.
            new: that which some calls will lead to.
            kept: where the functions of the old one begin that go on.
        """
        self._old = old
        self._kept = kept
        self._footprints = Footprints(old), Footprints(new)
        self._known: dict[int, _Caller] = {}
        self._remembered = 0
        self._left = _MOST_WORK

    def on(self, callee: int, other: int) -> bool:
        """Whether a caller that goes on, or a caller of its, may miss a function; in doubt yes.

        Args:
            callee: the old function.
            other: the new one in its place.
        """
        if not any(self._callers(callee)):
            return False
        one, its = self._footprints[0].of(callee), self._footprints[1].of(other)
        if one is None or its is None:
            return True
        changed, aligns = (caller_saved() - one.written) & its.written, its.aligned
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
        entries = self._old.entries
        for site in entries.sites.get(callee, ()):
            start = entries.owner(site.at)
            if start is not None and start in self._kept and not site.taken:
                yield site.at, start

    def _relies(self, place: int, start: int, registers: Registers, *, aligns: bool) -> bool:
        caller = self._caller(start)
        call = caller.body.get(place)
        if call is None or self._left < 0 or caller.away - {place}:
            return True
        depth = caller.depths[place] if aligns else 0
        if depth is None or depth % 16:
            return True
        if not registers or call.flow_control != decoder().FlowControl.CALL:
            return False  # a tail call: what its own callers rely on is asked next
        self._left -= len(caller.body)
        maybe, surely = read_first(caller.body, call.next_ip, registers)
        return bool(maybe | surely)

    def _caller(self, start: int) -> _Caller:
        """What is remembered of the last callers."""
        found = self._known.get(start)
        if found is None and self._left < 0:
            return _Caller(b"", start, {}, frozenset())
        if found is None:
            code = self._old.bytes_at(start, self._old.entries.gap(start))
            body = {i.ip: i for i in instructions(code, start)}
            away = frozenset(at for at, i in body.items() if _leads_away(i, body))
            self._left -= len(body)
            self._remembered += len(body)
            if self._remembered > _MOST_KEPT:
                self._known.clear()
                self._remembered = len(body)
            found = self._known[start] = _Caller(code, start, body, away)
        return found


def _leads_away(instruction: "Instruction", body: dict[int, "Instruction"]) -> bool:
    """A jump to where its way cannot be followed: through a register, or out of the function."""
    iced = decoder()
    flow = iced.FlowControl
    if instruction.flow_control == flow.INDIRECT_BRANCH:
        return True
    jumps = (flow.UNCONDITIONAL_BRANCH, flow.CONDITIONAL_BRANCH)
    known = is_near(instruction) and instruction.near_branch_target in body
    return instruction.flow_control in jumps and not known
