"""Memory that a process maps at our wish: the calls that a borrowed thread makes, and where."""

from collections.abc import Iterable, Sequence
from typing import Final

from libswap.linux.memory import Range
from libswap.live.arch.x86_64 import SystemCalls
from libswap.live.calls import Call, Program, Result, SystemCall
from libswap.process.maps import Mapping

READ: Final = 1
WRITE: Final = 2
EXECUTE: Final = 4
_PRIVATE: Final = 0x02
_PRIVATE_ANONYMOUS: Final = 0x22
_NORESERVE: Final = 0x4000
_FIXED_NOREPLACE: Final = 0x100000
_CLOEXEC: Final = 1
_NO_FILE: Final = (1 << 64) - 1
_LAST_ERRNO: Final = 4095
_PAGE: Final = 4096
_REACH: Final = 1 << 30


def anonymous(place: int, size: int, protection: int) -> SystemCall:
    """Map fresh memory at an address, where nothing lies yet (mmap(2), MAP_FIXED_NOREPLACE)."""
    flags = _PRIVATE_ANONYMOUS | _FIXED_NOREPLACE
    return SystemCall(SystemCalls.MMAP, (place, size, protection, flags, _NO_FILE, 0))


def sparse(size: int) -> SystemCall:
    """Map fresh memory anywhere; pages that nobody writes to cost nothing."""
    flags = _PRIVATE_ANONYMOUS | _NORESERVE
    return SystemCall(SystemCalls.MMAP, (0, size, READ | WRITE, flags, _NO_FILE, 0))


def file_in_memory(name: bytes) -> SystemCall:
    """Make one, whose descriptor comes back (memfd_create(2))."""
    return SystemCall(SystemCalls.MEMFD_CREATE, (name, _CLOEXEC))


def close(descriptor: int | Result) -> SystemCall:
    """Give a descriptor up."""
    return SystemCall(SystemCalls.CLOSE, (descriptor,))


def named(name: bytes, size: int) -> Program:
    """Map memory that has a name in maps; its address is the third result."""
    return [
        file_in_memory(name),
        SystemCall(SystemCalls.FTRUNCATE, (Result(0), size)),
        SystemCall(SystemCalls.MMAP, (0, size, READ, _PRIVATE, Result(0), 0)),
        close(Result(0)),
    ]


def unmap(parts: Iterable[tuple[int, int]]) -> list[Call | SystemCall]:
    """Unmap what lies at these addresses, of these sizes."""
    return [SystemCall(SystemCalls.MUNMAP, part) for part in parts]


def error_of(result: int) -> int:
    """The errno of a system call's result, 0 where it succeeded."""
    number = (1 << 64) - result
    return number if 0 < number <= _LAST_ERRNO else 0


def whole_pages(size: int) -> int:
    """Bytes of the pages that it takes."""
    return -(-size // _PAGE) * _PAGE


def gaps(mappings: Sequence[Mapping], near: Range, size: int) -> list[int]:
    """Addresses of free memory within reach of a jump from anywhere in `near`, closest first."""
    found = []
    edges = [0x10000, *(a for m in mappings for a in (m.start, m.end)), 1 << 47]
    for low, high in zip(edges[::2], edges[1::2], strict=True):
        if high - low < size + 2 * _PAGE:
            continue
        found += [
            place
            for place in (high - size - _PAGE, low + _PAGE)
            if near.end - _REACH < place < near.start + _REACH
        ]
    return sorted(found, key=lambda place: abs(place - near.start))[:8]
