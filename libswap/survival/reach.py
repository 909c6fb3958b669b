"""Whether code, or what it calls, uses data of the library that can change."""

from collections.abc import Collection
from typing import Final

from libswap.elf.format import SegmentFlags, SegmentType
from libswap.elf.image import Image
from libswap.linux.memory import Range
from libswap.survival.bodies import Bodies
from libswap.survival.code import Function

_MOST_FUNCTIONS: Final = 2000


def reaches_data(bodies: Bodies, starts: Collection[int]) -> bool:
    """Whether functions that begin at these addresses do; too many of them count as if.

    What is exported is left out where it is called: a swap leads such calls to the other copy.
    """
    ranges = changeable(bodies.code.image)
    todo, seen = set(starts), set[int]()
    while todo and len(seen) < _MOST_FUNCTIONS:
        function = bodies.code.by_start[todo.pop()]
        seen.add(function.start)
        for named in bodies.named(bodies.of(function)).values():
            if isinstance(named, Function):
                todo |= set() if named.exported else {named.start} - seen
            elif isinstance(named, int) and any(named in r for r in ranges):
                return True
    return bool(todo)


def changeable(image: Image) -> tuple[Range, ...]:
    """Where a library's code may write, by the file; the dynamic linker's slots are among it."""
    fixed = [
        Range(s.vaddr, s.vaddr + s.memsz) for s in image.segments
        if s.type == SegmentType.GNU_RELRO
    ]  # fmt: skip
    return tuple(
        Range(max([s.vaddr, *(f.end for f in fixed if f.start <= s.vaddr < f.end)]), end)
        for s in image.loads
        if s.flags & SegmentFlags.W and (end := s.vaddr + s.memsz)
    )
