"""Objects that count their references, found by a constant table of the library that each holds.

Where an object holds the table and where it counts changes from one version to the next. Both are
read from the code of three functions: one that returns the table's address, one that returns what
the object holds, and one that counts it up. Memory of an object that is gone counts none.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from libswap.elf.instructions import decoder, instructions
from libswap.errors.process import MemoryUnreachable
from libswap.linux.memory import Memory, Range
from libswap.live.draining.handles import Anchor
from libswap.live.entries import Entries
from libswap.live.library import Library
from libswap.live.module import Module
from libswap.live.reach import reach
from libswap.live.stacks import Areas
from libswap.live.subject import Subject

if TYPE_CHECKING:
    from iced_x86 import Instruction

_LARGEST_FUNCTION: Final = 64
_LARGEST_OBJECT: Final = 1 << 16
_MOST_REFERENCES: Final = 1 << 24
_ALIGNMENT: Final = 16
"""Of what malloc gives out (glibc's MALLOC_ALIGNMENT on x86-64)."""


@dataclass(frozen=True, slots=True)
class Held:
    """Where objects of one copy hold what.

    Attributes:
        tables: virtual addresses in the copy's file.
        at: offset of the table's address in an object.
        count: offset of the number of references, 32 bits.
    """

    tables: frozenset[int]
    at: int
    count: int

    @classmethod
    def of(cls, anchor: Anchor, library: Library) -> Self | None:
        """As the code of a library has it; None where that cannot be read."""
        tables = {_read(library, name, _constant) for name in anchor.tables}
        at, count = _read(library, anchor.at, _loaded), _read(library, anchor.count, _counted)
        low, high = library.extent
        known = frozenset(t for t in tables if t is not None and low <= t < high)
        return None if at is None or count is None or not known else cls(known, at, count)


def readable(library: Library, anchors: Sequence[Anchor]) -> bool:
    """Whether a search can find the objects of a library."""
    return bool(anchors) and all(Held.of(anchor, library) is not None for anchor in anchors)


def alive(
    subject: Subject, copies: Sequence[Module], anchors: Sequence[Anchor], skip: Sequence[Range]
) -> tuple[list[frozenset[int]], bool]:
    """The objects of each copy that are referred to, and whether all of the memory was searched."""
    kinds = [(copy, held) for copy in copies for a in anchors if (held := Held.of(a, copy.facts))]
    wanted = Areas([Range(c.base + t, c.base + t + 1) for c, held in kinds for t in held.tables])
    if not wanted.ranges:
        return [frozenset() for _ in copies], True
    found = reach(subject.memory, subject.mappings, subject.memory.tid, wanted, skip)
    objects: dict[int, set[int]] = {copy.base: set() for copy in copies}
    for word in found.words:
        for copy, held in kinds:
            handle = word.at - held.at
            fits = word.value - copy.base in held.tables
            if fits and _is_referred_to(subject.memory, handle, held):
                objects[copy.base].add(handle)
    return [frozenset(objects[copy.base]) for copy in copies], found.complete


def _is_referred_to(memory: Memory, handle: int, held: Held) -> bool:
    if handle % _ALIGNMENT:
        return False
    try:
        data = memory.read(handle + held.count, 4)
    except MemoryUnreachable:
        return False
    return 0 < int.from_bytes(data, "little") < _MOST_REFERENCES


# What a function of a few instructions does

_Reader = Callable[[Sequence["Instruction"]], int | None]


def _read(library: Library, function: str, reader: _Reader) -> int | None:
    at = library.offered.get(function)
    body = None if at is None else _body(library, at)
    return None if body is None else reader(body)


def _body(library: Library, at: int) -> list["Instruction"] | None:
    """All of it; None where it branches, or is too long."""
    flow = decoder().FlowControl
    body: list[Instruction] = []
    for found in instructions(Entries(library).bytes_at(at, _LARGEST_FUNCTION), at):
        if found.flow_control == flow.RETURN:
            return body
        if found.flow_control != flow.NEXT:
            return None
        body.append(found)
    return None


def _constant(body: Sequence["Instruction"]) -> int | None:
    """`lea rax, [rip + n]` and nothing else that matters: the address that is returned."""
    iced = decoder()
    made = [i for i in body if i.op_count and i.op0_register == iced.Register.RAX]
    if len(made) != 1 or made[0].mnemonic != iced.Mnemonic.LEA:
        return None
    return int(made[0].ip_rel_memory_address) if made[0].is_ip_rel_memory_operand else None


def _loaded(body: Sequence["Instruction"]) -> int | None:
    """`mov rax, [rdi + n]`: where what is returned lies in the argument."""
    iced = decoder()
    made = [i for i in body if i.op_count and i.op0_register == iced.Register.RAX]
    fits = len(made) == 1 and made[0].mnemonic == iced.Mnemonic.MOV
    return _offset(made[0]) if fits else None


def _counted(body: Sequence["Instruction"]) -> int | None:
    """`lock xadd [rdi + n], eax` or the like: where it counts."""
    locked = [i for i in body if i.has_lock_prefix]
    return _offset(locked[0]) if len(locked) == 1 else None


def _offset(instruction: "Instruction") -> int | None:
    """Of a plain access behind the first argument."""
    iced = decoder()
    plain = instruction.memory_index == iced.Register.NONE
    offset = int(instruction.memory_displacement)
    fits = instruction.memory_base == iced.Register.RDI and plain and offset < _LARGEST_OBJECT
    return offset if fits else None
