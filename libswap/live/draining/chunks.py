"""How much memory malloc gave out for an object.

Source: glibc's malloc/malloc.c, "malloc_chunk details" and "Physical chunk operations", and
malloc/arena.c, "heap_info".
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Self

from libswap.errors.process import MemoryUnreachable
from libswap.linux.memory import Memory, Range
from libswap.live.module import Module
from libswap.process.maps import Mapping

_ALIGNMENT: Final = 16
_HEADER: Final = 16
_SMALLEST: Final = 32
_LARGEST: Final = 1 << 20
_MOST: Final = 1 << 40
"""Of any chunk: less than an address of a program, or eight characters."""
_FLAGS: Final = 7
_MAPPED: Final = 2
_PAGE: Final = 4096
_HEAP: Final = 1 << 26
"""Of a thread's arena: so many bytes, aligned to as many, begin with where the arena is."""
_ARENA_AT: Final = (0x20, 0x30)
"""Behind that beginning, before and since glibc 2.35."""
_GLIBC: Final = frozenset({"libc.so.6", "ld-linux-x86-64.so.2"})


@dataclass(frozen=True, slots=True)
class Chunks:
    """What can be told of a process's objects.

    Attributes:
        memory: the process's.
        heaps: what the program break gave.
        glibc: whether nothing else in the process offers a malloc.
    """

    memory: Memory
    heaps: tuple[Range, ...]
    glibc: bool

    @classmethod
    def of(cls, memory: Memory, mappings: Iterable[Mapping], modules: Sequence[Module]) -> Self:
        """In a process that has these."""
        heaps = tuple(Range(m.start, m.end) for m in mappings if m.name == b"[heap]")
        return cls(memory, heaps, not any(map(_has_another_malloc, modules)))

    def given_out(self, address: int) -> Range:
        """The memory of an object; its first word alone where that is nothing that glibc gave out.

        The word before it is its chunk's size there. But in a program's own memory, or another
        allocator's, it can be any number: so it has to lie in a heap of glibc's, and the chunk
        behind has to be one, too.
        """
        first = Range(address, address + 8)
        if not self.glibc:
            return first
        try:
            return self._chunk(address) or first
        except MemoryUnreachable:
            return first

    def _chunk(self, address: int) -> Range | None:
        word = _word(self.memory, address - 8)
        size = word & ~_FLAGS
        if address % _ALIGNMENT or size % _ALIGNMENT or not _SMALLEST <= size <= _LARGEST:
            return None
        chunk = address - _HEADER
        if word & _MAPPED:
            return Range(address, chunk + size) if _is_mapped(self.memory, chunk, size) else None
        if not (self._in_heap(chunk, chunk + size) and _follows(self.memory, chunk + size)):
            return None
        return Range(address, chunk + size + 8)

    def _in_heap(self, start: int, end: int) -> bool:
        if any(start in heap and end in heap for heap in self.heaps):
            return True
        return in_arena(self.memory, start) and in_arena(self.memory, end)


def in_arena(memory: Memory, address: int) -> bool:
    """Whether glibc's malloc gives it out to threads."""
    base = address & -_HEAP
    try:
        arena, size = _word(memory, base), _word(memory, base + 16)
    except MemoryUnreachable:
        return False
    return (
        arena % _HEAP in _ARENA_AT and size % _PAGE == 0 and address < base + size <= base + _HEAP
    )


def _has_another_malloc(module: Module) -> bool:
    library = module.library
    if library is None or library.dynamic.soname in _GLIBC:
        return False
    return any(name.name == "malloc" for name in library.exported)


def _is_mapped(memory: Memory, chunk: int, size: int) -> bool:
    """Whether it has pages of its own: before it is only what its alignment took."""
    before = _word(memory, chunk)
    return (chunk - before) % _PAGE == 0 and (size + before) % _PAGE == 0


def _follows(memory: Memory, chunk: int) -> bool:
    """Whether another chunk begins there, be it the last one, which may be a mere header."""
    size = _word(memory, chunk + 8) & ~_FLAGS
    return size % _ALIGNMENT == 0 and _HEADER <= size < _MOST


def _word(memory: Memory, address: int) -> int:
    return int.from_bytes(memory.read(address, 8), "little")
