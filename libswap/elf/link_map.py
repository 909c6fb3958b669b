"""What the dynamic linker of a process says it has loaded: the link maps of every namespace.

Sources: <link.h> of glibc (struct r_debug, struct r_debug_extended, struct link_map), ld.so(8),
getauxval(3). Everything is read from memory that a stranger may have written: every loop has a
bound and every address is only ever read from.
"""

import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from libswap.elf.dynamic import Tag
from libswap.elf.format import SegmentType
from libswap.errors.live import LinkMapUnreadable
from libswap.errors.process import MemoryUnreachable
from libswap.linux.memory import Memory

MAX_NAMESPACES: Final = 16
"""glibc's DL_NNS."""
MAX_MODULES: Final = 65_536
_MAX_ENTRIES: Final = 4096
_MAX_NAME: Final = 4096
_MOST_LOOKS: Final = 50
_MOST_READS: Final = 1 << 19
"""In all looks together: a second or two, and fifty looks at three thousand modules."""
_PAGE: Final = 4096

AT_PHDR: Final = 3
AT_PHENT: Final = 4
AT_PHNUM: Final = 5
AT_BASE: Final = 7

_RT_CONSISTENT: Final = 0
_PT_PHDR: Final = 6
_SYM: Final = struct.Struct("<I4xQ8x")
_PHDR: Final = struct.Struct("<IIQQQQQQ")


@dataclass(frozen=True, slots=True)
class LinkMap:
    """One entry of a link-map list.

    Attributes:
        address: where the entry lies; in glibc and musl also the handle that dlopen gives.
        base: l_addr, what is added to a virtual address of the file.
        name: l_name, empty for the main program.
        dynamic: l_ld, the address of the dynamic section.
        namespace: 0 for the base namespace, others in the order in which r_next lists them.
    """

    address: int
    base: int
    name: str
    dynamic: int
    namespace: int


@dataclass(frozen=True, slots=True)
class Loader:
    """The state of the dynamic linker.

    Attributes:
        consistent: whether no list is being changed just now (r_state is RT_CONSISTENT).
        maps: every link map, namespace by namespace, in load order.
    """

    consistent: bool
    maps: tuple[LinkMap, ...]


class _Patient:
    """Memory that is read so often and no more: lists can be made to be long, and to change."""

    def __init__(self, memory: Memory) -> None:
        self._memory, self._left = memory, _MOST_READS

    def read(self, address: int, size: int) -> bytes:
        """See `Memory.read`."""
        self._left -= 1
        if self._left < 0:
            raise _Endless
        return self._memory.read(address, size)


class _Endless(Exception):
    """No more reads are left."""


def parse_auxv(data: bytes) -> dict[int, int]:
    """/proc/PID/auxv as a mapping; a trailing part of an entry is left out."""
    usable = data[: len(data) - len(data) % 16]
    return dict(struct.iter_unpack("<QQ", usable))


def read_loader(memory: Memory, auxv: dict[int, int]) -> Loader:
    """Walk every link-map list of a 64-bit process.

    Args:
        memory: the process's.
        auxv: its auxiliary vector.

    Raises:
        LinkMapUnreadable: it has no dynamic linker, or what it keeps cannot be followed.
    """
    memory = _Patient(memory)
    try:
        first = _r_debug(memory, auxv)
        # Its threads may load and unload meanwhile; what stays broken is broken.
        for _ in range(_MOST_LOOKS):
            with suppress(LinkMapUnreadable, MemoryUnreachable):
                return _lists(memory, first)
        return _lists(memory, first)
    except MemoryUnreachable as error:
        raise LinkMapUnreadable(f"it points to {error.address:#x}, where nothing is") from None
    except _Endless:
        raise LinkMapUnreadable("its lists are longer than those of any program") from None


def _lists(memory: Memory, first: int) -> Loader:
    consistent, maps = True, []
    for namespace, debug in enumerate(_namespaces(memory, first)):
        _version, head, state = debug
        consistent &= state == _RT_CONSISTENT
        maps += list(_walk(memory, head, namespace))
    return Loader(consistent, tuple(maps))


def _r_debug(memory: Memory, auxv: dict[int, int]) -> int:
    """The address of struct r_debug: DT_DEBUG of the main program (elf(5)), or the linker's own."""
    if not auxv.get(AT_BASE):
        return _own_r_debug(memory, auxv)
    dynamic = _headers(memory, auxv).get(SegmentType.DYNAMIC)
    if dynamic is None:
        raise LinkMapUnreadable("the main program has no dynamic section")
    value = _tags(memory, *dynamic).get(Tag.DEBUG)
    if value is None:
        raise LinkMapUnreadable("the main program has no DT_DEBUG entry")
    if value == 0:
        raise LinkMapUnreadable("the dynamic linker has not set DT_DEBUG (yet)")
    return value


def _own_r_debug(memory: Memory, auxv: dict[int, int]) -> int:
    """Of the dynamic linker, where the kernel started it alone: it was told what program to run."""
    with suppress(MemoryUnreachable, LinkMapUnreadable, KeyError):
        base, dynamic = _headers(memory, auxv)[SegmentType.DYNAMIC]
        if found := _exported(memory, _tags(memory, base, dynamic), base):
            return found
    raise LinkMapUnreadable("the program is statically linked: no dynamic linker started it")


def _headers(memory: Memory, auxv: dict[int, int]) -> dict[int, tuple[int, int]]:
    """Load base and virtual address of the first segment of each type that the kernel started."""
    start, count = auxv.get(AT_PHDR, 0), auxv.get(AT_PHNUM, 0)
    if auxv.get(AT_PHENT) != _PHDR.size or not 0 < count <= 0xFFFF:
        raise LinkMapUnreadable("its program headers are not those of a 64-bit program")
    found: dict[int, int] = {}
    for row in _PHDR.iter_unpack(memory.read(start, count * _PHDR.size)):
        found.setdefault(row[0], row[3])
    if _PT_PHDR in found:
        base = start - found[_PT_PHDR]
    else:  # a program that is not PIE, or the dynamic linker, whose headers are in its first page
        base = 0 if auxv.get(AT_BASE) else start // _PAGE * _PAGE
    return {kind: (base, address) for kind, address in found.items()}


def _tags(memory: Memory, base: int, dynamic: int) -> dict[int, int]:
    """The first value of each tag of a dynamic section."""
    found: dict[int, int] = {}
    for at in range(base + dynamic, base + dynamic + 16 * _MAX_ENTRIES, 16):
        tag, value = struct.unpack("<QQ", memory.read(at, 16))
        if tag == Tag.NULL:
            break
        found.setdefault(tag, value)
    return found


def _exported(memory: Memory, tags: dict[int, int], base: int) -> int:
    """The address of `_r_debug` in the dynamic linker's own symbol table, 0 where it has none.

    Its dynamic section holds addresses once it is running in old glibc, and never in new.
    """
    table, names = (
        value if value >= base else base + value
        for value in (tags.get(Tag.SYMTAB, 0), tags.get(Tag.STRTAB, 0))
    )
    for at in range(table, min(names, table + _SYM.size * _MAX_ENTRIES), _SYM.size):
        name, value = _SYM.unpack(memory.read(at, _SYM.size))
        if _string(memory, names + name) == "_r_debug":
            return base + int(value)
    return 0


def _namespaces(memory: Memory, address: int) -> Iterator[tuple[int, int, int]]:
    """(r_version, r_map, r_state) of each; r_next exists from r_version 2 on."""
    for _ in range(MAX_NAMESPACES):
        version, head, _brk, state = struct.unpack("<i4xQQi4x", memory.read(address, 32))
        if not 1 <= version <= 16:
            raise LinkMapUnreadable(f"r_debug at {address:#x} has version {version}")
        yield version, head, state
        if version < 2:
            return
        (address,) = struct.unpack("<Q", memory.read(address + 40, 8))
        if address == 0:
            return
    raise LinkMapUnreadable("its list of namespaces has no end")


def _walk(memory: Memory, head: int, namespace: int) -> Iterator[LinkMap]:
    previous, address = 0, head
    for _ in range(MAX_MODULES):
        if address == 0:
            return
        base, name, dynamic, after, back = struct.unpack("<5Q", memory.read(address, 40))
        if back != previous:
            raise LinkMapUnreadable(f"the link map at {address:#x} is not linked to the one before")
        yield LinkMap(address, base, _string(memory, name), dynamic, namespace)
        previous, address = address, after
    raise LinkMapUnreadable("its list of modules has no end")


def _string(memory: Memory, address: int) -> str:
    """A NUL-ended name of a file, read page by page: it may end just before unmapped memory."""
    data = b""
    while address and b"\0" not in data and len(data) < _MAX_NAME:
        at = address + len(data)
        data += memory.read(at, min(_PAGE - at % _PAGE, 256))
    return os.fsdecode(data.split(b"\0", 1)[0][:_MAX_NAME])
