"""Room for a little code: the unused end of an executable segment's last page."""

import struct
from collections.abc import Iterable, Iterator, Sequence

from libswap.errors.live import NoRoomForCode
from libswap.errors.process import MemoryUnreachable
from libswap.linux.memory import Memory, Range
from libswap.process.maps import Mapping

_PAGE = 4096
_MOST_SEGMENTS = 64
DOORWAY_ROOM = 328
"""What a borrowed thread's way in and home needs, at the beginning of a tail."""
_PT_LOAD = 1
_PF_X = 1


def roomiest(maps: Sequence[Mapping], memory: Memory, size: int, pid: int) -> Range:
    """The largest tail of all modules.

    What lies there in the file is the padding before the next segment, or the beginning of the
    next segment, which is used through its own mapping. Nothing reads it here.

    Raises:
        NoRoomForCode: none has `size` bytes.
    """
    best = max(_tails(maps, memory), key=lambda tail: tail.size, default=Range(0, 0))
    if best.size < size:
        raise NoRoomForCode(pid, size, best.size)
    return best


def behind(address: int, maps: Sequence[Mapping], memory: Memory) -> Range:
    """The tail of the segment that an address lies in; empty where it has none."""
    tails = _tails(maps, memory)
    within = next((m for m in maps if m.start <= address < m.end), None)
    return next((t for t in tails if within and t.end == within.end), Range(0, 0))


def _tails(maps: Iterable[Mapping], memory: Memory) -> Iterator[Range]:
    heads: dict[tuple[int, int, int], int] = {}
    for mapping in maps:
        if mapping.inode == 0:
            continue
        if mapping.offset == 0:
            heads[mapping.major, mapping.minor, mapping.inode] = mapping.start
        head = heads.get((mapping.major, mapping.minor, mapping.inode))
        code = mapping.executable and not mapping.shared and not mapping.writable
        if head is not None and code:
            yield from _tail(mapping, head, memory)


def _tail(mapping: Mapping, head: int, memory: Memory) -> Iterator[Range]:
    for offset, address, size in _executable_segments(memory, head):
        end = mapping.start + address % _PAGE + size
        if offset // _PAGE * _PAGE == mapping.offset and 0 <= mapping.end - end < _PAGE:
            yield Range((end + 15) // 16 * 16, mapping.end)


def _executable_segments(memory: Memory, head: int) -> list[tuple[int, int, int]]:
    """p_offset, p_vaddr and p_memsz, from the program headers in the first page (gABI 5)."""
    try:
        page = memory.read(head, _PAGE)
    except MemoryUnreachable:
        return []
    if page[:6] != b"\x7fELF\x02\x01":
        return []
    start, count = struct.unpack_from("<Q", page, 32)[0], struct.unpack_from("<H", page, 56)[0]
    found = []
    for index in range(min(count, _MOST_SEGMENTS)):
        at = start + 56 * index
        if at + 56 > _PAGE:
            break
        kind, flags, offset, address, _, _, size, _ = struct.unpack_from("<IIQQQQQQ", page, at)
        if kind == _PT_LOAD and flags & _PF_X:
            found.append((offset, address, size))
    return found
