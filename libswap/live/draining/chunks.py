"""How much memory malloc gave out for an object.

Source: glibc's malloc/malloc.c, "malloc_chunk details" and "Physical chunk operations".
"""

from typing import Final

from libswap.errors.process import MemoryUnreachable
from libswap.linux.memory import Memory, Range

_ALIGNMENT: Final = 16
_HEADER: Final = 16
_SMALLEST: Final = 32
_LARGEST: Final = 1 << 20
_MOST: Final = 1 << 40
"""Of any chunk: less than an address of a program, or eight characters."""
_FLAGS: Final = 7
_MAPPED: Final = 2
_PAGE: Final = 4096


def given_out(memory: Memory, address: int) -> Range:
    """The memory of an object; its first word alone where that is nothing that glibc gave out.

    The word before it is its chunk's size there. But in a program's own memory, or another
    allocator's, it can be any number: so the chunk behind has to be one, too.
    """
    first = Range(address, address + 8)
    try:
        word = _word(memory, address - 8)
        size = word & ~_FLAGS
        if address % _ALIGNMENT or size % _ALIGNMENT or not _SMALLEST <= size <= _LARGEST:
            return first
        chunk, alone = address - _HEADER, bool(word & _MAPPED)
        whole = _is_mapped(memory, chunk, size) if alone else _follows(memory, chunk + size)
    except MemoryUnreachable:
        return first
    return Range(address, chunk + size + (0 if alone else 8)) if whole else first


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
