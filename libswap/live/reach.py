"""Words outside of a library that point into it: found by searching the process's memory.

A program may keep the address of an object that a library gave it. When the object's state moves to
the new copy, such a word must follow. And a word into the middle of the code, where no thread's
stack is, may be the return address of a coroutine that sleeps there.
"""

import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from libswap.errors.process import MemoryUnreachable
from libswap.linux.memory import Memory, Range
from libswap.linux.procfs import PROC
from libswap.live.stacks import Areas, Hit
from libswap.live.writable import without
from libswap.process.maps import Mapping

MOST_SEARCHED: Final = 2 << 30
"""Bytes; a process with more is searched up to here, and a finding says so."""
_MOST_PAGES: Final = 16 << 20
_CHUNK: Final = 1 << 20
_PAGE: Final = 4096
_HERE: Final = 0b11 << 62
"""A page is present, or swapped out (Documentation/admin-guide/mm/pagemap.rst)."""
_CALL_BEFORE: Final = re.compile(
    rb"(?s).*(?:\xe8.{4}|\xff(?:[\x10-\x13\x16\x17\xd0-\xd7]|\x14.|\x14.{5}|\x15.{4}"
    rb"|[\x50-\x53\x55-\x57].|\x54..|[\x90-\x93\x95-\x97].{4}|\x94.{5}))\Z"
)
"""CALL rel32, and CALL r/m64 in all forms of ModRM, SIB and displacement (Intel SDM, volume 2)."""


@dataclass(frozen=True, slots=True)
class Reach:
    """What was found.

    Attributes:
        words: places that point into what was asked for.
        complete: whether all of the memory was searched.
    """

    words: tuple[Hit, ...]
    complete: bool


def reach(
    memory: Memory, mappings: Sequence[Mapping], pid: int, wanted: Areas, skip: Sequence[Range]
) -> Reach:
    """Search all private memory that the process may write to.

    Args:
        memory: of the process.
        mappings: of the process.
        pid: of the process.
        wanted: what the words are to point into.
        skip: what is not searched.
    """
    found: list[Hit] = []
    left = MOST_SEARCHED
    for part in present(mappings, pid, skip):
        for start in range(part.start, part.end, _CHUNK):
            size = min(_CHUNK, part.end - start)
            left -= size
            if left < 0:
                return Reach(tuple(found), complete=False)
            try:
                found += wanted.hits(memory.read(start, size), start)
            except MemoryUnreachable:
                continue  # unmapped meanwhile
    return Reach(tuple(found), complete=all_of_it(mappings))


def is_return_address(memory: Memory, address: int) -> bool:
    """Whether the bytes before an address are a call, as they are before every return address."""
    try:
        return _CALL_BEFORE.match(memory.read(address - 7, 7)) is not None
    except MemoryUnreachable:
        return False


def all_of_it(mappings: Sequence[Mapping]) -> bool:
    """Whether `present` comes to the end of them."""
    return sum(m.end - m.start for m in mappings if _is_searched(m)) <= _MOST_PAGES * _PAGE


def present(mappings: Sequence[Mapping], pid: int, skip: Sequence[Range]) -> Iterator[Range]:
    """The pages that hold something; reading others would only make page tables grow.

    What is skipped can be part of a mapping: the kernel joins neighbours that are alike.
    """
    pages = _MOST_PAGES
    with open(PROC.path(pid, "pagemap"), "rb", buffering=0) as pagemap:  # noqa: PTH123
        holes = [Range(s.start & -_PAGE, -(-s.end // _PAGE) * _PAGE) for s in skip]
        searched = [Range(m.start, m.end) for m in mappings if _is_searched(m)]
        for part in without(searched, holes):
            count = part.size // _PAGE
            pages -= count
            if pages < 0:
                return
            pagemap.seek(part.start // _PAGE * 8)
            data = pagemap.read(8 * count)
            yield from _runs(part.start, struct.unpack(f"<{len(data) // 8}Q", data))


def _is_searched(mapping: Mapping) -> bool:
    return mapping.readable and mapping.writable and not mapping.shared


def _runs(start: int, entries: Sequence[int]) -> Iterator[Range]:
    begin = None
    for index, entry in enumerate(entries):
        if entry & _HERE and begin is None:
            begin = index
        elif not entry & _HERE and begin is not None:
            yield Range(start + begin * _PAGE, start + index * _PAGE)
            begin = None
    if begin is not None:
        yield Range(start + begin * _PAGE, start + len(entries) * _PAGE)
